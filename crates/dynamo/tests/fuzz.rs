//! Random and grammar-shaped input: whatever comes in, there is an answer, and it is the same in all ways to get it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::arbitrary::{item, value};
use meridian_dynamo::expr::{
    ExpressionKind, Placeholders, parse_condition, parse_key_condition, parse_projection, parse_update,
};
use meridian_dynamo::json::body::parse_body;
use meridian_dynamo::json::{item_from_json, item_to_json};
use meridian_dynamo::number::order;
use meridian_dynamo::{AttributeValue, DynamoError, Item, KeyAttribute, KeyKind, Number, TableSchema};
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;

const WORDS: [&str; 60] = [
    "a",
    "b",
    "c",
    "d",
    "#n",
    "#m",
    ":v",
    ":w",
    ":x",
    ":y",
    "a.b",
    "b[0]",
    "c.d[1].a",
    "=",
    "<>",
    "<",
    "<=",
    ">",
    ">=",
    "+",
    "-",
    "(",
    ")",
    "[",
    "]",
    ".",
    ",",
    "0",
    "12",
    "2147483648",
    "AND",
    "or",
    "NOT",
    "Between",
    "IN",
    "SET",
    "set",
    "REMOVE",
    "ADD",
    "DELETE",
    "attribute_exists(",
    "attribute_not_exists(",
    "attribute_type(",
    "begins_with(",
    "contains(",
    "size(",
    "if_not_exists(",
    "list_append(",
    "unknown(",
    "status",
    "!",
    "é",
    "\u{a0}",
    "#",
    ":",
    "'",
    "\\",
    "\u{0}",
    "pk",
    "sk",
];

/// Words in any order: mostly nonsense.
fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec((select(&WORDS[..]), select(&["", " ", "\n"][..])), 0..24)
        .prop_map(|words| words.into_iter().flat_map(|(word, space)| [word, space]).collect())
}

fn path() -> impl Strategy<Value = String> {
    let step = prop_oneof![
        "[a-d]".prop_map(|name| format!(".{name}")),
        (0..3u8).prop_map(|index| format!("[{index}]"))
    ];
    (select(&["a", "b", "#n", "#m"][..]), prop::collection::vec(step, 0..3))
        .prop_map(|(root, steps)| format!("{root}{}", steps.concat()))
}

fn operand() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => path(),
        3 => select(&[":v", ":w", ":x", ":y"][..]).prop_map(String::from),
        1 => path().prop_map(|path| format!("size({path})")),
        1 => path().prop_map(|path| format!("({path})")),
    ]
}

/// Conditions of the right shape, whose operands may still not fit.
fn condition() -> impl Strategy<Value = String> {
    let test = prop_oneof![
        (operand(), select(&["=", "<>", "<", "<=", ">", ">="][..]), operand())
            .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        (operand(), operand(), operand()).prop_map(|(a, b, c)| format!("{a} BETWEEN {b} AND {c}")),
        (operand(), prop::collection::vec(operand(), 1..4))
            .prop_map(|(a, rest)| format!("{a} IN ({})", rest.join(", "))),
        (select(&["attribute_exists", "attribute_not_exists"][..]), path())
            .prop_map(|(f, a)| format!("{f}({a})")),
        (select(&["begins_with", "contains", "attribute_type"][..]), operand(), operand())
            .prop_map(|(f, a, b)| format!("{f}({a}, {b})")),
    ];
    test.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|c| format!("NOT {c}")),
            inner.clone().prop_map(|c| format!("({c})")),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| parts.join(" AND ")),
            prop::collection::vec(inner, 2..4).prop_map(|parts| parts.join(" or ")),
        ]
    })
}

