//! From samples to figures. Pure: no clock, no socket; the same samples give the same figures.
//!
//! A *surviving* region is one that is expected to serve while the fault lasts: every other one, and the one that the fault
//! is in if the fault leaves it able to.
//!
//! How each figure is taken:
//!
//! - The **fault** is at the moment before the order to inject it was sent; the **undoing** likewise.
//! - **rto_s** of a surviving region: for each of its write lanes, the time from the fault to the *recovery*, which is
//!   the earliest success, of a write sent after the fault, from which on the lane was never again without a success for
//!   longer than [`MAX_GAP`] until the undoing. The region's figure is that of its slowest lane, and the drill's that of
//!   its slowest surviving region. It thus includes the time that one write takes, and neither a failing nor a hanging
//!   group can hide behind one that works. Without a recovery there is no figure.
//! - **rpo_s**: the age of the oldest acknowledged write that was lost, at the fault; for one acknowledged after the fault,
//!   at the undoing; for one acknowledged after that, at the end of the load. 0 when none was lost.
//! - **lost_writes**: acknowledged puts and appends that no region's consistent read finds whole after the cluster has
//!   settled, and acknowledged adds missing from their counter.
//! - **duplicate_effects**: appends that are in their list more often than once, whatever their outcome, and what a counter
//!   showed beyond the adds that had been sent and not refused by then. Of lists this is exact, of counters a lower bound,
//!   since an unknown add counts as possibly done.
//! - **refused_but_present**: writes that were refused and are there all the same; a put is sent once, on the condition that
//!   its key is new, so a put that is refused for this and is there was told wrong.
//! - **stale_reads**: consistent reads and reads with a token that showed less than somebody had been told before they
//!   were sent (less what was lost, so that one lost write does not make every later read stale), and items of which
//!   regions still show different states after the cluster has settled.
//! - **longest_pause_s**: the longest time without a success on a write lane of a surviving region between the fault and
//!   the undoing; the time between two writes of a lane is included.
//! - **errors**: requests that were refused or whose outcome is unknown, through all regions, the target's too.

mod figures;
mod recovery;
mod stale;

pub(crate) use figures::nearest_rank;
pub use figures::{Latency, Measured, OldLeader, PathFigures, Tally};
pub use recovery::MAX_GAP;
pub(crate) use recovery::recovered;

use crate::sample::{End, Kind, Micros, Sample, WriteId, seconds};
use crate::verify::Verification;
use std::collections::BTreeSet;

/// The moments that divide a drill's load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// The fault.
    pub fault: Micros,
    /// The undoing.
    pub undone: Micros,
    /// The last request of the load.
    pub end: Micros,
    /// When a surviving region's status first showed that something was wrong.
    pub detected: Option<Micros>,
}

/// The region that the fault was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affected {
    /// Its index.
    pub path: u8,
    /// Whether it is expected to serve all the same.
    pub serves: bool,
}

/// Takes every figure.
///
/// `paths` is the number of regions, `target` the index of the one that the fault was in. It is one of the surviving regions
/// only if it is expected to serve all the same.
#[must_use]
pub fn measure(
    samples: &[Sample],
    paths: u8,
    target: Affected,
    marks: &Marks,
    verification: &Verification,
) -> Measured {
    let survivors: Vec<u8> = (0..paths).filter(|path| target.serves || *path != target.path).collect();
    let losses = verification.losses(samples);
    let by_path: Vec<PathFigures> = (0..paths).map(|path| path_figures(samples, path, marks)).collect();
    let worst = |figure: fn(&PathFigures) -> Option<f64>| {
        survivors.iter().try_fold(0.0, |worst, path| {
            figure(&by_path[usize::from(*path)]).map(|seconds| seconds.max(worst))
        })
    };
    let pauses = survivors.iter().map(|path| by_path[usize::from(*path)].longest_pause_s);
    let longest_pause_s = pauses.fold(0.0, f64::max);
    let stale = stale::stale_reads(samples, &losses.adds_of);
    Measured {
        detect_s: marks.detected.map(|detected| seconds(marks.fault, detected)),
        rto_s: worst(|path| path.write_recovery_s),
        read_rto_s: worst(|path| path.read_recovery_s),
        longest_pause_s,
        rpo_s: rpo(&losses.acknowledged_at, marks),
        all: Tally::of(samples.iter()),
        surviving: Tally::of(samples.iter().filter(|sample| survivors.contains(&sample.path))),
        acknowledged_writes: count(samples, |one| one.kind.is_write() && one.end == End::Done),
        lost_writes: losses.acknowledged_at.len() as u64,
        duplicate_appends: losses.surplus_appends,
        duplicate_effects: losses.surplus_appends + losses.surplus_adds,
        stale_reads: stale.len() as u64 + verification.disagreements(),
        regions_disagree_on: verification.disagreements(),
        stale_consistent_reads: count(samples_at(samples, &stale), |one| one.kind == Kind::ConsistentRead),
        stale_token_reads: count(samples_at(samples, &stale), |one| one.kind == Kind::TokenRead),
        eventual_reads: count(samples, |one| one.kind == Kind::EventualRead && one.end == End::Done),
        eventual_reads_behind: count(samples, |one| {
            one.kind == Kind::EventualRead && one.end == End::Done && one.value < one.floor
        }),
        refused_but_present: verification.refused_but_present.len() as u64,
        old_leader: old_leader(samples, target.path, marks, &stale, &verification.lost),
        by_path,
        stale_samples: stale,
    }
}

