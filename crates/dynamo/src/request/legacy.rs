//! The parameters from before expressions (`Expected`, `QueryFilter`, `ScanFilter`, `KeyConditions`), turned into
//! the same conditions that expressions become.

use super::body::{Body, class, element};
use super::constraints::Constraints;
use crate::error::DynamoError;
use crate::expr::{Comparator, Condition, Operand, Path, ordered};
use crate::json;
use crate::value::{AttributeType, AttributeValue};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;
use serde_json::{Map, Value};

const INVALID: &str = "One or more parameter values were invalid: ";

/// `ComparisonOperator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Compare(Comparator),
    Null,
    NotNull,
    Contains,
    NotContains,
    BeginsWith,
    In,
    Between,
}

const OPERATORS: [(&str, Operator); 13] = [
    ("EQ", Operator::Compare(Comparator::Equal)),
    ("NE", Operator::Compare(Comparator::NotEqual)),
    ("LE", Operator::Compare(Comparator::LessOrEqual)),
    ("LT", Operator::Compare(Comparator::Less)),
    ("GE", Operator::Compare(Comparator::GreaterOrEqual)),
    ("GT", Operator::Compare(Comparator::Greater)),
    ("NULL", Operator::Null),
    ("NOT_NULL", Operator::NotNull),
    ("CONTAINS", Operator::Contains),
    ("NOT_CONTAINS", Operator::NotContains),
    ("BEGINS_WITH", Operator::BeginsWith),
    ("IN", Operator::In),
    ("BETWEEN", Operator::Between),
];

impl Operator {
    fn parse(name: &str) -> Result<Self, DynamoError> {
        let found = OPERATORS.iter().find(|(known, _)| *known == name);
        found.map(|(_, operator)| *operator).ok_or_else(|| refuse("Invalid comparison operator"))
    }

    /// The operator as requests spell it.
    pub(crate) fn name(self) -> &'static str {
        OPERATORS.iter().find(|(_, operator)| *operator == self).map_or("", |(name, _)| name)
    }

    fn takes(self, count: usize) -> bool {
        match self {
            Self::Null | Self::NotNull => count == 0,
            Self::Between => count == 2,
            Self::In => count >= 1,
            _ => count == 1,
        }
    }

    fn allows(self, kind: AttributeType) -> bool {
        use AttributeType as T;
        match self {
            Self::Compare(Comparator::Equal | Comparator::NotEqual) | Self::Null | Self::NotNull => true,
            Self::BeginsWith => matches!(kind, T::S | T::B),
            Self::Contains | Self::NotContains => matches!(kind, T::S | T::N | T::B | T::Bool | T::Null),
            Self::Compare(_) | Self::In | Self::Between => matches!(kind, T::S | T::N | T::B),
        }
    }
}

/// One attribute's condition, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) attribute: String,
    pub(crate) operator: Operator,
    pub(crate) values: Vec<AttributeValue>,
}

fn refuse(reason: impl core::fmt::Display) -> DynamoError {
    DynamoError::request(format!("{INVALID}{reason}"))
}

/// A filter or key conditions as they are in the body: read early, checked in their turn.
#[derive(Debug)]
pub(crate) struct RawFilter(Vec<(String, Option<String>, Option<Vec<Value>>)>);

impl RawFilter {
    /// Takes the member out of the body.
    pub(crate) fn read(body: &mut Body, name: &str) -> Result<Option<Self>, DynamoError> {
        let Some(conditions) = body.map_of_bodies(name, class::CONDITION)? else { return Ok(None) };
        let conditions = conditions.into_iter().map(|(attribute, mut condition)| {
            let operator = condition.string("ComparisonOperator")?;
            let values = condition.list("AttributeValueList")?;
            Ok((attribute, operator, values))
        });
        conditions.collect::<Result<_, _>>().map(|conditions| Some(Self(conditions)))
    }

    /// How many conditions there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Reports conditions without an operator.
    pub(crate) fn constrain(&self, constraints: &mut Constraints, member: &str) {
        for (attribute, _, _) in self.0.iter().filter(|(_, operator, _)| operator.is_none()) {
            constraints.missing(&format!("{member}.{attribute}.member.comparisonOperator"));
        }
    }

