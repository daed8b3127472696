//! Trees back to text, and the proof that reading it gives the same tree. Only tests print.

use super::{Action, Call, Clause, Condition, Element, Operand, Parser, Path, Sign, Update};
use crate::expr::{Comparator, ExpressionKind};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn path(path: &Path<'_>) -> String {
    let mut text = String::new();
    for element in path {
        match element {
            Element::Name(name) | Element::Placeholder(name) if text.is_empty() => text.push_str(name),
            Element::Name(name) | Element::Placeholder(name) => text += &format!(".{name}"),
            Element::Index(digits) => text += &format!("[{digits}]"),
        }
    }
    text
}

fn joined<T>(parts: &[T], separator: &str, print: fn(&T) -> String) -> String {
    parts.iter().map(print).collect::<Vec<_>>().join(separator)
}

fn call(call: &Call<'_>) -> String {
    format!("{}({})", call.name, joined(&call.arguments, ", ", operand))
}

fn operand(tree: &Operand<'_>) -> String {
    match tree {
        Operand::Value(name) => (*name).to_string(),
        Operand::Path(elements) => path(elements),
        Operand::Call(function) => call(function),
        Operand::Paren(inner) => format!("({})", operand(inner)),
        Operand::Arithmetic(Sign::Plus, a, b) => format!("{} + {}", operand(a), operand(b)),
        Operand::Arithmetic(Sign::Minus, a, b) => format!("{} - {}", operand(a), operand(b)),
    }
}

fn condition(tree: &Condition<'_>) -> String {
    match tree {
        Condition::And(parts) => joined(parts, " AND ", condition),
        Condition::Or(parts) => joined(parts, " OR ", condition),
        Condition::Not(times, inner) => format!("{}{}", "NOT ".repeat(*times), condition(inner)),
        Condition::Compare(comparator, a, b) => {
            format!("{} {} {}", operand(a), comparator.as_str(), operand(b))
        }
        Condition::Between(a, b, c) => format!("{} BETWEEN {} AND {}", operand(a), operand(b), operand(c)),
        Condition::In(a, rest) => format!("{} IN ({})", operand(a), joined(rest, ", ", operand)),
        Condition::Call(function) => call(function),
        Condition::Paren(inner) => format!("({})", condition(inner)),
    }
}

fn update(tree: &Update<'_>) -> String {
    joined(tree, " ", |(clause, actions)| match clause {
        Clause::Set => format!("SET {}", joined(actions, ", ", |action| action_text(action, " = "))),
        other => format!("{} {}", other.name(), joined(actions, ", ", |action| action_text(action, " "))),
    })
}

fn action_text(action: &Action<'_>, between: &str) -> String {
    match &action.operand {
        Some(value) => format!("{}{between}{}", path(&action.path), operand(value)),
        None => path(&action.path),
    }
}

const NAMES: [&str; 5] = ["a", "b_1", "_", "Order", "size"];
const FUNCTIONS: [&str; 4] = ["size", "begins_with", "if_not_exists", "f"];
const VALUES: [&str; 3] = [":v", ":0", ":long_name"];

fn any_path() -> impl Strategy<Value = Path<'static>> {
    let name = || {
        prop_oneof![
            select(&NAMES[..]).prop_map(Element::Name),
            select(&["#n", "#1"][..]).prop_map(Element::Placeholder)
        ]
    };
    let step = prop_oneof![name(), select(&["0", "7", "10", "99999999999"][..]).prop_map(Element::Index)];
    (name(), vec(step, 0..4)).prop_map(|(first, rest)| core::iter::once(first).chain(rest).collect())
}

fn any_value() -> impl Strategy<Value = Operand<'static>> {
    select(&VALUES[..]).prop_map(Operand::Value)
}

/// Operands without arithmetic; parentheses never stand straight around parentheses.
fn any_operand() -> BoxedStrategy<Operand<'static>> {
    prop_oneof![any_value(), any_path().prop_map(Operand::Path)]
        .prop_recursive(3, 8, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(parenthesised),
                (select(&FUNCTIONS[..]), vec(inner, 1..4))
                    .prop_map(|(name, arguments)| Operand::Call(Call { name, arguments })),
            ]
        })
        .boxed()
}

fn parenthesised(inner: Operand<'static>) -> Operand<'static> {
    match inner {
        Operand::Paren(_) => inner,
        other => Operand::Paren(Box::new(other)),
    }
}

fn any_sum() -> BoxedStrategy<Operand<'static>> {
    let sum = |inner: BoxedStrategy<Operand<'static>>| {
        (select(&[Sign::Plus, Sign::Minus][..]), inner.clone(), inner)
            .prop_map(|(sign, a, b)| Operand::Arithmetic(sign, Box::new(a), Box::new(b)))
            .boxed()
    };
    // A sum inside another is in parentheses.
    let part = any_operand()
        .prop_recursive(2, 6, 2, move |inner| sum(inner.boxed()).prop_map(parenthesised))
        .boxed();
    prop_oneof![part.clone(), sum(part)].boxed()
}

