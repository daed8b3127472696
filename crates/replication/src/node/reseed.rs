//! Replaces this node's damaged replicas by empty ones that the leader fills.

use super::Replication;
use crate::raft::reseed::{discard, has_all, needed, spares, vote_term};
use crate::replica_id::ReplicaId;
use crate::runtime::{self, mark};
use meridian_placement::Placement;
use meridian_types::GroupId;
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

impl Replication {
    /// Stops the store when it has damaged the system group: what a node knows of incarnations must never go back, so that replica is not
    /// filled again, and a node that no longer follows the system group must not go on.
    pub(crate) fn stop_without_system(&self) {
        if self.shared.store.group(GroupId::SYSTEM).is_damaged() {
            let name = &self.shared.node_name;
            self.shared.store.condemn(&format!(
                "the disk has damaged the system group, whose entries this node may have been counted for: put a new node in its place with \
                 `meridian node replace {name}`"
            ));
        }
    }

    /// How many replicas have met damage and were not emptied, or not yet.
    #[must_use]
    pub fn damaged(&self) -> usize {
        let store = &self.shared.store;
        store.groups().into_iter().filter(|id| store.group(*id).is_damaged()).count()
    }

    /// How many damaged replicas were emptied since this node started, to be filled again.
    #[must_use]
    pub fn reseeded(&self) -> u64 {
        self.reseeded.load(Ordering::Relaxed)
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
        if !self.may_discard(id, placement).await? {
            return Err(needed());
        }
        if let Some(open) = self.group(id.group).filter(|open| open.incarnation == id.incarnation) {
            open.close().await?;
            // What it acknowledged until then counts as well.
            if !self.may_discard(id, placement).await? {
                return Err(needed());
            }
        }
        let owed = runtime::aside(move || discard(&store, own)).await??;
        self.groups.write().unwrap_or_else(PoisonError::into_inner).remove(&id.group);
        self.reseeded.fetch_add(1, Ordering::Relaxed);
        mark("a damaged replica was thrown away");
        tracing::error!(group = %id, ?owed, "the disk has damaged this replica: it is filled again by the leader");
        self.open_group(id, None).await
    }

    /// Whether all that was committed is sure to be with others that can lead: there are enough of them, or one that leads now says so.
    async fn may_discard(&self, id: ReplicaId, placement: &Placement) -> io::Result<bool> {
        let own = self.own();
        if spares(placement, own) {
            return Ok(true);
        }
        let term = vote_term(&id.store(&self.shared.store)?)?;
        let deadline = runtime::now() + self.shared.timing.lease;
        for voter in placement.voters.iter().filter(|voter| **voter != own) {
            let said = self.ask_status(*voter, deadline).await;
            if said.is_some_and(|said| said.replicas.iter().any(|replica| has_all(replica, id, term))) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
