//! How conflicts are resolved: by rules of attributes, by writes that have seen them, and by adding up.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::needless_pass_by_value, reason = "values read better where they are made in place")]

mod common;

use common::{at, concurrently, delete, item, key, n, number, put, text, texts, update, write};
use meridian_dynamo::AttributeValue;
use meridian_merge::{AttributeRule, Effect, Fragment, Rules};
use meridian_types::{ConflictRule, Hlc};

const LWW: ConflictRule = ConflictRule::Lww;
const MERGE: ConflictRule = ConflictRule::Merge;
const CRDT: ConflictRule = ConflictRule::Crdt;

#[test]
fn the_rules_of_single_attributes() {
    let shown =
        |rule: AttributeRule, conflict: ConflictRule, earlier: AttributeValue, later: AttributeValue| {
            let rules = Rules { conflict, attributes: [("a".to_owned(), rule)].into() };
            let (earlier, later) = (put(&[("a", earlier)]), put(&[("a", later)]));
            let resolved = concurrently(&rules, None, earlier, later).resolve(&rules);
            let conflict = resolved.conflicts.iter().any(|conflict| conflict.path == ["a"]);
            (resolved.item.unwrap().remove("a").unwrap(), conflict)
        };
    use AttributeRule::{KeepBoth, Max, Min, Union};
    let list = |a: &str, b: &str| AttributeValue::L(vec![number(a), number(b)]);
    for (rule, value) in [
        (Max, number("10")),
        (Min, number("9")),
        (KeepBoth, list("10", "9")),
        // Not for numbers: the later one, and a conflict.
        (Union, number("9")),
    ] {
        assert_eq!(shown(rule, MERGE, number("10"), number("9")), (value, rule == Union), "{rule:?}");
    }
    assert_eq!(shown(Max, MERGE, text("b"), text("a")), (text("b"), false));
    assert_eq!(shown(Max, MERGE, text("b"), number("1")), (number("1"), true));
    assert_eq!(shown(Union, MERGE, texts(&["a"]), texts(&["b"])), (texts(&["a", "b"]), false));
    // Strict last write wins between puts leaves nothing to choose from.
    assert_eq!(shown(Max, LWW, number("10"), number("9")), (number("9"), false));

    let rules = Rules {
        conflict: LWW,
        attributes: [("a".to_owned(), Max), ("n".to_owned(), AttributeRule::Sum)].into(),
    };
    let both = |value: &str| update("SET a = :n ADD n :n, b :n", &n(value));
    let view = concurrently(&rules, None, both("5"), both("3"));
    let wanted = item(&[("a", number("5")), ("b", number("3")), ("n", number("8"))]);
    assert_eq!(view.item(&rules), Some(wanted));
}

#[test]
fn what_a_rule_of_an_attribute_leaves_out_is_lost_or_in_conflict() {
    let rules = |conflict| Rules { conflict, attributes: [("a".to_owned(), AttributeRule::Max)].into() };
    let set = |value: AttributeValue| update("SET a = :v", &[(":v", value)]);
    let left_out = |conflict, earlier, later| {
        let resolved =
            concurrently(&rules(conflict), Some(put(&[])), earlier, later).resolve(&rules(conflict));
        let list = if conflict == MERGE { resolved.conflicts } else { resolved.lost };
        let list = list.into_iter().filter(|conflict| conflict.path == ["a"]);
        let sides = list.flat_map(|conflict| core::iter::once(conflict.winner).chain(conflict.others));
        let values = sides.map(|side| side.value).collect::<Vec<_>>();
        (resolved.item.unwrap().remove("a"), values)
    };
    let (one, two, word) = (number("1"), number("2"), text("w"));
    for rule in [LWW, MERGE] {
        // The rule has decided.
        assert_eq!(left_out(rule, set(two.clone()), set(one.clone())), (Some(two.clone()), vec![]));
        // It is not for these: the later one.
        let both = vec![Some(one.clone()), Some(word.clone())];
        assert_eq!(left_out(rule, set(word.clone()), set(one.clone())), (Some(one.clone()), both));
        // A removal has no part in it.
        let removed = left_out(rule, set(one.clone()), update("REMOVE a", &[]));
        assert_eq!(removed, (Some(one.clone()), vec![]));
    }
    // A later put hides what it has not seen.
    let hidden = left_out(LWW, set(two.clone()), put(&[("a", one.clone())]));
    assert_eq!(hidden, (Some(one.clone()), vec![Some(one), Some(two.clone())]));
    assert_eq!(left_out(LWW, set(two.clone()), put(&[])), (None, vec![None, Some(two)]));
}

