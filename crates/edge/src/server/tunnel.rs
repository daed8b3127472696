//! Connections that have changed to another protocol, such as WebSocket: bytes both ways until one side ends.

use super::tally::Share;
use super::upstream::InFlight;
use super::{Edge, Place};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

/// How long both sides have to change.
const PATIENCE: Duration = Duration::from_secs(10);

/// Carries bytes until one side ends, or the node is asked to: such a connection has no other end.
/// All that is counted of the client stays counted meanwhile.
pub(super) fn spawn(
    edge: &Edge,
    client: OnUpgrade,
    backend: OnUpgrade,
    in_flight: InFlight,
    place: Arc<Place>,
    share: Option<Share>,
) {
    let edge = edge.clone();
    tokio::spawn(async move {
        let both = async { tokio::join!(client, backend) };
        if let Ok((Ok(client), Ok(backend))) = timeout(PATIENCE, both).await {
            edge.counters.tunnels.fetch_add(1, Ordering::Relaxed);
            let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut backend) => {}
                () = edge.closing() => {}
            }
            edge.counters.tunnels.fetch_sub(1, Ordering::Relaxed);
        }
        drop((in_flight, place, share));
    });
}
