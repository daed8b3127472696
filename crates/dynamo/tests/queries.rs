//! Projection and key condition expressions.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Request, item, reason};
use core::ops::Bound;
use meridian_dynamo::expr::{KeyRange, parse_key_condition};
use meridian_dynamo::json::item_to_json;
use meridian_dynamo::key::encode_key_value;
use meridian_dynamo::{AttributeValue, DynamoError, KeyAttribute, KeyKind, TableSchema};
use serde_json::{Value, json};

fn shown(text: &str) -> Value {
    let item = item(json!({
        "a": {"S": "x"}, "l": {"L": [{"N": "0"}, {"M": {"p": {"N": "1"}, "q": {"N": "2"}}}, {"N": "2"}]},
        "m": {"M": {"k": {"M": {"x": {"S": "1"}, "y": {"S": "2"}}}, "e": {"M": {}}}}
    }));
    let request = Request::new(json!({"#m": "m"}));
    item_to_json(&request.projection(text).unwrap().apply(&item))
}

#[test]
fn projections_show_parts() {
    assert_eq!(shown("a, absent"), json!({"a": {"S": "x"}}));
    assert_eq!(shown("#m.k.y"), json!({"m": {"M": {"k": {"M": {"y": {"S": "2"}}}}}}));
    assert_eq!(shown("l[2], l[0]"), json!({"l": {"L": [{"N": "0"}, {"N": "2"}]}}));
    assert_eq!(
        shown("l[1].q, l[1].p, l[9]"),
        json!({"l": {"L": [{"M": {"p": {"N": "1"}, "q": {"N": "2"}}}]}})
    );
    assert_eq!(shown("m.e"), json!({"m": {"M": {"e": {"M": {}}}}}));
    for nothing in ["absent", "a.b", "a[0]", "l.x", "m[0]", "m.k.z", "l[0].x", "l[7].x"] {
        assert_eq!(shown(nothing), json!({}), "{nothing}");
    }
}

