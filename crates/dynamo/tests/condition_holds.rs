//! Which items meet a condition.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Request, item};
use meridian_dynamo::Item;
use serde_json::json;

fn holds(text: &str) -> bool {
    let request = Request::new(json!({
        "#n": "n", "#dash": "da-sh", ":one": {"N": "1.0"}, ":ten": {"N": "1E1"}, ":a": {"S": "a"}, ":ab": {"S": "ab"},
        ":empty": {"S": ""}, ":bin": {"B": "AQI="}, ":byte": {"B": "Ag=="}, ":true": {"BOOL": true},
        ":null": {"NULL": true}, ":list": {"L": [{"N": "1"}, {"S": "x"}]}, ":map": {"M": {"k": {"N": "1.00"}}},
        ":ss": {"SS": ["b", "a"]}, ":ns": {"NS": ["2.0", "1"]}, ":two": {"N": "2"}, ":three": {"N": "3"},
        ":S": {"S": "S"}, ":N": {"S": "N"}, ":M": {"S": "M"}, ":NULL": {"S": "NULL"}
    }));
    let item = item(json!({
        "s": {"S": "abc"}, "n": {"N": "1"}, "b": {"B": "AQID"}, "t": {"BOOL": true}, "z": {"NULL": true},
        "l": {"L": [{"N": "1"}, {"S": "x"}]}, "m": {"M": {"k": {"N": "1"}, "deep": {"L": [{"M": {"x": {"S": "y"}}}]}}},
        "ss": {"SS": ["a", "b"]}, "ns": {"NS": ["1", "2"]}, "da-sh": {"S": "\u{1f600}é"}, "k": {"M": {"k": {"N": "1"}}}
    }));
    request.condition(text).unwrap().holds(&item)
}

#[test]
fn conditions_that_hold() {
    for text in [
        "n = :one",
        "n <> :ten",
        "n < :ten AND n <= :one AND :ten > n AND :one >= #n",
        "s > :ab",
        "b > :bin",
        "t = :true",
        "z = :null",
        "l = :list",
        "k = :map",
        "ss = :ss",
        "ns = :ns",
        "n BETWEEN :one AND :ten",
        "s BETWEEN :a AND s2 OR n IN (:ten, :one)",
        "n IN (absent, #n.x, :one)",
        "attribute_exists(m.deep[0].x)",
        "attribute_not_exists(m.deep[1].x)",
        "attribute_not_exists(n.x) AND attribute_not_exists(l.x) AND attribute_not_exists(m[0])",
        "attribute_type(s, :S) AND attribute_type(n, :N) AND attribute_type(m, :M) AND attribute_type(z, :NULL)",
        "begins_with(s, :ab)",
        "begins_with(s, :empty)",
        "begins_with(b, :bin)",
        "contains(s, :ab)",
        "contains(b, :byte)",
        "contains(ss, :a)",
        "contains(ns, :one)",
        "contains(l, :one)",
        "size(s) = :three AND size(b) = :three",
        "size(ss) = :two AND size(ns) = :two AND size(l) = :two AND size(m) = :two",
        "size(#dash) = :three",
        "size(:list) = :two",
        "( ( size ( s )) < :ten AND ( n < :ten ) )",
        // Nothing compared with something is only unequal.
        "absent <> :one",
        "NOT absent = :one",
        "absent <> absent2",
        // AND binds closer than OR, NOT closer than both.
        "n = :one OR n = :ten AND n = :ten",
        "NOT n = :ten AND n = :one",
        "NOT (n = :ten AND n = :one)",
        "not n = :ten aNd n = :one",
    ] {
        assert!(holds(text), "{text}");
    }
}

#[test]
fn conditions_that_do_not_hold() {
    for text in [
        "n = :a",
        "s < :one",
        "s >= :one",
        "absent = :one",
        "absent < :one",
        "absent = absent2",
        "absent BETWEEN :one AND :ten",
        "n BETWEEN absent AND :ten",
        "s BETWEEN :one AND :ten",
        "absent IN (:one)",
        "n IN (:a, absent)",
        "attribute_exists(absent)",
        "attribute_exists(l[2])",
        "attribute_type(absent, :S)",
        "attribute_type(n, :S)",
        "begins_with(n, :a)",
        "begins_with(s, :bin)",
        "begins_with(absent, :a)",
        "contains(n, :one)",
        "contains(ss, :ab)",
        "contains(l, :two)",
        "contains(m, :a)",
        "size(n) = :one",
        "size(t) < :ten",
        "size(absent) >= :one",
        "(n = :one OR n = :ten) AND n = :ten",
    ] {
        assert!(!holds(text), "{text}");
    }
}

#[test]
fn paths_are_shown_in_order() {
    let request = Request::new(json!({":v": {"N": "1"}, "#n": "x"}));
    let condition = request
        .condition("a.b = :v AND NOT (size(#n) < :v OR c IN (:v, d[1]) OR attribute_exists(e))")
        .unwrap();
    let mut paths = Vec::new();
    condition.visit_paths(&mut |path| paths.push(path.to_string()));
    assert_eq!(paths, ["[a, b]", "[x]", "[c]", "[d, [1]]", "[e]"]);
    assert!(!condition.holds(&Item::new()));
}
