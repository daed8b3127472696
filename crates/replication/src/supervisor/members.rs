//! Opens the replicas that placement assigns to this node, and gives each group its members.

use crate::group::{Group, matched};
use crate::node::{Replication, departed};
use crate::replica_id::ReplicaId;
use crate::runtime;
use crate::system::GroupInfo;
use meridian_placement::{Placement, Topology, may_leave, next_voters, place_system};
use meridian_types::{GroupId, Incarnation, NodeId};
use openraft::async_runtime::WatchReceiver;
use openraft::{ChangeMembers, EmptyNode};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long each voter leaves the founding of a group to those before it in the order of preference.
const FOUNDING_TURN: Duration = Duration::from_secs(3);
/// How many entries behind a member may be when it gets a vote.
const CAUGHT_UP: u64 = 64;
/// Groups that one leader moves at once: the rest waits, so that copying state does not crowd out clients.
const MOVES_AT_ONCE: usize = 2;
/// Bounds one change of members; a later round brings it to its end.
const MEMBERS_TIMEOUT: Duration = Duration::from_secs(10);
/// Bounds one membership change, so that a group without a majority does not hold up the others.
const CHANGE_TIMEOUT: Duration = Duration::from_millis(500);

/// Between looks at all groups: some could not be opened, some have been damaged or given up since.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Opens groups as the system state names them.
pub(super) async fn keep_open(node: Weak<Replication>) {
    let Some(mut system) = node.upgrade().map(|node| node.watch_system()) else { return };
    loop {
        let state = Arc::clone(&system.borrow_and_update());
        let Some(strong) = node.upgrade() else { return };
        let own = strong.own();
        strong.stop_without_system();
        // A disk takes part in a group only once the system group knows the node by it: from then on no other disk can come in
        // its place and have forgotten what this one has promised.
        let known =
            state.nodes.get(&own).is_some_and(|entry| entry.disk == Some(strong.shared.roster.disk()));
        let stored = strong.stored_replicas();
        for group in state.groups.values().filter(|group| known && holds(&strong, &stored, group)) {
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

/// Whether this node has a replica of a group: as a member, to found it with the voters that it began with, as one that has not been
/// given up yet, or as a guest, to compare an old incarnation with. One that has not been given up may still be needed: placement runs
/// ahead of Raft's members.
fn holds(node: &Replication, stored: &[ReplicaId], group: &GroupInfo) -> bool {
    let own = node.own();
    let founds = group.incarnation == Incarnation(0) && group.founders.contains(&own);
    let gave_up = || departed::of(&node.shared.store, group.replica()).is_ok_and(|kept| kept.is_some());
    let compares = || group.unfounded().is_none() && stored.iter().any(|id| group.replaces(*id));
    group.placement.has_member(own)
        || (founds && !gave_up())
        || stored.contains(&group.replica())
        || compares()
}

/// Where a group should be.
pub(super) fn placement(node: &Replication, group: GroupId) -> Option<Placement> {
    let system = node.system();
    let mut placement = match group {
        GroupId::SYSTEM => node.system_placement()?,
        _ => {
            let group = system.groups.get(&group)?;
            Placement { preferred_leaders: system.leaders_of(group), ..group.placement.clone() }
        }
    };
    placement.preferred_leaders = system.undrained(&placement.preferred_leaders);
    Some(placement)
}

/// The voters with which a group begins. Everyone who founds it names the same ones, which makes it safe that several do.
fn founders(node: &Replication, group: &Group) -> BTreeSet<NodeId> {
    if group.id.is_system() {
        let seeds = &node.shared.roster.seeds;
        // A node that joins a cluster never founds one.
        return if seeds.joins { BTreeSet::new() } else { system_founders(&seeds.topology) };
    }
    node.system().groups.get(&group.id).map(|info| info.founders.clone()).unwrap_or_default()
}

fn system_founders(seeds: &Topology) -> BTreeSet<NodeId> {
    place_system(seeds).map(|placement| placement.voters).unwrap_or_default()
}

/// Founds pristine groups. Every founder would found a group with the same members, which is safe; they take turns
/// so that leadership starts where it is preferred.
pub(super) async fn initialise(node: &Arc<Replication>) {
    // What was founded anew has its seed as a member already.
    let pristine =
        |group: &Arc<Group>| group.incarnation == Incarnation(0) && !group.reborn && !group.is_reseeded();
    for group in node.groups().into_iter().filter(pristine) {
        let founders = founders(node, &group);
        if !founders.contains(&node.own()) {
            continue;
        }
        let Some(placement) = placement(node, group.id) else { continue };
        let rank = placement.preferred_leaders.iter().position(|leader| *leader == node.own());
        let turn = u32::try_from(rank.unwrap_or(founders.len())).unwrap_or(u32::MAX);
        if runtime::since(group.opened) < FOUNDING_TURN.saturating_mul(turn) || is_initialised(&group).await {
            continue;
        }
        let members: BTreeMap<NodeId, EmptyNode> = founders.iter().map(|id| (*id, EmptyNode {})).collect();
        match group.raft.initialize(members).await {
            Ok(()) => tracing::info!(group = %group.id, "founded"),
            Err(error) => tracing::debug!(group = %group.id, %error, "not founded here"),
        }
    }
}

async fn is_initialised(group: &Group) -> bool {
    group.leader_hint().is_some() || group.raft.is_initialized().await.unwrap_or(true)
}

/// Whether a member is close behind the leader that this node is.
pub(super) fn caught_up(group: &Group, member: NodeId) -> bool {
    let metrics = group.metrics.borrow_watched();
    let last = metrics.last_log_index.unwrap_or(0);
    matched(&metrics, member).is_some_and(|matched| matched + CAUGHT_UP >= last)
}

/// Brings the members of the groups that this node leads to what placement names.
pub(super) async fn reconcile(node: &Arc<Replication>) {
    let mut moving = 0;
    for group in node.groups().into_iter().filter(|group| group.session().is_some()) {
        let Some(placement) = placement(node, group.id) else { continue };
        let membership = group.metrics.borrow_watched().membership_config.clone();
        let members: BTreeSet<NodeId> = membership.membership().nodes().map(|(id, _)| *id).collect();
        let caught_up = |member| caught_up(&group, member);
        // What a silent member lacks costs nothing now, and must not hold up the others.
        let heard = |member: &NodeId| node.shared.peers.link(*member).is_some();
        let behind = |member: &NodeId| *member != node.own() && heard(member) && !caught_up(*member);
        let region = |member: NodeId| node.everyone().node(member).map(|entry| entry.region.clone());
        // Data goes to no region that has none of it by the policy.
        let belongs = |guest: &NodeId| {
            let region = region(*guest);
            placement.data.values().any(|other| Some(other) == region.as_ref())
        };
        let guests = group.guests.present().into_iter().filter(belongs);
        let wanted: BTreeSet<NodeId> = placement.members().chain(guests).collect();
        let mut missing: Vec<NodeId> = wanted.difference(&members).copied().collect();
        moving += usize::from(members.iter().any(behind));
        if !missing.is_empty() && !group.id.is_system() && moving >= MOVES_AT_ONCE {
            missing.clear();
        }
        moving += usize::from(!missing.is_empty());
        for member in missing {
            let add = group.raft.add_learner(member, EmptyNode {}, false);
            if let Ok(Err(error)) = runtime::timeout(CHANGE_TIMEOUT, add).await {
                tracing::debug!(group = %group.id, %member, %error, "member not added yet");
            }
        }
        let present = membership.membership().get_joint_config();
        if let Some(voters) = next_voters(present, &placement.voters, node.own(), caught_up) {
            change_members(&group, voters.into());
            continue;
        }
        let matched = |member| matched(&group.metrics.borrow_watched(), member);
        let mut leaving = may_leave(present, &members, &placement, region, matched);
        leaving.retain(|member| !wanted.contains(member));
        if !leaving.is_empty() && wanted.is_subset(&members) {
            change_members(&group, ChangeMembers::RemoveNodes(leaving));
        }
    }
}

/// Changes the members, aside: it takes round trips. One change of a group at a time.
fn change_members(group: &Arc<Group>, change: ChangeMembers<NodeId, EmptyNode>) {
    let Ok(permit) = Arc::clone(&group.changing).try_acquire_owned() else { return };
    let group = Arc::clone(group);
    runtime::spawn(async move {
        tracing::info!(group = %group.id, %change, "changing the members");
        // Old voters stay as learners until they are removed: they hold the data that they held.
        let change = group.raft.change_membership(change, true);
        match runtime::timeout(MEMBERS_TIMEOUT, change).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(group = %group.id, %error, "the members are not changed yet"),
            Err(_) => tracing::warn!(group = %group.id, "the members are not changed yet; it goes on"),
        }
        drop(permit);
    });
}