/// Something with numbers or with lists: `:v` is a number and `:w` a list.
fn set_value() -> impl Strategy<Value = String> {
    let leaf = |given: &'static str| prop_oneof![1 => path(), 3 => Just(given.to_string())];
    let fallback = |inner: BoxedStrategy<String>| {
        (path(), inner).prop_map(|(path, inner)| format!("if_not_exists({path}, {inner})"))
    };
    let numbers = leaf(":v").prop_recursive(3, 8, 2, move |inner| {
        let sum = (inner.clone(), select(&["+", "-"][..]), inner.clone())
            .prop_map(|(a, operator, b)| format!("({a} {operator} {b})"));
        prop_oneof![sum, fallback(inner)]
    });
    let lists = leaf(":w").prop_recursive(3, 8, 2, move |inner| {
        let joined = (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("list_append({a}, {b})"));
        prop_oneof![joined, fallback(inner)]
    });
    prop_oneof![numbers, lists, Just(":y".to_string())]
}

/// Updates of the right shape, whose operands and places may still not fit.
fn update() -> impl Strategy<Value = String> {
    let list = |action: BoxedStrategy<String>, word: &'static str| {
        prop::collection::vec(action, 0..2).prop_map(move |actions| {
            if actions.is_empty() { String::new() } else { format!("{word} {} ", actions.join(", ")) }
        })
    };
    let target = || prop_oneof![5 => "[a-h]".boxed(), 1 => path().boxed()];
    let set = (target(), set_value()).prop_map(|(path, value)| format!("{path} = {value}")).boxed();
    let add =
        (target(), select(&[":v", ":x"][..])).prop_map(|(path, value)| format!("{path} {value}")).boxed();
    let delete = target().prop_map(|path| format!("{path} :x")).boxed();
    (list(set, "SET"), list(target().boxed(), "REMOVE"), list(add, "ADD"), list(delete, "DELETE"))
        .prop_map(|(set, remove, add, delete)| format!("{remove}{set}{delete}{add}"))
}

/// Everything that is done with an expression, whatever it is.
fn run_all(text: &str, values: &BTreeMap<String, AttributeValue>, item: &Item) -> Result<(), TestCaseError> {
    let names = BTreeMap::from([("#n".to_string(), "c".to_string()), ("#m".to_string(), "a".to_string())]);
    let mut placeholders = Placeholders::new(Some(&names), Some(values));
    let checked = |error: DynamoError| {
        assert_eq!(error.name(), "ValidationException");
        assert!(!error.to_string().is_empty());
    };
    match parse_condition(ExpressionKind::Filter, text, &mut placeholders) {
        Ok(condition) => {
            let bytes = postcard::to_allocvec(&condition).unwrap();
            prop_assert_eq!(
                &postcard::from_bytes::<meridian_dynamo::expr::Condition>(&bytes).unwrap(),
                &condition
            );
            let negated = format!("NOT ({text})");
            if let Ok(negated) = parse_condition(ExpressionKind::Filter, &negated, &mut placeholders) {
                prop_assert_eq!(negated.holds(item), !condition.holds(item));
            }
        }
        Err(error) => checked(error),
    }
    match parse_update(text, &mut placeholders) {
        Ok(update) => {
            let bytes = postcard::to_allocvec(&update).unwrap();
            prop_assert_eq!(
                &postcard::from_bytes::<meridian_dynamo::expr::UpdateExpr>(&bytes).unwrap(),
                &update
            );
            match update.apply(item) {
                Ok(after) => {
                    // Nothing changes outside the attributes that the update names.
                    let roots: Vec<&str> = update.targets().iter().map(|path| path.root.as_str()).collect();
                    let outside = |item: &Item| -> Item {
                        item.iter()
                            .filter(|(name, _)| !roots.contains(&name.as_str()))
                            .map(|(n, v)| (n.clone(), v.clone()))
                            .collect()
                    };
                    prop_assert_eq!(outside(&after), outside(item));
                    prop_assert!(update.touched(&after).keys().all(|name| roots.contains(&name.as_str())));
                }
                Err(error) => checked(error),
            }
        }
        Err(error) => checked(error),
    }
    match parse_projection(text, &mut placeholders) {
        Ok(projection) => {
            let part = projection.apply(item);
            prop_assert!(part.keys().all(|name| item.contains_key(name)));
            // With whole attributes only, what is shown is what is there.
            if projection.paths().iter().all(|path| path.steps.is_empty()) {
                prop_assert!(part.iter().all(|(name, value)| item.get(name) == Some(value)));
            }
        }
        Err(error) => checked(error),
    }
    let attribute = |name: &str| KeyAttribute { name: name.into(), kind: KeyKind::N };
    let schema = TableSchema { partition: attribute("a"), sort: Some(attribute("b")) };
    match parse_key_condition(text, &mut placeholders).and_then(|condition| condition.bind(&schema)) {
        Ok(range) => {
            let mut sort = Vec::new();
            order::encode(Number::from(5u64), &mut sort);
            let _inside: bool = range.contains(&sort);
        }
        Err(error) => checked(error),
    }
    Ok(())
}

