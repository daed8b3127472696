//! Which Raft group is meant: a placement group in one of its incarnations.

use meridian_store::{GroupStore, Store};
use meridian_types::{GroupId, Incarnation};
use std::{fmt, io};

/// Bits of a store's group number that say the placement group; those above say the incarnation.
const GROUP_BITS: u32 = 20;

/// One Raft group: a placement group in one of its incarnations. Each has a log, a vote and a state of its own, and every message
/// names the one that it is for, so that nothing of an older incarnation is ever taken for the newer one's (invariant 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId {
    /// The placement group.
    pub group: GroupId,
    /// How often it was founded anew before.
    pub incarnation: Incarnation,
}

impl ReplicaId {
    /// The highest incarnation that a group can have.
    pub(crate) const LAST_INCARNATION: Incarnation = Incarnation((1 << (u32::BITS - GROUP_BITS)) - 1);

    /// The number under which the store keeps it. Part of the disk format: incarnation 0 keeps the group's own number.
    #[must_use]
    pub fn stored(self) -> Option<GroupId> {
        let fits = self.group.0 < 1 << GROUP_BITS && self.incarnation <= Self::LAST_INCARNATION;
        fits.then_some(GroupId(self.group.0 | self.incarnation.0 << GROUP_BITS))
    }

    /// Its part of the store.
    pub(crate) fn store(self, store: &Store) -> io::Result<GroupStore> {
        let number = self.stored().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("group {self} has no place in the store"))
        })?;
        Ok(store.group(number))
    }

    /// What [`Self::stored`] gave this number for.
    pub(crate) fn of_stored(number: GroupId) -> Self {
        Self {
            group: GroupId(number.0 & ((1 << GROUP_BITS) - 1)),
            incarnation: Incarnation(number.0 >> GROUP_BITS),
        }
    }
}

/// A group that was never founded anew, as the system group never is.
impl From<GroupId> for ReplicaId {
    fn from(group: GroupId) -> Self {
        Self { group, incarnation: Incarnation(0) }
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.incarnation {
            Incarnation(0) => self.group.fmt(f),
            incarnation => write!(f, "{}.{incarnation}", self.group),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_incarnation_is_stored_under_a_number_of_its_own() {
        let id =
            |group, incarnation| ReplicaId { group: GroupId(group), incarnation: Incarnation(incarnation) };
        assert_eq!(id(7, 0).stored(), Some(GroupId(7)));
        for replica in [id(0, 0), id(7, 0), id(7, 1), id((1 << 20) - 1, 4_095)] {
            assert_eq!(replica.stored().map(ReplicaId::of_stored), Some(replica));
        }
        assert_eq!(id(1 << 20, 0).stored(), None);
        assert_eq!(id(1, 4_096).stored(), None);
    }
}
