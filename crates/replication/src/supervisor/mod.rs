//! Drives membership, leadership and the cluster's life from what the system group has decided.
//!
//! Every node runs it. Decisions come from pure functions (`meridian_placement`); this shell observes and acts.

mod arriving;
mod automatic;
mod campaign;
mod found;
mod lead;
mod leaving;
mod level;
mod members;
mod refound;
mod region_lease;
mod regions;
mod register;
mod retired;
mod rounds;
mod switchover;
mod tables;

pub use found::Founding;
pub(crate) use rounds::Rounds;

use crate::node::Replication;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Between rounds of the supervisor's duties.
const ROUND: Duration = Duration::from_millis(200);

/// Starts the duties; they end with the node.
pub(crate) fn start(node: &Arc<Replication>) {
    let open = members::keep_open(Arc::downgrade(node));
    node.spawn(open);
    node.spawn(rounds(Arc::downgrade(node)));
    node.spawn(campaign::run(Arc::downgrade(node)));
    node.spawn(crate::beat::run(Arc::downgrade(node)));
    node.spawn(region_lease::run(Arc::downgrade(node)));
    node.spawn(retired::run(Arc::downgrade(node)));
    node.spawn(register::run(Arc::downgrade(node)));
    node.spawn(leaving::run(Arc::downgrade(node)));
    node.spawn(arriving::run(Arc::downgrade(node)));
    node.spawn(level::run(Arc::downgrade(node)));
}

async fn rounds(node: Weak<Replication>) {
    let mut leadership = lead::Leadership::default();
    let mut regions = regions::Regions::default();
    let mut tables = tables::Tables::default();
    let mut rounds = Rounds::every(ROUND, node);
    while let Some(node) = rounds.next().await {
        members::initialise(&node).await;
        members::reconcile(&node).await;
        leadership.round(&node).await;
        found::round(&node).await;
        regions.round(&node).await;
        tables.round(&node).await;
        region_lease::report_risks(&node);
        refound::report(&node).await;
    }
}
