//! Answers: the JSON bodies of successes and refusals.

use crate::capacity::{ReturnCapacity, Units, consumed};
use crate::error::DynamoError;
use crate::json::{JsonItem, item_to_json};
use crate::read::{GetOutcome, Page};
use crate::request::batch_get::BatchGet;
use crate::request::batch_write::BatchWrite;
use crate::value::Item;
use crate::write::{WriteKind, WriteOutcome};
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use meridian_types::TableName;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// The body of a refusal.
#[must_use]
pub fn error(error: &DynamoError) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(rename = "__type")]
        kind: &'a str,
        // The API writes this one exception's message with a capital, and none that is empty.
        #[serde(rename = "Message", skip_serializing_if = "Option::is_none")]
        capital: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
        #[serde(rename = "Item", skip_serializing_if = "Option::is_none")]
        item: Option<JsonItem<'a>>,
    }
    let text = error.to_string();
    let text = Some(text.as_str()).filter(|text| !text.is_empty());
    let (capital, message) = match error {
        DynamoError::Serialization(_) => (text, None),
        _ => (None, text),
    };
    let item = match error {
        DynamoError::ConditionalCheckFailed { item: Some(item) } => Some(JsonItem(item)),
        _ => None,
    };
    bytes(&Body { kind: error.type_name(), capital, message, item })
}

/// The body of the refusal of a body that is too large; it has no exception of its own.
#[must_use]
pub fn too_large() -> Vec<u8> {
    bytes(&json!({
        "__type": "com.amazon.coral.service#RequestEntityTooLargeException",
        "message": "Request size exceeds the limit of 16777216 bytes",
    }))
}

/// The body of the refusal of headers that are too large; it has no exception of its own.
#[must_use]
pub fn head_too_large() -> Vec<u8> {
    bytes(&json!({
        "__type": "com.amazon.coral.service#RequestHeaderFieldsTooLargeException",
        "message": "Request headers exceed the limit of 65536 bytes",
    }))
}

/// The body of PutItem, UpdateItem or DeleteItem.
#[must_use]
pub fn write(table: &TableName, outcome: &WriteOutcome, capacity: ReturnCapacity) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(rename = "Attributes", skip_serializing_if = "Option::is_none")]
        attributes: Option<JsonItem<'a>>,
        #[serde(rename = "ConsumedCapacity", skip_serializing_if = "Option::is_none")]
        capacity: Option<Value>,
    }
    bytes(&Body {
        attributes: outcome.attributes.as_ref().map(JsonItem),
        capacity: consumed(table, Units::write(outcome.capacity_bytes()), capacity),
    })
}

/// The body of GetItem.
#[must_use]
pub fn get(table: &TableName, outcome: &GetOutcome, consistent: bool, capacity: ReturnCapacity) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(rename = "Item", skip_serializing_if = "Option::is_none")]
        item: Option<JsonItem<'a>>,
        #[serde(rename = "ConsumedCapacity", skip_serializing_if = "Option::is_none")]
        capacity: Option<Value>,
    }
    bytes(&Body {
        item: outcome.item.as_ref().map(JsonItem),
        capacity: consumed(table, Units::read(u64::from(outcome.size), consistent), capacity),
    })
}

/// The body of Query or Scan.
#[must_use]
pub fn page(
    table: &TableName,
    page: &Page,
    count_only: bool,
    consistent: bool,
    capacity: ReturnCapacity,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(rename = "Items", skip_serializing_if = "Option::is_none")]
        items: Option<Items<'a>>,
        #[serde(rename = "Count")]
        count: u32,
        #[serde(rename = "ScannedCount")]
        scanned_count: u32,
        #[serde(rename = "LastEvaluatedKey", skip_serializing_if = "Option::is_none")]
        last: Option<JsonItem<'a>>,
        #[serde(rename = "ConsumedCapacity", skip_serializing_if = "Option::is_none")]
        capacity: Option<Value>,
    }
    bytes(&Body {
        items: (!count_only).then_some(Items(&page.items)),
        count: page.count,
        scanned_count: page.scanned_count,
        last: page.last_evaluated_key.as_ref().map(JsonItem),
        capacity: consumed(table, Units::read(page.read_bytes, consistent), capacity),
    })
}

/// What was read of one table of a BatchGetItem.
#[derive(Debug, Default)]
pub struct TableRead {
    /// Items found, in the order of their keys.
    pub items: Vec<Item>,
    /// Positions of the keys that were not read.
    pub unprocessed: Vec<usize>,
    /// What the reads cost.
    pub units: Units,
}

