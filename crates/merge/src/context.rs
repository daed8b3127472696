//! Which writes a fragment has seen: what it has seen and does not hold has been overwritten or removed.

use crate::stamp::{Origin, Stamp};
use alloc::collections::BTreeMap;
use meridian_types::Hlc;

/// All writes up to a floor, and of some origins further ones.
///
/// An origin's writes are seen in their order, so that the newest stands for all before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Context {
    /// Every write up to this has been applied by every replica.
    pub(crate) floor: Hlc,
    /// The newest write seen of each origin, where that is above the floor.
    pub(crate) seen: BTreeMap<Origin, Hlc>,
}

impl Context {
    /// Whether a write has been seen.
    pub(crate) fn covers(&self, stamp: Stamp) -> bool {
        stamp.hlc <= self.floor || self.seen.get(&stamp.origin).is_some_and(|seen| stamp.hlc <= *seen)
    }

    /// Also sees one write, and with it all that its origin wrote before.
    pub(crate) fn see(&mut self, stamp: Stamp) {
        if stamp.hlc > self.floor {
            let seen = self.seen.entry(stamp.origin).or_default();
            *seen = (*seen).max(stamp.hlc);
        }
    }

    /// Raises the floor.
    pub(crate) fn raise(&mut self, floor: Hlc) {
        if floor > self.floor {
            self.floor = floor;
            self.seen.retain(|_, seen| *seen > floor);
        }
    }

    /// Sees what the other has seen.
    pub(crate) fn join(&mut self, other: &Context) {
        self.raise(other.floor);
        other.seen.iter().for_each(|(origin, hlc)| self.see(Stamp { hlc: *hlc, origin: *origin }));
    }

    /// No write seen is later than this.
    pub(crate) fn newest(&self) -> Hlc {
        self.seen.values().copied().max().unwrap_or_default().max(self.floor)
    }
}
