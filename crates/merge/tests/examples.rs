//! What a user of a table sees, pair by pair: the table of docs/conflicts.md.

mod common;

use common::{at, item, key, map, number, schema, text, texts, update_of};
use meridian_dynamo::write::{ReturnValues, WriteKind, WriteOp};
use meridian_dynamo::{AttributeValue, Item};
use meridian_merge::{AttributeRule, Fragment, Resolved, Rules, Stamp};
use meridian_types::{ConflictRule, Hlc, TableName};

const LWW: ConflictRule = ConflictRule::Lww;
const MERGE: ConflictRule = ConflictRule::Merge;
const CRDT: ConflictRule = ConflictRule::Crdt;

fn put(attributes: &[(&str, AttributeValue)]) -> WriteKind {
    WriteKind::Put { item: item(attributes) }
}

fn delete() -> WriteKind {
    WriteKind::Delete { key: key() }
}

fn update(expression: &str, values: &[(&str, AttributeValue)]) -> WriteKind {
    WriteKind::Update { key: key(), update: update_of(expression, values) }
}

fn write(view: &Fragment, rules: &Rules, kind: WriteKind, stamp: Stamp) -> Fragment {
    let op = WriteOp {
        table: TableName::new("items").unwrap(),
        kind,
        condition: None,
        return_values: ReturnValues::None,
        return_on_failure: false,
    };
    view.write(rules, &schema(), &op, stamp, Hlc::default()).unwrap().fragment.unwrap()
}

/// The view once two regions have written without knowing of each other, on what a third one had put.
fn concurrently(rules: &Rules, before: Option<WriteKind>, earlier: WriteKind, later: WriteKind) -> Fragment {
    let empty = Fragment::new(key());
    let start = before.map_or(empty.clone(), |kind| write(&empty, rules, kind, at(1, 0)));
    let first = write(&start, rules, earlier, at(2, 1));
    let second = write(&start, rules, later, at(3, 2));
    let view = first.clone().join(second.clone());
    assert_eq!(view, second.join(first).join(start));
    view
}

/// What is shown, and the paths of conflicts and of lost writes.
type Seen = (Option<Item>, Vec<String>, Vec<String>);

fn seen(resolved: Resolved) -> Seen {
    let paths = |all: Vec<meridian_merge::Conflict>| all.iter().map(|one| one.path.join(".")).collect();
    (resolved.item, paths(resolved.conflicts), paths(resolved.lost))
}

