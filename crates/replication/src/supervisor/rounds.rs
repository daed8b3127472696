//! The rhythm of a duty.

use crate::node::Replication;
use crate::runtime;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior};

/// Rounds at a steady pace, for as long as the node runs. One that takes long delays the next ones, and is not made up for.
pub(crate) struct Rounds {
    node: Weak<Replication>,
    ticks: Interval,
}

impl Rounds {
    /// The first round is at once.
    pub(crate) fn every(period: Duration, node: Weak<Replication>) -> Self {
        let mut ticks = runtime::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { node, ticks }
    }

    /// Waits for the next round; `None` when the node is gone.
    pub(crate) async fn next(&mut self) -> Option<Arc<Replication>> {
        self.ticks.tick().await;
        self.node.upgrade()
    }
}
