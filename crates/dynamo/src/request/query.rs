//! Query.

use super::body::Body;
use super::constraints::Constraints;
use super::expressions::Families;
use super::legacy::{self, Comparison, Operator, RawFilter};
use super::page::{Common, check_start};
use crate::capacity::ReturnCapacity;
use crate::error::DynamoError;
use crate::expr::{Comparator, Condition, KeyClause, KeyCondition, KeyRange, KeyTest, parse_key_condition};
use crate::key::{TableSchema, encode_key_value};
use crate::read::{PageShape, QueryOp};
use crate::value::{AttributeValue, Item};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Bound;
use meridian_types::TableName;

/// A Query request that is yet to be matched with its table's key.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The table.
    pub table: TableName,
    /// What to report of its cost.
    pub capacity: ReturnCapacity,
    condition: KeyCondition,
    filter_names: Vec<String>,
    older_filter: bool,
    shape: PageShape,
    forward: bool,
    start: Option<Item>,
    index: Option<DynamoError>,
}

/// Parses and checks a Query request.
///
/// # Errors
/// The API's exceptions, in its own order.
pub fn parse(text: &[u8]) -> Result<Query, DynamoError> {
    let mut body = Body::parse(text)?;
    let key_conditions = RawFilter::read(&mut body, "KeyConditions")?;
    let mut common = Common::read(&mut body, "QueryFilter")?;
    let key_expression = body.string("KeyConditionExpression")?;
    let forward = body.boolean("ScanIndexForward")?.unwrap_or(true);

    let mut constraints = Constraints::default();
    if let Some(limit) = common.limit {
        constraints.at_least(limit, "Limit", 1);
    }
    if common.table.as_deref() == Some("") {
        constraints.table(Some(""));
    }
    constraints.finish()?;
    let mut constraints = Constraints::default();
    let table = constraints.table(common.table.as_deref());
    let capacity = constraints.return_capacity(common.return_capacity.as_deref());
    if let Some(conditions) = &key_conditions {
        conditions.constrain(&mut constraints, "keyConditions");
    }
    if let Some(filter) = &common.older_filter {
        filter.constrain(&mut constraints, "queryFilter");
    }
    constraints.finish()?;

    let mut families = Families::default();
    families
        .older("AttributesToGet", common.attributes_to_get.is_some())
        .older("QueryFilter", common.older_filter.is_some())
        .older("ConditionalOperator", common.conditional_operator.is_some())
        .older("KeyConditions", key_conditions.is_some())
        .expression("ProjectionExpression", common.projection.is_some())
        .expression("FilterExpression", common.filter.is_some())
        .expression("KeyConditionExpression", key_expression.is_some());
    let absent = ": FilterExpression is null and KeyConditionExpression is null";
    common.expressions.check(&families, absent)?;
    common.check_select()?;
    let any = common.any_of_filter()?;
    let older = common.older_filter.take().map(RawFilter::check).transpose()?;
    let key_conditions = key_conditions.map(RawFilter::check).transpose()?;
    common.check_attributes_to_get()?;
    let start = common.start_key()?;

    let mut placeholders = common.expressions.placeholders();
    if key_expression.as_deref() == Some("") {
        parse_key_condition("", &mut placeholders)?;
    }
    let filter = common.filter(&mut placeholders)?;
    let projection = common.projection(&mut placeholders)?;
    common.check_select_projection()?;
    let condition = match (key_expression, key_conditions) {
        (Some(text), _) => parse_key_condition(&text, &mut placeholders)?,
        (None, Some(conditions)) if !conditions.is_empty() => key_condition(conditions)?,
        (None, _) => {
            return Err(DynamoError::validation(
                "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
            ));
        }
    };
    placeholders.check_unused()?;
    let older_filter = older.is_some();
    let filter = filter.or_else(|| legacy::condition(older.unwrap_or_default(), any));
    let filter_names = filter.as_ref().map(names_of).unwrap_or_default();
    // The constraints hold, so there is a table.
    let table = table.ok_or_else(|| DynamoError::validation("Invalid TableName"))?;
    Ok(Query {
        table,
        capacity,
        condition,
        filter_names,
        older_filter,
        shape: common.shape(filter, projection),
        forward,
        start,
        index: common.check_index().err(),
    })
}