/// The requests that the target region answered after its fault was undone.
fn old_leader(
    samples: &[Sample],
    target: u8,
    marks: &Marks,
    stale: &[usize],
    lost: &BTreeSet<WriteId>,
) -> OldLeader {
    let answered = |one: &&Sample| one.path == target && one.end == End::Done && one.returned >= marks.undone;
    let after: Vec<&Sample> = samples.iter().filter(answered).collect();
    OldLeader {
        consistent_reads: after.iter().filter(|one| one.kind == Kind::ConsistentRead).count() as u64,
        stale_reads: samples_at(samples, stale).filter(answered).count() as u64,
        acknowledged_writes: after.iter().filter(|one| one.kind.is_write()).count() as u64,
        lost_writes: after.iter().filter(|one| one.id().is_some_and(|id| lost.contains(&id))).count() as u64,
    }
}

fn path_figures(samples: &[Sample], path: u8, marks: &Marks) -> PathFigures {
    let mine = || samples.iter().filter(move |one| one.path == path);
    let writes =
        |from: Micros, to: Micros| {
            Latency::of(mine().filter(|one| {
                one.kind.is_write() && one.end == End::Done && (from..to).contains(&one.invoked)
            }))
        };
    PathFigures {
        write_recovery_s: recovery::recovery(mine().filter(|one| one.kind.is_write()), marks),
        read_recovery_s: recovery::recovery(mine().filter(|one| one.kind == Kind::ConsistentRead), marks),
        longest_write_gap_after_undo_s: recovery::longest_gap(
            mine().filter(|one| one.kind.is_write()),
            marks.undone,
            marks.end,
        ),
        longest_pause_s: recovery::longest_gap(
            mine().filter(|one| one.kind.is_write()),
            marks.fault,
            marks.undone,
        ),
        tally: Tally::of(mine()),
        write_latency_before: writes(0, marks.fault),
        write_latency_during: writes(marks.fault, marks.undone),
    }
}

fn rpo(lost_acknowledged_at: &[Micros], marks: &Marks) -> f64 {
    let age = |acknowledged: &Micros| {
        let reference = [marks.fault, marks.undone, marks.end].into_iter().find(|mark| acknowledged < mark);
        // A write acknowledged at the very end is as fresh as can be, but lost all the same.
        seconds(*acknowledged, reference.unwrap_or(acknowledged + 1))
    };
    lost_acknowledged_at.iter().map(age).fold(0.0, f64::max)
}

fn samples_at<'a>(samples: &'a [Sample], indices: &'a [usize]) -> impl Iterator<Item = &'a Sample> {
    indices.iter().filter_map(|index| samples.get(*index))
}

fn count<'a>(samples: impl IntoIterator<Item = &'a Sample>, matches: impl Fn(&Sample) -> bool) -> u64 {
    samples.into_iter().filter(|sample| matches(sample)).count() as u64
}

#[cfg(test)]
mod tests;
