//! Hand-made samples, each figure against a value worked out by hand.

use super::*;
use std::collections::BTreeMap;

const MARKS: Marks =
    Marks { fault: 10_000_000, undone: 20_000_000, end: 25_000_000, detected: Some(10_400_000) };

/// The first region is taken away.
const AWAY: Affected = Affected { path: 0, serves: false };

fn sample(path: u8, lane: u16, kind: Kind, invoked_ms: u64, returned_ms: u64, end: End) -> Sample {
    Sample {
        path,
        lane,
        kind,
        end,
        invoked: invoked_ms * 1_000,
        returned: returned_ms * 1_000,
        sequence: u32::try_from(invoked_ms).unwrap(),
        value: 0,
        floor: 0,
    }
}

/// A put each 500 ms that takes 20 ms, all done, but for those sent within `bad`, which end `end`.
fn lane(path: u8, lane: u16, bad: std::ops::Range<u64>, end: End) -> Vec<Sample> {
    let ended = |at| if bad.contains(&at) { end } else { End::Done };
    (0..25_000).step_by(500).map(|at| sample(path, lane, Kind::Put, at, at + 20, ended(at))).collect()
}

fn taken(samples: &[Sample]) -> Measured {
    measure(samples, 3, AWAY, &MARKS, &Verification::default())
}

#[test]
fn without_trouble_the_recovery_is_the_first_write_after_the_fault() {
    let samples =
        [lane(0, 0, 10_000..20_000, End::Refused), lane(1, 0, 0..0, End::Done), lane(2, 0, 0..0, End::Done)];
    let measured = taken(&samples.concat());
    assert_eq!(measured.rto_s, Some(0.02));
    assert_eq!(measured.detect_s, Some(0.4));
    assert_eq!(measured.rpo_s, 0.0);
    assert_eq!(measured.all, Tally { requests: 150, errors: 20, unknown: 0 });
    assert_eq!(measured.surviving, Tally { requests: 100, errors: 0, unknown: 0 });
    assert_eq!(measured.acknowledged_writes, 130);
    assert_eq!(measured.by_path[0].write_recovery_s, None);
    assert_eq!(measured.by_path[1].write_latency_before, Latency { p50_ms: Some(20.0), p99_ms: Some(20.0) });
}

#[test]
fn the_slowest_lane_of_the_slowest_surviving_region_counts() {
    let samples = [
        lane(1, 0, 10_000..11_000, End::Refused),
        lane(1, 1, 10_000..12_500, End::Unknown),
        lane(2, 0, 10_000..11_500, End::Refused),
    ];
    let measured = taken(&samples.concat());
    assert_eq!(measured.by_path[1].write_recovery_s, Some(2.52));
    assert_eq!(measured.by_path[2].write_recovery_s, Some(1.52));
    assert_eq!(measured.rto_s, Some(2.52));
    assert_eq!(measured.surviving, Tally { requests: 150, errors: 10, unknown: 5 });
}

#[test]
fn writes_that_hang_and_then_succeed_are_an_outage_too() {
    let mut samples = [lane(1, 0, 0..0, End::Done), lane(2, 0, 0..0, End::Done)].concat();
    for one in
        samples.iter_mut().filter(|one| one.path == 1 && (10_000_000..13_000_000).contains(&one.invoked))
    {
        one.returned = 13_010_000;
    }
    assert_eq!(taken(&samples).rto_s, Some(3.01));
}

#[test]
fn a_success_of_a_write_sent_before_the_fault_proves_nothing() {
    let mut samples = [lane(1, 0, 10_000..12_000, End::Refused), lane(2, 0, 0..0, End::Done)].concat();
    samples.push(sample(1, 0, Kind::Put, 9_990, 10_010, End::Done));
    assert_eq!(taken(&samples).rto_s, Some(2.02));
}

#[test]
fn a_success_between_two_outages_is_no_recovery_but_one_failed_write_is_no_outage() {
    let mut samples =
        [lane(1, 0, 10_000..13_000, End::Refused), lane(2, 0, 15_000..15_001, End::Refused)].concat();
    samples.push(sample(1, 0, Kind::Put, 10_100, 10_120, End::Done));
    let measured = taken(&samples);
    assert_eq!(measured.by_path[1].write_recovery_s, Some(3.02));
    assert_eq!(measured.by_path[2].write_recovery_s, Some(0.02));
}

