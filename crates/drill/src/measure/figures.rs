//! The figures themselves. What each means and how it is taken is said in [`crate::measure`].

use crate::sample::{End, Sample};
use serde::Serialize;

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Until a surviving region's status showed trouble; `None` when it never did.
    pub detect_s: Option<f64>,
    /// Until writes succeeded again through every surviving region; `None` when they did not.
    pub rto_s: Option<f64>,
    /// The same for consistent reads.
    pub read_rto_s: Option<f64>,
    /// The longest time without a successful write, in the worst lane of the worst surviving region, until the undoing.
    pub longest_pause_s: f64,
    /// The age of the oldest lost acknowledged write.
    pub rpo_s: f64,
    /// Requests through all regions.
    pub all: Tally,
    /// Requests through the surviving regions.
    pub surviving: Tally,
    /// Writes that were acknowledged.
    pub acknowledged_writes: u64,
    /// Those of them that are gone.
    pub lost_writes: u64,
    /// Effects that took place more often than they were asked for.
    pub duplicate_effects: u64,
    /// Those of them that were appends.
    pub duplicate_appends: u64,
    /// Reads that broke their promise.
    pub stale_reads: u64,
    /// Those of them that were consistent reads.
    pub stale_consistent_reads: u64,
    /// Those of them that carried a token.
    pub stale_token_reads: u64,
    /// Those of them that were made after the load, when regions showed different states of one item.
    pub regions_disagree_on: u64,
    /// Eventually consistent reads that were answered.
    pub eventual_reads: u64,
    /// Those of them that showed an older state, as they may.
    pub eventual_reads_behind: u64,
    /// Writes that were refused and are there all the same.
    pub refused_but_present: u64,
    /// The samples that are stale reads, as indices.
    pub stale_samples: Vec<usize>,
    /// What the target region answered after the undoing.
    pub old_leader: OldLeader,
    /// The figures of each region, in their order.
    pub by_path: Vec<PathFigures>,
}

/// What the target region answered once its fault was undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OldLeader {
    /// Consistent reads.
    pub consistent_reads: u64,
    /// Reads that broke their promise.
    pub stale_reads: u64,
    /// Writes.
    pub acknowledged_writes: u64,
    /// Puts and appends among them that are gone.
    pub lost_writes: u64,
}

/// Figures of one region as an entrance.
#[derive(Clone, Debug, PartialEq)]
pub struct PathFigures {
    /// Until writes succeeded again.
    pub write_recovery_s: Option<f64>,
    /// Until consistent reads succeeded again.
    pub read_recovery_s: Option<f64>,
    /// The longest time without a successful write, in the worst lane, between the undoing and the end.
    pub longest_write_gap_after_undo_s: f64,
    /// The longest time without a successful write, in the worst lane, between the fault and the undoing.
    pub longest_pause_s: f64,
    /// Its requests.
    pub tally: Tally,
    /// Acknowledged writes sent before the fault.
    pub write_latency_before: Latency,
    /// Acknowledged writes sent between the fault and the undoing.
    pub write_latency_during: Latency,
}

/// How many requests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// All.
    pub requests: u64,
    /// Those that were refused or are unknown.
    pub errors: u64,
    /// Those that are unknown.
    pub unknown: u64,
}

impl Tally {
    /// Counts.
    pub fn of<'a>(samples: impl Iterator<Item = &'a Sample>) -> Self {
        samples.fold(Self::default(), |tally, one| Self {
            requests: tally.requests + 1,
            errors: tally.errors + u64::from(one.end != End::Done),
            unknown: tally.unknown + u64::from(one.end == End::Unknown),
        })
    }
}

/// The percentile of sorted figures by nearest rank; `None` without one.
pub(crate) fn nearest_rank<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    sorted.get((sorted.len() * percent).div_ceil(100).checked_sub(1)?).copied()
}

/// Percentiles in milliseconds; `None` without a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// The median.
    pub p50_ms: Option<f64>,
    /// The 99th percentile.
    pub p99_ms: Option<f64>,
}

impl Latency {
    /// Sorts and picks (nearest rank).
    pub fn of<'a>(samples: impl Iterator<Item = &'a Sample>) -> Self {
        let mut all: Vec<u64> = samples.map(|one| one.returned.saturating_sub(one.invoked)).collect();
        all.sort_unstable();
        // Microseconds to milliseconds, exact for any latency below centuries.
        #[allow(clippy::cast_precision_loss)]
        let rank = |percent| nearest_rank(&all, percent).map(|micros| micros as f64 / 1e3);
        Self { p50_ms: rank(50), p99_ms: rank(99) }
    }
}