    /// Checks values, then operators and the counts and types of their values.
    pub(crate) fn check(self) -> Result<Vec<Comparison>, DynamoError> {
        let mut read = Vec::new();
        for (attribute, operator, values) in self.0 {
            read.push((attribute, operator.unwrap_or_default(), values_of(values.unwrap_or_default())?));
        }
        let comparisons = read.into_iter().map(|(attribute, operator, values)| {
            let operator = Operator::parse(&operator)?;
            check_count(operator, values.len())?;
            let checked = if operator == Operator::In { values.len() } else { 1 };
            for value in values.iter().take(checked) {
                check_type(operator, value)?;
            }
            Ok(Comparison { attribute, operator, values })
        });
        comparisons.collect()
    }
}

fn values_of(values: Vec<Value>) -> Result<Vec<AttributeValue>, DynamoError> {
    values.into_iter().map(json::value_from_json).collect()
}

fn check_count(operator: Operator, count: usize) -> Result<(), DynamoError> {
    if operator.takes(count) {
        return Ok(());
    }
    Err(refuse(format!("Invalid number of argument(s) for the {} ComparisonOperator", operator.name())))
}

fn check_type(operator: Operator, value: &AttributeValue) -> Result<(), DynamoError> {
    let kind = value.kind();
    if operator.allows(kind) {
        return Ok(());
    }
    Err(refuse(format!(
        "ComparisonOperator {} is not valid for {} AttributeValue type",
        operator.name(),
        kind.name()
    )))
}

/// Refuses a `ConditionalOperator` that joins nothing, and reads it: whether one condition is enough.
pub(crate) fn conditional_operator(operator: Option<&str>, conditions: usize) -> Result<bool, DynamoError> {
    let message = match (operator, conditions) {
        (None, _) => return Ok(false),
        (_, 0) => "ConditionalOperator cannot be used without Filter or Expected",
        (_, 1) => "ConditionalOperator can only be used when Filter or Expected has two or more elements",
        (Some("AND"), _) => return Ok(false),
        (Some("OR"), _) => return Ok(true),
        (Some(_), _) => "Failed to satisfy constraint: Member must satisfy enum value set: [ALL, OR]",
    };
    Err(DynamoError::request(message))
}

/// The comparisons as one condition; none when there are none.
pub(crate) fn condition(comparisons: Vec<Comparison>, any: bool) -> Option<Condition> {
    let mut parts: Vec<_> = comparisons.into_iter().map(one_condition).collect();
    match parts.len() {
        0 => None,
        1 => parts.pop(),
        _ if any => Some(Condition::Or(parts)),
        _ => Some(Condition::And(parts)),
    }
}

fn one_condition(comparison: Comparison) -> Condition {
    let Comparison { attribute, operator, values } = comparison;
    let path = Path::attribute(attribute);
    let left = Operand::Path(path.clone());
    let mut values = values.into_iter().map(Operand::Value);
    let first = values.next();
    match (operator, first) {
        (Operator::Null, _) => Condition::NotExists(path),
        (Operator::Compare(comparator), Some(value)) => Condition::Compare(left, comparator, value),
        (Operator::Contains, Some(value)) => Condition::Contains(left, value),
        (Operator::NotContains, Some(value)) => Condition::Not(Box::new(Condition::Contains(left, value))),
        (Operator::BeginsWith, Some(value)) => Condition::BeginsWith(left, value),
        (Operator::In, Some(value)) => Condition::In(left, core::iter::once(value).chain(values).collect()),
        (Operator::Between, Some(low)) => match values.next() {
            Some(high) => Condition::Between(left, low, high),
            None => Condition::Exists(path),
        },
        // Counts were checked: only NOT_NULL is left.
        (_, _) => Condition::Exists(path),
    }
}

/// One entry of `Expected` as it is in the body.
#[derive(Debug)]
struct Expectation {
    attribute: String,
    value: Option<Value>,
    exists: Option<bool>,
    operator: Option<String>,
    values: Option<Vec<Value>>,
}

/// `Expected` as it is in the body: read early, checked in its turn.
#[derive(Debug)]
pub(crate) struct RawExpected(Vec<Expectation>);

