//! Random histories of several regions: what every replica shows at every step is what the slow model says, whatever was
//! delivered when and whatever has been forgotten. `MERIDIAN_MERGE_HISTORIES` says how many.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::needless_pass_by_value, reason = "values read better where they are made in place")]

mod common;

use common::world::World;
use meridian_merge::{AttributeRule, Fragment, Rules};
use meridian_types::ConflictRule;

/// All rules together.
fn histories() -> u64 {
    std::env::var("MERIDIAN_MERGE_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000)
}

/// Runs a quarter of the histories; a failure prints the seed that repeats it with `MERIDIAN_MERGE_SEED`.
fn run(rules: impl Fn(u64) -> Rules) {
    let only = std::env::var("MERIDIAN_MERGE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = only.map_or(0..histories() / 4, |seed: u64| seed..seed + 1);
    let mut drops = 0;
    for seed in seeds.clone() {
        let rules = rules(seed);
        let name = format!("{rules:?}");
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(rules, seed);
            let steps = 10 + world.rng.below(40);
            world.run(steps);
            laws(&mut world);
            world.drops
        });
        drops += result.unwrap_or_else(|_| panic!("{name}: MERIDIAN_MERGE_SEED={seed}"));
    }
    assert!(seeds.end - seeds.start < 1000 || drops > 100, "only {drops} fragments were ever dropped");
}

/// Of any fragments that ever were.
fn laws(world: &mut World) {
    if world.stored.is_empty() {
        return;
    }
    for _ in 0..2 {
        let [a, b, c]: [Fragment; 3] =
            std::array::from_fn(|_| world.stored[world.rng.below(world.stored.len())].clone());
        let ab = a.clone().join(b.clone());
        assert_eq!(ab, b.clone().join(a.clone()), "commutative");
        assert_eq!(ab.clone().join(c.clone()), a.clone().join(b.clone().join(c)), "associative");
        assert_eq!(ab.clone().join(b), ab, "absorbs what it has");
        assert_eq!(a.clone().join(a.clone()), a, "idempotent");
        assert_eq!(Fragment::decode(&ab.encode()), Ok(ab));
    }
}

#[test]
fn last_write_wins_is_what_a_replay_by_stamp_gives() {
    run(|_| ConflictRule::Lww.into());
}

#[test]
fn merge_keeps_what_no_write_has_seen() {
    run(|_| ConflictRule::Merge.into());
}

#[test]
fn crdts_keep_every_addition() {
    run(|_| ConflictRule::Crdt.into());
}

/// Runs histories in which a region is severed, expelled and taken back; says which was the first that went wrong.
fn exiles(rule: ConflictRule, fenced: bool, histories: u64) -> Option<u64> {
    (0..histories).find(|seed| {
        let history = || {
            let mut world = World::new(rule.into(), *seed);
            world.exiles(fenced);
            let steps = 20 + world.rng.below(60);
            world.run(steps);
        };
        std::panic::catch_unwind(history).is_err()
    })
}

#[test]
fn an_expelled_region_brings_nothing_back() {
    for rule in [ConflictRule::Lww, ConflictRule::Merge, ConflictRule::Crdt] {
        assert_eq!(exiles(rule, true, histories() / 10), None, "{rule:?}: the seed");
    }
}

#[test]
fn without_its_fences_it_would() {
    assert_ne!(exiles(ConflictRule::Crdt, false, 10_000), None);
}

/// Of these the model knows nothing: that writes show what they give, that replicas converge and that nothing is left over is checked.
#[test]
fn attributes_with_rules_of_their_own_converge() {
    use AttributeRule::{KeepBoth, Max, Min, Sum, Union};
    let conflicts = [ConflictRule::Lww, ConflictRule::Merge, ConflictRule::Crdt];
    run(|seed| {
        let nth = |n: u64| usize::try_from(n % 5).unwrap_or(0);
        let rules = [Sum, Max, Union, KeepBoth, Min];
        let attributes = [("a", nth(seed)), ("b", nth(seed / 5)), ("c", nth(seed / 25))];
        Rules {
            conflict: conflicts[nth(seed / 125 % 3)],
            attributes: attributes.map(|(name, at)| (name.to_owned(), rules[at])).into(),
        }
    });
}
