//! BatchWriteItem.

use super::batch_get::{echo, missing_items, table_names_refused};
use super::body::{Body, class};
use super::constraints::Constraints;
use super::write::{attributes, read_attributes};
use crate::capacity::ReturnCapacity;
use crate::error::DynamoError;
use crate::size::check_put;
use crate::write::{ReturnValues, WriteKind, WriteOp};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use meridian_types::TableName;
use serde_json::{Map, Value};

/// Most writes of one request.
pub const MAX_WRITES: usize = 25;

/// A BatchWriteItem request.
#[derive(Debug)]
pub struct BatchWrite {
    /// What is written to each table, in name order.
    pub tables: Vec<TableWrites>,
    /// What to report of its cost.
    pub capacity: ReturnCapacity,
}

/// What is written to one table.
#[derive(Debug)]
pub struct TableWrites {
    /// The table.
    pub name: TableName,
    /// Puts and deletes, in the order written.
    pub writes: Vec<WriteKind>,
}

impl TableWrites {
    /// The single writes, in the order written.
    pub fn ops(&self) -> impl Iterator<Item = WriteOp> + '_ {
        self.writes.iter().map(|kind| WriteOp {
            table: self.name.clone(),
            kind: kind.clone(),
            condition: None,
            return_values: ReturnValues::None,
            return_on_failure: false,
        })
    }
}

/// One write as it is in the body: the item of a put, the key of a delete.
enum RawWrite {
    Put(Map<String, Value>),
    Delete(Map<String, Value>),
    Neither,
}

/// Parses and checks a BatchWriteItem request.
///
/// # Errors
/// The API's exceptions, in its own order.
pub fn parse(text: &[u8]) -> Result<BatchWrite, DynamoError> {
    let mut body = Body::parse(text)?;
    let items = body.map("RequestItems", class::WRITE_REQUESTS)?;
    let capacity = body.string("ReturnConsumedCapacity")?;
    let metrics = body.string("ReturnItemCollectionMetrics")?;
    let Some(items) = items else {
        return missing_items();
    };
    if items.is_empty() {
        return Err(DynamoError::validation("The requestItems parameter is required for BatchWriteItem"));
    }
    let echo = echo(&items);
    let mut constraints = Constraints::default();
    let tables = read_tables(items, &mut constraints)?;
    let total: usize = tables.iter().map(|(_, writes)| writes.len()).sum();
    if total > MAX_WRITES || tables.iter().any(|(_, writes)| writes.is_empty()) {
        constraints.push(format!(
            "Value '{echo}' at 'requestItems' failed to satisfy constraint: Map value must satisfy constraint: [Member \
             must have length less than or equal to 25, Member must have length greater than or equal to 1]"
        ));
    }
    let capacity = constraints.return_capacity(capacity.as_deref());
    constraints.return_metrics(metrics.as_deref());
    constraints.finish()?;
    let mut checked = Vec::new();
    for (name, writes) in tables {
        let Ok(name) = TableName::new(&name) else {
            let mut constraints = Constraints::default();
            constraints.push(table_names_refused(&echo));
            constraints.finish()?;
            continue;
        };
        checked.push((name, writes));
    }
    let tables = checked.into_iter().map(|(name, writes)| {
        let writes = writes.into_iter().map(check).collect::<Result<_, _>>()?;
        Ok(TableWrites { name, writes })
    });
    Ok(BatchWrite { tables: tables.collect::<Result<_, _>>()?, capacity })
}

fn read_tables(
    items: Map<String, Value>,
    constraints: &mut Constraints,
) -> Result<Vec<(String, Vec<RawWrite>)>, DynamoError> {
    let mut tables = Vec::new();
    for (name, value) in items {
        let mut holder = Body::of([("Writes".into(), value)].into_iter().collect());
        let writes = holder.list_of_bodies("Writes", class::WRITE_REQUEST)?.unwrap_or_default();
        let mut read = Vec::new();
        for (index, mut write) in writes.into_iter().enumerate() {
            let path = |member: &str| format!("requestItems.{name}.member.{}.member.{member}", index + 1);
            let put = write.body("PutRequest", class::PUT_REQUEST)?;
            let delete = write.body("DeleteRequest", class::DELETE_REQUEST)?;
            read.push(match (put, delete) {
                (Some(mut put), None) => {
                    let item = read_attributes(&mut put, "Item")?;
                    if item.is_none() {
                        constraints.missing(&path("putRequest.item"));
                    }
                    RawWrite::Put(item.unwrap_or_default())
                }
                (None, Some(mut delete)) => {
                    let key = read_attributes(&mut delete, "Key")?;
                    if key.is_none() {
                        constraints.missing(&path("deleteRequest.key"));
                    }
                    RawWrite::Delete(key.unwrap_or_default())
                }
                (_, _) => RawWrite::Neither,
            });
        }
        tables.push((name, read));
    }
    Ok(tables)
}

fn check(write: RawWrite) -> Result<WriteKind, DynamoError> {
    match write {
        RawWrite::Put(item) => {
            let item = attributes(item)?;
            check_put(&item)?;
            Ok(WriteKind::Put { item })
        }
        RawWrite::Delete(key) => Ok(WriteKind::Delete { key: attributes(key)? }),
        // The API's own words for a write that is both or neither.
        RawWrite::Neither => Err(DynamoError::validation(
            "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
        )),
    }
}
