//! Key condition expressions: which items of a table a query walks.

use super::check::{Resolver, Words};
use super::condition::{Condition, Operand};
use super::syntax::{self, Parser};
use super::token::Comparator;
use super::{ExpressionKind, Path, Placeholders};
use crate::error::DynamoError;
use crate::key::{KeyAttribute, TableSchema, check_not_empty, encode_key_value};
use crate::value::AttributeValue;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Bound;
use serde::{Deserialize, Serialize};

/// A key condition that is not yet matched with a table's key: one clause an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCondition {
    /// The clauses in the order written.
    pub clauses: Vec<KeyClause>,
}

/// What is asked of one key attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyClause {
    /// The attribute.
    pub attribute: String,
    /// The test of its value.
    pub test: KeyTest,
}

/// A test of a key attribute's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyTest {
    /// A comparison other than `<>`.
    Compare(Comparator, AttributeValue),
    /// From the first value to the second, both included.
    Between(AttributeValue, AttributeValue),
    /// Text or binary starts with this.
    BeginsWith(AttributeValue),
}

/// The part of one partition that a query walks, in the stored form of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// The partition key's value.
    pub partition_value: AttributeValue,
    /// The partition key's stored bytes.
    pub partition: Vec<u8>,
    /// Where the sort keys start.
    pub lower: Bound<Vec<u8>>,
    /// Where the sort keys end.
    pub upper: Bound<Vec<u8>>,
}

/// Reads a key condition expression.
///
/// # Errors
/// `ValidationException` in the words of the API.
pub fn parse_key_condition(
    text: &str,
    placeholders: &mut Placeholders<'_>,
) -> Result<KeyCondition, DynamoError> {
    let kind = ExpressionKind::KeyCondition;
    kind.check_text(text)?;
    let tree = Parser::new(kind, text).condition()?;
    let mut words = Words::new(kind);
    words.condition(&tree)?;
    words.finish()?;
    check_operators(&tree)?;
    let mut clauses = Vec::new();
    let mut resolver = Resolver::new(kind, placeholders);
    resolver.clauses(&tree, &mut clauses)?;
    for (at, clause) in clauses.iter().enumerate() {
        if clauses.iter().skip(at + 1).any(|other| other.attribute == clause.attribute) {
            return Err(kind.refuse("KeyConditionExpressions must only contain one condition per key"));
        }
    }
    Ok(KeyCondition { clauses })
}

/// Refuses what a key condition may not be made of.
fn check_operators(tree: &syntax::Condition<'_>) -> Result<(), DynamoError> {
    let operator = match tree.bare() {
        syntax::Condition::And(parts) => return parts.iter().try_for_each(check_operators),
        syntax::Condition::Or(_) => "OR",
        syntax::Condition::Not(..) => "NOT",
        syntax::Condition::In(..) => "IN",
        syntax::Condition::Compare(Comparator::NotEqual, ..) => "<>",
        syntax::Condition::Call(call) if call.name != "begins_with" => call.name,
        _ => return Ok(()),
    };
    Err(DynamoError::request(format!("Invalid operator used in KeyConditionExpression: {operator}")))
}

impl Resolver<'_, '_> {
    fn clauses(
        &mut self,
        tree: &syntax::Condition<'_>,
        clauses: &mut Vec<KeyClause>,
    ) -> Result<(), DynamoError> {
        if let syntax::Condition::And(parts) = tree.bare() {
            return parts.iter().try_for_each(|part| self.clauses(part, clauses));
        }
        let (path, test) = match self.condition(tree)? {
            Condition::Compare(Operand::Path(path), comparator, Operand::Value(value)) => {
                (path, KeyTest::Compare(comparator, value))
            }
            Condition::Compare(Operand::Value(value), comparator, Operand::Path(path)) => {
                (path, KeyTest::Compare(comparator.mirrored(), value))
            }
            Condition::Between(Operand::Path(path), Operand::Value(low), Operand::Value(high)) => {
                (path, KeyTest::Between(low, high))
            }
            Condition::BeginsWith(Operand::Path(path), Operand::Value(start)) => {
                (path, KeyTest::BeginsWith(start))
            }
            _ => return Err(self.refuse("KeyConditionExpressions cannot contain nested operations")),
        };
        let Path { root: attribute, steps } = path;
        if !steps.is_empty() {
            return Err(self.refuse("KeyConditionExpressions cannot have conditions on nested attributes"));
        }
        clauses.push(KeyClause { attribute, test });
        Ok(())
    }
}

