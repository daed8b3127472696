//! Ports that are opened for strangers.

use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// How many connections may wait to be accepted; the system may allow fewer (`net.core.somaxconn`). The SYN of one more is dropped,
/// and its client waits a second and more before it asks again.
const BACKLOG: u32 = 4_096;

/// Opens a port that a burst of new connections does not overwhelm.
///
/// # Errors
/// When the address is taken, not this machine's, or not allowed.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A port whose last connections are still waiting for their end can be opened again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpStream};
    use std::time::Duration;

    #[tokio::test]
    async fn five_hundred_connections_wait_while_nobody_accepts() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        // A dropped SYN is sent again after a second at the earliest.
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(900));
        let waiting: Vec<_> = (0..500).map(connect).collect::<Result<_, _>>().unwrap();
        assert_eq!(waiting.len(), 500);
    }
}
