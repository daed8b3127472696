//! Opens the replicas that placement assigns to this node, and gives each group its members.

use crate::group::{Group, matched};
use crate::node::Replication;
use crate::runtime;
use meridian_placement::{Placement, next_voters, place_system};
use meridian_types::{GroupId, Incarnation, NodeId};
use openraft::EmptyNode;
use openraft::async_runtime::WatchReceiver;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long each voter leaves the founding of a group to those before it in the order of preference.
const FOUNDING_TURN: Duration = Duration::from_secs(3);
/// How many entries behind a member may be when it gets a vote.
const CAUGHT_UP: u64 = 64;
/// Bounds one change of voters; a later round brings it to its end.
const VOTERS_TIMEOUT: Duration = Duration::from_secs(10);
/// Bounds one membership change, so that a group without a majority does not hold up the others.
const CHANGE_TIMEOUT: Duration = Duration::from_millis(500);

/// Between looks at all groups: some could not be opened, some have been damaged since.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Opens groups as the system state names them.
pub(super) async fn keep_open(node: Weak<Replication>) {
    let Some(mut system) = node.upgrade().map(|node| node.watch_system()) else { return };
    loop {
        let state = Arc::clone(&system.borrow_and_update());
        let Some(strong) = node.upgrade() else { return };
        let own = strong.own();
        strong.stop_without_system();
        for group in
            state.groups.values().filter(|group| group.placement.members().any(|member| member == own))
        {
            let unfounded = group.unfounded().filter(|next| next.seed == own);
            let base = unfounded.map(|next| next.base);
            if let Err(error) = strong.open_group(group.replica(), base).await {
                tracing::error!(group = %group.id, %error, "cannot open the group");
            }
            if let Err(error) = strong.reseed_damaged(group.replica(), &group.placement).await {
                tracing::error!(group = %group.id, %error, "a damaged replica stays out of use");
            }
        }
        drop(strong);
        if let Ok(Err(_)) = runtime::timeout(LOOK_AGAIN, system.changed()).await {
            return;
        }
    }
}

/// Where a group should be.
pub(super) fn placement(node: &Replication, group: GroupId) -> Option<Placement> {
    let system = node.system();
    let mut placement = if group.is_system() {
        let mut placement = place_system(&node.topology).ok()?;
        // Away from the first region, where primaries are: when that region dies, the system group still has its
        // leader and can record the loss at once.
        placement.preferred_leaders.reverse();
        placement
    } else {
        system.groups.get(&group)?.placement.clone()
    };
    placement.preferred_leaders = system.undrained(&placement.preferred_leaders);
    Some(placement)
}

/// Founds pristine groups. Every voter would found a group with the same members, which is safe; they take turns
/// so that leadership starts where it is preferred.
pub(super) async fn initialise(node: &Arc<Replication>) {
    // What was founded anew has its seed as a member already.
    let pristine = |group: &Arc<Group>| group.incarnation == Incarnation(0) && !group.is_reseeded();
    for group in node.groups().into_iter().filter(pristine) {
        let Some(placement) =
            placement(node, group.id).filter(|placement| placement.voters.contains(&node.own()))
        else {
            continue;
        };
        let rank = placement.preferred_leaders.iter().position(|leader| *leader == node.own());
        let turn = u32::try_from(rank.unwrap_or(placement.voters.len())).unwrap_or(u32::MAX);
        if runtime::since(group.opened) < FOUNDING_TURN.saturating_mul(turn) || is_initialised(&group).await {
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

/// Brings the members of the groups that this node leads to what placement names.
pub(super) async fn reconcile(node: &Arc<Replication>) {
    for group in node.groups().into_iter().filter(|group| group.session().is_some()) {
        let Some(placement) = placement(node, group.id) else { continue };
        let membership = group.metrics.borrow_watched().membership_config.clone();
        let members: Vec<NodeId> = membership.membership().nodes().map(|(id, _)| *id).collect();
        for member in placement.members().filter(|member| !members.contains(member)) {
            let add = group.raft.add_learner(member, EmptyNode {}, false);
            if let Ok(Err(error)) = runtime::timeout(CHANGE_TIMEOUT, add).await {
                tracing::debug!(group = %group.id, %member, %error, "member not added yet");
            }
        }
        let present = membership.membership().get_joint_config();
        let caught_up = |member| {
            let metrics = group.metrics.borrow_watched();
            let last = metrics.last_log_index.unwrap_or(0);
            matched(&metrics, member).is_some_and(|matched| matched + CAUGHT_UP >= last)
        };
        if let Some(voters) = next_voters(present, &placement.voters, node.own(), caught_up) {
            change_voters(&group, voters);
        }
    }
}

/// Changes the voters, aside: it takes round trips. One change of a group at a time.
fn change_voters(group: &Arc<Group>, voters: BTreeSet<NodeId>) {
    let Ok(permit) = Arc::clone(&group.changing).try_acquire_owned() else { return };
    let group = Arc::clone(group);
    runtime::spawn(async move {
        tracing::info!(group = %group.id, ?voters, "changing the voters");
        // Old voters stay as learners: they hold the data that they held.
        let change = group.raft.change_membership(voters, true);
        match runtime::timeout(VOTERS_TIMEOUT, change).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(group = %group.id, %error, "the voters are not changed yet"),
            Err(_) => tracing::warn!(group = %group.id, "the voters are not changed yet; it goes on"),
        }
        drop(permit);
    });
}
