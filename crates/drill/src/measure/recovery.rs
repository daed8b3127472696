//! When a path works again: the gap rule behind `rto_s`.

use super::Marks;
use crate::sample::{End, Kind, Micros, Sample, seconds};
use std::collections::BTreeMap;

/// A lane without a success for longer than this (in microseconds) is down.
pub const MAX_GAP: Micros = 1_000_000;

/// Seconds from the fault until every lane among `samples` has recovered for good (until the undoing). `None` when a lane
/// has not, or when there is no lane at all.
pub(super) fn recovery<'a>(samples: impl Iterator<Item = &'a Sample>, marks: &Marks) -> Option<f64> {
    let mut slowest = None;
    for successes in lanes(samples, marks.fault, marks.undone).into_values() {
        slowest = slowest.max(Some(recovered(&successes, marks.undone)?));
    }
    slowest.map(|recovered| seconds(marks.fault, recovered))
}

/// The longest time that a lane was without a success within a span, in seconds.
pub(super) fn longest_gap<'a>(samples: impl Iterator<Item = &'a Sample>, from: Micros, to: Micros) -> f64 {
    let longest = lanes(samples, from, to)
        .into_values()
        .flat_map(|successes| {
            let starts = std::iter::once(from).chain(successes.clone());
            let ends = successes.into_iter().chain(std::iter::once(to));
            starts.zip(ends).map(|(start, end)| end.saturating_sub(start)).max()
        })
        .max();
    seconds(0, longest.unwrap_or(0))
}

/// For each lane that was used at all: when its writes, sent and ended within the span, succeeded, in order of time.
fn lanes<'a>(
    samples: impl Iterator<Item = &'a Sample>,
    from: Micros,
    to: Micros,
) -> BTreeMap<(Kind, u16), Vec<Micros>> {
    let mut lanes: BTreeMap<(Kind, u16), Vec<Micros>> = BTreeMap::new();
    for one in samples {
        // Each kind numbers its lanes apart.
        let successes = lanes.entry((one.kind, one.lane)).or_default();
        if one.end == End::Done && one.invoked >= from && one.returned <= to {
            successes.push(one.returned);
        }
    }
    lanes.values_mut().for_each(|successes| successes.sort_unstable());
    lanes
}

/// The success from which on there is no gap longer than [`MAX_GAP`] until `until`.
pub(crate) fn recovered(successes: &[Micros], until: Micros) -> Option<Micros> {
    let mut next = until;
    let mut recovered = None;
    for success in successes.iter().rev() {
        if next.saturating_sub(*success) > MAX_GAP {
            break;
        }
        recovered = Some(*success);
        next = *success;
    }
    recovered
}
