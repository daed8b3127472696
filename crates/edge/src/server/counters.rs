//! What the server counts.

use http::StatusCode;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start, and a few that go up and down.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections of clients that are open.
    pub connections: AtomicU64,
    /// Connections turned away for their number.
    pub refused: AtomicU64,
    /// Connections that were closed before TLS was agreed on.
    pub tls_failures: AtomicU64,
    /// Responses by the first digit of their status, from 1 to 5.
    pub responses: [AtomicU64; 5],
    /// Requests sent again after a failure.
    pub retries: AtomicU64,
    /// Requests sent to a second region because the first was slow.
    pub hedges: AtomicU64,
    /// Requests served from the cache.
    pub hits: AtomicU64,
    /// Requests that waited for another one's response.
    pub collapsed: AtomicU64,
    /// Connections in another protocol that are open.
    pub tunnels: AtomicU64,
}

impl Counters {
    pub(super) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.responses.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}
