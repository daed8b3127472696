//! The checkers are checked: each mistake that a cluster could make is made on purpose, and noticed within some seeds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use meridian_replication::runtime::Mistake;
use meridian_sim::disk::Bugs;
use meridian_sim::faults::Menu;
use meridian_sim::{Settings, run};

/// Seeds tried before a mistake counts as unnoticed.
const WITHIN: u64 = 120;

/// Runs seeds until something is wrong that contains one of the words.
fn is_noticed(bugs: Bugs, menu: Menu, words: &[&str]) {
    let settings = Settings { bugs, menu, ..Settings::default() };
    let mut other = Vec::new();
    for seed in 0..WITHIN {
        let report = run(seed, &settings);
        if let Some(wrong) = report.wrong.iter().find(|wrong| words.iter().any(|word| wrong.contains(word))) {
            println!("{bugs:?} noticed at seed {seed}: {wrong}");
            return;
        }
        other.extend(report.wrong);
    }
    panic!("{bugs:?} went unnoticed in {WITHIN} seeds; what was noticed: {other:?}");
}

fn is_noticed_of(mistake: Mistake, words: &[&str]) {
    is_noticed_under(mistake, Menu::Everything, words);
}

fn is_noticed_under(mistake: Mistake, menu: Menu, words: &[&str]) {
    is_noticed(Bugs { mistake: Some(mistake), lying_disks: false }, menu, words);
}

#[test]
fn disks_that_lie_about_syncs() {
    let bugs = Bugs { mistake: None, lying_disks: true };
    is_noticed(bugs, Menu::Everything, &["acknowledged and on", "lost"]);
}

#[test]
fn reads_without_a_lease() {
    is_noticed_of(Mistake::ReadWithoutLease, &["stale consistent read", "linearizable", "misses"]);
}

#[test]
fn a_lease_counted_as_openraft_counts_it() {
    is_noticed_under(
        Mistake::TrustOpenraftLease,
        Menu::Numbs,
        &["would answer for group", "stale consistent read", "linearizable", "misses"],
    );
}

#[test]
fn writes_acknowledged_before_the_commit_rule_holds() {
    is_noticed_of(Mistake::AcknowledgeBeforeGate, &["acknowledged and on no disk"]);
}

#[test]
fn request_ids_that_are_forgotten() {
    is_noticed_of(Mistake::ForgetRequests, &["took effect", "linearizable"]);
}

#[test]
fn votes_right_after_a_restart() {
    is_noticed_under(
        Mistake::VoteEarly,
        Menu::Squeezes,
        &["would answer for group", "stale", "linearizable", "misses"],
    );
}

#[test]
fn a_lease_kept_after_leadership_was_offered() {
    is_noticed_of(Mistake::KeepOfferedLease, &["would answer for group", "stale", "linearizable", "misses"]);
}

#[test]
fn reads_that_ignore_their_token() {
    is_noticed_of(Mistake::IgnoreTokens, &["session"]);
}

#[test]
fn leaders_that_go_on_without_the_lease_of_their_region() {
    is_noticed_of(Mistake::IgnoreRegionLease, &["would answer for group", "neither in its group"]);
}

#[test]
fn groups_founded_anew_before_the_leases_of_the_lost_region_are_over() {
    is_noticed_under(
        Mistake::RefoundEarly,
        Menu::GivesUp,
        &["would answer for group", "neither in its group"],
    );
}

#[test]
fn an_old_incarnation_that_takes_part_beside_the_newer_one() {
    is_noticed_of(
        Mistake::DropIncarnationFence,
        &["would answer for group", "neither in its group", "hold different bytes", "panicked"],
    );
}

#[test]
fn replicas_that_apply_differently() {
    is_noticed_of(Mistake::ApplyDifferently, &["hold different bytes"]);
}

#[test]
fn giving_a_region_up_by_hand_is_no_mistake() {
    let settings = Settings { menu: Menu::GivesUp, ..Settings::default() };
    for seed in 0..10 {
        assert_eq!(run(seed, &settings).wrong, Vec::<String>::new(), "seed {seed}");
    }
}