impl RawExpected {
    /// Takes the member out of the body.
    pub(crate) fn read(body: &mut Body) -> Result<Option<Self>, DynamoError> {
        let Some(entries) = body.map_of_bodies("Expected", class::EXPECTED)? else { return Ok(None) };
        let entries = entries.into_iter().map(|(attribute, mut entry)| {
            Ok(Expectation {
                attribute,
                value: entry.map("Value", class::ATTRIBUTE_VALUE)?.map(Value::Object),
                exists: entry.boolean("Exists")?,
                operator: entry.string("ComparisonOperator")?,
                values: entry.list("AttributeValueList")?,
            })
        });
        entries.collect::<Result<_, _>>().map(|entries| Some(Self(entries)))
    }

    /// How many conditions there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Checks every entry.
    pub(crate) fn check(self) -> Result<Vec<Comparison>, DynamoError> {
        self.0.into_iter().map(Expectation::check).collect()
    }
}

impl Expectation {
    fn check(self) -> Result<Comparison, DynamoError> {
        let attribute = self.attribute;
        let for_attribute = |reason: &str| refuse(format!("{reason} for Attribute: {attribute}"));
        let value = self.value.map(json::value_from_json).transpose()?;
        let values = self.values.map(values_of).transpose()?;
        if self.exists.is_some() && self.operator.is_some() {
            return Err(for_attribute("Exists and ComparisonOperator cannot be used together"));
        }
        if value.is_some() && values.is_some() {
            return Err(for_attribute("Value and AttributeValueList cannot be used together"));
        }
        if values.is_some() && self.operator.is_none() {
            return Err(for_attribute("AttributeValueList can only be used with a ComparisonOperator"));
        }
        if let Some(name) = self.operator {
            let operator = Operator::parse(&name)?;
            let listed = values.is_some();
            let values = values.unwrap_or_else(|| value.into_iter().collect());
            if values.is_empty() && !listed && !operator.takes(0) {
                return Err(for_attribute(&format!(
                    "Value or AttributeValueList must be used with ComparisonOperator: {name}"
                )));
            }
            check_listed(operator, &values)?;
            return Ok(Comparison { attribute, operator, values });
        }
        let equal = Operator::Compare(Comparator::Equal);
        match (self.exists, value) {
            (Some(true), None) => Err(for_attribute("Value must be provided when Exists is true")),
            (Some(false), Some(_)) => Err(for_attribute("Value cannot be used when Exists is false")),
            (None, None) => Err(for_attribute("Value must be provided when Exists is null")),
            (Some(false), None) => Ok(Comparison { attribute, operator: Operator::Null, values: Vec::new() }),
            (_, Some(value)) => Ok(Comparison { attribute, operator: equal, values: alloc::vec![value] }),
        }
    }
}

fn check_listed(operator: Operator, values: &[AttributeValue]) -> Result<(), DynamoError> {
    check_count(operator, values.len())?;
    for value in values {
        check_type(operator, value)?;
    }
    if values.windows(2).any(|pair| pair[0].kind() != pair[1].kind()) {
        return Err(refuse("AttributeValues inside AttributeValueList must be of same type"));
    }
    if let (Operator::Between, [low, high]) = (operator, values)
        && ordered(low, high) == Some(Ordering::Greater)
    {
        return Err(DynamoError::request(
            "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound",
        ));
    }
    Ok(())
}

/// One entry of `AttributeUpdates` as it is in the body.
#[derive(Debug)]
pub(crate) struct RawUpdate {
    pub(crate) attribute: String,
    pub(crate) action: String,
    pub(crate) value: Option<Value>,
}

/// Takes `AttributeUpdates` out of the body.
pub(crate) fn read_updates(body: &mut Body) -> Result<Option<Vec<RawUpdate>>, DynamoError> {
    let member = "AttributeUpdates";
    let Some(updates) = body.map(member, class::ATTRIBUTE_VALUE_UPDATE)? else { return Ok(None) };
    let updates = updates.into_iter().map(|(attribute, update): (String, Value)| {
        let mut update = element(update, class::ATTRIBUTE_VALUE_UPDATE)?;
        let action = update.string("Action")?.unwrap_or_else(|| "PUT".into());
        let value: Option<Map<String, Value>> = update.map("Value", class::ATTRIBUTE_VALUE)?;
        Ok(RawUpdate { attribute, action, value: value.map(Value::Object) })
    });
    updates.collect::<Result<_, _>>().map(Some)
}