/// The body of BatchGetItem; `reads` has an entry for each of the batch's tables.
#[must_use]
pub fn batch_get(batch: &BatchGet, reads: &[TableRead]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(rename = "Responses")]
        responses: BTreeMap<&'a str, Items<'a>>,
        #[serde(rename = "UnprocessedKeys")]
        unprocessed: BTreeMap<&'a str, Value>,
        #[serde(rename = "ConsumedCapacity", skip_serializing_if = "Option::is_none")]
        capacity: Option<Vec<Value>>,
    }
    let tables = || batch.tables.iter().zip(reads);
    let responses = tables().map(|(table, read)| (table.name.as_str(), Items(&read.items))).collect();
    let unprocessed = tables()
        .filter(|(_, read)| !read.unprocessed.is_empty())
        .map(|(table, read)| {
            let keys =
                read.unprocessed.iter().filter_map(|at| table.keys.get(*at)).map(item_to_json).collect();
            let mut members = table.settings();
            members.insert("Keys".into(), Value::Array(keys));
            (table.name.as_str(), Value::Object(members))
        })
        .collect();
    let capacity = capacities(batch.capacity, tables().map(|(table, read)| (&table.name, read.units)));
    bytes(&Body { responses, unprocessed, capacity })
}

/// The body of BatchWriteItem; `units` and `unprocessed` are by the position of the table in the batch, the latter's
/// values by the position of the write in the table.
#[must_use]
pub fn batch_write(
    batch: &BatchWrite,
    units: &BTreeMap<usize, Units>,
    unprocessed: &BTreeMap<usize, Vec<usize>>,
) -> Vec<u8> {
    let mut left = serde_json::Map::new();
    for (table, places) in
        unprocessed.iter().filter_map(|(at, places)| Some((batch.tables.get(*at)?, places)))
    {
        let writes = places.iter().filter_map(|at| table.writes.get(*at)).map(write_request).collect();
        left.insert(table.name.as_str().into(), Value::Array(writes));
    }
    let costs = batch
        .tables
        .iter()
        .enumerate()
        .map(|(at, table)| (&table.name, units.get(&at).copied().unwrap_or_default()));
    let mut body = json!({"UnprocessedItems": left});
    if let Some(capacity) = capacities(batch.capacity, costs) {
        body["ConsumedCapacity"] = Value::Array(capacity);
    }
    bytes(&body)
}

fn write_request(write: &WriteKind) -> Value {
    match write {
        WriteKind::Put { item } => json!({"PutRequest": {"Item": item_to_json(item)}}),
        WriteKind::Delete { key } | WriteKind::Update { key, .. } => {
            json!({"DeleteRequest": {"Key": item_to_json(key)}})
        }
    }
}

fn capacities<'a>(
    wanted: ReturnCapacity,
    costs: impl Iterator<Item = (&'a TableName, Units)>,
) -> Option<Vec<Value>> {
    if wanted == ReturnCapacity::None {
        return None;
    }
    Some(costs.filter_map(|(table, units)| consumed(table, units, wanted)).collect())
}

struct Items<'a>(&'a [Item]);

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(JsonItem))
    }
}

/// Maps with text keys and finite numbers always serialise.
fn bytes(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_else(|error| String::into_bytes(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::AttributeValue;

    fn text(body: &[u8]) -> &str {
        core::str::from_utf8(body).unwrap()
    }

    #[test]
    fn refusals_have_the_shape_of_the_api() {
        let body = error(&DynamoError::validation("bad"));
        assert_eq!(
            text(&body),
            r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"bad"}"#
        );
        let body = error(&DynamoError::Serialization("odd".into()));
        assert_eq!(
            text(&body),
            r#"{"__type":"com.amazon.coral.service#SerializationException","Message":"odd"}"#
        );
        let body = error(&DynamoError::UnknownOperation(String::new()));
        assert_eq!(text(&body), r#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#);
        let item = Item::from([("a".into(), AttributeValue::Bool(true))]);
        let body = error(&DynamoError::ConditionalCheckFailed { item: Some(item) });
        assert!(
            text(&body)
                .ends_with(r#""message":"The conditional request failed","Item":{"a":{"BOOL":true}}}"#)
        );
    }

    #[test]
    fn a_page_of_a_count_has_no_items() {
        let table = TableName::new("abc").unwrap();
        let counted = page(&table, &Page::default(), true, false, ReturnCapacity::None);
        assert_eq!(text(&counted), r#"{"Count":0,"ScannedCount":0}"#);
        let empty = page(&table, &Page::default(), false, false, ReturnCapacity::None);
        assert_eq!(text(&empty), r#"{"Items":[],"Count":0,"ScannedCount":0}"#);
    }
}
