//! What Query and Scan have in common: filter, projection, select, limit and starting key.

use super::body::{Body, class};
use super::expressions::{Expressions, check_attributes_to_get};
use super::legacy::{self, RawFilter};
use crate::error::DynamoError;
use crate::expr::{Condition, ExpressionKind, Placeholders, Projection, parse_condition, parse_projection};
use crate::json;
use crate::key::{KeyAttribute, TableSchema, check_not_empty};
use crate::read::PageShape;
use crate::value::{AttributeValue, Item};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde_json::{Map, Value};

const START_INVALID: &str = "The provided starting key is invalid";

/// Members that both operations have, as they are in the body.
pub(super) struct Common {
    pub(super) table: Option<String>,
    pub(super) index: Option<String>,
    pub(super) select: Option<String>,
    pub(super) return_capacity: Option<String>,
    pub(super) conditional_operator: Option<String>,
    pub(super) filter: Option<String>,
    pub(super) projection: Option<String>,
    pub(super) attributes_to_get: Option<Vec<String>>,
    pub(super) older_filter: Option<RawFilter>,
    pub(super) start: Option<Map<String, Value>>,
    pub(super) limit: Option<i32>,
    pub(super) consistent: bool,
    pub(super) expressions: Expressions,
}

impl Common {
    pub(super) fn read(body: &mut Body, filter_name: &str) -> Result<Self, DynamoError> {
        Ok(Self {
            older_filter: RawFilter::read(body, filter_name)?,
            start: body.map("ExclusiveStartKey", class::ATTRIBUTE_VALUE)?,
            attributes_to_get: body.list_of_strings("AttributesToGet")?,
            table: body.string("TableName")?,
            index: body.string("IndexName")?,
            return_capacity: body.string("ReturnConsumedCapacity")?,
            conditional_operator: body.string("ConditionalOperator")?,
            select: body.string("Select")?,
            filter: body.string("FilterExpression")?,
            projection: body.string("ProjectionExpression")?,
            limit: body.integer("Limit")?,
            consistent: body.boolean("ConsistentRead")?.unwrap_or(false),
            expressions: Expressions::read(body)?,
        })
    }

    /// Whether `Select` counts only.
    ///
    /// # Errors
    /// `ValidationException` when it is not in the enum, or contradicts the projection.
    pub(super) fn check_select(&self) -> Result<(), DynamoError> {
        const KNOWN: [&str; 4] =
            ["SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"];
        match self.select.as_deref() {
            Some(select) if !KNOWN.contains(&select) => Err(enveloped(&format!(
                "Value '{select}' at 'select' failed to satisfy constraint: Member must satisfy enum value set: [{}]",
                KNOWN.join(", ")
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses a `Select` that contradicts the projection or the index.
    pub(super) fn check_select_projection(&self) -> Result<(), DynamoError> {
        let projected = match (&self.attributes_to_get, &self.projection) {
            (Some(_), _) => Some("AttributesToGet"),
            (None, Some(_)) => Some("ProjectionExpression"),
            (None, None) => None,
        };
        let message = match (self.select.as_deref(), projected) {
            (Some("SPECIFIC_ATTRIBUTES"), None) => {
                "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES"
                    .into()
            }
            (None | Some("SPECIFIC_ATTRIBUTES"), _) => return Ok(()),
            (Some(select), Some(member)) => {
                let target = if select == "COUNT" { "only the Count" } else { select };
                format!("Cannot specify the {member} when choosing to get {target}")
            }
            (Some("ALL_PROJECTED_ATTRIBUTES"), None) if self.index.is_none() => {
                "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName".into()
            }
            (Some(_), None) => return Ok(()),
        };
        Err(enveloped(&message))
    }

    /// The refusal of a conditional operator that joins nothing; else whether one condition is enough.
    pub(super) fn any_of_filter(&self) -> Result<bool, DynamoError> {
        let conditions = self.older_filter.as_ref().map_or(0, RawFilter::len);
        legacy::conditional_operator(self.conditional_operator.as_deref(), conditions)
    }

    /// The starting key's values.
    pub(super) fn start_key(&mut self) -> Result<Option<Item>, DynamoError> {
        self.start.take().map(start_key).transpose()
    }

    /// The condition of the filter expression, or else of the older filter.
    pub(super) fn filter(
        &self,
        placeholders: &mut Placeholders<'_>,
    ) -> Result<Option<Condition>, DynamoError> {
        let text = self.filter.as_deref();
        text.map(|text| parse_condition(ExpressionKind::Filter, text, placeholders)).transpose()
    }

    /// The projection of either family.
    pub(super) fn projection(
        &self,
        placeholders: &mut Placeholders<'_>,
    ) -> Result<Option<Projection>, DynamoError> {
        match (&self.attributes_to_get, &self.projection) {
            (Some(names), _) => Ok(Some(of_attributes(names.clone()))),
            (None, Some(text)) => parse_projection(text, placeholders).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Refuses duplicates in `AttributesToGet`.
    pub(super) fn check_attributes_to_get(&self) -> Result<(), DynamoError> {
        self.attributes_to_get.as_deref().map_or(Ok(()), check_attributes_to_get)
    }

    /// How pages are filled.
    pub(super) fn shape(&self, filter: Option<Condition>, projection: Option<Projection>) -> PageShape {
        PageShape {
            filter,
            projection,
            count_only: self.select.as_deref() == Some("COUNT"),
            limit: self.limit.and_then(|limit| u32::try_from(limit).ok()),
            consistent: self.consistent,
        }
    }

    /// Tables have no indexes yet, so none has this one.
    pub(super) fn check_index(&self) -> Result<(), DynamoError> {
        match &self.index {
            Some(index) => {
                Err(DynamoError::validation(format!("The table does not have the specified index: {index}")))
            }
            None => Ok(()),
        }
    }
}

/// The projection of `AttributesToGet`.
pub(super) fn of_attributes(names: Vec<String>) -> Projection {
    Projection::new(names.into_iter().map(crate::expr::Path::attribute).collect())
}

/// A refusal inside the API's envelope of one error.
pub(super) fn enveloped(message: &str) -> DynamoError {
    DynamoError::request(message).enveloped()
}

/// Reads a starting key. Refusals of values that are none name the starting key, those of values that are wrong do not.
fn start_key(map: Map<String, Value>) -> Result<Item, DynamoError> {
    json::item_from_json(Value::Object(map)).map_err(|error| match error {
        DynamoError::Validation(message) if message.starts_with("Supplied AttributeValue") => {
            DynamoError::validation(format!("{START_INVALID}: {message}"))
        }
        other => other,
    })
}

/// Refuses a starting key that is not a key of the table.
pub(super) fn check_start(schema: &TableSchema, start: &Item) -> Result<(), DynamoError> {
    let fits = |(attribute, value): (&KeyAttribute, Option<&AttributeValue>)| {
        value.is_some_and(|value| value.kind() == attribute.kind.attribute_type())
    };
    let mut attributes = schema.attributes().map(|attribute| (attribute, start.get(&attribute.name)));
    if start.len() != schema.attributes().count() || !attributes.all(fits) {
        return Err(DynamoError::validation(START_INVALID));
    }
    start.iter().try_for_each(|(name, value)| check_not_empty(name, value))
}
