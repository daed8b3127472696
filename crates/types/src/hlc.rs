//! A hybrid logical clock: wall time that never runs backwards, plus a counter for events of the same millisecond.
//!
//! Source: Kulkarni, Demirbas et al., "Logical Physical Clocks", 2014. Wall time is always an argument.

use core::fmt;
use serde::{Deserialize, Serialize};

/// A timestamp: 48 bits of milliseconds since 1970, 16 bits of counter. Orders causally related events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hlc(u64);

impl Hlc {
    /// Builds from milliseconds since 1970 (cut to 48 bits) and a counter.
    #[must_use]
    pub fn new(wall_ms: u64, counter: u16) -> Self {
        Self((wall_ms << 16) | u64::from(counter))
    }

    /// All 64 bits; they order as the stamps do.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The stamp of these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn wall_ms(self) -> u64 {
        self.0 >> 16
    }

    /// The counter within the millisecond.
    #[must_use]
    pub fn counter(self) -> u16 {
        u16::from_le_bytes([self.0.to_le_bytes()[0], self.0.to_le_bytes()[1]])
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.wall_ms(), self.counter())
    }
}

/// A remote timestamp was further ahead of this node's wall clock than is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a peer's clock is {ahead_ms} ms ahead of this node's; at most {max_offset_ms} ms are allowed")]
pub struct ClockOffsetError {
    /// How far ahead the remote clock was.
    pub ahead_ms: u64,
    /// The configured bound.
    pub max_offset_ms: u64,
}

/// The clock's state on one node. Every stamp is later than every stamp made or observed before it.
#[derive(Clone, Copy, Debug, Default)]
pub struct HlcClock {
    last: Hlc,
}

impl HlcClock {
    /// Stamps a local event at wall time `wall_ms`.
    pub fn tick(&mut self, wall_ms: u64) -> Hlc {
        // Past the last counter of a millisecond the stamp borrows from the next one.
        self.last = Hlc(self.last.0 + 1).max(Hlc::new(wall_ms, 0));
        self.last
    }

    /// Takes in a stamp made by another node, so that later local stamps are ordered after it.
    ///
    /// # Errors
    /// [`ClockOffsetError`] when the stamp is ahead of `wall_ms` by more than `max_offset_ms`; the clock is unchanged.
    pub fn observe(&mut self, remote: Hlc, wall_ms: u64, max_offset_ms: u64) -> Result<(), ClockOffsetError> {
        let ahead_ms = remote.wall_ms().saturating_sub(wall_ms);
        if ahead_ms > max_offset_ms {
            return Err(ClockOffsetError { ahead_ms, max_offset_ms });
        }
        self.last = self.last.max(remote);
        Ok(())
    }
}

/// How far this node's clock is behind most of the cluster's, in milliseconds; negative when it is ahead. `others` are how far other nodes'
/// clocks are ahead of this one's.
///
/// It is the median of all clocks, this one's among them, so that one wrong clock is told from the others; of an even number the middle one
/// that is nearer to this clock.
#[must_use]
pub fn behind_most(others: impl IntoIterator<Item = i64>) -> i64 {
    let mut all: alloc::vec::Vec<i64> = others.into_iter().chain([0]).collect();
    all.sort_unstable();
    let middle = [(all.len() - 1) / 2, all.len() / 2].map(|place| all[place]);
    if middle[0].abs() <= middle[1].abs() { middle[0] } else { middle[1] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn stamps_only_grow_whatever_the_wall_clock_does(walls in proptest::collection::vec(0u64..1 << 40, 1..200)) {
            let mut clock = HlcClock::default();
            let mut last = Hlc::default();
            for wall in walls {
                let stamp = clock.tick(wall);
                prop_assert!(stamp > last);
                last = stamp;
            }
        }

        #[test]
        fn an_observed_stamp_is_before_the_next_tick(remote in 0u64..2_000, wall in 1_000u64..2_000) {
            let mut clock = HlcClock::default();
            let remote = Hlc::new(remote, 7);
            if clock.observe(remote, wall, 500).is_ok() {
                prop_assert!(clock.tick(0) > remote);
            } else {
                prop_assert!(remote.wall_ms() > wall + 500);
            }
        }
    }

    #[test]
    fn one_wrong_clock_is_told_from_the_others() {
        assert_eq!(behind_most([]), 0);
        assert_eq!(behind_most([900]), 0, "of two nobody knows which is wrong");
        assert_eq!(behind_most([3, 900]), 3);
        assert_eq!(behind_most([-900, 0]), 0);
        assert_eq!(behind_most([900, 905]), 900);
        assert_eq!(behind_most([-900, -903, 2]), 0, "two against two");
        assert_eq!(behind_most([-900, -903, -901, 2]), -900);
    }

    #[test]
    fn a_full_counter_borrows_from_the_next_millisecond() {
        let mut clock = HlcClock { last: Hlc::new(5, u16::MAX) };
        assert_eq!(clock.tick(5), Hlc::new(6, 0));
    }
}
