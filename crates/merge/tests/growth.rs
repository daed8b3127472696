//! What is written again and again takes no more room.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::needless_pass_by_value, reason = "values read better where they are made in place")]

mod common;

use common::{at, key, number, texts};
use meridian_merge::{Action, Change, Effect, Fragment, Rules};
use meridian_types::{ConflictRule, Hlc};

fn update(path: &str, action: Action) -> Effect {
    Effect::Update(vec![Change { path: path.split('.').map(Into::into).collect(), action }])
}

fn apply(view: &Fragment, effect: &Effect, time: u64, origin: u16, floor: u64) -> Fragment {
    let rules = Rules::from(ConflictRule::Crdt);
    view.apply(&rules, effect, at(time, origin), Hlc::new(floor, 0)).unwrap()
}

#[test]
fn a_million_additions_and_set_cycles_take_no_more_room() {
    let mut view = Fragment::new(key());
    let effects = [
        update("n", Action::Add(1u64.into())),
        update("s", Action::SetAdd(texts(&["a", "b"]))),
        update("s", Action::SetDelete(texts(&["a"]))),
    ];
    let mut early = 0;
    for time in 1..=1_000_000u64 {
        for (step, effect) in effects.iter().enumerate() {
            let origin = u16::try_from(time % 3).unwrap();
            view = apply(&view, effect, time * 10 + step as u64, origin, 0);
        }
        if time == 10 {
            early = view.encode().len();
        }
    }
    let rules = Rules::from(ConflictRule::Crdt);
    assert_eq!(view.item(&rules).unwrap().get("n"), Some(&number("1000000")));
    // The sums have more digits.
    assert!(view.encode().len() <= early + 3 * 3, "{} after {early}", view.encode().len());
}

#[test]
fn attributes_that_come_and_go_leave_nothing_once_the_horizon_has_passed() {
    let mut view = Fragment::new(key());
    for time in 1..2_000u64 {
        let name = format!("a{time}");
        let counted = apply(&view, &update(&name, Action::Add(1u64.into())), time * 10, 0, time * 10 - 5);
        view = apply(&counted, &update(&name, Action::Remove), time * 10 + 1, 1, time * 10 - 5);
    }
    let lean = apply(&view, &update("b", Action::Add(1u64.into())), 30_000, 0, 20_000).encode();
    assert!(view.encode().len() < lean.len() + 100, "{} and {}", view.encode().len(), lean.len());
    assert!(lean.len() < 60, "{}", lean.len());
}

#[test]
fn a_set_emptied_by_two_goes_with_the_next_write() {
    let start = apply(&Fragment::new(key()), &update("s", Action::Assign(texts(&["a", "b"]))), 1, 0, 0);
    let one = apply(&start, &update("s", Action::SetDelete(texts(&["a"]))), 2, 1, 0);
    let other = apply(&start, &update("s", Action::SetDelete(texts(&["b"]))), 3, 2, 0);
    let next = apply(&one.join(other), &update("t", Action::Assign(number("1"))), 4, 0, 0);
    let alone = apply(&Fragment::new(key()), &update("t", Action::Assign(number("1"))), 4, 0, 4 - 1);
    let seen = next.encode().len() - alone.encode().len();
    // Two more origins seen, of nine bytes each.
    assert_eq!(seen, 2 * 9);
}

#[test]
fn the_depth_of_maps_is_bounded_and_costs_no_more_than_its_size() {
    let rules = Rules::from(ConflictRule::Crdt);
    let deep = (0..31).fold(number("1"), |inner, _| common::map(&[("m", inner)]));
    let start = apply(&Fragment::new(key()), &update("m", Action::Assign(deep.clone())), 1, 0, 0);
    // Every map stands only on what was written inside: each of them was removed meanwhile.
    let path = vec!["m"; 32].join(".");
    let inside = apply(&start, &update(&path, Action::Add(1u64.into())), 2, 1, 0);
    let removed = apply(&start, &update("m", Action::Remove), 3, 2, 0);
    let view = removed.join(inside);
    assert_eq!(Fragment::decode(&view.encode()), Ok(view.clone()));
    let item = view.item(&rules).unwrap();
    let shown = (0..31).try_fold(item.get("m").unwrap(), |value, _| match value {
        meridian_dynamo::AttributeValue::M(map) => map.get("m"),
        _ => None,
    });
    assert_eq!(shown, Some(&number("1")));
}
