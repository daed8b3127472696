//! How backends do, for whoever asks.

use super::{Server, lock};
use meridian_types::{Backend, HostName};
use std::sync::atomic::Ordering;

/// One backend as the edge has met it since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendView {
    /// Attempts.
    pub requests: u64,
    /// Attempts without a usable response.
    pub failures: u64,
    /// How often it was left out.
    pub ejections: u64,
    /// Requests that it is at.
    pub in_flight: usize,
    /// Connections that wait for a request.
    pub idle: usize,
    /// For how much longer it is left out, in milliseconds; 0 when it is not.
    pub out_for_ms: u64,
    /// Failures in a row, up to now.
    pub consecutive: u32,
    /// Whether too many of the requests of late have failed; `None` when there were too few to tell.
    pub too_many_errors: Option<bool>,
    /// What the last of them was.
    pub fault: Option<&'static str>,
}

impl Server {
    /// How a backend does, of the service whose first host this is.
    #[must_use]
    pub fn backend(&self, backend: &Backend, host: &HostName) -> Option<BackendView> {
        let upstream = self.inner.upstreams.find(backend, host)?;
        let now_ms = self.inner.now_ms();
        let outlier = lock(&upstream.outlier);
        Some(BackendView {
            requests: upstream.requests.load(Ordering::Relaxed),
            failures: upstream.failures.load(Ordering::Relaxed),
            ejections: upstream.ejections.load(Ordering::Relaxed),
            in_flight: upstream.in_flight(),
            idle: upstream.idle(),
            out_for_ms: outlier.out_for_ms(now_ms),
            consecutive: outlier.consecutive(),
            too_many_errors: outlier.too_many_errors(now_ms),
            fault: outlier.fault(),
        })
    }
}
