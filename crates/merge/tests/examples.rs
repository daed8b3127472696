//! What a user of a table sees, pair by pair: the table of docs/conflicts.md.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::needless_pass_by_value, reason = "values read better where they are made in place")]

mod common;

use common::{concurrently, delete, item, map, n, number, put, text, texts, update};
use meridian_dynamo::write::WriteKind;
use meridian_dynamo::{AttributeValue, Item};
use meridian_merge::{Resolved, Rules};
use meridian_types::ConflictRule;

const LWW: ConflictRule = ConflictRule::Lww;
const MERGE: ConflictRule = ConflictRule::Merge;
const CRDT: ConflictRule = ConflictRule::Crdt;

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
