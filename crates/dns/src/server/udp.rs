//! Datagrams.

use super::{Recent, Shared};
use crate::limit::{Limiter, Verdict};
use crate::respond::truncate;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a thread may take to see that it should end.
pub(super) const STOP_WITHIN: Duration = Duration::from_millis(200);
/// The largest question that is read; hardly one is above 100 bytes.
const MAX_QUESTION: usize = 4_096;

/// Answers until the server stops.
pub(super) fn serve(socket: &UdpSocket, shared: &Shared, rate_limit: u32, seed: u64) {
    let mut limiter = Limiter::new(rate_limit, seed);
    let mut recent = Recent::new(seed);
    let start = Instant::now();
    let mut message = [0; MAX_QUESTION];
    let mut out = Vec::with_capacity(MAX_QUESTION);
    while !shared.stopped.load(Ordering::Relaxed) {
        let (length, from) = match socket.recv_from(&mut message) {
            Ok(received) => received,
            // Nothing came, or an earlier answer met a closed port.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) => {
                tracing::debug!(%error, "a datagram could not be received");
                std::thread::yield_now();
                continue;
            }
        };
        // A port below is no resolver's: such a question is spoofed to make two servers talk.
        if from.port() == 0 {
            continue;
        }
        let question = message.get(..length).unwrap_or_default();
        let Some(kind) = shared.respond_again(&mut recent, question, from.ip(), &mut out) else { continue };
        // Wraps after seven weeks, which the limiter takes.
        let now_ms = u32::try_from(start.elapsed().as_millis() & u128::from(u32::MAX)).unwrap_or(0);
        match limiter.decide(from.ip(), kind, now_ms) {
            Verdict::Send => {}
            Verdict::Truncate => {
                shared.counters.limited.fetch_add(1, Ordering::Relaxed);
                truncate(&mut out);
            }
            Verdict::Drop => {
                shared.counters.limited.fetch_add(1, Ordering::Relaxed);
                continue;
            }
        }
        if let Err(error) = socket.send_to(&out, from) {
            tracing::debug!(%error, "an answer could not be sent");
        }
    }
}