#[test]
fn projections_are_refused() {
    let refused = |text: &str| reason(Request::new(json!({"#a": "a"})).projection(text));
    for (text, message) in [
        ("", "The expression can not be empty;"),
        (" ", "Syntax error; token: \"<EOF>\", near: \" \""),
        ("b, ", "Syntax error; token: \"<EOF>\", near: \",\""),
        ("b c", "Syntax error; token: \"c\", near: \"b c\""),
        ("b, :v", "Syntax error; token: \":v\", near: \", :v\""),
        ("(b)", "Syntax error; token: \"(\", near: \"(b\""),
        ("year", "Attribute name is a reserved keyword; reserved keyword: year"),
        ("#b", "An expression attribute name used in the document path is not defined; attribute name: #b"),
        (
            "b, #a, a.c",
            "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path \
             two: [a, c]",
        ),
        (
            "a.c, b, a[0]",
            "Two document paths conflict with each other; must remove or rewrite one of these paths; path one: [a, c], \
             path two: [a, [0]]",
        ),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
    let many = vec!["x"; 1365].join(", ").replace("x, x", "x");
    assert!(refused(&many).starts_with("Two document paths overlap"));
}

fn schema(kind: KeyKind) -> TableSchema {
    TableSchema {
        partition: KeyAttribute { name: "pk".into(), kind: KeyKind::S },
        sort: Some(KeyAttribute { name: "sk".into(), kind }),
    }
}

fn range(kind: KeyKind, text: &str) -> Result<KeyRange, DynamoError> {
    let values = json!({
        "#s": "sk", ":p": {"S": "p"}, ":a": {"S": "ab"}, ":c": {"S": "cd"}, ":e": {"S": ""}, ":1": {"N": "1"},
        ":2": {"N": "2"}, ":l": {"L": []}, ":ff": {"B": "Af//"}, ":max": {"B": "//8="}
    });
    let request = Request::new(values);
    parse_key_condition(text, &mut request.placeholders())?.bind(&schema(kind))
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn number(value: u64) -> Vec<u8> {
    encode_key_value(&AttributeValue::N(value.into())).unwrap()
}

#[test]
fn key_conditions_become_ranges() {
    use Bound::{Excluded, Included, Unbounded};
    use KeyKind::{B, N, S};
    for (kind, text, lower, upper) in [
        (S, "pk = :p", Unbounded, Unbounded),
        (S, "(:p = pk)", Unbounded, Unbounded),
        (S, "pk = :p AND #s = :a", Included(bytes("ab")), Included(bytes("ab"))),
        (S, "(sk < :a) AND (pk = :p)", Unbounded, Excluded(bytes("ab"))),
        (S, "pk = :p AND :a >= sk", Unbounded, Included(bytes("ab"))),
        (N, "(pk = :p AND sk > :1)", Excluded(number(1)), Unbounded),
        (N, "pk = :p AND sk >= :1", Included(number(1)), Unbounded),
        (N, "pk = :p AND sk BETWEEN :1 AND :2", Included(number(1)), Included(number(2))),
        (S, "begins_with(sk, :a) AND pk = :p", Included(bytes("ab")), Excluded(bytes("ac"))),
        (B, "pk = :p AND begins_with(sk, :ff)", Included(vec![1, 255, 255]), Excluded(vec![2])),
        (B, "pk = :p AND begins_with(sk, :max)", Included(vec![255, 255]), Unbounded),
    ] {
        let range = range(kind, text).unwrap();
        assert_eq!(
            (range.partition.as_slice(), range.lower, range.upper),
            (&b"p"[..], lower, upper),
            "{text}"
        );
    }
}

#[test]
fn ranges_contain_what_the_condition_says() {
    let range = range(KeyKind::S, "pk = :p AND begins_with(sk, :a)").unwrap();
    for (sort, inside) in
        [("ab", true), ("abz", true), ("aa", false), ("ac", false), ("a", false), ("", false)]
    {
        assert_eq!(range.contains(sort.as_bytes()), inside, "{sort}");
    }
}

#[test]
fn key_conditions_are_refused() {
    use KeyKind::{N, S};
    let invalid = |reason: &str| format!("Invalid KeyConditionExpression: {reason}");
    for (kind, text, message) in [
        (S, "", invalid("The expression can not be empty;")),
        (S, "pk", invalid("Syntax error; token: \"<EOF>\", near: \"pk\"")),
        (S, "pk = :p OR sk = :a", "Invalid operator used in KeyConditionExpression: OR".into()),
        (S, "NOT pk = :p", "Invalid operator used in KeyConditionExpression: NOT".into()),
        (S, "pk = :p AND (sk <> :a)", "Invalid operator used in KeyConditionExpression: <>".into()),
        (S, "pk IN (:p)", "Invalid operator used in KeyConditionExpression: IN".into()),
        (S, "contains(pk, :p)", "Invalid operator used in KeyConditionExpression: contains".into()),
        (S, "pk = :p AND size(sk) = :1", invalid("KeyConditionExpressions cannot contain nested operations")),
        (S, "pk = :p AND sk = xs", invalid("KeyConditionExpressions cannot contain nested operations")),
        (S, "pk = :p AND sk.x = :a", invalid("KeyConditionExpressions cannot have conditions on nested attributes")),
        (
            S,
            "pk = :p AND sk > :a AND sk < :c",
            invalid("KeyConditionExpressions must only contain one condition per key"),
        ),
        (
            S,
            "pk = :p AND sk > :a AND xs < :c",
            "The number of query conditions (3) exceeds the number of key attributes defined in the schema (2)".into(),
        ),
        (S, "pk > :p", "Query key condition not supported".into()),
        (S, "sk = :a", "Query condition missed key schema element: pk".into()),
        (S, "pk = :p AND xs = :a", "Query condition missed key schema element: sk".into()),
        (
            S,
            "pk = :p AND sk > :l",
            invalid("Incorrect operand type for operator or function; operator or function: >, operand type: L"),
        ),
        (
            N,
            "pk = :p AND sk = :a",
            "One or more parameter values were invalid: Condition parameter type does not match schema type".into(),
        ),
        (
            S,
            "pk = :e",
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty \
             string value. Key: pk"
                .into(),
        ),
    ] {
        assert_eq!(range(kind, text).unwrap_err().to_string(), message, "{text}");
    }
}
