//! The share of requests to a backend that fail: what the edge tells those who judge services.

/// What is counted together, in milliseconds; a share is of this and the one before.
const WINDOW_MS: u64 = 5_000;
/// Too few requests for a share.
const ENOUGH: u32 = 20;
/// Fewer failures than this happen anywhere.
const FEW: u64 = 5;
/// From this share on there are too many failures, in thousandths.
const TOO_MANY_PERMILLE: u16 = 50;
/// For how long too many are remembered, in milliseconds: where nobody is sent any more nothing fails either. Doubled each time that the backend was
/// no better afterwards.
const REMEMBERED_MS: u64 = 15_000;
/// The longest.
const MOST_REMEMBERED_MS: u64 = 5 * 60_000;

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    number: u64,
    requests: u32,
    failures: u32,
}

/// Failures of one backend. Time is milliseconds of the edge's clock.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    now: Window,
    before: Window,
    /// While too many are remembered: until when.
    bad_until_ms: u64,
    /// How often there were too many; forgotten by and by.
    times: u32,
}

impl Errors {
    /// Counts a request.
    pub fn count(&mut self, failed: bool, now_ms: u64) {
        let number = now_ms / WINDOW_MS;
        if number != self.now.number {
            self.before = self.now;
            self.now = Window { number, ..Window::default() };
        }
        self.now.requests = self.now.requests.saturating_add(1);
        self.now.failures = self.now.failures.saturating_add(u32::from(failed));
        if now_ms < self.bad_until_ms {
            return;
        }
        if self.times > 0 && now_ms - self.bad_until_ms > MOST_REMEMBERED_MS {
            self.times = 0;
        }
        if self.too_many(now_ms) == Some(true) {
            self.remember(now_ms);
        }
    }

    /// There are too many failures, whatever their share: so many in a row that the backend is left out.
    pub fn remember(&mut self, now_ms: u64) {
        if now_ms >= self.bad_until_ms {
            let length = REMEMBERED_MS.checked_shl(self.times).unwrap_or(MOST_REMEMBERED_MS);
            self.bad_until_ms = now_ms + length.min(MOST_REMEMBERED_MS);
            self.times = (self.times + 1).min(16);
        }
    }

    /// Whether too many requests fail; `None` when there were too few to tell.
    #[must_use]
    pub fn too_many(&self, now_ms: u64) -> Option<bool> {
        if now_ms < self.bad_until_ms {
            return Some(true);
        }
        self.measured(now_ms).map(|share| share >= TOO_MANY_PERMILLE)
    }

    /// The share of late, in thousandths.
    fn measured(&self, now_ms: u64) -> Option<u16> {
        let number = now_ms / WINDOW_MS;
        let windows =
            [self.now, self.before].into_iter().filter(|window| number.saturating_sub(window.number) <= 1);
        let (requests, failures) = windows.fold((0_u64, 0_u64), |(r, f), window| {
            (r + u64::from(window.requests), f + u64::from(window.failures))
        });
        if requests < u64::from(ENOUGH) {
            return None;
        }
        let counted = if failures < FEW { 0 } else { failures };
        u16::try_from(counted * 1_000 / requests).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many requests at one moment, of which the first ones fail.
    fn requests(errors: &mut Errors, all: u32, failures: u32, now_ms: u64) {
        (0..all).for_each(|number| errors.count(number < failures, now_ms));
    }

    #[test]
    fn few_requests_or_failures_tell_nothing() {
        let mut errors = Errors::default();
        requests(&mut errors, ENOUGH - 1, ENOUGH - 1, 100_000);
        assert_eq!(errors.too_many(100_000), None);
        requests(&mut errors, 1, 0, 104_000);
        assert_eq!(errors.too_many(104_000), Some(true));
    }

    #[test]
    fn a_twentieth_is_too_many_and_less_is_not() {
        let mut errors = Errors::default();
        requests(&mut errors, 100, 4, 101_000);
        assert_eq!(errors.too_many(101_000), Some(false));
        requests(&mut errors, 100, 8, 106_000);
        assert_eq!(errors.too_many(106_000), Some(true));
    }

    #[test]
    fn what_was_bad_is_remembered_longer_each_time_and_forgiven_by_and_by() {
        let mut errors = Errors::default();
        requests(&mut errors, 40, 40, 0);
        assert_eq!(errors.too_many(REMEMBERED_MS - 1), Some(true), "although nobody asks any more");
        assert_eq!(errors.too_many(REMEMBERED_MS), None);
        requests(&mut errors, 40, 40, 20_000);
        assert_eq!(errors.too_many(20_000 + 2 * REMEMBERED_MS - 1), Some(true));
        assert_eq!(errors.too_many(20_000 + 2 * REMEMBERED_MS), None);
        requests(&mut errors, 40, 0, 50_000 + MOST_REMEMBERED_MS + 1);
        requests(&mut errors, 40, 40, 500_000);
        assert_eq!(errors.too_many(500_000 + REMEMBERED_MS), None);
    }
}
