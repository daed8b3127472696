//! Keeps the lease of this node's region, for the groups that stand and fall with it; and tells others what those have there alone.

use super::Rounds;
use crate::node::Replication;
use crate::raft::encode;
use crate::transport::Kind;
use meridian_types::GroupId;
use std::sync::Weak;

/// Runs as long as the node: asks once a heartbeat.
pub(super) async fn run(node: Weak<Replication>) {
    let Some(every) = node.upgrade().map(|node| node.shared.timing.heartbeat) else { return };
    let mut rounds = Rounds::every(every, node);
    while let Some(node) = rounds.next().await {
        let Some(region) = node.own_region() else { return };
        let state = node.system();
        // Every group here, not only those that are to vote here: while a group moves, its leader is where placement no longer wants it.
        let mine = state.groups.values().filter(|group| node.group(group.id).is_some());
        if mine.map(|group| state.sole_region(group)).any(|sole| sole.is_some()) {
            node.renew_region_lease(&region, every * 2).await;
        }
    }
}

/// Tells the voters of the system group what the groups that this node leads have in its region alone.
pub(super) fn report_risks(node: &Replication) {
    let risks = node.risks_here();
    if risks.is_empty() {
        return;
    }
    let Ok(payload) = encode(&risks) else { return };
    for listener in node.risk_listeners() {
        if let Some(link) = node.shared.peers.link(listener) {
            // Nobody waits for an answer: the next report comes soon.
            drop(link.send(Kind::AtRisk, GroupId::SYSTEM, payload.clone()));
        }
    }
}