/// A condition in parentheses unless it binds as close as the tightest.
fn tight(tree: Condition<'static>) -> Condition<'static> {
    match tree {
        Condition::And(_) | Condition::Or(_) => Condition::Paren(Box::new(tree)),
        other => other,
    }
}

fn any_condition() -> impl Strategy<Value = Condition<'static>> {
    const ALL: [Comparator; 3] = [Comparator::Equal, Comparator::NotEqual, Comparator::GreaterOrEqual];
    let test = prop_oneof![
        (select(&ALL[..]), any_operand(), any_operand()).prop_map(|(op, a, b)| Condition::Compare(op, a, b)),
        (any_operand(), any_operand(), any_operand()).prop_map(|(a, b, c)| Condition::Between(a, b, c)),
        (any_operand(), vec(any_operand(), 1..4)).prop_map(|(a, rest)| Condition::In(a, rest)),
        (select(&FUNCTIONS[..]), vec(any_operand(), 1..3))
            .prop_map(|(name, arguments)| Condition::Call(Call { name, arguments })),
    ];
    test.prop_recursive(4, 16, 3, |inner| {
        let not_around = |inner: Condition<'static>, times: usize| match tight(inner) {
            Condition::Not(more, inner) => Condition::Not(times + more, inner),
            other => Condition::Not(times, Box::new(other)),
        };
        let paren = |inner: Condition<'static>| match inner {
            Condition::Paren(_) => inner,
            other => Condition::Paren(Box::new(other)),
        };
        let or_part = |part: Condition<'static>| match part {
            Condition::Or(_) => Condition::Paren(Box::new(part)),
            other => other,
        };
        prop_oneof![
            (inner.clone(), 1..4usize).prop_map(move |(inner, times)| not_around(inner, times)),
            inner.clone().prop_map(paren),
            vec(inner.clone().prop_map(tight), 2..4).prop_map(Condition::And),
            vec(inner.prop_map(or_part), 2..4).prop_map(Condition::Or),
        ]
    })
}

fn any_update() -> impl Strategy<Value = Update<'static>> {
    let clause = |clause: Clause, operand: BoxedStrategy<Option<Operand<'static>>>| {
        vec((any_path(), operand).prop_map(|(path, operand)| Action { path, operand }), 1..4)
            .prop_map(move |actions| (clause, actions))
    };
    let clause = prop_oneof![
        clause(Clause::Set, any_sum().prop_map(Some).boxed()),
        clause(Clause::Remove, Just(None).boxed()),
        clause(Clause::Add, any_value().prop_map(Some).boxed()),
        clause(Clause::Delete, any_value().prop_map(Some).boxed()),
    ];
    vec(clause, 1..5)
}

proptest! {
    #[test]
    fn printed_conditions_read_back(tree in any_condition()) {
        let text = condition(&tree);
        prop_assert_eq!(Parser::new(ExpressionKind::Condition, &text).condition(), Ok(tree.clone()), "{}", text);
        // Space between tokens and the case of words mean nothing.
        let loose = text.replace('(', " ( ").replace(')', "\n)\t").replace(" AND ", "  and ").replace(" IN ", " iN ");
        prop_assert_eq!(Parser::new(ExpressionKind::Condition, &loose).condition(), Ok(tree), "{}", loose);
    }

    #[test]
    fn printed_updates_read_back(tree in any_update()) {
        let text = update(&tree);
        prop_assert_eq!(Parser::new(ExpressionKind::Update, &text).update(), Ok(tree), "{}", text);
    }

    #[test]
    fn printed_projections_read_back(paths in vec(any_path(), 1..5)) {
        let text = joined(&paths, " , ", path);
        prop_assert_eq!(Parser::new(ExpressionKind::Projection, &text).projection(), Ok(paths), "{}", text);
    }
}

#[test]
fn a_tree_shows_every_parenthesis() {
    let text = "a = :v AND (NOT NOT b[0].#n IN (:v, (c)) OR size((d)) BETWEEN :v AND :w)";
    let tree = Parser::new(ExpressionKind::Condition, text).condition();
    assert_eq!(tree.as_ref().map(condition), Ok(text.to_string()));
    assert!(
        matches!(tree, Ok(Condition::And(parts)) if matches!(parts.as_slice(), [_, Condition::Paren(_)]))
    );
    assert_eq!(update(&vec![]), "");
}
