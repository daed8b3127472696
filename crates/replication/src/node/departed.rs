//! Replicas that this node gives up when its groups live elsewhere.
//!
//! Only the group's leader can say that a replica counts in no quorum any more. What must not be forgotten then stays: the vote, and how
//! far the log was. Should the node become a member again it votes as if it still had that log, so that nobody is elected who lacks
//! what was acknowledged here.

use super::Replication;
use crate::group::Group;
use crate::raft::refound::log_point;
use crate::raft::{decode, encode};
use crate::replica_id::ReplicaId;
use crate::runtime::{self, mark};
use crate::system::{GroupInfo, LogPoint};
use crate::transport::Kind;
use bytes::Bytes;
use meridian_store::Store;
use meridian_types::{GroupId, NodeId};
use openraft::async_runtime::WatchReceiver;
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use std::time::Duration;

const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// Asks a leader to be a guest.
const AS_GUEST: &[u8] = b"guest";

/// What is kept of a replica that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Departed {
    /// The group's log is committed up to here at least, all of which the replica may have acknowledged.
    pub(crate) floor: LogPoint,
    /// Its vote, as the store has it.
    pub(crate) vote: Option<Bytes>,
}

fn key(id: ReplicaId) -> io::Result<Vec<u8>> {
    let number = id.stored().ok_or_else(|| io::Error::other("the group has no place in the store"))?;
    Ok([&b"departed"[..], &number.0.to_be_bytes()].concat())
}

/// What is kept of this node's earlier replica of a group, if it gave one up.
pub(crate) fn of(store: &Store, id: ReplicaId) -> io::Result<Option<Departed>> {
    if id.group.is_system() {
        return Ok(None);
    }
    let kept = store.group(GroupId::SYSTEM).meta(&key(id)?).map_err(io::Error::other)?;
    kept.map(|kept| decode(&kept)).transpose()
}

impl Group {
    /// Answers a node that is placed elsewhere. Without a payload, see [`Self::departed`]; with one it asks to be a guest, see
    /// [`Guests`](crate::group::Guests). An older version takes both for the first, to no harm.
    pub(crate) fn asked_departed(&self, member: NodeId, payload: &[u8]) -> Option<LogPoint> {
        if payload == AS_GUEST {
            self.guests.welcome(member);
            return None;
        }
        self.departed(member)
    }

    /// By the word of the leader that this node is: how far the log is committed, when the member is one no more.
    pub(crate) fn departed(&self, member: NodeId) -> Option<LogPoint> {
        self.session()?;
        self.lease()?;
        let gone = !self.settled_members()?.contains_key(&member);
        let committed = self.metrics.borrow_watched().cluster_committed.as_ref().map(log_point);
        committed.filter(|_| gone)
    }
}

impl Replication {
    /// Gives up the replicas of groups that live elsewhere, once their leaders say that this node is no member.
    pub(crate) async fn tend_departed(&self) {
        let state = self.system();
        for group in self.groups().into_iter().filter(|group| !group.id.is_system()) {
            let info = state.groups.get(&group.id).filter(|info| info.replica() == group.replica_id());
            let Some(info) =
                info.filter(|info| info.unfounded().is_none() && !info.placement.has_member(self.own()))
            else {
                continue;
            };
            // What it has of an older incarnation is compared with this one first.
            if self.stored_replicas().into_iter().any(|id| info.replaces(id)) {
                mark("a node asked to stay a member, to compare an old incarnation");
                self.ask_departed(info, AS_GUEST).await;
                continue;
            }
            if group.session().is_none()
                && self.ask_departed(info, b"").await.is_some()
                && let Err(error) = self.give_up(&group, info).await
            {
                tracing::warn!(group = %group.id, %error, "the replica is given up later");
            }
        }
    }

    async fn ask_departed(&self, info: &GroupInfo, payload: &'static [u8]) -> Option<LogPoint> {
        for voter in info.placement.voters.difference(&info.placement.witnesses) {
            let (deadline, payload) = (runtime::now() + ASK_TIMEOUT, Bytes::from_static(payload));
            let asked = self.ask::<Option<LogPoint>>(*voter, Kind::Departed, info.id, payload, deadline);
            if let Ok(Some(floor)) = asked.await {
                return Some(floor);
            }
        }
        None
    }

    async fn give_up(&self, group: &Arc<Group>, info: &GroupInfo) -> io::Result<()> {
        let id = group.replica_id();
        // First, so that nothing is acknowledged any more; then it is asked again: the leader may have made it a member meanwhile.
        let closed = group.close().await;
        let floor = self.ask_departed(info, b"").await;
        let again =
            self.system().groups.get(&id.group).is_none_or(|info| info.placement.has_member(self.own()));
        if let (Ok(()), Some(floor), false) = (&closed, floor, again) {
            let store = group.store.clone();
            let system = self.shared.store.group(GroupId::SYSTEM);
            let key = key(id)?;
            let giving_up = runtime::aside(move || {
                let vote = store.vote().map_err(io::Error::other)?;
                let kept = encode(&Departed { floor, vote })?;
                system.put_meta_durable(&key, &kept).map_err(io::Error::other)?;
                store.destroy().map_err(io::Error::other)
            });
            giving_up.await??;
            mark("a replica was given up");
            tracing::info!(group = %id, ?floor, "the group lives elsewhere: its replica here is given up");
        }
        self.forget_group(id);
        closed
    }
}
