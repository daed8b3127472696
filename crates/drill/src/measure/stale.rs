//! Reads that showed an older state than they may.

use crate::sample::{End, Kind, Sample};
use std::collections::BTreeMap;

/// The indices of the stale reads. `lost_adds` says how many acknowledged adds each counter has lost: a read below its
/// floor by no more than that shows the loss, which is counted as such, and not a stale state.
pub(super) fn stale_reads(samples: &[Sample], lost_adds: &BTreeMap<u16, u64>) -> Vec<usize> {
    let is_stale = |one: &Sample| {
        let promised = matches!(one.kind, Kind::ConsistentRead | Kind::TokenRead);
        let lost = lost_adds.get(&one.lane).copied().unwrap_or(0);
        promised && one.end == End::Done && one.value < one.floor.saturating_sub(lost)
    };
    samples.iter().enumerate().filter(|(_, one)| is_stale(one)).map(|(index, _)| index).collect()
}
