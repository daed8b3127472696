//! Replaces this node's damaged replicas by empty ones that the leader fills.

use super::Replication;
use crate::raft::reseed::{discard, needed, spares};
use crate::replica_id::ReplicaId;
use crate::runtime::{self, mark};
use meridian_placement::Placement;
use meridian_types::GroupId;
use std::io;
use std::sync::PoisonError;

impl Replication {
    /// Stops the store when it has damaged the system group: what a node knows of incarnations must never go back, so that replica is not
    /// filled again, and a node that no longer follows the system group must not go on.
    pub(crate) fn stop_without_system(&self) {
        if self.shared.store.group(GroupId::SYSTEM).is_damaged() {
            self.shared.store.condemn("the disk has damaged the system group: replace this node");
        }
    }

    /// Throws this node's replica of a group away if its disk has damaged it, and opens it again, empty and without a vote until it has what
    /// it had.
    ///
    /// # Errors
    /// When the group cannot do without this node's replica, or the store fails: the replica takes no part then.
    pub(crate) async fn reseed_damaged(&self, id: ReplicaId, placement: &Placement) -> io::Result<()> {
        let store = id.store(&self.shared.store)?;
        if !store.is_damaged() {
            return Ok(());
        }
        let own = self.own();
        if !spares(placement, own) {
            return Err(needed());
        }
        if let Some(open) = self.group(id.group).filter(|open| open.incarnation == id.incarnation) {
            open.close().await?;
        }
        let owed = runtime::aside(move || discard(&store, own)).await??;
        self.groups.write().unwrap_or_else(PoisonError::into_inner).remove(&id.group);
        mark("a damaged replica was thrown away");
        tracing::error!(group = %id, ?owed, "the disk has damaged this replica: it is filled again by the leader");
        self.open_group(id, None).await
    }
}
