//! Stands for election when a group's leader has been silent for a whole lease: in turn, so that members do not split the
//! votes. openraft's own election timer is off; terms and votes are its own, what asks and guards them is ours.

use super::Rounds;
use super::members::placement;
use crate::group::Group;
use crate::node::Replication;
use crate::raft::{RaftTypes, decode, encode};
use crate::replica_id::ReplicaId;
use crate::runtime::{self, mark};
use crate::transport::Kind;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use meridian_placement::{election_turn, quorum_reached};
use meridian_types::{GroupId, NodeId};
use openraft::async_runtime::WatchReceiver;
use openraft::raft::VoteRequest;
use openraft::type_config::alias::VoteOf;
use openraft::vote::RaftLeaderId;
use openraft::{EmptyNode, Membership};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
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
    let mut rounds = Rounds::every(TICK, node);
    while let Some(node) = rounds.next().await {
        for group in node.groups() {
            attempts.consider(&node, &group);
        }
    }
}

impl Attempts {
    fn consider(&mut self, node: &Arc<Replication>, group: &Arc<Group>) {
        let timing = &node.shared.timing;
        // One that was offered to another node is over, whether or not that one has taken it: this node may vote, and stand again.
        let leads = group.held_leadership().is_some();
        let (counts, alone) = {
            let metrics = group.metrics.borrow_watched();
            // Who is no voter any more by a membership that is not committed is needed until it is: perhaps it alone has that membership,
            // and then nobody else can be elected (Raft dissertation, section 4.2.2).
            let (newest, committed) = (&metrics.membership_config, &metrics.committed_membership_config);
            let mut voters = newest.membership().voter_ids().chain(committed.membership().voter_ids());
            (voters.any(|voter| voter == node.own()), is_alone(newest.membership(), node.own()))
        };
        let stands = counts && !group.owes();
        if leads {
            // Whoever takes over has a whole lease to be heard.
            group.promise.lead();
        }
        let silent = group.promise.silence();
        if leads || !stands || (!alone && silent < timing.lease) {
            self.next.remove(&group.id);
            return;
        }
        let Some(placement) = placement(node, group.id) else { return };
        let alive = |other| node.shared.peers.silence(other) < timing.lease;
        let Some(turn) = election_turn(&placement, node.own(), alive) else { return };
        let now = runtime::now();
        let waited = silent >= timing.lease + timing.turn() * turn && !group.promise.favours(timing.turn());
        let due = alone || waited;
        if !due || self.next.get(&group.id).is_some_and(|next| now < *next) {
            return;
        }
        // Who meets another candidate in spite of the turns waits a random while longer.
        self.next.insert(group.id, now + timing.turn().mul_f64(1.0 + runtime::random::<f64>()));
        mark("a member stood for election");
        tracing::info!(group = %group.id, turn, ?silent, "standing for election");
        runtime::spawn(stand(Arc::clone(node), Arc::clone(group)));
    }
}

/// Asks the voters whether they would vote for this node, and has openraft stand for election if a majority would.
async fn stand(node: Arc<Replication>, group: Arc<Group>) {
    let (term, membership) = {
        let metrics = group.metrics.borrow_watched();
        (metrics.current_term, metrics.membership_config.membership().clone())
    };
    let configurations = membership.get_joint_config();
    let mut willing = BTreeSet::from([node.own()]);
    let enough = |willing: &BTreeSet<NodeId>| {
        quorum_reached(configurations, |voter| willing.contains(&voter).then_some(())).is_some()
    };
    let Ok(payload) = encode(&group.standing()) else { return };
    let others = membership.voter_ids().filter(|voter| *voter != node.own());
    let mut asked: FuturesUnordered<_> =
        others.map(|voter| would_vote(&node, voter, group.replica_id(), payload.clone())).collect();
    while !enough(&willing) {
        match asked.next().await {
            Some(Some(voter)) => drop(willing.insert(voter)),
            Some(None) => {}
            None => return,
        }
    }
    // This node votes too: for itself, and for nobody's lease.
    let lease = (!is_alone(&membership, node.own())).then_some(group.timing.lease);
    let Some(voting) = group.promise.begin_vote(term + 1, lease) else { return };
    if let Some(other) = membership.nodes().map(|(id, _)| *id).find(|id| *id != node.own())
        && group.leading().is_some()
    {
        // An offer that nobody took. openraft does not have a leader stand, and a vote for another member in a later term ends the
        // leadership. That member gets it only if it asks and its log is no shorter; this node then stands in the term after.
        let vote = VoteOf::<RaftTypes>::new(term + 1, other);
        let mut request = VoteRequest::new(vote, group.standing().last);
        request.leadership_transfer = true;
        if let Err(error) = group.raft.vote(request).await {
            tracing::debug!(group = %group.id, %error, "cannot step down");
            return;
        }
    }
    if let Err(error) = group.raft.trigger().elect(false).await {
        tracing::debug!(group = %group.id, %error, "cannot stand");
        return;
    }
    // In openraft's queue behind the election, so it sees the term that was voted in.
    if let Ok(voted) = group.raft.with_raft_state(|state| state.vote_ref().leader_id().term()).await {
        voting.given(voted);
    }
}

/// Whether the node is the only one to have a vote.
fn is_alone(membership: &Membership<NodeId, EmptyNode>, own: NodeId) -> bool {
    membership.voter_ids().eq([own])
}

async fn would_vote(node: &Replication, voter: NodeId, group: ReplicaId, payload: Bytes) -> Option<NodeId> {
    let link = node.shared.peers.link(voter)?;
    let answer = link.call(Kind::PreVote, group, payload, node.shared.timing.turn()).await.ok()?;
    decode::<bool>(&answer).ok()?.then_some(voter)
}
