//! What every socket is set to.

use socket2::{SockRef, TcpKeepalive};
use std::time::Duration;
use tokio::net::TcpStream;

/// A connection that is silent for so long is asked whether its other end is still there,
const SILENT: Duration = Duration::from_secs(60);
/// and again so often until the system takes it for gone. Tunnels may be silent for as long as they like, and have no other end.
const AGAIN: Duration = Duration::from_secs(15);

/// Sets a connection up. What the system does not know is left as it is.
pub(super) fn set_up(stream: &TcpStream) {
    _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(SILENT).with_interval(AGAIN);
    _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}
