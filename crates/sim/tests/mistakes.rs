//! The checkers are checked: each mistake that a cluster could make is made on purpose, and noticed within some seeds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use meridian_replication::runtime::Mistake;
use meridian_sim::disk::Bugs;
use meridian_sim::faults::Menu;
use meridian_sim::{Settings, run};

/// Seeds tried before a mistake counts as unnoticed.
const WITHIN: u64 = 120;

/// Runs seeds until something is wrong that contains one of the words. The first is one that is known to show it, so that it is mostly
/// the only one; when runs come to be drawn differently, a later one does.
fn is_noticed(bugs: Bugs, menu: Menu, first: u64, words: &[&str]) {
    is_noticed_in(&Settings { bugs, menu, ..Settings::default() }, first, words);
}

fn is_noticed_in(settings: &Settings, first: u64, words: &[&str]) {
    let bugs = settings.bugs;
    let mut other = Vec::new();
    for seed in first..first + WITHIN {
        let report = run(seed, settings);
        if let Some(wrong) = report.wrong.iter().find(|wrong| words.iter().any(|word| wrong.contains(word))) {
            println!("{bugs:?} noticed at seed {seed}: {wrong}");
            return;
        }
        other.extend(report.wrong);
    }
    panic!("{bugs:?} went unnoticed in {WITHIN} seeds; what was noticed: {other:?}");
}

fn is_noticed_of(mistake: Mistake, first: u64, words: &[&str]) {
    is_noticed_under(mistake, Menu::Everything, first, words);
}

fn is_noticed_under(mistake: Mistake, menu: Menu, first: u64, words: &[&str]) {
    is_noticed(Bugs { mistake: Some(mistake), lying_disks: false }, menu, first, words);
}

#[test]
fn disks_that_lie_about_syncs() {
    let bugs = Bugs { mistake: None, lying_disks: true };
    is_noticed(bugs, Menu::Everything, 0, &["acknowledged and on", "lost"]);
}

#[test]
fn reads_without_a_lease() {
    is_noticed_of(Mistake::ReadWithoutLease, 3, &["stale consistent read", "linearizable", "misses"]);
}

#[test]
fn a_lease_counted_as_openraft_counts_it() {
    is_noticed_under(
        Mistake::TrustOpenraftLease,
        Menu::Numbs,
        8,
        &["would answer for group", "stale consistent read", "linearizable", "misses"],
    );
}

#[test]
fn writes_acknowledged_before_the_commit_rule_holds() {
    is_noticed_of(Mistake::AcknowledgeBeforeGate, 0, &["acknowledged and on no disk"]);
}

#[test]
fn request_ids_that_are_forgotten() {
    is_noticed_of(Mistake::ForgetRequests, 3, &["took effect", "linearizable"]);
}

#[test]
fn votes_right_after_a_restart() {
    is_noticed_under(
        Mistake::VoteEarly,
        Menu::Squeezes,
        20,
        &["would answer for group", "stale", "linearizable", "misses"],
    );
}

#[test]
fn a_lease_kept_after_leadership_was_offered() {
    is_noticed_of(
        Mistake::KeepOfferedLease,
        15,
        &["would answer for group", "stale", "linearizable", "misses"],
    );
}

#[test]
fn a_lease_kept_after_leadership_was_offered_by_a_change_of_policy() {
    is_noticed_under(
        Mistake::KeepOfferedLease,
        Menu::SwitchesOver,
        16,
        &["would answer for group", "stale", "linearizable", "misses"],
    );
}

#[test]
fn a_vote_by_a_replica_that_lost_what_it_had_acknowledged() {
    is_noticed_under(
        Mistake::VoteDespiteLoss,
        Menu::Forgets,
        0,
        // openraft asserts that what is committed is not taken back.
        &["took effect", "lost", "stale", "linearizable", "misses", "saw another list", "panicked"],
    );
}

#[test]
fn leases_that_allow_for_no_drift_of_clocks() {
    is_noticed_under(
        Mistake::IgnoreDrift,
        Menu::Isolates,
        36,
        &["would answer for group", "stale", "linearizable", "misses"],
    );
}

#[test]
fn reads_that_ignore_their_token() {
    is_noticed_of(Mistake::IgnoreTokens, 1, &["session"]);
}

#[test]
fn leaders_that_go_on_without_the_lease_of_their_region() {
    is_noticed_of(Mistake::IgnoreRegionLease, 0, &["would answer for group", "neither in its group"]);
}

#[test]
fn groups_founded_anew_before_the_leases_of_the_lost_region_are_over() {
    is_noticed_under(
        Mistake::RefoundEarly,
        Menu::GivesUp,
        0,
        &["would answer for group", "neither in its group"],
    );
}

#[test]
fn an_old_incarnation_that_takes_part_beside_the_newer_one() {
    is_noticed_of(
        Mistake::DropIncarnationFence,
        3,
        &["would answer for group", "neither in its group", "hold different bytes", "panicked"],
    );
}

#[test]
fn replicas_that_apply_differently() {
    is_noticed_of(Mistake::ApplyDifferently, 0, &["hold different bytes"]);
}

/// What is wrong when a move leaves something behind.
const LOST_ON_THE_WAY: [&str; 5] = [
    "acknowledged write lost",
    "stale consistent read",
    "misses",
    "saw another list",
    "and not in the salvage",
];

fn is_noticed_with_tables(mistake: Mistake, first: u64, words: &[&str]) {
    let bugs = Bugs { mistake: Some(mistake), lying_disks: false };
    is_noticed_in(&Settings { bugs, tables: true, ..Settings::default() }, first, words);
}

#[test]
fn moves_that_skip_what_was_written_since_the_first_copy() {
    is_noticed_with_tables(Mistake::SkipCatchUp, 0, &LOST_ON_THE_WAY);
}

#[test]
fn groups_that_go_on_serving_a_table_while_it_switches() {
    is_noticed_with_tables(Mistake::ServeFrozen, 0, &LOST_ON_THE_WAY);
}

#[test]
fn giving_a_region_up_by_hand_is_no_mistake() {
    let settings = Settings { menu: Menu::GivesUp, ..Settings::default() };
    for seed in 0..10 {
        assert_eq!(run(seed, &settings).wrong, Vec::<String>::new(), "seed {seed}");
    }
}