impl KeyCondition {
    /// Matches the clauses with a table's key.
    ///
    /// # Errors
    /// `ValidationException` when the partition key is not given by an equality, a clause is on another attribute, or a
    /// value is not one that the key can have.
    pub fn bind(&self, schema: &TableSchema) -> Result<KeyRange, DynamoError> {
        let defined = schema.attributes().count();
        if self.clauses.len() > defined {
            return Err(DynamoError::validation(format!(
                "The number of query conditions ({}) exceeds the number of key attributes defined in the schema \
                 ({defined})",
                self.clauses.len()
            )));
        }
        let missing = |name: &str| {
            DynamoError::validation(format!("Query condition missed key schema element: {name}"))
        };
        let test_of = |attribute: &KeyAttribute| {
            self.clauses.iter().find(|clause| clause.attribute == attribute.name).map(|clause| &clause.test)
        };
        let partition_value = match test_of(&schema.partition) {
            Some(KeyTest::Compare(Comparator::Equal, value)) => value,
            Some(_) => return Err(DynamoError::validation("Query key condition not supported")),
            None => return Err(missing(&schema.partition.name)),
        };
        if let Some(stray) = self.clauses.iter().find(|clause| !schema.is_key(&clause.attribute)) {
            return Err(missing(schema.sort.as_ref().map_or(stray.attribute.as_str(), |sort| &sort.name)));
        }
        let partition = encoded(&schema.partition, partition_value)?;
        let sort = schema.sort.as_ref().and_then(|attribute| Some((attribute, test_of(attribute)?)));
        let (lower, upper) = match sort {
            None => (Bound::Unbounded, Bound::Unbounded),
            Some((attribute, test)) => sort_bounds(attribute, test)?,
        };
        Ok(KeyRange { partition_value: partition_value.clone(), partition, lower, upper })
    }
}

impl KeyRange {
    /// Whether a stored sort key is in the range.
    #[must_use]
    pub fn contains(&self, sort: &[u8]) -> bool {
        let from = match &self.lower {
            Bound::Included(lower) => sort >= lower.as_slice(),
            Bound::Excluded(lower) => sort > lower.as_slice(),
            Bound::Unbounded => true,
        };
        let to = match &self.upper {
            Bound::Included(upper) => sort <= upper.as_slice(),
            Bound::Excluded(upper) => sort < upper.as_slice(),
            Bound::Unbounded => true,
        };
        from && to
    }
}

/// Where a range of stored sort keys starts and ends.
type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

fn sort_bounds(attribute: &KeyAttribute, test: &KeyTest) -> Result<Bounds, DynamoError> {
    let bytes = |value| encoded(attribute, value);
    Ok(match test {
        KeyTest::Compare(Comparator::Equal, value) => {
            let value = bytes(value)?;
            (Bound::Included(value.clone()), Bound::Included(value))
        }
        KeyTest::Compare(Comparator::Less, value) => (Bound::Unbounded, Bound::Excluded(bytes(value)?)),
        KeyTest::Compare(Comparator::LessOrEqual, value) => {
            (Bound::Unbounded, Bound::Included(bytes(value)?))
        }
        KeyTest::Compare(Comparator::Greater, value) => (Bound::Excluded(bytes(value)?), Bound::Unbounded),
        KeyTest::Compare(Comparator::GreaterOrEqual, value) => {
            (Bound::Included(bytes(value)?), Bound::Unbounded)
        }
        KeyTest::Compare(Comparator::NotEqual, _) => {
            return Err(DynamoError::validation("Query key condition not supported"));
        }
        KeyTest::Between(low, high) => (Bound::Included(bytes(low)?), Bound::Included(bytes(high)?)),
        KeyTest::BeginsWith(start) => {
            let start = bytes(start)?;
            let end = behind_prefix(&start).map_or(Bound::Unbounded, Bound::Excluded);
            (Bound::Included(start), end)
        }
    })
}

fn encoded(attribute: &KeyAttribute, value: &AttributeValue) -> Result<Vec<u8>, DynamoError> {
    if value.kind() != attribute.kind.attribute_type() {
        return Err(wrong_type());
    }
    check_not_empty(&attribute.name, value)?;
    encode_key_value(value).ok_or_else(wrong_type)
}

fn wrong_type() -> DynamoError {
    DynamoError::validation(
        "One or more parameter values were invalid: Condition parameter type does not match schema type",
    )
}

/// The first bytes behind all that start with `prefix`; none when nothing is behind them.
fn behind_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}
