//! Brings leadership home: to the preferred leader once it is steadily well and caught up.

use super::members::placement;
use crate::group::{Group, LeaderId};
use crate::node::Replication;
use crate::runtime::{self, mark};
use meridian_placement::{
    FLAPPING_WINDOW_MS, LeaderChoice, MemberHealth, Placement, TransferRules, leader_choice,
};
use meridian_types::{Failback, GroupId, NodeId};
use openraft::async_runtime::WatchReceiver;
use openraft::vote::RaftLeaderId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A hand-over that has not happened within this is given up.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a hand-over waits for the writes under way, whose outcome is not known here once another node leads.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a leader of a policy that does not fail back by itself leads before its region is made the first primary.
const MINE_AFTER: Duration = Duration::from_secs(2);
/// Bounds that; a later round tries again.
const HOME_TIMEOUT: Duration = Duration::from_millis(500);
/// A member silent for this long does not count as healthy.
const PATIENCE: Duration = Duration::from_secs(1);

/// What this node leads.
#[derive(Default)]
pub(super) struct Leadership {
    led: BTreeMap<GroupId, Led>,
}

struct Led {
    session: LeaderId,
    since: Instant,
    /// Who was to lead, best first, when this leadership began.
    preferred: Vec<NodeId>,
}

impl Leadership {
    pub(super) async fn round(&mut self, node: &Arc<Replication>) {
        let own = node.own_region();
        for group in node.groups() {
            let Some(session) = group.session().map(|session| session.leader) else { continue };
            let Some(placement) = placement(node, group.id) else { continue };
            let begins = || {
                let (since, preferred) = (runtime::now(), placement.preferred_leaders.clone());
                Led { session, since, preferred }
            };
            let led = self.led.entry(group.id).or_insert_with(begins);
            let first = placement.preferred_leaders.first();
            let is_home = first.is_some_and(|first| node.system().region_of(*first) == own.as_ref());
            if led.session != session {
                *led = begins();
            } else if is_home {
                // From here on any other order is an operator's.
                led.preferred.clone_from(&placement.preferred_leaders);
            }
            // A failover brought leadership here, and nobody has asked for another place since.
            let stays = fails_back_by_hand(node, group.id) && led.preferred == placement.preferred_leaders;
            if stays && runtime::since(led.since) >= MINE_AFTER {
                make_home(node, group.id).await;
            }
            let target = choose(node, &group, &placement, runtime::since(led.since));
            let leaves = |target: &NodeId| node.system().region_of(*target) != own.as_ref();
            if let Some(target) = target.filter(|target| !(stays && leaves(target))) {
                hand_over(&group, session, target).await;
            }
        }
    }
}

fn fails_back_by_hand(node: &Replication, group: GroupId) -> bool {
    let state = node.system();
    let policy = state.groups.get(&group).and_then(|group| state.policies.get(&group.policy));
    policy.is_some_and(|entry| entry.policy.failback == Some(Failback::Manual))
}

/// Makes this node's region the first primary of the policy of a group that it leads, if it is not.
async fn make_home(node: &Arc<Replication>, group: GroupId) {
    let state = node.system();
    let (Some(group), Some(region)) = (state.groups.get(&group), node.own_region()) else { return };
    // A drained region leads only until another can.
    if state.drained_regions.contains(&region) {
        return;
    }
    let Ok(plan) = node.plan_switchover(&region, Some(&group.policy)) else { return };
    for command in plan.into_values() {
        mark("leadership stayed where a failover had brought it");
        tracing::info!(policy = %group.policy, %region, "the failover has made it the first primary");
        if let Err(error) = node.system_write(command, runtime::now() + HOME_TIMEOUT).await {
            tracing::debug!(%error, "it is tried again");
        }
    }
}

impl Replication {
    /// Offers leadership of a group that this node leads to another member; whether it was offered. Whether it is taken is
    /// seen in the status.
    pub async fn offer_leadership(&self, group: GroupId, to: NodeId) -> bool {
        let Some(group) = self.group(group) else { return false };
        let Some(session) = group.session() else { return false };
        // A witness must not lead: it has nothing to serve.
        let may_lead = placement(self, group.id).is_some_and(|placement| {
            placement.voters.contains(&to) && !placement.witnesses.contains(&to) && to != self.own()
        });
        if !may_lead {
            return false;
        }
        hand_over(&group, session.leader, to).await;
        true
    }
}

fn choose(node: &Replication, group: &Group, placement: &Placement, led_for: Duration) -> Option<NodeId> {
    let metrics = group.metrics.borrow_watched();
    let last = metrics.last_log_index.unwrap_or(0);
    let voters: BTreeSet<NodeId> = metrics.membership_config.membership().voter_ids().collect();
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    // Leadership can be handed to a voter only.
    let members = metrics.replication.iter().flatten().filter(|(member, _)| voters.contains(member)).map(
        |(member, matched)| {
            let health = MemberHealth {
                healthy_for_ms: node.shared.peers.healthy_for(*member, PATIENCE).map(ms),
                lag: last.saturating_sub(matched.map_or(0, |id| id.index)),
                losses: node.shared.peers.losses(*member, Duration::from_millis(FLAPPING_WINDOW_MS)),
            };
            (*member, health)
        },
    );
    match leader_choice(placement, node.own(), ms(led_for), &members.collect(), &TransferRules::default()) {
        LeaderChoice::Stay => None,
        LeaderChoice::Transfer(target) => Some(target),
    }
}

async fn hand_over(group: &Arc<Group>, session: LeaderId, target: NodeId) {
    tracing::info!(group = %group.id, to = %target, "handing leadership over");
    // Before openraft lets the target be elected within the lease.
    group.offer(session);
    mark("leadership was offered to another node");
    let group = Arc::clone(group);
    runtime::spawn(async move {
        group.answer_all(ANSWER_TIMEOUT).await;
        // Leadership may have been lost and won again meanwhile. openraft would hand over the newer one, under which it then takes no write
        // and sends nothing, while this node believes that it serves.
        if group.leading() != Some(session) {
            mark("a hand-over was dropped, because its leadership was over");
            return;
        }
        let mut metrics = group.raft.metrics();
        let _ = group.raft.trigger().transfer_leader(target).await;
        // Behind that in openraft's queue: what it hands over now is offered, whichever it is.
        let leader = group.raft.with_raft_state(|state| state.vote_ref().leader_id().to_committed()).await;
        if let Some(newer) =
            leader.ok().filter(|leader| *leader != session && group.leading() == Some(*leader))
        {
            group.offer(newer);
        }
        let moved = async { while group.leading() == Some(session) && metrics.changed().await.is_ok() {} };
        if runtime::timeout(HAND_OVER_TIMEOUT, moved).await.is_err() {
            mark("a hand-over was given up");
            // openraft sends no more heartbeats under this leadership, so the others elect a leader.
            tracing::warn!(group = %group.id, to = %target, "leadership was not taken over in time");
        }
    });
}
