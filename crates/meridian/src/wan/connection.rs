//! One relayed connection, from the dialer's SYN to the last end.

use super::link::Link;
use super::pipe::carry;
use super::timer::Timer;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// How long a connection attempt into a black hole is kept, as long as Linux retries a SYN.
const HANG: Duration = Duration::from_secs(127);

/// Relays `dialer` to `target`. `there` leads from the dialer to the target, `back` the other way.
///
/// The kernel has completed the dialer's handshake already, so the round trip that it would have cost is charged to
/// the first bytes instead.
pub(super) async fn relay(dialer: TcpStream, target: SocketAddr, there: &Link, back: &Link, timer: &Timer) {
    let accepted = Instant::now();
    let reachable = async {
        // Both ways must be open at once for a handshake; passing one may have taken long.
        there.passable().await;
        back.passable().await;
        there.passable().await;
    };
    if tokio::time::timeout(HANG, reachable).await.is_err() {
        return;
    }
    // A handshake that had to wait starts when the way opens.
    let syn_sent = accepted.max(Instant::now());
    timer.sleep_until(syn_sent + there.one_way()).await;
    let Ok(target) = TcpStream::connect(target).await else {
        back.passable().await;
        timer.sleep_until(Instant::now() + back.one_way()).await;
        return;
    };
    // Failing to switch off Nagle's algorithm costs speed, not correctness.
    _ = dialer.set_nodelay(true);
    _ = target.set_nodelay(true);
    let established = syn_sent + there.one_way() + back.one_way();
    let (dialer_read, dialer_write) = dialer.into_split();
    let (target_read, target_write) = target.into_split();
    let forward = carry(dialer_read, target_write, there, back, timer, established);
    let backward = carry(target_read, dialer_write, back, there, timer, Instant::now());
    // The first reset ends both ways; dropping the sockets tells both ends.
    _ = tokio::try_join!(forward, backward);
}
