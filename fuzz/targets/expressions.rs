//! Expressions of all kinds, read and evaluated.
//!
//! The input is an expression, a zero byte, and the JSON of an item whose attributes also serve as `:` values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_dynamo::expr::{
    ExpressionKind, Placeholders, parse_condition, parse_key_condition, parse_projection, parse_update,
};
use meridian_dynamo::json::body::parse_body;
use meridian_dynamo::json::item_from_json;
use meridian_dynamo::{Item, KeyAttribute, KeyKind, TableSchema};
use std::collections::BTreeMap;

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(2, |byte| *byte == 0);
    let Some(Ok(text)) = parts.next().map(std::str::from_utf8) else { return };
    let item: Item =
        parts.next().and_then(|body| item_from_json(parse_body(body).ok()?).ok()).unwrap_or_default();
    let values = item.iter().map(|(name, value)| (format!(":{name}"), value.clone())).collect();
    let names = BTreeMap::from([("#a".to_string(), "a".to_string()), ("#b".to_string(), "b".to_string())]);
    let mut placeholders = Placeholders::new(Some(&names), Some(&values));
    if let Ok(condition) = parse_condition(ExpressionKind::Filter, text, &mut placeholders) {
        let negated = parse_condition(ExpressionKind::Filter, &format!("NOT ({text})"), &mut placeholders);
        if let Ok(negated) = negated {
            assert_ne!(condition.holds(&item), negated.holds(&item));
        }
    }
    if let Ok(update) = parse_update(text, &mut placeholders) {
        if let Ok(after) = update.apply(&item) {
            assert!(update.touched(&after).keys().all(|name| after.contains_key(name)));
        }
    }
    if let Ok(projection) = parse_projection(text, &mut placeholders) {
        assert!(projection.apply(&item).keys().all(|name| item.contains_key(name)));
    }
    let attribute = |name: &str| KeyAttribute { name: name.into(), kind: KeyKind::S };
    let schema = TableSchema { partition: attribute("a"), sort: Some(attribute("b")) };
    if let Ok(range) =
        parse_key_condition(text, &mut placeholders).and_then(|condition| condition.bind(&schema))
    {
        let _ = range.contains(b"b");
    }
});
