//! The load: writers and readers through every region, open-ended, each request recorded.
//!
//! Memory is bounded by the scenario's bounds: each task starts at most one request a period, and a sample is 56 bytes.

pub mod cleanup;
pub mod item;
mod reader;
mod shared;
mod writer;

pub use shared::{Live, Shared};

use crate::error::DrillError;
use crate::sample::{Kind, Sample};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use writer::Lane;

/// A running load. Dropping it ends it without its samples.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<Vec<Sample>>,
}

impl Load {
    /// Starts all writers and readers.
    #[must_use]
    pub fn start(
        cluster: &crate::cluster::ClusterFile,
        items: &item::Items,
        load: crate::scenario::Workload,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared::new(cluster.clone(), items.clone(), load, stopped));
        let mut tasks = JoinSet::new();
        let depth = u32::try_from(load.depth()).unwrap_or(1);
        for path in 0..u8::try_from(cluster.regions.len()).unwrap_or(u8::MAX) {
            let counters = u16::from(path) * load.counter_lanes..u16::from(path + 1) * load.counter_lanes;
            let puts = (0..load.put_lanes).map(|lane| (lane, Kind::Put));
            let appends = (0..load.append_lanes).map(|lane| (lane, Kind::Append));
            let adds = counters.map(|counter| (counter, Kind::Add));
            for (lane, kind) in puts.chain(appends).chain(adds) {
                let lane = Arc::new(Lane::new(path, lane, kind));
                for worker in 0..depth {
                    tasks.spawn(writer::write(Arc::clone(&shared), Arc::clone(&lane), worker));
                }
            }
            for kind in [Kind::ConsistentRead, Kind::EventualRead, Kind::TokenRead] {
                for worker in 0..usize::from(load.readers) {
                    tasks.spawn(reader::read(Arc::clone(&shared), path, kind, worker));
                }
            }
        }
        Self { shared, stop, tasks }
    }

    /// The load's clock and live counts.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Stops starting requests, waits for those under way (each has its deadline), and gives all samples, in the
    /// order in which they ended.
    ///
    /// # Errors
    /// [`DrillError::Broken`] when a part of the load panicked: its samples are gone, so no figure would be true.
    pub async fn finish(mut self) -> Result<Vec<Sample>, DrillError> {
        // With every task gone already there is nobody to tell.
        let _ = self.stop.send(true);
        let mut samples = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            samples.extend(ended.map_err(|error| DrillError::Broken(error.to_string()))?);
        }
        samples.sort_unstable_by_key(|sample| sample.returned);
        Ok(samples)
    }
}

/// The counter in an item's attributes; an item that is not there counts 0.
fn count_of(attributes: &Value) -> u64 {
    count_in(attributes).unwrap_or(0)
}

/// The counter in an item's attributes.
pub(crate) fn count_in(attributes: &Value) -> Option<u64> {
    attributes[item::COUNT]["N"].as_str()?.parse().ok()
}
