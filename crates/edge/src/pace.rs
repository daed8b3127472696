//! How slowly a client may send the body of a request.

/// Bytes may be missing for so long, whatever the rate says, in milliseconds.
const GRACE_MS: u64 = 5_000;

/// The slowest that a body may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes a second, on average since the first; 0 for any.
    pub least: u64,
}

impl Pace {
    /// When a body of which `bytes` have come is too slow unless more comes, in milliseconds since its beginning; `None` for never.
    #[must_use]
    pub fn patience_ms(self, bytes: u64) -> Option<u64> {
        let earned = bytes.saturating_mul(1_000).checked_div(self.least)?;
        Some(earned.saturating_add(GRACE_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn grace_then_the_rate() {
        assert_eq!(Pace { least: 0 }.patience_ms(0), None);
        assert_eq!(Pace { least: 100 }.patience_ms(0), Some(5_000));
        assert_eq!(Pace { least: 100 }.patience_ms(1_000), Some(15_000));
    }

    proptest! {
        #[test]
        fn whoever_keeps_the_rate_is_never_too_slow(least in 1_u64..1 << 30, ms in 0_u64..1 << 32) {
            let bytes = (least * ms).div_ceil(1_000);
            let pace = Pace { least };
            prop_assert!(pace.patience_ms(bytes).unwrap() > ms);
        }
    }
}
