//! What this node knows of its groups, and what the others say of theirs.

use super::Replication;
use crate::group::Group;
use crate::runtime;
use crate::wire::{NodeStatus, ReplicaStatus};
use meridian_types::{GroupId, NodeId};
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
        NodeStatus {
            node: self.own(),
            replicas: self.groups().iter().map(|group| self.replica_status(group)).collect(),
            silent: self.topology.nodes().map(|node| node.id).filter(quiet).collect(),
            free_bytes: space.free_bytes,
            disk_low: space.low,
            at_risk: self.risks_known(),
        }
    }

    /// The groups whose latest state this node would show to a client now: those that it leads under a lease. Never two nodes
    /// for one group.
    #[must_use]
    pub fn serves(&self) -> Vec<GroupId> {
        let groups = self.groups();
        let serves = groups.iter().filter(|group| group.session().is_some() && group.lease().is_some());
        serves.map(|group| group.id).collect()
    }

    /// Whether this node can serve: the cluster is founded, and every group that this node holds has a leader.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = self.system();
        let founded = !state.cluster.is_empty()
            && self.founding.policies.iter().all(|policy| state.policies.contains_key(&policy.name));
        let mine = state.groups.values().filter(|group| group.placement.members().any(|id| id == self.own()));
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
        let others = self.topology.nodes().map(|node| node.id).filter(|node| *node != self.own());
        let asked = others.map(|node| async move { self.ask_status(node, deadline).await });
        let answers = futures_util::future::join_all(asked).await;
        let own = std::iter::once(self.status_here());
        own.chain(answers.into_iter().flatten()).map(|status| (status.node, status)).collect()
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
            matched: matched.map(|(node, id)| (*node, id.map_or(0, |id| id.index))).collect(),
            stale_ms: self.staleness(group).map(ms),
        }
    }
}