impl Query {
    /// Matches the request with its table's key.
    ///
    /// # Errors
    /// `ValidationException` when the key condition, the filter or the starting key does not fit the key.
    pub fn bind(self, schema: &TableSchema) -> Result<QueryOp, DynamoError> {
        if let Some(error) = self.index {
            return Err(error);
        }
        if let Some(start) = &self.start {
            check_start(schema, start)?;
        }
        let range = self.condition.bind(schema)?;
        if let Some(start) = &self.start {
            check_start_in_range(schema, start, &range)?;
        }
        if let Some(name) = self.filter_names.iter().find(|name| schema.is_key(name)) {
            let what = if self.older_filter { "QueryFilter" } else { "Filter Expression" };
            return Err(DynamoError::validation(format!(
                "{what} can only contain non-primary key attributes: Primary key attribute: {name}"
            )));
        }
        Ok(QueryOp {
            table: self.table,
            range,
            shape: self.shape,
            forward: self.forward,
            start_after: self.start,
        })
    }
}

/// The attributes that a filter looks at, in the order written.
fn names_of(filter: &Condition) -> Vec<String> {
    let mut names = Vec::new();
    filter.visit_paths(&mut |path| names.push(path.root.clone()));
    names
}

/// `KeyConditions` as the key condition that they are.
fn key_condition(conditions: Vec<Comparison>) -> Result<KeyCondition, DynamoError> {
    let same_type =
        |values: &[AttributeValue]| values.windows(2).all(|pair| pair[0].kind() == pair[1].kind());
    if !conditions.iter().all(|condition| same_type(&condition.values)) {
        return Err(DynamoError::validation(
            "One or more parameter values were invalid: AttributeValues inside AttributeValueList must be of same type",
        ));
    }
    let clauses = conditions.into_iter().map(|Comparison { attribute, operator, values }| {
        let mut values = values.into_iter();
        let test = match (operator, values.next(), values.next()) {
            (Operator::Compare(comparator), Some(value), None) if comparator != Comparator::NotEqual => {
                KeyTest::Compare(comparator, value)
            }
            (Operator::BeginsWith, Some(value), None) => KeyTest::BeginsWith(value),
            (Operator::Between, Some(low), Some(high)) => KeyTest::Between(low, high),
            (operator, _, _) => {
                return Err(DynamoError::validation(format!(
                    "Unsupported KeyConditions ComparisonOperator: {}",
                    operator.name()
                )));
            }
        };
        Ok(KeyClause { attribute, test })
    });
    Ok(KeyCondition { clauses: clauses.collect::<Result<_, _>>()? })
}

/// Refuses a starting key that the query cannot have come to.
fn check_start_in_range(schema: &TableSchema, start: &Item, range: &KeyRange) -> Result<(), DynamoError> {
    let refuse = |message: &str| Err(DynamoError::validation(message));
    let bounded = !matches!((&range.lower, &range.upper), (Bound::Unbounded, Bound::Unbounded));
    let sort = schema.sort.as_ref().and_then(|sort| encode_key_value(start.get(&sort.name)?));
    if sort.is_some_and(|sort| !range.contains(&sort)) {
        return refuse("The provided starting key does not match the range key predicate");
    }
    if start.get(&schema.partition.name) == Some(&range.partition_value) {
        return Ok(());
    }
    if bounded {
        return refuse("The query can return at most one row and cannot be restarted");
    }
    if schema.sort.is_none() {
        return refuse("The provided exclusive start key is invalid");
    }
    refuse("The provided starting key is outside query boundaries based on provided conditions")
}
