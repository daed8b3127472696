//! How a backend does by what the edge itself sees: taken out after failures, back after a while, and then slowly.
//!
//! Source: Envoy's outlier detection and slow start.

use crate::errors::Errors;

/// Failures in a row that take a backend out.
const CONSECUTIVE: u32 = 5;
/// How long the first time lasts, in milliseconds; each further one doubles it.
const BASE_MS: u64 = 1_000;
/// The longest.
const MAX_MS: u64 = 60_000;
/// A rate of failures is counted over so long, in milliseconds.
const WINDOW_MS: u64 = 10_000;
/// Too few requests for a rate.
const ENOUGH: u32 = 20;
/// How long it takes from its return until a backend is asked as others are, in milliseconds.
const SLOW_START_MS: u64 = 10_000;
/// What it is asked at first, in thousandths.
const FIRST_PERMILLE: u64 = 100;

/// What the edge has seen of one backend. Time is milliseconds of the edge's clock.
#[derive(Clone, Debug, Default)]
pub struct Outlier {
    consecutive: u32,
    window_since_ms: u64,
    requests: u32,
    failures: u32,
    /// How often it was taken out; forgotten by and by.
    times: u32,
    out_until_ms: u64,
    /// When it came back; `None` when it never was out.
    back_at_ms: Option<u64>,
    last_failure: Option<&'static str>,
    errors: Errors,
}

impl Outlier {
    /// Whether it is out.
    #[must_use]
    pub fn is_out(&self, now_ms: u64) -> bool {
        now_ms < self.out_until_ms
    }

    /// For how much longer it is out, in milliseconds.
    #[must_use]
    pub fn out_for_ms(&self, now_ms: u64) -> u64 {
        self.out_until_ms.saturating_sub(now_ms)
    }

    /// What the last failure was, while there is no success since.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        self.last_failure.filter(|_| self.consecutive > 0)
    }

    /// Failures since the last success.
    #[must_use]
    pub fn consecutive(&self) -> u32 {
        self.consecutive
    }

    /// Whether too many requests fail, for those who judge services; `None` when there were too few to tell.
    #[must_use]
    pub fn too_many_errors(&self, now_ms: u64) -> Option<bool> {
        self.errors.too_many(now_ms)
    }

    /// How much it may be asked, in thousandths of what it would be asked for: less than all right after a return.
    #[must_use]
    pub fn share_permille(&self, now_ms: u64) -> u64 {
        if self.is_out(now_ms) {
            return 0;
        }
        let Some(back) = self.back_at_ms else { return 1_000 };
        let grown = now_ms.saturating_sub(back).saturating_mul(1_000 - FIRST_PERMILLE) / SLOW_START_MS;
        (FIRST_PERMILLE + grown).min(1_000)
    }

    /// Counts a response.
    pub fn success(&mut self, now_ms: u64) {
        self.errors.count(false, now_ms);
        self.roll(now_ms);
        self.consecutive = 0;
        self.requests = self.requests.saturating_add(1);
        // A time without being taken out again, as long as the longest, is forgiven one time.
        if self.times > 0 && now_ms.saturating_sub(self.out_until_ms) > MAX_MS {
            self.times -= 1;
            self.out_until_ms = now_ms;
        }
    }

    /// Counts a failure, and takes the backend out when it is one too many and `may_leave`. Answers whether it was taken out.
    pub fn failure(&mut self, what: &'static str, now_ms: u64, may_leave: bool) -> bool {
        self.errors.count(true, now_ms);
        self.roll(now_ms);
        self.consecutive = self.consecutive.saturating_add(1);
        self.requests = self.requests.saturating_add(1);
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(what);
        let rate = self.requests >= ENOUGH && self.failures * 2 > self.requests;
        if self.is_out(now_ms) || !may_leave || (self.consecutive < CONSECUTIVE && !rate) {
            return false;
        }
        self.errors.remember(now_ms);
        let length = BASE_MS.checked_shl(self.times).unwrap_or(MAX_MS).min(MAX_MS);
        self.times = self.times.saturating_add(1).min(16);
        self.out_until_ms = now_ms.saturating_add(length);
        self.back_at_ms = Some(self.out_until_ms);
        // One more failure after the return is enough.
        self.consecutive = CONSECUTIVE - 1;
        (self.requests, self.failures) = (0, 0);
        true
    }

    fn roll(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.window_since_ms) >= WINDOW_MS {
            (self.window_since_ms, self.requests, self.failures) = (now_ms, 0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn out_after_five_for_longer_each_time_and_back_slowly() {
        let mut outlier = Outlier::default();
        assert_eq!(outlier.share_permille(0), 1_000);
        for _ in 0..4 {
            assert!(!outlier.failure("reset", 0, true));
        }
        assert!(outlier.failure("reset", 0, true));
        assert!(outlier.is_out(999) && !outlier.is_out(1_000));
        assert_eq!(outlier.share_permille(999), 0);
        assert_eq!(outlier.share_permille(1_000), 100);
        assert_eq!(outlier.share_permille(6_000), 550);
        assert_eq!(outlier.share_permille(60_000), 1_000);
        assert!(outlier.failure("reset", 1_000, true), "one more is enough");
        assert!(outlier.is_out(2_999) && !outlier.is_out(3_000));
        outlier.success(3_000);
        assert_eq!((outlier.consecutive(), outlier.fault()), (0, None));
        for _ in 0..5 {
            outlier.failure("timeout", 3_000, true);
        }
        assert_eq!(outlier.out_for_ms(3_000), 4_000);
    }

    #[test]
    fn half_of_many_is_too_many() {
        let mut outlier = Outlier::default();
        let mut out = false;
        for _ in 0..20 {
            out |= outlier.failure("status", 0, true) || outlier.failure("status", 0, true);
            outlier.success(0);
        }
        assert!(out);
    }

    #[test]
    fn who_may_not_leave_stays() {
        let mut outlier = Outlier::default();
        assert!((0..100).all(|_| !outlier.failure("reset", 0, false)));
    }

    proptest! {
        #[test]
        fn nobody_is_out_for_longer_than_the_longest(steps in proptest::collection::vec((any::<bool>(), 0_u64..5_000), 0..200)) {
            let (mut outlier, mut now) = (Outlier::default(), 0);
            for (fails, later) in steps {
                now += later;
                if fails { outlier.failure("x", now, true); } else { outlier.success(now); }
                prop_assert!(outlier.out_for_ms(now) <= MAX_MS);
                prop_assert!(outlier.share_permille(now) <= 1_000);
                prop_assert_eq!(outlier.share_permille(now) == 0, outlier.is_out(now));
            }
        }
    }
}
