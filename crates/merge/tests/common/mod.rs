//! Regions that write one item, and what the item ought to be.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::needless_pass_by_value, reason = "values read better where they are made in place")]
#![allow(clippy::cast_possible_truncation, reason = "counts of a test are small")]
#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod model;
pub(crate) mod world;

use meridian_dynamo::expr::{Placeholders, UpdateExpr, parse_update};
use meridian_dynamo::write::{ReturnValues, WriteKind, WriteOp};
use meridian_dynamo::{AttributeValue, Item, KeyAttribute, KeyKind, TableSchema};
use meridian_merge::{Fragment, Origin, Rules, Stamp};
use meridian_types::{Hlc, TableName};
use std::collections::BTreeMap;

/// A small generator of reproducible chance (splitmix64).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

pub(crate) fn at(time: u64, origin: u16) -> Stamp {
    Stamp { hlc: Hlc::new(time, 0), origin: Origin(origin) }
}

pub(crate) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(crate) fn number(value: &str) -> AttributeValue {
    AttributeValue::N(value.parse().unwrap())
}

pub(crate) fn texts(members: &[&str]) -> AttributeValue {
    AttributeValue::Ss(members.iter().map(|member| (*member).into()).collect())
}

pub(crate) fn map(members: &[(&str, AttributeValue)]) -> AttributeValue {
    AttributeValue::M(members.iter().map(|(name, value)| ((*name).into(), value.clone())).collect())
}

pub(crate) fn key() -> Item {
    Item::from([("pk".into(), text("k"))])
}

pub(crate) fn item(attributes: &[(&str, AttributeValue)]) -> Item {
    let attributes = attributes.iter().map(|(name, value)| ((*name).into(), value.clone()));
    key().into_iter().chain(attributes).collect()
}

pub(crate) fn schema() -> TableSchema {
    TableSchema { partition: KeyAttribute { name: "pk".into(), kind: KeyKind::S }, sort: None }
}

/// An update expression with the values of its placeholders.
pub(crate) fn update_of(expression: &str, values: &[(&str, AttributeValue)]) -> UpdateExpr {
    let values: BTreeMap<String, AttributeValue> =
        values.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
    let values = (!values.is_empty()).then_some(&values);
    parse_update(expression, &mut Placeholders::new(None, values)).unwrap()
}

pub(crate) fn put(attributes: &[(&str, AttributeValue)]) -> WriteKind {
    WriteKind::Put { item: item(attributes) }
}

pub(crate) fn delete() -> WriteKind {
    WriteKind::Delete { key: key() }
}

pub(crate) fn update(expression: &str, values: &[(&str, AttributeValue)]) -> WriteKind {
    WriteKind::Update { key: key(), update: update_of(expression, values) }
}

pub(crate) fn write(view: &Fragment, rules: &Rules, kind: WriteKind, stamp: Stamp) -> Fragment {
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
pub(crate) fn concurrently(
    rules: &Rules,
    before: Option<WriteKind>,
    earlier: WriteKind,
    later: WriteKind,
) -> Fragment {
    let empty = Fragment::new(key());
    let start = before.map_or(empty.clone(), |kind| write(&empty, rules, kind, at(1, 0)));
    let first = write(&start, rules, earlier, at(2, 1));
    let second = write(&start, rules, later, at(3, 2));
    let view = first.clone().join(second.clone());
    assert_eq!(view, second.join(first).join(start));
    view
}

/// What `:n` stands for.
pub(crate) fn n(value: &str) -> [(&'static str, AttributeValue); 1] {
    [(":n", number(value))]
}
