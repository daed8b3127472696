//! The system leader takes the cluster to its next level, once every node runs a version that knows it.

use super::Rounds;
use crate::node::Replication;
use crate::runtime::mark;
use crate::system::SystemCommand;
use std::sync::{Arc, Weak};
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(1);

/// Runs as long as the node.
pub(super) async fn run(node: Weak<Replication>) {
    let mut rounds = Rounds::every(EVERY, node);
    while let Some(node) = rounds.next().await {
        round(&node).await;
    }
}

async fn round(node: &Arc<Replication>) {
    let state = node.system();
    let Some(next) = state.next_level() else { return };
    // What a node said when it started last is not enough: it may be starting with an older version right now.
    let speaks = |peer| node.shared.peers.link(peer).is_some_and(|link| link.speaks() >= next);
    let own = node.own();
    if node.leads_system().is_none() || !state.nodes.keys().all(|peer| *peer == own || speaks(*peer)) {
        return;
    }
    match node.system_write_here(SystemCommand::RaiseLevel(next)).await {
        Ok((Ok(_), _)) => {
            mark("the cluster was taken to its next level");
            tracing::info!(level = next, "every node knows the next level: the cluster is there now");
        }
        other => tracing::debug!(level = next, ?other, "the level is raised later"),
    }
}
