//! What PutItem, UpdateItem and DeleteItem have in common.

use super::body::{Body, class};
use super::constraints::Constraints;
use super::expressions::{Expressions, Families};
use super::legacy::{self, RawExpected};
use crate::capacity::ReturnCapacity;
use crate::error::DynamoError;
use crate::expr::{Condition, ExpressionKind, Placeholders, parse_condition};
use crate::json;
use crate::value::Item;
use crate::write::{ReturnValues, WriteOp};
use alloc::string::String;
use serde_json::{Map, Value};

/// A single-item write, ready for its table.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// What to do.
    pub op: WriteOp,
    /// What to report of its cost.
    pub capacity: ReturnCapacity,
}

const RETURN_VALUES: [(&str, ReturnValues); 5] = [
    ("NONE", ReturnValues::None),
    ("ALL_OLD", ReturnValues::AllOld),
    ("UPDATED_OLD", ReturnValues::UpdatedOld),
    ("ALL_NEW", ReturnValues::AllNew),
    ("UPDATED_NEW", ReturnValues::UpdatedNew),
];
/// The API's own words, its slip in `UPDATE_NEW` included.
pub(super) const RETURN_VALUES_REFUSED: &str = "Failed to satisfy constraint: Member must satisfy enum value set: \
                                                [ALL_OLD, UPDATED_OLD, ALL_NEW, UPDATE_NEW, NONE]";
pub(super) const RETURN_VALUES_UNSUPPORTED: &str = "ReturnValues can only be ALL_OLD or NONE";

/// Members that all three writes have, as they are in the body.
pub(super) struct Common {
    pub(super) table: Option<String>,
    pub(super) return_values: Option<String>,
    pub(super) return_capacity: Option<String>,
    pub(super) return_metrics: Option<String>,
    pub(super) return_on_failure: Option<String>,
    pub(super) condition: Option<String>,
    pub(super) expressions: Expressions,
    pub(super) expected: Option<RawExpected>,
    pub(super) conditional_operator: Option<String>,
}

impl Common {
    pub(super) fn read(body: &mut Body) -> Result<Self, DynamoError> {
        Ok(Self {
            expected: RawExpected::read(body)?,
            table: body.string("TableName")?,
            return_capacity: body.string("ReturnConsumedCapacity")?,
            return_values: body.string("ReturnValues")?,
            return_metrics: body.string("ReturnItemCollectionMetrics")?,
            return_on_failure: body.string("ReturnValuesOnConditionCheckFailure")?,
            conditional_operator: body.string("ConditionalOperator")?,
            condition: body.string("ConditionExpression")?,
            expressions: Expressions::read(body)?,
        })
    }

    /// Whether `ReturnValues` is in the enum, and what it means.
    pub(super) fn return_values(&self) -> Option<ReturnValues> {
        match self.return_values.as_deref() {
            None => Some(ReturnValues::None),
            Some(value) => RETURN_VALUES.iter().find(|(name, _)| *name == value).map(|(_, meaning)| *meaning),
        }
    }

    /// Counts the parameters of both families that all three writes have.
    pub(super) fn families<'f>(&self, families: &'f mut Families) -> &'f mut Families {
        families
            .older("Expected", self.expected.is_some())
            .older("ConditionalOperator", self.conditional_operator.is_some())
            .expression("ConditionExpression", self.condition.is_some())
    }

    /// The refusal of a conditional operator that joins nothing; else whether one condition is enough.
    pub(super) fn any_of_expected(&self) -> Result<bool, DynamoError> {
        let conditions = self.expected.as_ref().map_or(0, RawExpected::len);
        legacy::conditional_operator(self.conditional_operator.as_deref(), conditions)
    }

    /// The condition of `Expected`.
    pub(super) fn expected(&mut self, any: bool) -> Result<Option<Condition>, DynamoError> {
        match self.expected.take() {
            Some(expected) => Ok(legacy::condition(expected.check()?, any)),
            None => Ok(None),
        }
    }

    /// The condition of `ConditionExpression`.
    pub(super) fn condition(
        &self,
        placeholders: &mut Placeholders<'_>,
    ) -> Result<Option<Condition>, DynamoError> {
        let text = self.condition.as_deref();
        text.map(|text| parse_condition(ExpressionKind::Condition, text, placeholders)).transpose()
    }
}

/// What the four enums of PutItem and DeleteItem say.
pub(super) struct Returns {
    pub(super) capacity: ReturnCapacity,
    pub(super) values: ReturnValues,
    pub(super) on_failure: bool,
}

/// Reports the enums of PutItem and DeleteItem in the API's order.
pub(super) fn constrain_returns(constraints: &mut Constraints, common: &Common) -> Returns {
    let capacity = constraints.return_capacity(common.return_capacity.as_deref());
    let values = common.return_values().unwrap_or_else(|| {
        constraints.push(RETURN_VALUES_REFUSED);
        ReturnValues::None
    });
    constraints.return_metrics(common.return_metrics.as_deref());
    let on_failure = constraints.return_on_failure(common.return_on_failure.as_deref());
    Returns { capacity, values, on_failure }
}

/// A map of attribute values, as it is in the body.
pub(super) fn read_attributes(
    body: &mut Body,
    name: &str,
) -> Result<Option<Map<String, Value>>, DynamoError> {
    body.map(name, class::ATTRIBUTE_VALUE)
}

/// The values of a `Key` or `Item`.
pub(super) fn attributes(map: Map<String, Value>) -> Result<Item, DynamoError> {
    json::item_from_json(Value::Object(map))
}
