//! Expression parameters of a request: names, values, and the ban on mixing them with the older parameters.

use super::body::{Body, class};
use crate::error::DynamoError;
use crate::expr::{Placeholders, check_names, check_value_names};
use crate::json;
use crate::value::Item;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde_json::{Map, Value};

/// The placeholders of a request: read early, checked in their turn.
#[derive(Debug, Default)]
pub(crate) struct Expressions {
    names: Option<BTreeMap<String, String>>,
    raw_values: Option<Map<String, Value>>,
    values: Option<Item>,
}

/// Which parameters of the two families a request uses.
#[derive(Debug, Default)]
pub(crate) struct Families {
    older: Vec<&'static str>,
    expressions: Vec<&'static str>,
}

impl Families {
    /// Counts an older parameter that is there.
    pub(crate) fn older(&mut self, name: &'static str, present: bool) -> &mut Self {
        self.older.extend(present.then_some(name));
        self
    }

    /// Counts an expression that is there.
    pub(crate) fn expression(&mut self, name: &'static str, present: bool) -> &mut Self {
        self.expressions.extend(present.then_some(name));
        self
    }

    /// Refuses a request that uses both.
    pub(crate) fn check(&self) -> Result<(), DynamoError> {
        if self.older.is_empty() || self.expressions.is_empty() {
            return Ok(());
        }
        Err(DynamoError::request(format!(
            "Can not use both expression and non-expression parameters in the same request: Non-expression \
             parameters: {{{}}} Expression parameters: {{{}}}",
            self.older.join(", "),
            self.expressions.join(", ")
        )))
    }
}

impl Expressions {
    /// Takes both members out of the body.
    pub(crate) fn read(body: &mut Body) -> Result<Self, DynamoError> {
        let names = body.map_of_strings("ExpressionAttributeNames")?;
        let raw_values = body.map("ExpressionAttributeValues", class::ATTRIBUTE_VALUE)?;
        Ok(Self { names, raw_values, values: None })
    }

    /// Takes the names only, for operations without values.
    pub(crate) fn read_names(body: &mut Body) -> Result<Self, DynamoError> {
        Ok(Self { names: body.map_of_strings("ExpressionAttributeNames")?, ..Self::default() })
    }

    /// Checks the mixing of families, then names, then values; `absent` is what the API says behind the refusal of
    /// values without an expression.
    pub(crate) fn check(&mut self, families: &Families, absent: &str) -> Result<(), DynamoError> {
        families.check()?;
        let without = families.expressions.is_empty();
        if without && self.names.is_some() {
            return Err(DynamoError::request(
                "ExpressionAttributeNames can only be specified when using expressions",
            ));
        }
        if without && self.raw_values.is_some() {
            return Err(DynamoError::request(format!(
                "ExpressionAttributeValues can only be specified when using expressions{absent}"
            )));
        }
        if let Some(names) = &self.names {
            check_names(names)?;
        }
        if let Some(raw) = self.raw_values.take() {
            let raw: BTreeMap<String, Value> = raw.into_iter().collect();
            check_value_names(&raw)?;
            self.values = Some(values(raw)?);
        }
        Ok(())
    }

    /// What the expressions look their placeholders up in.
    pub(crate) fn placeholders(&self) -> Placeholders<'_> {
        Placeholders::new(self.names.as_ref(), self.values.as_ref())
    }

    /// The names as given, for handing a request back.
    pub(crate) fn names(&self) -> Option<&BTreeMap<String, String>> {
        self.names.as_ref()
    }
}

/// Reads the values; refusals of values that are none and of empty sets name the placeholder, as the API does.
fn values(raw: BTreeMap<String, Value>) -> Result<Item, DynamoError> {
    let read = |(key, value): (String, Value)| {
        let named = |message: String| {
            format!("ExpressionAttributeValues contains invalid value: {message} for key {key}")
        };
        match json::value_from_json(value) {
            Ok(value) => Ok((key, value)),
            Err(DynamoError::Validation(message)) => Err(DynamoError::Validation(named(message))),
            Err(DynamoError::RequestValidation(message)) if message.ends_with("not be empty") => {
                Err(DynamoError::RequestValidation(named(message)))
            }
            Err(other) => Err(other),
        }
    };
    raw.into_iter().map(read).collect()
}

/// Refuses an attribute listed twice in `AttributesToGet`, or one without a name.
pub(crate) fn check_attributes_to_get(names: &[String]) -> Result<(), DynamoError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() {
            return Err(DynamoError::request("Empty attribute name"));
        }
        if !seen.insert(name) {
            return Err(DynamoError::request(format!(
                "One or more parameter values were invalid: Duplicate value in attribute name: {name}"
            )));
        }
    }
    Ok(())
}
