//! BatchGetItem.

use super::body::{Body, class, element};
use super::constraints::Constraints;
use super::expressions::{Expressions, Families, check_attributes_to_get};
use super::page::of_attributes;
use super::write::attributes;
use crate::capacity::ReturnCapacity;
use crate::error::DynamoError;
use crate::expr::{Projection, parse_projection};
use crate::read::GetOp;
use crate::value::Item;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use meridian_types::TableName;
use serde_json::{Map, Value};

/// Most keys of one request.
pub const MAX_KEYS: usize = 100;
/// The refusal of a batch that names one item twice.
pub const DUPLICATE_KEYS: &str = "Provided list of item keys contains duplicates";
/// The most of a request that a refusal repeats, in bytes.
const MAX_ECHO: usize = 64 << 10;

/// A BatchGetItem request.
#[derive(Debug)]
pub struct BatchGet {
    /// What is read of each table, in name order.
    pub tables: Vec<TableGets>,
    /// What to report of its cost.
    pub capacity: ReturnCapacity,
}

/// What is read of one table.
#[derive(Debug)]
pub struct TableGets {
    /// The table.
    pub name: TableName,
    /// The keys.
    pub keys: Vec<Item>,
    /// Whether the answers must include every acknowledged write.
    pub consistent: bool,
    projection: Option<Projection>,
    text: Option<String>,
    attributes_to_get: Option<Vec<String>>,
    expressions: Expressions,
}

impl TableGets {
    /// The single reads, in the order of the keys.
    pub fn ops(&self) -> impl Iterator<Item = GetOp> + '_ {
        self.keys.iter().map(|key| GetOp {
            table: self.name.clone(),
            key: key.clone(),
            consistent: self.consistent,
            projection: self.projection.clone(),
        })
    }

    /// The members besides the keys that a retry of this table needs.
    pub(crate) fn settings(&self) -> Map<String, Value> {
        let mut members = Map::new();
        if self.consistent {
            members.insert("ConsistentRead".into(), true.into());
        }
        if let Some(text) = &self.text {
            members.insert("ProjectionExpression".into(), text.as_str().into());
        }
        if let Some(names) = self.expressions.names() {
            let names = names.iter().map(|(key, name)| (key.clone(), name.as_str().into()));
            members.insert("ExpressionAttributeNames".into(), Value::Object(names.collect()));
        }
        if let Some(names) = &self.attributes_to_get {
            members.insert("AttributesToGet".into(), names.clone().into());
        }
        members
    }
}

/// One table's part as it is in the body.
struct RawTable {
    name: String,
    keys: Option<Vec<Map<String, Value>>>,
    consistent: bool,
    projection: Option<String>,
    attributes_to_get: Option<Vec<String>>,
    expressions: Expressions,
}

impl RawTable {
    fn read(name: String, mut body: Body) -> Result<Self, DynamoError> {
        let expressions = Expressions::read_names(&mut body)?;
        let keys = match body.list("Keys")? {
            None => None,
            Some(keys) => Some(keys.into_iter().map(key_map).collect::<Result<_, _>>()?),
        };
        Ok(Self {
            name,
            keys,
            consistent: body.boolean("ConsistentRead")?.unwrap_or(false),
            projection: body.string("ProjectionExpression")?,
            attributes_to_get: body.list_of_strings("AttributesToGet")?,
            expressions,
        })
    }

    fn check(mut self, name: TableName) -> Result<TableGets, DynamoError> {
        let mut families = Families::default();
        families.expression("ProjectionExpression", self.projection.is_some());
        self.expressions.check(&families, "")?;
        if let Some(names) = &self.attributes_to_get {
            check_attributes_to_get(names)?;
        }
        let keys =
            self.keys.unwrap_or_default().into_iter().map(attributes).collect::<Result<Vec<_>, _>>()?;
        // Values are canonical and the keys few: comparing all pairs finds every duplicate.
        if keys.iter().enumerate().any(|(at, key)| keys.iter().skip(at + 1).any(|other| other == key)) {
            return Err(DynamoError::validation(DUPLICATE_KEYS));
        }
        let mut placeholders = self.expressions.placeholders();
        let projection = match (&self.attributes_to_get, &self.projection) {
            (Some(names), _) => Some(of_attributes(names.clone())),
            (None, Some(text)) => Some(parse_projection(text, &mut placeholders)?),
            (None, None) => None,
        };
        placeholders.check_unused()?;
        Ok(TableGets {
            name,
            keys,
            consistent: self.consistent,
            projection,
            text: self.projection,
            attributes_to_get: self.attributes_to_get,
            expressions: self.expressions,
        })
    }
}

