//! Items and placeholders from JSON, for the tests of expressions.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod arbitrary;

use meridian_dynamo::expr::{
    Condition, ExpressionKind, Placeholders, Projection, UpdateExpr, parse_condition, parse_projection,
    parse_update,
};
use meridian_dynamo::json::{item_from_json, value_from_json};
use meridian_dynamo::{AttributeValue, DynamoError, Item};
use serde_json::Value;
use std::collections::BTreeMap;

/// The placeholders of one request.
#[derive(Default)]
pub(crate) struct Request {
    names: BTreeMap<String, String>,
    values: BTreeMap<String, AttributeValue>,
}

impl Request {
    /// Keys that start with `#` are names, the others are values.
    pub(crate) fn new(placeholders: Value) -> Self {
        let mut request = Self::default();
        let Value::Object(placeholders) = placeholders else { panic!("placeholders are an object") };
        for (key, json) in placeholders {
            if key.starts_with('#') {
                request.names.insert(key, json.as_str().unwrap().into());
            } else {
                request.values.insert(key, value_from_json(json).unwrap());
            }
        }
        request
    }

    pub(crate) fn placeholders(&self) -> Placeholders<'_> {
        Placeholders::new(Some(&self.names), Some(&self.values))
    }

    pub(crate) fn condition(&self, text: &str) -> Result<Condition, DynamoError> {
        parse_condition(ExpressionKind::Condition, text, &mut self.placeholders())
    }

    pub(crate) fn update(&self, text: &str) -> Result<UpdateExpr, DynamoError> {
        parse_update(text, &mut self.placeholders())
    }

    pub(crate) fn projection(&self, text: &str) -> Result<Projection, DynamoError> {
        parse_projection(text, &mut self.placeholders())
    }
}

pub(crate) fn item(json: Value) -> Item {
    item_from_json(json).unwrap()
}

/// The message of a refusal without what every one of its kind starts with.
pub(crate) fn reason<T: std::fmt::Debug>(result: Result<T, DynamoError>) -> String {
    let message = result.unwrap_err().to_string();
    match message.split_once("Expression: ") {
        Some((start, reason)) if start.starts_with("Invalid ") => reason.into(),
        _ => message,
    }
}

/// Runs on a thread with a small stack: what overflows it would overflow a server's sooner or later.
pub(crate) fn on_small_stack<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(1024 * 1024).spawn(test).unwrap().join().unwrap()
}
