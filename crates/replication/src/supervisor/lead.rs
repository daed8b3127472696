//! Brings leadership home: to the preferred leader once it is steadily well and caught up.

use super::members::placement;
use crate::group::{Group, LeaderId};
use crate::node::Replication;
use crate::runtime::{self, mark};
use meridian_placement::{LeaderChoice, MemberHealth, TransferRules, leader_choice};
use meridian_types::{GroupId, NodeId};
use openraft::async_runtime::WatchReceiver;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A hand-over that has not happened within this is given up.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a hand-over waits for the writes under way, whose outcome is not known here once another node leads.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// A member silent for this long does not count as healthy.
const PATIENCE: Duration = Duration::from_secs(1);

/// Since when this node leads what.
#[derive(Default)]
pub(super) struct Leadership {
    since: BTreeMap<GroupId, (LeaderId, Instant)>,
}

impl Leadership {
    pub(super) async fn round(&mut self, node: &Arc<Replication>) {
        for group in node.groups() {
            let Some(session) = group.session().map(|session| session.leader) else { continue };
            let since = self.since.entry(group.id).or_insert((session, runtime::now()));
            if since.0 != session {
                *since = (session, runtime::now());
            }
            if let Some(target) = choose(node, &group, runtime::since(since.1)) {
                hand_over(&group, session, target).await;
            }
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

fn choose(node: &Replication, group: &Group, led_for: Duration) -> Option<NodeId> {
    let placement = placement(node, group.id)?;
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
            };
            (*member, health)
        },
    );
    match leader_choice(&placement, node.own(), ms(led_for), &members.collect(), &TransferRules::default()) {
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
        let mut metrics = group.raft.metrics();
        let _ = group.raft.trigger().transfer_leader(target).await;
        let moved = async { while group.leading() == Some(session) && metrics.changed().await.is_ok() {} };
        if runtime::timeout(HAND_OVER_TIMEOUT, moved).await.is_err() {
            mark("a hand-over was given up");
            // openraft sends no more heartbeats under this leadership, so the others elect a leader.
            tracing::warn!(group = %group.id, to = %target, "leadership was not taken over in time");
        }
    });
}
