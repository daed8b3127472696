//! A token bucket.

use std::time::Duration;

/// What may be sent at once after a pause, in time at the full rate. Above the time between two wake-ups, below what anybody notices.
pub(super) const BURST: Duration = Duration::from_millis(100);

/// A token bucket: bytes are paid for with time.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// When all that was taken is paid for.
    pub(super) paid_at: Duration,
}

impl Bucket {
    /// Takes bytes, at the price of now; how long to wait before they are sent.
    pub(super) fn take(&mut self, bytes: u64, bytes_per_s: u64, now: Duration) -> Duration {
        let wait = self.paid_at.saturating_sub(now + BURST);
        let us = u128::from(bytes) * 1_000_000 / u128::from(bytes_per_s.max(1));
        let cost = Duration::from_micros(u64::try_from(us).unwrap_or(u64::MAX));
        self.paid_at = self.paid_at.max(now).saturating_add(cost);
        wait
    }
}
