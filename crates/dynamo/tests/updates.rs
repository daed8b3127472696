//! Update expressions: what they are refused with and what they do.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Request, item, on_small_stack, reason};
use meridian_dynamo::json::item_to_json;
use meridian_dynamo::{Item, KeyAttribute, KeyKind, TableSchema};
use serde_json::{Value, json};

fn request() -> Request {
    Request::new(json!({
        "#n": "n", "#a": "a", ":n": {"N": "5"}, ":s": {"S": "x"}, ":t": {"S": "t"}, ":l": {"L": [{"S": "p"}, {"S": "q"}]},
        ":e": {"L": []}, ":m": {"M": {"k": {"N": "1"}}}, ":ss": {"SS": ["b", "c"]}, ":ns": {"NS": ["1", "3"]},
        ":bs": {"BS": ["AQ=="]}, ":all": {"SS": ["a", "b", "c"]}, ":b": {"B": "AQ=="}, ":true": {"BOOL": true},
        ":big": {"N": "1e38"}, ":huge": {"N": "9e125"}
    }))
}

fn before() -> Item {
    item(json!({
        "pk": {"S": "k"}, "n": {"N": "1"}, "s": {"S": "old"}, "l": {"L": [{"N": "0"}, {"N": "1"}, {"N": "2"}]},
        "m": {"M": {"a": {"N": "7"}, "li": {"L": [{"M": {"x": {"S": "y"}}}]}}}, "ss": {"SS": ["a", "b"]},
        "ns": {"NS": ["1", "2"]}
    }))
}

fn refused(text: &str) -> String {
    reason(request().update(text))
}

/// The item after an update, as what is different: null for what is gone.
fn changes(text: &str) -> Value {
    let (before, after) = (before(), request().update(text).unwrap().apply(&before()).unwrap());
    let (before, after) = (item_to_json(&before), item_to_json(&after));
    let (before, after) = (before.as_object().unwrap(), after.as_object().unwrap());
    let gone =
        before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(*value));
    Value::Object(gone.chain(changed.map(|(name, value)| (name.clone(), value.clone()))).collect())
}

fn fails(text: &str) -> String {
    request().update(text).unwrap().apply(&before()).unwrap_err().to_string()
}

#[test]
fn syntax_errors() {
    for (text, token, near) in [
        ("  ", "<EOF>", "  "),
        ("a = :n", "a", "a ="),
        ("SET", "<EOF>", "SET"),
        ("SET a", "<EOF>", "a"),
        ("SET a :n", ":n", "a :n"),
        ("SET a = :n,", "<EOF>", ","),
        ("SET a = :n b = :n", "b", ":n b ="),
        ("SET a = b + c + d", "+", "c + d"),
        ("SET a = b * c", "*", "b * c"),
        ("SET a = 1", "1", "= 1"),
        ("SET a <> :n", "<>", "a <> :n"),
        ("SET a = if_not_exists(b, c + d)", "+", "c + d"),
        ("REMOVE a = :n", "=", "a = :n"),
        ("REMOVE :n", ":n", "REMOVE :n"),
        ("ADD a b", "b", "a b"),
        ("ADD a = :n", "=", "a = :n"),
        ("DELETE a", "<EOF>", "a"),
        ("ADD a (:n)", "(", "a (:n"),
        ("SET a = :n AND b = :n", "AND", ":n AND b"),
    ] {
        assert_eq!(refused(text), format!("Syntax error; token: \"{token}\", near: \"{near}\""), "{text}");
    }
}

