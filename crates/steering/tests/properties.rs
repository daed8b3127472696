//! What holds for every set of regions, verdicts and clients.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use meridian_steering::{Choice, Client, Steering, Verdict, choose};
use meridian_types::RegionName;
use proptest::prelude::*;
use std::collections::BTreeMap;

const CLIENTS: u64 = 100_000;

fn region(number: usize) -> RegionName {
    RegionName::new(&format!("region-{number}")).unwrap()
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![Just(Verdict::Healthy), Just(Verdict::Degraded), Just(Verdict::Lost)]
}

fn by_region<T>(values: Vec<T>) -> BTreeMap<RegionName, T> {
    values.into_iter().enumerate().map(|(number, value)| (region(number), value)).collect()
}

fn verdicts() -> impl Strategy<Value = BTreeMap<RegionName, Verdict>> {
    proptest::collection::vec(verdict(), 0..6).prop_map(by_region)
}

fn numbers(limit: u32) -> impl Strategy<Value = BTreeMap<RegionName, u32>> {
    proptest::collection::vec(0..limit, 0..6).prop_map(by_region)
}

fn steering() -> impl Strategy<Value = Steering> {
    prop_oneof![
        proptest::collection::vec(0..6_usize, 0..6)
            .prop_map(|order| Steering::ActivePassive(order.into_iter().map(region).collect())),
        Just(Steering::Nearest),
        numbers(1_000).prop_map(Steering::Weighted),
        (1..1_000_u32, numbers(3_000))
            .prop_map(|(spill_permille, permille)| Steering::Load { spill_permille, permille }),
    ]
}

/// The share of clients that each region is first for.
fn shares(steering: &Steering, verdicts: &BTreeMap<RegionName, Verdict>) -> BTreeMap<RegionName, f64> {
    let distances = BTreeMap::new();
    let mut counts: BTreeMap<RegionName, f64> = BTreeMap::new();
    for key in 0..CLIENTS {
        let choice = choose(steering, verdicts, Client { distances: &distances, key });
        *counts.entry(choice.regions[0].clone()).or_default() += 1.0 / CLIENTS as f64;
    }
    counts
}

fn healthy(count: usize) -> BTreeMap<RegionName, Verdict> {
    by_region(vec![Verdict::Healthy; count])
}

proptest! {
    #[test]
    fn a_worse_region_is_never_before_a_better_one(
        steering in steering(), verdicts in verdicts(), distances in numbers(500), key: u64,
    ) {
        let choice = choose(&steering, &verdicts, Client { distances: &distances, key });
        let order: Vec<Verdict> = choice.regions.iter().map(|region| verdicts[region]).collect();
        prop_assert!(order.is_sorted());
        let lost = verdicts.values().filter(|verdict| **verdict == Verdict::Lost).count();
        if choice.fail_open {
            prop_assert!(lost == verdicts.len() && choice.regions.len() == lost && lost > 0);
        } else {
            prop_assert_eq!(choice.regions.len(), verdicts.len() - lost);
        }
    }

    #[test]
    fn what_happens_to_one_region_leaves_the_order_of_the_others(
        steering in steering(), verdicts in verdicts(), distances in numbers(500), key: u64, which in 0..6_usize, to in verdict(),
    ) {
        let client = Client { distances: &distances, key };
        let mut changed = verdicts.clone();
        changed.entry(region(which)).and_modify(|verdict| *verdict = to);
        let without = |choice: Choice| -> Vec<RegionName> {
            choice.regions.into_iter().filter(|one| *one != region(which)).collect()
        };
        let (before, after) = (choose(&steering, &verdicts, client), choose(&steering, &changed, client));
        if before.fail_open == after.fail_open {
            prop_assert_eq!(without(before), without(after));
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer_and_nothing_is_given_twice(
        steering in steering(), verdicts in verdicts(), distances in numbers(500), key: u64,
    ) {
        let client = Client { distances: &distances, key };
        let choice = choose(&steering, &verdicts, client);
        prop_assert_eq!(&choice, &choose(&steering, &verdicts, client));
        let mut once = choice.regions.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), choice.regions.len());
    }
}

#[test]
fn weights_hold_within_a_hundredth() {
    let weights = by_region(vec![50, 30, 20, 0]);
    let shares = shares(&Steering::Weighted(weights), &healthy(4));
    for (number, wanted) in [0.5, 0.3, 0.2].into_iter().enumerate() {
        assert!((shares[&region(number)] - wanted).abs() < 0.01, "{shares:?}");
    }
    assert!(!shares.contains_key(&region(3)), "weight 0 serves only when no other can");
}

#[test]
fn a_lost_region_s_clients_are_shared_by_weight_and_nobody_else_moves() {
    let steering = Steering::Weighted(by_region(vec![50, 30, 20]));
    let mut verdicts = healthy(3);
    let distances = BTreeMap::new();
    let first = |verdicts: &BTreeMap<_, _>, key| {
        choose(&steering, verdicts, Client { distances: &distances, key }).regions.swap_remove(0)
    };
    let before: Vec<RegionName> = (0..CLIENTS).map(|key| first(&verdicts, key)).collect();
    verdicts.insert(region(0), Verdict::Lost);
    for (key, was) in before.iter().enumerate().filter(|(_, was)| **was != region(0)) {
        assert_eq!(first(&verdicts, key as u64), *was);
    }
    let shares = shares(&steering, &verdicts);
    assert!((shares[&region(1)] - 0.6).abs() < 0.01, "{shares:?}");
}

#[test]
fn adding_a_region_moves_only_its_share_to_it() {
    let distances = BTreeMap::new();
    let first = |count: usize, key| {
        let steering = Steering::Weighted(by_region(vec![100; count]));
        choose(&steering, &healthy(count), Client { distances: &distances, key }).regions.swap_remove(0)
    };
    let mut moved = 0.0;
    for key in 0..CLIENTS {
        let (before, after) = (first(3, key), first(4, key));
        if before != after {
            assert_eq!(after, region(3));
            moved += 1.0 / CLIENTS as f64;
        }
    }
    assert!((moved - 0.25).abs() < 0.01, "{moved}");
}

#[test]
fn an_overloaded_region_passes_its_excess_to_the_next_nearest() {
    let distances = by_region(vec![10, 20, 30]);
    let steering = Steering::Load { spill_permille: 800, permille: by_region(vec![1_000, 100, 100]) };
    let mut passed = 0.0;
    for key in 0..CLIENTS {
        let choice = choose(&steering, &healthy(3), Client { distances: &distances, key });
        match choice.regions[0] {
            ref first if *first == region(0) => {}
            ref first => {
                assert_eq!(*first, region(1));
                passed += 1.0 / CLIENTS as f64;
            }
        }
    }
    // A fifth of the load is above what it may carry.
    assert!((passed - 0.2).abs() < 0.01, "{passed}");
}

#[test]
fn the_named_order_and_the_distance_decide() {
    let distances = by_region(vec![30, 10, 20]);
    let regions =
        |steering: &Steering| choose(steering, &healthy(3), Client { distances: &distances, key: 7 }).regions;
    assert_eq!(regions(&Steering::Nearest), [region(1), region(2), region(0)]);
    let named = Steering::ActivePassive(vec![region(2), region(0)]);
    assert_eq!(regions(&named), [region(2), region(0), region(1)]);
}
