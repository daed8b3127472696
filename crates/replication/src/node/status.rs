//! What this node knows of its groups, and what the others say of theirs.

use super::Replication;
use crate::group::Group;
use crate::lag::LagHistogram;
use crate::replica_id::ReplicaId;
use crate::runtime;
use crate::wire::{NodeStatus, ReplicaStatus};
use meridian_types::{GroupId, NodeId, Policy, Position, RegionName};
use openraft::async_runtime::WatchReceiver;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

impl Replication {
    /// This node's own status.
    #[must_use]
    pub fn status_here(&self) -> NodeStatus {
        let space = self.shared.store.space();
        let quiet = |node: &NodeId| self.shared.peers.silence(*node) > self.shared.timing.region_lost_after;
        let stored = self.stored_replicas();
        let old = stored.iter().filter(|id| self.is_old(**id)).count();
        NodeStatus {
            node: self.own(),
            stored: stored.len() as u64,
            old: old as u64,
            replicas: self.groups().iter().map(|group| self.replica_status(group)).collect(),
            silent: self.everyone().nodes().map(|node| node.id).filter(quiet).collect(),
            free_bytes: space.free_bytes,
            disk_low: space.low,
            at_risk: self.risks_known(),
        }
    }

    /// How many members of groups that this node leads are far behind, and how many bytes were sent to such since it started.
    #[must_use]
    pub fn catching_up(&self) -> (u64, u64) {
        self.shared.pacer.figures()
    }

    /// How long after their leader took them the writes of each region could be read here, since the node started. Nodes that are not known
    /// any more are left out.
    #[must_use]
    pub fn lags(&self) -> BTreeMap<RegionName, LagHistogram> {
        let everyone = self.everyone();
        let mut regions = BTreeMap::<_, LagHistogram>::new();
        for (leader, lags) in self.shared.lag.figures() {
            if let Some(node) = everyone.node(leader) {
                regions.entry(node.region.clone()).or_default().merge(&lags);
            }
        }
        regions
    }

    /// What is on the disk besides the system group.
    pub(crate) fn stored_replicas(&self) -> Vec<ReplicaId> {
        let stored = self.shared.store.groups().into_iter().map(ReplicaId::of_stored);
        stored.filter(|id| !id.group.is_system()).collect()
    }

    /// Whether a replica is of an incarnation that was given up.
    pub(crate) fn is_old(&self, id: ReplicaId) -> bool {
        self.system().groups.get(&id.group).is_some_and(|info| info.replaces(id))
    }

    /// The groups whose latest state this node would show to a client now: those that it leads under a lease. Never two nodes
    /// for one group, unless regions write it each by itself: one that was expelled may not have heard of it.
    #[must_use]
    pub fn serves(&self) -> Vec<ReplicaId> {
        let groups = self.groups();
        groups.iter().filter(|group| group.serves()).map(|group| group.replica_id()).collect()
    }

    /// Whether this node would show a group's latest state to a client now, see [`Self::serves`].
    #[must_use]
    pub fn serves_group(&self, group: GroupId) -> bool {
        self.group(group).is_some_and(|group| group.serves())
    }

    /// The index up to which this node has applied the system group's log; what it shows of the system state is no older.
    #[must_use]
    pub fn system_position(&self) -> Option<Position> {
        self.group(GroupId::SYSTEM).map(|group| group.position(group.view.applied()))
    }

    /// Whether this node can serve: the cluster is founded, and every group that this node holds has a leader.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = self.system();
        let here = |node| node == self.own() || self.hears(node);
        let declared =
            |policy: &Policy| state.policies.contains_key(&policy.name) || !state.soon_declares(policy, here);
        let founded = !state.cluster.is_empty() && self.founding.policies.iter().all(declared);
        let mine = state.groups.values().filter(|group| group.placement.has_member(self.own()));
        let led = |id| self.group(id).is_some_and(|group| group.leader_hint().is_some());
        founded && mine.map(|group| group.id).all(led)
    }

    /// Whether something has been heard from a node lately.
    #[must_use]
    pub fn hears(&self, node: NodeId) -> bool {
        self.shared.peers.silence(node) < self.shared.timing.region_lost_after
    }

    /// The status of every node that answers within `timeout`.
    pub async fn status_everywhere(self: &Arc<Self>, timeout: Duration) -> BTreeMap<NodeId, NodeStatus> {
        let deadline = runtime::now() + timeout;
        let everyone = self.everyone();
        let others = everyone.nodes().map(|node| node.id).filter(|node| *node != self.own());
        let asked = others.map(|node| async move { self.ask_status(node, deadline).await });
        let answers = futures_util::future::join_all(asked).await;
        let own = std::iter::once(self.status_here());
        own.chain(answers.into_iter().flatten()).map(|status| (status.node, status)).collect()
    }

    /// An upper bound on how stale this node's copy of the system state is.
    pub(crate) fn system_staleness(&self) -> Option<Duration> {
        self.staleness(&*self.group(GroupId::SYSTEM)?)
    }

    fn replica_status(&self, group: &Group) -> ReplicaStatus {
        let data = group.raft.data_metrics().borrow_watched().clone();
        let server = group.raft.server_metrics().borrow_watched().clone();
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let leads = group.session().is_some();
        let matched = data.replication.iter().flatten();
        ReplicaStatus {
            group: group.id,
            incarnation: group.incarnation,
            term: openraft::vote::RaftLeaderId::term(openraft::vote::RaftVote::leader_id(&server.vote)),
            leader: server.current_leader,
            lease_ms: group.lease().filter(|_| leads).map(ms),
            committed: data.cluster_committed.map_or(0, |id| id.index),
            applied: group.view.applied(),
            answerable: group.answerable(),
            members: leads.then(|| group.settled_members()).flatten(),
            matched: matched.map(|(node, id)| (*node, id.map_or(0, |id| id.index))).collect(),
            stale_ms: self.staleness(group).map(ms),
        }
    }
}