fn key_map(value: Value) -> Result<Map<String, Value>, DynamoError> {
    match value {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        other => element(other, class::ATTRIBUTE_VALUE).map(|_| Map::new()),
    }
}

/// Parses and checks a BatchGetItem request.
///
/// # Errors
/// The API's exceptions, in its own order.
pub fn parse(text: &[u8]) -> Result<BatchGet, DynamoError> {
    let mut body = Body::parse(text)?;
    let items = body.map("RequestItems", class::KEYS_AND_ATTRIBUTES)?;
    let capacity = body.string("ReturnConsumedCapacity")?;
    let Some(items) = items else {
        return missing_items();
    };
    let echo = echo(&items);
    let mut tables = Vec::new();
    for (name, value) in items {
        tables.push(RawTable::read(name, element(value, class::KEYS_AND_ATTRIBUTES)?)?);
    }
    let length = |path: &str, bound: &str| {
        DynamoError::validation(format!(
            "1 validation error detected: Value at 'RequestItems{path}' failed to satisfy constraint: Member must have \
             length {bound}"
        ))
    };
    if tables.is_empty() {
        return Err(length("", "greater than or equal to 1"));
    }
    let mut constraints = Constraints::default();
    for table in tables.iter().filter(|table| table.keys.is_none()) {
        constraints.missing(&format!("requestItems.{}.member.keys", table.name));
    }
    constraints.finish()?;
    let count = |table: &RawTable| table.keys.as_ref().map_or(0, Vec::len);
    if let Some(table) = tables.iter().find(|table| count(table) == 0) {
        return Err(length(&format!(".{}.member.Keys", table.name), "greater than or equal to 1"));
    }
    let names: Vec<_> = tables.iter().filter_map(|table| TableName::new(&table.name).ok()).collect();
    let all_named = names.len() == tables.len();
    if all_named
        && tables.iter().map(count).sum::<usize>() > MAX_KEYS
        && let Some(largest) = tables.iter().max_by_key(|table| count(table))
    {
        return Err(length(&format!(".{}.member.Keys", largest.name), "less than or equal to 100"));
    }
    let mut constraints = Constraints::default();
    if !all_named {
        constraints.push(table_names_refused(&echo));
    }
    let capacity = constraints.return_capacity(capacity.as_deref());
    constraints.finish()?;
    if tables.iter().any(|table| table.projection.is_some())
        && tables.iter().any(|table| table.attributes_to_get.is_some())
    {
        let mut families = Families::default();
        families.older("AttributesToGet", true).expression("ProjectionExpression", true).check()?;
    }
    let tables = tables.into_iter().zip(names).map(|(table, name)| table.check(name));
    Ok(BatchGet { tables: tables.collect::<Result<_, _>>()?, capacity })
}

/// The refusal of a batch without `RequestItems`.
pub(super) fn missing_items<T>() -> Result<T, DynamoError> {
    let mut constraints = Constraints::default();
    constraints.missing("requestItems");
    constraints.finish()?;
    Err(DynamoError::validation("requestItems"))
}

/// What the API says of a batch that names a table as no table is named.
pub(super) fn table_names_refused(echo: &str) -> String {
    format!(
        "Value '{echo}' at 'requestItems' failed to satisfy constraint: Map keys must satisfy constraint: [Member must \
         have length less than or equal to 255, Member must have length greater than or equal to 3, Member must satisfy \
         regular expression pattern: [a-zA-Z0-9_.-]+]"
    )
}

/// The request as a refusal repeats it, bounded.
pub(super) fn echo(items: &Map<String, Value>) -> String {
    let mut text = serde_json::to_string(items).unwrap_or_default();
    if text.len() > MAX_ECHO {
        let cut = (0..=MAX_ECHO).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
        text.push_str("...");
    }
    text
}