#[test]
fn refusals_before_an_item_is_seen() {
    let section =
        |name: &str| format!("The \"{name}\" section can only be used once in an update expression;");
    let operand = |operator: &str, kind: &str| {
        format!(
            "Incorrect operand type for operator or function; operator or function: {operator}, operand type: {kind}"
        )
    };
    let action = |action: &str, kind: &str| {
        format!(
            "Incorrect operand type for operator or function; operator: {action}, operand type: {kind}, typeSet: \
             ALLOWED_FOR_{action}_OPERAND"
        )
    };
    let clash = |how: &str, one: &str, two: &str| {
        format!(
            "Two document paths {how} with each other; must remove or rewrite one of these paths; path one: {one}, path \
             two: {two}"
        )
    };
    for (text, message) in [
        ("", "The expression can not be empty;".into()),
        ("SET a = :n SET b = :n", section("SET")),
        ("REMOVE a DELETE b :ss REMOVE c", section("REMOVE")),
        ("SET name = :n", "Attribute name is a reserved keyword; reserved keyword: name".into()),
        ("SET a = foo(b)", "Invalid function name; function: foo".into()),
        ("SET a = size(b)", "The function is not allowed in an update expression; function: size".into()),
        (
            "SET a = if_not_exists(b)",
            "Incorrect number of operands for operator or function; operator or function: if_not_exists, number of \
             operands: 1"
                .into(),
        ),
        (
            "SET a = list_append(:l, :l, :l)",
            "Incorrect number of operands for operator or function; operator or function: list_append, number of \
             operands: 3"
                .into(),
        ),
        (
            "SET a = if_not_exists(:n, :n)",
            "Operator or function requires a document path; operator or function: if_not_exists".into(),
        ),
        (
            "SET a = if_not_exists(b, b)",
            "The first operand must be distinct from the remaining operands for this operator or function; operator: \
             if_not_exists, first operand: [b]"
                .into(),
        ),
        ("SET a = ((:n))", "The expression has redundant parentheses;".into()),
        ("SET #x = :n", "An expression attribute name used in the document path is not defined; attribute name: #x".into()),
        ("SET a = :x", "An expression attribute value used in expression is not defined; attribute value: :x".into()),
        ("SET a = b + :s", operand("+", "S")),
        ("SET a = :l - b", operand("-", "L")),
        ("SET a = list_append(b, :m)", operand("list_append", "M")),
        ("ADD a :s", action("ADD", "STRING")),
        ("ADD a :b", action("ADD", "Binary")),
        ("ADD a :l", action("ADD", "LIST")),
        ("DELETE a :n", action("DELETE", "NUMBER")),
        ("DELETE a :m", action("DELETE", "MAP")),
        ("DELETE a :true", action("DELETE", "BOOL")),
        ("SET a = :n, a = :n", clash("overlap", "[a]", "[a]")),
        ("SET a.b[1] = :n REMOVE a.b", clash("overlap", "[a, b, [1]]", "[a, b]")),
        ("SET #a.x = :n ADD a :n", clash("overlap", "[a, x]", "[a]")),
        ("REMOVE a[0], a.b", clash("conflict", "[a, [0]]", "[a, b]")),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
}

#[test]
fn set() {
    assert_eq!(changes("SET s = :s, t = :t"), json!({"s": {"S": "x"}, "t": {"S": "t"}}));
    assert_eq!(changes("set n = #n + :n"), json!({"n": {"N": "6"}}));
    assert_eq!(changes("SET n = :n - n"), json!({"n": {"N": "4"}}));
    assert_eq!(changes("SET n = (n - :n) + (:n + :n)"), json!({"n": {"N": "6"}}));
    assert_eq!(changes("SET n = if_not_exists(n, :n), t = if_not_exists(x.y, :n)"), json!({"t": {"N": "5"}}));
    assert_eq!(changes("SET n = if_not_exists(x, if_not_exists(n, :n)) + :n"), json!({"n": {"N": "6"}}));
    assert_eq!(
        changes("SET l = list_append(:l, l)"),
        json!({"l": {"L": [{"S": "p"}, {"S": "q"}, {"N": "0"}, {"N": "1"}, {"N": "2"}]}})
    );
    assert_eq!(
        changes("SET t = list_append(if_not_exists(x, :e), :l)"),
        json!({"t": {"L": [{"S": "p"}, {"S": "q"}]}})
    );
    // Everything is read from the item as it was.
    assert_eq!(changes("SET n = s, s = n"), json!({"n": {"S": "old"}, "s": {"N": "1"}}));
    assert_eq!(
        changes("SET m.li[0].x = :n, m.b = m.a REMOVE m.a"),
        json!({"m": {"M": {"b": {"N": "7"}, "li": {"L": [{"M": {"x": {"N": "5"}}}]}}}})
    );
}

#[test]
fn list_indexes() {
    assert_eq!(changes("SET l[1] = :s"), json!({"l": {"L": [{"N": "0"}, {"S": "x"}, {"N": "2"}]}}));
    // Behind the end appends, in the order of the indexes and without gaps.
    assert_eq!(
        changes("SET l[9] = :s, l[7] = :t, l[10] = :n"),
        json!({"l": {"L": [{"N": "0"}, {"N": "1"}, {"N": "2"}, {"S": "t"}, {"S": "x"}, {"N": "5"}]}})
    );
    assert_eq!(changes("REMOVE l[0], l[2]"), json!({"l": {"L": [{"N": "1"}]}}));
    assert_eq!(
        changes("REMOVE l[0] SET l[1] = :s, l[9] = :t"),
        json!({"l": {"L": [{"S": "x"}, {"N": "2"}, {"S": "t"}]}})
    );
    assert_eq!(changes("REMOVE l[5]"), json!({}));
    // What was not there is not removed even when something was appended in its place.
    assert_eq!(
        changes("SET l[8] = :s REMOVE l[3]"),
        json!({"l": {"L": [{"N": "0"}, {"N": "1"}, {"N": "2"}, {"S": "x"}]}})
    );
    assert_eq!(
        changes("ADD l[2] :n, l[7] :n SET l[5] = :s"),
        json!({"l": {"L": [{"N": "0"}, {"N": "1"}, {"N": "7"}, {"S": "x"}, {"N": "5"}]}})
    );
}

#[test]
fn remove_add_and_delete() {
    assert_eq!(
        changes("REMOVE s, x, m.a, m.x"),
        json!({"s": null, "m": {"M": {"li": {"L": [{"M": {"x": {"S": "y"}}}]}}}})
    );
    assert_eq!(
        changes("ADD n :n, x :n, y :ss"),
        json!({"n": {"N": "6"}, "x": {"N": "5"}, "y": {"SS": ["b", "c"]}})
    );
    assert_eq!(
        changes("ADD ss :ss, ns :ns"),
        json!({"ss": {"SS": ["a", "b", "c"]}, "ns": {"NS": ["1", "2", "3"]}})
    );
    assert_eq!(changes("ADD m.a :n, m.c :bs")["m"]["M"]["a"], json!({"N": "12"}));
    assert_eq!(changes("DELETE ss :ss, ns :ns, x :bs"), json!({"ss": {"SS": ["a"]}, "ns": {"NS": ["2"]}}));
    assert_eq!(changes("DELETE ss :all"), json!({"ss": null}));
}

#[test]
fn failures_leave_words() {
    const PATH: &str = "The document path provided in the update expression is invalid for update";
    const MISSING: &str = "The provided expression refers to an attribute that does not exist in the item";
    const TYPE: &str = "An operand in the update expression has an incorrect data type";
    for (text, message) in [
        ("SET x.y = :n", PATH),
        ("SET s.y = :n", PATH),
        ("SET s[0] = :n", PATH),
        ("SET l.y = :n", PATH),
        ("SET m[0] = :n", PATH),
        ("SET l[3].y = :n", PATH),
        ("REMOVE x.y", PATH),
        ("REMOVE l[9].x", PATH),
        ("ADD x.y :n", PATH),
        ("DELETE x.y :ss", PATH),
        ("SET t = x", MISSING),
        ("SET t = l[3]", MISSING),
        ("SET t = x + :n", MISSING),
        ("SET t = list_append(x, :l)", MISSING),
        ("SET t = s + :n", TYPE),
        ("SET t = list_append(l, m)", TYPE),
        ("SET t = if_not_exists(s, :n) - :n", TYPE),
        ("ADD s :n", TYPE),
        ("ADD n :ss", TYPE),
        ("ADD ss :ns", TYPE),
        ("DELETE ns :ss", TYPE),
        ("DELETE s :ss", TYPE),
        ("ADD s :n SET x.y = :n", TYPE),
        ("SET n = n + :big", "Attempting to store more than 38 significant digits in a Number"),
        (
            "SET n = :huge + :huge",
            "Number overflow. Attempting to store a number with magnitude larger than supported range",
        ),
    ] {
        assert_eq!(fails(text), message, "{text}");
    }
}

#[test]
fn touched_places_are_shown_before_and_after() {
    let update =
        request().update("SET m.li[0].x = :n, t = :s REMOVE l[0], s ADD n :n DELETE ss :all").unwrap();
    let targets: Vec<String> = update.targets().into_iter().map(ToString::to_string).collect();
    assert_eq!(targets, ["[m, li, [0], x]", "[t]", "[l, [0]]", "[s]", "[n]", "[ss]"]);
    let after = update.apply(&before()).unwrap();
    assert_eq!(
        item_to_json(&update.touched(&before())),
        json!({
            "m": {"M": {"li": {"L": [{"M": {"x": {"S": "y"}}}]}}}, "l": {"L": [{"N": "0"}]}, "s": {"S": "old"},
            "n": {"N": "1"}, "ss": {"SS": ["a", "b"]}
        })
    );
    assert_eq!(
        item_to_json(&update.touched(&after)),
        json!({
            "m": {"M": {"li": {"L": [{"M": {"x": {"N": "5"}}}]}}}, "t": {"S": "x"}, "l": {"L": [{"N": "1"}]},
            "n": {"N": "6"}
        })
    );
}

#[test]
fn keys_are_not_updated() {
    let schema = TableSchema { partition: KeyAttribute { name: "pk".into(), kind: KeyKind::S }, sort: None };
    let refused = |text: &str| request().update(text).unwrap().check_keys(&schema).unwrap_err().to_string();
    for text in ["SET pk = :s", "SET a = :s REMOVE pk", "ADD pk :n", "DELETE pk.x :ss"] {
        assert_eq!(
            refused(text),
            "One or more parameter values were invalid: Cannot update attribute pk. This attribute is part of the key"
        );
    }
    assert_eq!(request().update("SET a = pk").unwrap().check_keys(&schema), Ok(()));
}

#[test]
fn depth_and_operators_are_bounded() {
    on_small_stack(|| {
        let nested =
            |times: usize| format!("SET a = {}b{}", "list_append(".repeat(times), ",l)".repeat(times));
        let update = request().update(&nested(250)).unwrap();
        assert!(update.apply(&before()).is_err());
        let bytes = postcard::to_allocvec(&update).unwrap();
        assert_eq!(postcard::from_bytes(&bytes), Ok(update));
        let sums = |times: usize| format!("SET a = {}n{}", "(n+".repeat(times), ")".repeat(times));
        assert!(request().update(&sums(300)).unwrap().apply(&before()).is_ok());
        assert_eq!(refused(&sums(301)), "The expression contains too many operators; operator count: 301");
        assert_eq!(refused(&sums(1000)), "The expression contains too many operators; operator count: 1000");
        assert_eq!(
            refused(&format!("SET a = {}", "(".repeat(4000))),
            "Syntax error; token: \"(\", near: \"(((\""
        );
        assert_eq!(
            refused(&format!("SET a = {}:n{}", "(".repeat(2000), ")".repeat(2000))),
            "The expression has redundant parentheses;"
        );
    });
}
