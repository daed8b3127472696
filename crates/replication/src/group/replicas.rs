//! The groups that are open on a node, as an evaluation sees them: it may look at the state of another one.

use super::Group;
use crate::evaluate::{Neighbour, View, WallClock};
use crate::raft::MachineView;
use crate::runtime;
use crate::transport::Peers;
use bytes::Bytes;
use meridian_types::{GroupId, Position};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, Weak};

/// Open groups by id. They are held weakly: each group knows this.
pub(crate) struct Replicas {
    open: RwLock<BTreeMap<GroupId, Weak<Group>>>,
    peers: Arc<Peers>,
}

impl Replicas {
    /// None yet.
    pub(crate) fn new(peers: Arc<Peers>) -> Arc<Self> {
        Arc::new(Self { open: RwLock::default(), peers })
    }

    /// This node's clock.
    pub(super) fn clock(&self) -> WallClock {
        WallClock { wall_ms: runtime::wall_ms(), behind_ms: self.peers.clock_behind_ms() }
    }

    /// Takes in a group that has been opened, in place of one of an older incarnation.
    pub(crate) fn opened(&self, group: &Arc<Group>) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(group.id, Arc::downgrade(group));
    }

    /// The replica of a group, if it may be read.
    pub(super) fn neighbour(&self, group: GroupId) -> Option<Neighbour<'static>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner).get(&group)?.upgrade()?;
        if !open.may_be_read() || !open.fence.is_current() {
            return None;
        }
        // Before anything is read: what is seen is at least this new.
        let position: Position = open.position(open.view.applied());
        Some(Neighbour { view: Box::new(Applied { group, view: open.view.clone() }), position })
    }
}

/// A replica's applied state.
struct Applied {
    group: GroupId,
    view: MachineView,
}

impl View for Applied {
    fn group(&self) -> GroupId {
        self.group
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        Ok(self.view.get(key)?.map(|stored| stored.bytes))
    }

    fn changed_at(&self, key: &[u8]) -> io::Result<u64> {
        self.view.changed_at(key)
    }

    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        reverse: bool,
        row: &mut dyn FnMut(&[u8], &Bytes) -> bool,
    ) -> io::Result<()> {
        for found in self.view.scan(start, end, reverse)? {
            let (key, stored) = found?;
            if !row(&key, &stored.bytes) {
                break;
            }
        }
        Ok(())
    }

    fn neighbour(&self, _group: GroupId) -> Option<Neighbour<'_>> {
        None
    }

    fn clock(&self) -> WallClock {
        // Nothing is written through it.
        WallClock::default()
    }
}
