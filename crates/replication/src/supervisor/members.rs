//! Opens the replicas that placement assigns to this node, and gives each group its members.

use crate::group::Group;
use crate::node::Replication;
use meridian_placement::{Placement, place_system};
use meridian_types::{GroupId, NodeId};
use openraft::EmptyNode;
use openraft::async_runtime::WatchReceiver;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long each voter leaves the founding of a group to those before it in the order of preference.
const FOUNDING_TURN: Duration = Duration::from_secs(3);
/// Bounds one membership change, so that a group without a majority does not hold up the others.
const CHANGE_TIMEOUT: Duration = Duration::from_millis(500);

/// Opens groups as the system state names them.
pub(super) async fn keep_open(node: Weak<Replication>) {
    let Some(mut system) = node.upgrade().map(|node| node.watch_system()) else { return };
    loop {
        let state = Arc::clone(&system.borrow_and_update());
        let Some(strong) = node.upgrade() else { return };
        let own = strong.own();
        for group in
            state.groups.values().filter(|group| group.placement.members().any(|member| member == own))
        {
            if let Err(error) = strong.open_group(group.id).await {
                tracing::error!(group = %group.id, %error, "cannot open the group");
            }
        }
        drop(strong);
        if system.changed().await.is_err() {
            return;
        }
    }
}

/// Where a group should be.
pub(super) fn placement(node: &Replication, group: GroupId) -> Option<Placement> {
    if group.is_system() {
        let mut placement = place_system(&node.topology).ok()?;
        // Away from the first region, where primaries are: when that region dies, the system group still has its
        // leader and can record the loss at once.
        placement.preferred_leaders.reverse();
        return Some(placement);
    }
    node.system().groups.get(&group).map(|info| info.placement.clone())
}

/// Founds pristine groups. Every voter would found a group with the same members, which is safe; they take turns
/// so that leadership starts where it is preferred.
pub(super) async fn initialise(node: &Arc<Replication>) {
    for group in node.groups() {
        let Some(placement) =
            placement(node, group.id).filter(|placement| placement.voters.contains(&node.own()))
        else {
            continue;
        };
        let rank = placement.preferred_leaders.iter().position(|leader| *leader == node.own());
        let turn = u32::try_from(rank.unwrap_or(placement.voters.len())).unwrap_or(u32::MAX);
        if group.opened.elapsed() < FOUNDING_TURN.saturating_mul(turn) || is_initialised(&group).await {
            continue;
        }
        let members: BTreeMap<NodeId, EmptyNode> =
            placement.voters.iter().map(|id| (*id, EmptyNode {})).collect();
        match group.raft.initialize(members).await {
            Ok(()) => tracing::info!(group = %group.id, "founded"),
            Err(error) => tracing::debug!(group = %group.id, %error, "not founded here"),
        }
    }
}

async fn is_initialised(group: &Group) -> bool {
    group.leader_hint().is_some() || group.raft.is_initialized().await.unwrap_or(true)
}

/// Adds the learners that placement names to the groups that this node leads.
pub(super) async fn add_learners(node: &Arc<Replication>) {
    for group in node.groups().into_iter().filter(|group| group.session().is_some()) {
        let Some(placement) = placement(node, group.id) else { continue };
        let membership = group.raft.server_metrics().borrow_watched().membership_config.clone();
        let members: Vec<NodeId> = membership.membership().nodes().map(|(id, _)| *id).collect();
        for learner in placement.learners.iter().filter(|learner| !members.contains(learner)) {
            let add = group.raft.add_learner(*learner, EmptyNode {}, false);
            if let Ok(Err(error)) = tokio::time::timeout(CHANGE_TIMEOUT, add).await {
                tracing::debug!(group = %group.id, %learner, %error, "learner not added yet");
            }
        }
    }
}
