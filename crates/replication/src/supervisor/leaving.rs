//! The system leader removes nodes that leave, once nothing needs them.
//!
//! A node may go when, by the word of every group's leader, no quorum counts it any more, and it has given its replicas up or is lost.

use super::Rounds;
use crate::node::Replication;
use crate::runtime::{self, mark};
use crate::system::{GroupInfo, SystemCommand, SystemState};
use crate::wire::{NodeStatus, ReplicaStatus};
use meridian_types::{GroupId, NodeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(500);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs as long as the node.
pub(super) async fn run(node: Weak<Replication>) {
    let mut rounds = Rounds::every(EVERY, node);
    while let Some(node) = rounds.next().await {
        round(&node).await;
    }
}

async fn round(node: &Arc<Replication>) {
    let state = node.system();
    let leaving: Vec<NodeId> =
        state.nodes.values().filter(|entry| entry.leaving).map(|entry| entry.number).collect();
    if leaving.is_empty() || node.leads_system().is_none() {
        return;
    }
    let said = node.status_everywhere(node.shared.timing.heartbeat * 2).await;
    for number in leaving {
        let placed = |group: &GroupInfo| group.placement.has_member(number);
        if state.groups.values().any(placed) {
            // A group was founded anew meanwhile, wherever its replicas were, so that nothing that they have alone is passed over.
            if said.get(&number).is_some_and(|own| !own.has_old(&state))
                && let Some(entry) = state.nodes.get(&number)
            {
                let deadline = runtime::now() + COMMAND_TIMEOUT;
                if let Err(error) = node.drain(&entry.name, deadline).await {
                    tracing::debug!(node = %number, %error, "the node is drained again later");
                }
            }
            continue;
        }
        if votes_in_system(node, number) || !is_free(&state, &said, number) {
            continue;
        }
        // Nothing was placed on it since it leaves: what was looked at is still so.
        match node.system_write_here(SystemCommand::RemoveNode { node: number }).await {
            Ok((Ok(_), _)) => {
                mark("a node left");
                tracing::info!(node = %number, "the node has left");
            }
            other => tracing::debug!(node = %number, ?other, "the node is removed later"),
        }
    }
}

fn votes_in_system(node: &Replication, number: NodeId) -> bool {
    let members = node.group(GroupId::SYSTEM).and_then(|group| group.settled_members());
    members.is_none_or(|members| members.get(&number) == Some(&true))
}

/// Whether no group counts a node and it has no replica left, as far as everyone says.
fn is_free(state: &SystemState, said: &BTreeMap<NodeId, NodeStatus>, number: NodeId) -> bool {
    let counts_nowhere = state.groups.values().all(|group| {
        let replicas = said.values().flat_map(|status| &status.replicas);
        let of_group =
            replicas.filter(|replica| replica.group == group.id && replica.incarnation == group.incarnation);
        let leading = of_group.filter(|replica| replica.lease_ms.is_some());
        let newest: Option<&ReplicaStatus> = leading.max_by_key(|replica| replica.term);
        newest
            .and_then(|leader| leader.members.as_ref())
            .is_some_and(|members| !members.contains_key(&number))
    });
    let holds_nothing = said.get(&number).is_none_or(|own| own.stored == 0);
    counts_nowhere && holds_nothing
}