/// Mostly a number, a list, a set and anything, which is what the updates above want.
fn values() -> impl Strategy<Value = BTreeMap<String, AttributeValue>> {
    let number = (0..9u64).prop_map(|n| AttributeValue::N(n.into()));
    let list = prop::collection::vec(value(), 0..3).prop_map(AttributeValue::L);
    let set = prop::collection::btree_set("[a-d]", 1..3).prop_map(AttributeValue::Ss);
    (
        prop_oneof![9 => number, 1 => value()],
        prop_oneof![9 => list, 1 => value()],
        prop_oneof![9 => set, 1 => value()],
        value(),
    )
        .prop_map(|(v, w, x, y)| {
            [(":v", v), (":w", w), (":x", x), (":y", y)].map(|(name, v)| (name.to_string(), v)).into()
        })
}

/// JSON that is nearly an item.
fn nearly_json() -> impl Strategy<Value = String> {
    const PARTS: [&str; 30] = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"S\":",
        "\"N\":",
        "\"B\":",
        "\"BOOL\":",
        "\"NULL\":",
        "\"M\":",
        "\"L\":",
        "\"SS\":",
        "\"NS\":",
        "\"BS\":",
        "\"a\"",
        "\"1e5\"",
        "\"AA==\"",
        "true",
        "false",
        "null",
        "1",
        "1.5",
        "\"a\":{\"S\":\"x\"}",
        "{\"N\":\"1\"}",
        "{\"L\":[",
        "]}",
        "\"",
        "\\u0000",
    ];
    prop::collection::vec(select(&PARTS[..]), 0..30).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6 * ProptestConfig::default().cases))]

    #[test]
    fn any_text_has_an_answer(text in "\\PC{0,60}", values in values(), item in item()) {
        run_all(&text, &values, &item)?;
    }

    #[test]
    fn any_words_have_an_answer(text in soup(), values in values(), item in item()) {
        run_all(&text, &values, &item)?;
    }

    #[test]
    fn conditions_have_an_answer(text in condition(), values in values(), item in item()) {
        run_all(&text, &values, &item)?;
    }

    #[test]
    fn updates_have_an_answer(text in update(), values in values(), item in item()) {
        run_all(&text, &values, &item)?;
    }

    #[test]
    fn any_body_has_an_answer(body in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(json) = parse_body(&body) {
            let _answer = item_from_json(json);
        }
    }

    #[test]
    fn bodies_that_are_nearly_items_have_an_answer(body in nearly_json()) {
        for body in [format!("{{{body}}}"), body] {
            if let Ok(item) = parse_body(body.as_bytes()).and_then(item_from_json) {
                prop_assert_eq!(item_from_json(item_to_json(&item)), Ok(item));
            }
        }
    }

    #[test]
    fn changed_items_have_an_answer(item in item(), at: prop::sample::Index, byte: u8) {
        let mut body = item_to_json(&item).to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(item) = parse_body(&body).and_then(item_from_json) {
            prop_assert_eq!(item_from_json(item_to_json(&item)), Ok(item));
        }
    }
}
