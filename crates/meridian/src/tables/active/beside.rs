//! The fragments of an item that this node has: that of the group which evaluates, and those of the other origins' groups.

use super::fence;
use super::notes::{self, Note};
use super::origins::Origins;
use bytes::Bytes;
use meridian_merge::Fragment;
use meridian_replication::{Neighbour, View};
use meridian_types::{Hlc, Position};
use std::io;

/// The groups of all origins on this node.
pub(super) struct Beside<'a> {
    own: &'a dyn View,
    others: Vec<Neighbour<'a>>,
}

impl<'a> Beside<'a> {
    /// # Errors
    /// `NotConnected` when this node lacks the replica of an origin, or one has not what the others rely on: it is new, or being filled
    /// again.
    pub(super) fn of(own: &'a dyn View, origins: &Origins<'_>) -> io::Result<Self> {
        let others = origins.others.iter().map(|group| {
            own.neighbour(*group).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotConnected,
                    format!("group {group} is not on this node yet; try again"),
                )
            })
        });
        let beside = Self { own, others: others.collect::<io::Result<_>>()? };
        beside.check(origins)?;
        Ok(beside)
    }

    fn check(&self, origins: &Origins<'_>) -> io::Result<()> {
        let mut fences = self.views().into_iter().map(fence::kept).collect::<io::Result<Vec<_>>>()?;
        let mut have = self.positions();
        have.extend(self.own.neighbour(self.own.group()).map(|own| own.position));
        let arrived = have.iter().filter_map(|have| origins.arrived.get(&have.group).copied());
        fences.push(arrived.collect());
        fence::check(origins.system, &have, &fences)
    }

    /// What the others' states include at least.
    pub(super) fn positions(&self) -> Vec<Position> {
        self.others.iter().map(|other| other.position).collect()
    }

    /// The states, the own one first.
    pub(super) fn views(&self) -> Vec<&dyn View> {
        let others = self.others.iter().map(|other| &*other.view);
        std::iter::once(self.own).chain(others).collect()
    }

    /// The fragments of an item, the own one first if there is one.
    pub(super) fn fragments(&self, key: &[u8]) -> io::Result<Vec<Fragment>> {
        let mut found = Vec::new();
        for view in self.views() {
            if let Some(stored) = view.get(key)? {
                found.push(decode(&stored)?);
            }
        }
        Ok(found)
    }

    /// The horizon up to which tombstones may be forgotten: whatever origin has forgotten one by it, this node may have followed.
    pub(super) fn horizon(&self) -> io::Result<Hlc> {
        let mut horizon = 0;
        for view in self.views() {
            horizon = horizon.max(notes::number(view, Note::Horizon)?);
        }
        Ok(Hlc::from_bits(horizon))
    }
}

/// The item's view: all fragments together.
pub(super) fn join(fragments: Vec<Fragment>) -> Option<Fragment> {
    fragments.into_iter().reduce(Fragment::join)
}

/// Takes a stored fragment apart.
pub(super) fn decode(stored: &[u8]) -> io::Result<Fragment> {
    Fragment::decode(stored).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// How a fragment is stored.
pub(super) fn encode(fragment: &Fragment) -> Bytes {
    Bytes::from(fragment.encode())
}
