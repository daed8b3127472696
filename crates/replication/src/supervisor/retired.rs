//! Looks after replicas that no longer take part, now and then: those of old incarnations, and those of groups that live elsewhere.

use crate::node::Replication;
use crate::runtime;
use std::sync::Weak;
use std::time::Duration;

/// Between looks: an operator waits for what a returned region has.
const EVERY: Duration = Duration::from_secs(1);

/// Runs as long as the node. Aside from the other duties: a long log takes a while to read.
pub(super) async fn run(node: Weak<Replication>) {
    let mut ticks = runtime::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(node) = node.upgrade() else { return };
        node.tend_retired().await;
        node.tend_departed().await;
    }
}