#[test]
fn no_recovery_before_the_undoing_is_no_figure() {
    let samples = [lane(1, 0, 10_000..22_000, End::Unknown), lane(2, 0, 0..0, End::Done)].concat();
    let measured = taken(&samples);
    assert_eq!(measured.rto_s, None);
    assert_eq!(measured.by_path[1].longest_write_gap_after_undo_s, 2.02);
    let silent = lane(2, 0, 0..0, End::Done);
    assert_eq!(taken(&silent).rto_s, None, "a region without any write has shown nothing");
}

#[test]
fn a_lost_write_is_as_old_as_it_was_at_the_fault_or_the_undoing() {
    let samples = [lane(1, 0, 0..0, End::Done), lane(2, 0, 0..0, End::Done)].concat();
    let losing = |lost: &[u32]| {
        let lost =
            lost.iter().map(|sequence| WriteId { kind: Kind::Put, path: 1, lane: 0, sequence: *sequence });
        measure(&samples, 3, AWAY, &MARKS, &Verification { lost: lost.collect(), ..Verification::default() })
    };
    let measured = losing(&[9_000, 9_500]);
    assert_eq!((measured.lost_writes, measured.rpo_s), (2, 0.98));
    let after_the_fault = losing(&[12_000]);
    assert_eq!((after_the_fault.lost_writes, after_the_fault.rpo_s), (1, 7.98));
    let after_the_undoing = losing(&[21_000]);
    assert_eq!((after_the_undoing.lost_writes, after_the_undoing.rpo_s), (1, 3.98));
}

#[test]
fn reads_below_what_was_known_are_stale_unless_a_loss_explains_them() {
    let read = |kind, value, floor| Sample { value, floor, ..sample(1, 4, kind, 11_000, 11_010, End::Done) };
    let samples = [
        read(Kind::ConsistentRead, 7, 7),
        read(Kind::ConsistentRead, 6, 7),
        read(Kind::TokenRead, 5, 7),
        read(Kind::EventualRead, 1, 7),
        Sample { end: End::Unknown, ..read(Kind::ConsistentRead, 0, 7) },
    ];
    let measured = taken(&samples);
    assert_eq!(
        (measured.stale_reads, measured.stale_consistent_reads, measured.stale_token_reads),
        (2, 1, 1)
    );
    assert_eq!((measured.eventual_reads, measured.eventual_reads_behind), (1, 1));
    // The counter lost one add: only what is older than that is stale.
    let add = Sample { value: 1, ..sample(1, 4, Kind::Add, 1_000, 1_010, End::Done) };
    let counters = BTreeMap::from([(4, (0, 0))]);
    let samples = [&samples[..], &[add]].concat();
    let measured = measure(&samples, 3, AWAY, &MARKS, &Verification { counters, ..Verification::default() });
    assert_eq!((measured.lost_writes, measured.stale_reads), (1, 1));
}

#[test]
fn what_the_old_leader_says_after_its_thaw_is_counted_apart() {
    let samples = [
        Sample { value: 3, floor: 9, ..sample(0, 4, Kind::ConsistentRead, 19_900, 20_010, End::Done) },
        Sample { value: 3, floor: 9, ..sample(0, 4, Kind::ConsistentRead, 9_000, 9_010, End::Done) },
        sample(0, 2, Kind::Put, 20_100, 20_120, End::Done),
        sample(0, 2, Kind::Put, 20_200, 20_220, End::Unknown),
    ];
    let lost = BTreeSet::from([WriteId { kind: Kind::Put, path: 0, lane: 2, sequence: 20_100 }]);
    let measured = measure(&samples, 3, AWAY, &MARKS, &Verification { lost, ..Verification::default() });
    let expected = OldLeader { consistent_reads: 1, stale_reads: 1, acknowledged_writes: 1, lost_writes: 1 };
    assert_eq!(measured.old_leader, expected);
    assert_eq!(measured.stale_reads, 2);
}

#[test]
fn a_region_that_is_expected_to_serve_counts_as_one_that_survives() {
    let samples =
        [lane(0, 0, 10_000..13_000, End::Refused), lane(1, 0, 0..0, End::Done), lane(2, 0, 0..0, End::Done)];
    let samples = samples.concat();
    let with = |serves| {
        let target = Affected { path: 0, serves };
        let measured = measure(&samples, 3, target, &MARKS, &Verification::default());
        (measured.rto_s, measured.longest_pause_s, measured.surviving.errors)
    };
    assert_eq!(with(false), (Some(0.02), 0.5, 0));
    assert_eq!(with(true), (Some(3.02), 3.02, 6));
}
