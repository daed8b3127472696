//! The cursor of SCAN: a slice of the table, so that any node can go on and nothing is kept for it.
//!
//! The keys are in the order of a hash of 64 bits. A cursor names a slice of it: the level says into how many slices the whole is cut, by
//! halving, the index which of them is next. A slice that holds too much for an answer is halved; one that is done is
//! followed by the next. So each key that is there all the while is shown exactly once, as long as slices can still be halved.

use meridian_dynamo::read::Segment;

/// The most halvings: a parallel scan has at most a million segments.
const MAX_LEVEL: u32 = 19;

/// A slice of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    level: u32,
    index: u32,
}

impl Slice {
    /// The slice that a cursor names, 0 being all; nothing when no scan gave it.
    pub(crate) fn of(cursor: u64) -> Option<Self> {
        let level = u32::try_from(cursor >> 32).ok().filter(|level| *level <= MAX_LEVEL)?;
        let index = u32::try_from(cursor & u64::from(u32::MAX)).ok()?;
        (index < 1 << level).then_some(Self { level, index })
    }

    /// The cursor that names it.
    pub(crate) fn cursor(self) -> u64 {
        u64::from(self.level) << 32 | u64::from(self.index)
    }

    /// The share of a parallel scan that it is.
    pub(crate) fn segment(self) -> Segment {
        Segment { index: self.index, total: 1 << self.level }
    }

    /// Its first half; nothing when it cannot be halved any more.
    pub(crate) fn halved(self) -> Option<Self> {
        (self.level < MAX_LEVEL).then_some(Self { level: self.level + 1, index: self.index * 2 })
    }

    /// The slice behind it; nothing behind the last. Slices grow again where halves were halved for one crowded place.
    pub(crate) fn next(self) -> Option<Self> {
        let index = self.index + 1;
        (index < 1 << self.level).then_some(Self { level: self.level, index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is halved on the way, the slices that are done cover every hash once.
        #[test]
        fn slices_cover_every_hash_once(halve in prop::collection::vec(any::<bool>(), 0..40), hash in any::<u64>()) {
            let (mut at, mut halve, mut covered) = (Slice::of(0), halve.into_iter(), 0);
            while let Some(slice) = at {
                if slice.level < 6 && halve.next().unwrap_or(false) {
                    at = slice.halved();
                    continue;
                }
                prop_assert_eq!(Slice::of(slice.cursor()), Some(slice));
                covered += u32::from(slice.segment().holds(hash));
                at = slice.next();
            }
            prop_assert_eq!(covered, 1);
        }
    }

    #[test]
    fn cursors_that_no_scan_gave_are_refused() {
        for cursor in [1, 20 << 32, (3 << 32) + 8, u64::MAX] {
            assert_eq!(Slice::of(cursor), None);
        }
    }
}