/// Attributes shown (none: no item), paths in conflict, paths of lost writes.
type Wanted<'a> = (Option<&'a [(&'a str, AttributeValue)]>, &'a [&'a str], &'a [&'a str]);

fn check(
    name: &str,
    before: Option<WriteKind>,
    earlier: WriteKind,
    later: WriteKind,
    wanted: [(ConflictRule, Wanted<'_>); 3],
) {
    for (rule, (shown, conflicts, lost)) in wanted {
        let rules = Rules::from(rule);
        let view = concurrently(&rules, before.clone(), earlier.clone(), later.clone());
        let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        let wanted: Seen = (shown.map(item), owned(conflicts), owned(lost));
        assert_eq!(seen(view.resolve(&rules)), wanted, "{name}, {rule}");
    }
}

fn n(value: &str) -> [(&'static str, AttributeValue); 1] {
    [(":n", number(value))]
}

fn set(members: &[&str]) -> [(&'static str, AttributeValue); 1] {
    [(":s", texts(members))]
}

#[test]
fn assignments_and_removals() {
    let (one, two) = (number("1"), number("2"));
    let start = || Some(put(&[("a", number("0")), ("z", text("z"))]));
    let z = ("z", text("z"));
    let set_one = || update("SET a = :n", &n("1"));
    let set_two = || update("SET a = :n", &n("2"));
    let remove = || update("REMOVE a", &[]);
    let both = [("a", two.clone()), z.clone()];
    check(
        "two assignments",
        start(),
        set_one(),
        set_two(),
        [
            (LWW, (Some(&both), &[], &["a"])),
            (MERGE, (Some(&both), &["a"], &[])),
            (CRDT, (Some(&both), &[], &["a"])),
        ],
    );
    let different = [("a", one.clone()), ("b", two.clone()), z.clone()];
    let different: Wanted<'_> = (Some(&different), &[], &[]);
    check(
        "different attributes",
        start(),
        set_one(),
        update("SET b = :n", &n("2")),
        [(LWW, different), (MERGE, different), (CRDT, different)],
    );
    let gone = [z.clone()];
    check(
        "an assignment and a later removal",
        start(),
        set_one(),
        remove(),
        [
            (LWW, (Some(&gone), &[], &["a"])),
            (MERGE, (Some(&gone), &["a"], &[])),
            (CRDT, (Some(&gone), &[], &["a"])),
        ],
    );
    let agreed: Wanted<'_> = (Some(&gone), &[], &[]);
    check("two removals", start(), remove(), remove(), [(LWW, agreed), (MERGE, agreed), (CRDT, agreed)]);
    check(
        "a removal and a later assignment",
        start(),
        remove(),
        set_two(),
        [
            (LWW, (Some(&both), &[], &["a"])),
            (MERGE, (Some(&both), &["a"], &[])),
            (CRDT, (Some(&both), &[], &["a"])),
        ],
    );
}

#[test]
fn puts_and_updates() {
    let (one, two) = (number("1"), number("2"));
    let start = || Some(put(&[("a", number("0")), ("z", text("z"))]));
    let later = [("b", two.clone())];
    let union = [("a", one.clone()), ("b", two.clone())];
    check(
        "two puts of a new item",
        None,
        put(&[("a", one.clone())]),
        put(&[("b", two.clone())]),
        [
            (LWW, (Some(&later), &[], &["a"])),
            (MERGE, (Some(&union), &[""], &[])),
            (CRDT, (Some(&union), &[], &[])),
        ],
    );
    check(
        "two puts that take the same away",
        start(),
        put(&[("a", one.clone())]),
        put(&[("b", two.clone())]),
        [
            (LWW, (Some(&later), &[], &["a"])),
            // The later one took `a` away. Both took `z`, and agree.
            (MERGE, (Some(&later), &["", "a"], &[])),
            (CRDT, (Some(&union), &[], &[])),
        ],
    );
    let added = [("a", two.clone()), ("b", one.clone())];
    check(
        "a put and a later update of what it takes away",
        start(),
        put(&[("b", one.clone())]),
        update("SET a = :n", &n("2")),
        [
            (LWW, (Some(&added), &[], &[])),
            (MERGE, (Some(&added), &["", "a"], &[])),
            (CRDT, (Some(&added), &[], &[])),
        ],
    );
    check(
        "an update and a later put that takes it away",
        start(),
        update("SET a = :n", &n("1")),
        put(&[("b", two.clone())]),
        [
            (LWW, (Some(&later), &[], &["a"])),
            (MERGE, (Some(&later), &["", "a"], &[])),
            (CRDT, (Some(&union), &[], &[])),
        ],
    );
    let survives = [("b", two.clone()), ("c", one.clone())];
    check(
        "an update of something new and a later put",
        start(),
        update("SET c = :n", &n("1")),
        put(&[("b", two.clone())]),
        [
            (LWW, (Some(&later), &[], &["c"])),
            (MERGE, (Some(&survives), &[""], &[])),
            (CRDT, (Some(&survives), &[], &[])),
        ],
    );
}

#[test]
fn deletes() {
    let (one, two) = (number("1"), number("2"));
    let start = || Some(put(&[("a", number("0")), ("z", text("z"))]));
    let updated = [("a", two.clone())];
    check(
        "a delete and a later update",
        start(),
        delete(),
        update("SET a = :n", &n("2")),
        [
            (LWW, (Some(&updated), &[], &[])),
            (MERGE, (Some(&updated), &[""], &[])),
            (CRDT, (Some(&updated), &[], &[])),
        ],
    );
    let survives = [("a", one.clone())];
    check(
        "an update and a later delete",
        start(),
        update("SET a = :n", &n("1")),
        delete(),
        [(LWW, (None, &[], &["a"])), (MERGE, (None, &[""], &[])), (CRDT, (Some(&survives), &[], &[]))],
    );
    check(
        "a put and a later delete",
        start(),
        put(&[("a", one.clone())]),
        delete(),
        [(LWW, (None, &[], &["a"])), (MERGE, (None, &[""], &[])), (CRDT, (Some(&survives), &[], &[]))],
    );
    let whole = [("a", two.clone())];
    check(
        "a delete and a later put",
        start(),
        delete(),
        put(&[("a", two.clone())]),
        [
            (LWW, (Some(&whole), &[], &[])),
            (MERGE, (Some(&whole), &[""], &[])),
            (CRDT, (Some(&whole), &[], &[])),
        ],
    );
    let gone: Wanted<'_> = (None, &[], &[]);
    check("two deletes", start(), delete(), delete(), [(LWW, gone), (MERGE, gone), (CRDT, gone)]);
}

#[test]
fn counters() {
    let ten = || Some(put(&[("n", number("10"))]));
    let by = |value: &str| update("ADD n :n", &n(value));
    let (eleven, twelve, thirteen) = ([("n", number("11"))], [("n", number("12"))], [("n", number("13"))]);
    let by_set = || update("SET n = n + :n", &n("1"));
    for (earlier, later) in
        [(by("1"), by("2")), (by_set(), by("2")), (by_set(), update("SET n = n - :n", &n("-2")))]
    {
        check(
            "two additions",
            ten(),
            earlier,
            later,
            [
                (LWW, (Some(&twelve), &[], &["n"])),
                (MERGE, (Some(&twelve), &["n"], &[])),
                (CRDT, (Some(&thirteen), &[], &[])),
            ],
        );
    }
    let begun = [("n", number("1"))];
    let start = |value: &str| {
        update("SET n = if_not_exists(n, :z) + :n", &[(":n", number(value)), (":z", number("0"))])
    };
    let three = [("n", number("3"))];
    let two = [("n", number("2"))];
    check(
        "two that begin",
        None,
        start("1"),
        start("2"),
        [
            (LWW, (Some(&two), &[], &["n"])),
            (MERGE, (Some(&two), &["n"], &[])),
            (CRDT, (Some(&three), &[], &[])),
        ],
    );
    let (five, six) = ([("n", number("5"))], [("n", number("6"))]);
    check(
        "an addition and a later assignment",
        ten(),
        by("1"),
        update("SET n = :n", &n("5")),
        [
            (LWW, (Some(&five), &[], &["n"])),
            (MERGE, (Some(&five), &["n"], &[])),
            (CRDT, (Some(&six), &[], &[])),
        ],
    );
    check(
        "an assignment and a later addition",
        ten(),
        update("SET n = :n", &n("5")),
        by("1"),
        [
            (LWW, (Some(&eleven), &[], &["n"])),
            (MERGE, (Some(&eleven), &["n"], &[])),
            (CRDT, (Some(&six), &[], &[])),
        ],
    );
    check(
        "an addition and a later removal",
        ten(),
        by("1"),
        update("REMOVE n", &[]),
        [
            (LWW, (Some(&[]), &[], &["n"])),
            (MERGE, (Some(&[]), &["n"], &[])),
            (CRDT, (Some(&begun), &[], &[])),
        ],
    );
    for gone in [delete(), put(&[])] {
        let (shown, conflict): (Option<&[_]>, &[&str]) =
            if gone == delete() { (None, &[""]) } else { (Some(&[]), &["", "n"]) };
        check(
            "an addition and a later delete or put",
            ten(),
            by("1"),
            gone,
            [(LWW, (shown, &[], &["n"])), (MERGE, (shown, conflict, &[])), (CRDT, (Some(&begun), &[], &[]))],
        );
    }
}

#[test]
fn sets() {
    let start = || Some(put(&[("s", texts(&["a", "b"]))]));
    let s = |members: &[&str]| [("s", texts(members))];
    let (add, take) = (
        |members: &[&str]| update("ADD s :s", &set(members)),
        |members: &[&str]| update("DELETE s :s", &set(members)),
    );
    let cases = [
        ("two additions", add(&["x"]), add(&["y"]), s(&["a", "b", "y"]), s(&["a", "b", "x", "y"])),
        ("an addition and a later deletion", add(&["a"]), take(&["a"]), s(&["b"]), s(&["a", "b"])),
        ("a deletion and a later addition", take(&["a"]), add(&["a"]), s(&["a", "b"]), s(&["a", "b"])),
        ("an addition and a later deletion of others", add(&["x"]), take(&["a"]), s(&["b"]), s(&["b", "x"])),
        (
            "an assignment and a later addition",
            update("SET s = :s", &set(&["q"])),
            add(&["x"]),
            s(&["a", "b", "x"]),
            s(&["q", "x"]),
        ),
        (
            "a deletion and a later assignment",
            take(&["a"]),
            update("SET s = :s", &set(&["a", "q"])),
            s(&["a", "q"]),
            s(&["a", "q"]),
        ),
        ("an addition and a later removal", add(&["x"]), update("REMOVE s", &[]), s(&[]), s(&["x"])),
    ];
    for (name, earlier, later, whole, merged) in cases {
        let whole: &[_] = if whole == s(&[]) { &[] } else { &whole };
        check(
            name,
            start(),
            earlier,
            later,
            [
                (LWW, (Some(whole), &[], &["s"])),
                (MERGE, (Some(whole), &["s"], &[])),
                (CRDT, (Some(&merged), &[], &[])),
            ],
        );
    }
    let gone: &[(&str, AttributeValue)] = &[];
    let (a, b) = ([("s", texts(&["a"]))], gone);
    check(
        "two deletions",
        start(),
        take(&["a"]),
        take(&["b"]),
        [(LWW, (Some(&a), &[], &["s"])), (MERGE, (Some(&a), &["s"], &[])), (CRDT, (Some(b), &[], &[]))],
    );
}

#[test]
fn maps_and_lists() {
    let start = || Some(put(&[("m", map(&[("x", number("0")), ("n", number("0"))]))]));
    let m = |members: &[(&str, AttributeValue)]| [("m", map(members))];
    let (x, y) = (update("SET m.x = :n", &n("1")), update("SET m.y = :n", &n("2")));
    let later = m(&[("x", number("0")), ("n", number("0")), ("y", number("2"))]);
    let both = m(&[("x", number("1")), ("n", number("0")), ("y", number("2"))]);
    check(
        "different members",
        start(),
        x.clone(),
        y,
        [
            (LWW, (Some(&later), &[], &["m"])),
            (MERGE, (Some(&later), &["m"], &[])),
            (CRDT, (Some(&both), &[], &[])),
        ],
    );
    let other = update("SET m.x = :n ADD m.n :n", &n("2"));
    let later = m(&[("x", number("2")), ("n", number("2"))]);
    let merged = m(&[("x", number("2")), ("n", number("3"))]);
    check(
        "one member twice, a counter inside",
        start(),
        update("SET m.x = :n ADD m.n :n", &n("1")),
        other,
        [
            (LWW, (Some(&later), &[], &["m"])),
            (MERGE, (Some(&later), &["m"], &[])),
            (CRDT, (Some(&merged), &[], &["m.x"])),
        ],
    );
    let assigned = update("SET m = :m", &[(":m", map(&[("q", text("q"))]))]);
    let later = m(&[("q", text("q"))]);
    let merged = m(&[("q", text("q")), ("x", number("1"))]);
    check(
        "a member and a later assignment of the map",
        start(),
        x.clone(),
        assigned,
        [
            (LWW, (Some(&later), &[], &["m"])),
            (MERGE, (Some(&later), &["m"], &[])),
            (CRDT, (Some(&merged), &[], &[])),
        ],
    );
    let left = m(&[("x", number("1"))]);
    check(
        "a member and a later removal of the map",
        start(),
        x,
        update("REMOVE m", &[]),
        [(LWW, (Some(&[]), &[], &["m"])), (MERGE, (Some(&[]), &["m"], &[])), (CRDT, (Some(&left), &[], &[]))],
    );
    let list = |a: &str, b: &str| AttributeValue::L(vec![text(a), text(b)]);
    let changed = [("l", list("a", "y"))];
    check(
        "different elements of a list",
        Some(put(&[("l", list("a", "b"))])),
        update("SET l[0] = :v", &[(":v", text("x"))]),
        update("SET l[1] = :v", &[(":v", text("y"))]),
        [
            (LWW, (Some(&changed), &[], &["l"])),
            (MERGE, (Some(&changed), &["l"], &[])),
            (CRDT, (Some(&changed), &[], &["l"])),
        ],
    );
}

#[test]
fn types_that_do_not_fit() {
    let ten = || Some(put(&[("n", number("10"))]));
    let (word, eleven) = ([("n", text("w"))], [("n", number("11"))]);
    let to_text = || update("SET n = :v", &[(":v", text("w"))]);
    let add = || update("ADD n :n", &n("1"));
    check(
        "an addition to what is a text by then",
        ten(),
        add(),
        to_text(),
        [
            (LWW, (Some(&word), &[], &["n"])),
            (MERGE, (Some(&word), &["n"], &[])),
            (CRDT, (Some(&word), &[], &["n"])),
        ],
    );
    check(
        "a text, and a later addition to the number it was",
        ten(),
        to_text(),
        add(),
        // The newest assignment says what the attribute is: an addition is none.
        [
            (LWW, (Some(&eleven), &[], &["n"])),
            (MERGE, (Some(&eleven), &["n"], &[])),
            (CRDT, (Some(&word), &[], &["n"])),
        ],
    );
    let members = [("n", texts(&["x"]))];
    check(
        "a number and a later set where nothing was",
        None,
        add(),
        update("ADD n :s", &set(&["x"])),
        [
            (LWW, (Some(&members), &[], &["n"])),
            (MERGE, (Some(&members), &["n"], &[])),
            (CRDT, (Some(&members), &[], &["n"])),
        ],
    );
    let scalar = [("m", number("1"))];
    check(
        "a map inside, and a later scalar in its place",
        Some(put(&[("m", map(&[]))])),
        update("SET m.x = :n", &n("1")),
        update("SET m = :n", &n("1")),
        [
            (LWW, (Some(&scalar), &[], &["m"])),
            (MERGE, (Some(&scalar), &["m"], &[])),
            (CRDT, (Some(&scalar), &[], &["m"])),
        ],
    );
}

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
    assert_eq!(seen(view.resolve(&rules)), (None, vec![String::new()], vec![]));
    let settled = write(&view, &rules, delete(), at(9, 0));
    assert_eq!(seen(settled.resolve(&rules)), (None, vec![], vec![]));
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
