//! Random numbers, values and items.
#![allow(clippy::cast_possible_truncation, reason = "counts of digits are small")]
#![allow(dead_code, reason = "each test file uses its part")]

use meridian_dynamo::{AttributeValue, Item, Number};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

/// Numbers of every size, often near each other and near the edges.
pub(crate) fn number() -> impl Strategy<Value = Number> {
    let edge = prop_oneof![Just(-130i32), Just(125), Just(0), -130..=125i32];
    let large = (any::<bool>(), "[1-9][0-9]{0,37}", edge).prop_map(|(negative, digits, magnitude)| {
        let exponent = magnitude - (digits.len() as i32 - 1);
        Number::from_parts(negative, digits.parse().unwrap_or(1), exponent).unwrap_or(Number::ZERO)
    });
    let small = (any::<bool>(), 0..1000u64, -5..5i32).prop_map(|(negative, digits, exponent)| {
        Number::from_parts(negative, digits.into(), exponent).unwrap_or(Number::ZERO)
    });
    prop_oneof![large, small]
}

/// Names that are often the same.
pub(crate) fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-d]", "\\PC{1,5}"]
}

pub(crate) fn value() -> impl Strategy<Value = AttributeValue> {
    let leaf = prop_oneof![
        name().prop_map(AttributeValue::S),
        Just(AttributeValue::S(String::new())),
        number().prop_map(AttributeValue::N),
        vec(any::<u8>(), 0..6).prop_map(AttributeValue::B),
        any::<bool>().prop_map(AttributeValue::Bool),
        Just(AttributeValue::Null),
        btree_set(name(), 1..5).prop_map(AttributeValue::Ss),
        btree_set(number(), 1..5).prop_map(AttributeValue::Ns),
        btree_set(vec(any::<u8>(), 0..4), 1..5).prop_map(AttributeValue::Bs),
    ];
    leaf.prop_recursive(5, 30, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(AttributeValue::L),
            btree_map(name(), inner, 0..5).prop_map(AttributeValue::M),
        ]
    })
}

/// Items that often have the attributes `a` to `d`.
pub(crate) fn item() -> impl Strategy<Value = Item> {
    btree_map(prop_oneof![2 => "[a-d]", 1 => name()], value(), 0..7)
}
