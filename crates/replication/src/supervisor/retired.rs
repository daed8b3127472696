//! Looks after replicas that no longer take part, now and then: those of old incarnations, and those of groups that live elsewhere.

use super::Rounds;
use crate::node::Replication;
use std::sync::Weak;
use std::time::Duration;

/// Between looks: an operator waits for what a returned region has.
const EVERY: Duration = Duration::from_secs(1);

/// Runs as long as the node. Aside from the other duties: a long log takes a while to read.
pub(super) async fn run(node: Weak<Replication>) {
    let mut rounds = Rounds::every(EVERY, node);
    while let Some(node) = rounds.next().await {
        node.tend_retired().await;
        node.tend_departed().await;
    }
}