#[test]
fn a_write_that_has_seen_a_conflict_resolves_it() {
    let rules = Rules::from(MERGE);
    let assign = |value: &str| update("SET a = :n", &n(value));
    let view = concurrently(&rules, Some(put(&[("b", text("b"))])), assign("1"), assign("2"));
    let [conflict] = &*view.resolve(&rules).conflicts else { panic!("one conflict") };
    assert_eq!((conflict.winner.stamp, &conflict.winner.value), (at(3, 2), &Some(number("2"))));
    assert_eq!((conflict.others[0].stamp, &conflict.others[0].value), (at(2, 1), &Some(number("1"))));
    // Another attribute's write leaves it as it is.
    let other = write(&view, &rules, update("SET b = :n", &n("3")), at(9, 0));
    assert_eq!(other.resolve(&rules).conflicts, view.resolve(&rules).conflicts);
    let settled = write(&other, &rules, assign("3"), at(10, 0));
    assert_eq!(settled.resolve(&rules).conflicts, []);
    assert_eq!(view.join(settled.clone()), settled);

    // A delete that was shown already still decides.
    let view = concurrently(&rules, Some(put(&[])), assign("1"), delete());
    let resolved = view.resolve(&rules);
    assert_eq!((resolved.item, resolved.conflicts.len()), (None, 1));
    let settled = write(&view, &rules, delete(), at(9, 0));
    assert_eq!(settled.resolve(&rules), Default::default());
    assert!(settled.is_tombstone());
}

#[test]
fn additions_of_many_regions_all_count() {
    let rules = Rules::from(CRDT);
    let fragments = (0..3u16).map(|origin| {
        (0..60u64).fold(Fragment::new(key()), |mine, step| {
            write(&mine, &rules, update("ADD n :n", &n("1")), at(10 + step, origin))
        })
    });
    let view = fragments.reduce(Fragment::join).unwrap();
    assert_eq!(view.item(&rules), Some(item(&[("n", number("180"))])));
}

#[test]
fn numbers_of_38_digits() {
    let rules = Rules::from(CRDT);
    let add = |value: &str| update("ADD n :n", &n(value));
    let nines = "9".repeat(38);
    let view = concurrently(&rules, None, add(&nines), add("1"));
    assert_eq!(view.item(&rules), Some(item(&[("n", number("1e38"))])));
    // Together they do not fit: cut towards zero, until something is taken away.
    let view = concurrently(&rules, None, add("1e40"), add("1"));
    assert_eq!(view.item(&rules), Some(item(&[("n", number("1e40"))])));
    let view = write(&view, &rules, add("-1e40"), at(9, 0));
    assert_eq!(view.item(&rules), Some(item(&[("n", number("1"))])));
    // What an assignment has seen takes no digits from what is added later, not even at the same origin.
    let start = write(&Fragment::new(key()), &rules, add("1e40"), at(1, 0));
    let start = write(&start, &rules, update("SET n = :n", &n("0")), at(2, 0));
    let added = write(&start, &rules, add("1"), at(3, 0));
    let assigned = write(&start, &rules, update("SET n = :n", &n("5")), at(4, 1));
    assert_eq!(added.join(assigned).item(&rules), Some(item(&[("n", number("6"))])));
    // An origin's own sum may be full while the number is not.
    let start = write(&Fragment::new(key()), &rules, put(&[("n", number("-1e40"))]), at(1, 0));
    let full = write(&start, &rules, add("1e40"), at(2, 0));
    assert_eq!(write(&full, &rules, add("1"), at(3, 0)).item(&rules), Some(item(&[("n", number("1"))])));
}

#[test]
fn a_floor_is_safe_only_when_what_was_on_its_way_has_come() {
    let rules = Rules::from(CRDT);
    let start = write(&Fragment::new(key()), &rules, update("ADD n :n", &n("5")), at(1, 0));
    let removed = write(&start, &rules, update("REMOVE n", &[]), at(10, 1));
    // Written without knowing of the removal, by a clock that is ahead.
    let on_its_way = write(&start, &rules, update("ADD n :n", &n("3")), at(20, 0));
    let other = Effect::Update(vec![]);
    let next =
        |view: &Fragment, floor: u64| view.apply(&rules, &other, at(30, 1), Hlc::new(floor, 0)).unwrap();
    let shown = |view: &Fragment| view.item(&rules).unwrap().remove("n");
    let three = Some(number("3"));
    // The horizon is below the removal, or what was on its way has come.
    assert_eq!(shown(&next(&removed, 5).join(on_its_way.clone())), three);
    assert_eq!(shown(&next(&removed.clone().join(on_its_way.clone()), 15).join(on_its_way.clone())), three);
    // Everybody has applied the removal by now, but that is not enough: how much of the sum was removed has been forgotten.
    assert_ne!(shown(&next(&removed, 15).join(on_its_way)), three);
}
