//! Stands for election when a group's leader has been silent for a whole lease: in turn, so that members do not split the
//! votes. openraft's own election timer is off; what it does with a candidate is unchanged, pre-vote included.

use super::members::placement;
use crate::group::Group;
use crate::node::Replication;
use crate::runtime;
use meridian_placement::election_turn;
use meridian_types::GroupId;
use openraft::async_runtime::WatchReceiver;
use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;
use tokio::time::Instant;

/// Between looks at the groups.
const TICK: Duration = Duration::from_millis(50);

/// What this node knows of its own attempts.
#[derive(Default)]
struct Attempts {
    next: BTreeMap<GroupId, Instant>,
}

/// Runs as long as the node.
pub(super) async fn run(node: Weak<Replication>) {
    let mut attempts = Attempts::default();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(node) = node.upgrade() else { return };
        for group in node.groups() {
            attempts.consider(&node, &group).await;
        }
    }
}

impl Attempts {
    async fn consider(&mut self, node: &Replication, group: &Group) {
        let timing = &node.shared.timing;
        let Some(voters) = standing(group, node) else {
            self.next.remove(&group.id);
            return;
        };
        let alone = voters == 1;
        let silent = group.silence.lasts();
        if !alone && silent < timing.lease {
            self.next.remove(&group.id);
            return;
        }
        let Some(placement) = placement(node, group.id) else { return };
        let alive = |other| node.shared.peers.silence(other) < timing.lease;
        let Some(turn) = election_turn(&placement, node.own(), alive) else { return };
        let now = Instant::now();
        let due = alone || silent >= timing.lease + timing.turn() * turn;
        if !due || self.next.get(&group.id).is_some_and(|next| now < *next) {
            return;
        }
        // Who meets another candidate in spite of the turns waits a random while longer.
        self.next.insert(group.id, now + timing.turn().mul_f64(1.0 + runtime::random::<f64>()));
        tracing::info!(group = %group.id, turn, ?silent, "standing for election");
        if let Err(error) = group.raft.trigger().elect(!alone).await {
            tracing::debug!(group = %group.id, %error, "cannot stand");
        }
    }
}

/// The number of voters, if this node is one of them and does not lead.
fn standing(group: &Group, node: &Replication) -> Option<usize> {
    let metrics = group.metrics.borrow_watched();
    let leads = metrics.state == openraft::ServerState::Leader;
    if leads {
        // Whoever takes over has a whole lease to be heard.
        group.silence.heard();
    }
    let membership = metrics.membership_config.membership();
    let votes = membership.voter_ids().any(|voter| voter == node.own());
    (votes && !leads).then(|| membership.voter_ids().count())
}
