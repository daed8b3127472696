//! Requests for items as a client of the DynamoDB API sends them, in its language, and what becomes of them.

use meridian::tables::ReplicatedTables;
use meridian_api::{Reply, RequestContext, Tables};
use meridian_dynamo::AttributeValue;
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::request::{create_table, delete_item};
use meridian_dynamo::request::{get_item, put_item, scan, update_item};
use meridian_dynamo::table::TableDefinition;
use meridian_dynamo::value::Item;
use meridian_dynamo::write::WriteOp;
use meridian_types::{NodeId, Position, Token};
use std::collections::BTreeSet;
use tokio::time::Instant;

/// How a request ended.
pub enum Came<T> {
    /// Answered: with what, what the answer has seen, and by whom.
    Answered(T, Vec<Position>, NodeId),
    /// The condition did not hold.
    Refused,
    /// Certainly not done.
    Failed,
    /// Perhaps done, perhaps not.
    Unknown,
}

/// A request that is not in the API's language is a mistake of the simulation's.
type Parsed<T> = Result<T, DynamoError>;

/// Replaces an item's value.
pub fn put(table: &str, key: &str, value: u64) -> Parsed<WriteOp> {
    let text =
        format!(r#"{{"TableName": "{table}", "Item": {{"pk": {{"S": "{key}"}}, "v": {{"N": "{value}"}}}}}}"#);
    Ok(put_item::parse(text.as_bytes())?.op)
}

/// Replaces an item's value when it is what is expected.
pub fn swap(table: &str, key: &str, expected: Option<u64>, value: u64) -> Parsed<WriteOp> {
    let condition = expected.map_or_else(
        || r#""ConditionExpression": "attribute_not_exists(pk)""#.to_owned(),
        |seen| {
            format!(
                r#""ConditionExpression": "v = :seen", "ExpressionAttributeValues": {{":seen": {{"N": "{seen}"}}}}"#
            )
        },
    );
    let text = format!(
        r#"{{"TableName": "{table}", "Item": {{"pk": {{"S": "{key}"}}, "v": {{"N": "{value}"}}}}, {condition}}}"#
    );
    Ok(put_item::parse(text.as_bytes())?.op)
}

/// Adds to the end of an item's list.
pub fn append(table: &str, key: &str, value: u64) -> Parsed<WriteOp> {
    let text = format!(
        r#"{{"TableName": "{table}", "Key": {{"pk": {{"S": "{key}"}}}},
            "UpdateExpression": "SET l = list_append(if_not_exists(l, :none), :more)",
            "ExpressionAttributeValues": {{":none": {{"L": []}}, ":more": {{"L": [{{"N": "{value}"}}]}}}}}}"#
    );
    Ok(update_item::parse(text.as_bytes())?.op)
}

/// Adds to an item's number.
pub fn add(table: &str, key: &str, number: u64) -> Parsed<WriteOp> {
    let text = format!(
        r#"{{"TableName": "{table}", "Key": {{"pk": {{"S": "{key}"}}}}, "UpdateExpression": "ADD v :more",
            "ExpressionAttributeValues": {{":more": {{"N": "{number}"}}}}}}"#
    );
    Ok(update_item::parse(text.as_bytes())?.op)
}

/// Deletes an item that is there.
pub fn delete(table: &str, key: &str) -> Parsed<WriteOp> {
    let text = format!(
        r#"{{"TableName": "{table}", "Key": {{"pk": {{"S": "{key}"}}}}, "ConditionExpression": "attribute_exists(pk)"}}"#
    );
    Ok(delete_item::parse(text.as_bytes())?.op)
}

/// A table of items with a text as their key.
pub fn table(name: &str, policy: &str) -> Parsed<TableDefinition> {
    let text = format!(
        r#"{{"TableName": "{name}", "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{{"AttributeName": "pk", "AttributeType": "S"}}],
            "KeySchema": [{{"AttributeName": "pk", "KeyType": "HASH"}}],
            "Tags": [{{"Key": "meridian:policy", "Value": "{policy}"}}]}}"#
    );
    create_table::parse(text.as_bytes())
}

/// What a request carries.
#[must_use]
pub fn context(token: Option<Token>, deadline: Instant) -> RequestContext {
    RequestContext { token, max_staleness: None, deadline }
}

fn came<T, U>(answer: Result<Reply<T>, DynamoError>, shape: impl FnOnce(T) -> U) -> Came<U> {
    match answer {
        Ok(reply) => {
            let server = reply.served_by.node.as_str().rsplit('-').next().and_then(|id| id.parse().ok());
            Came::Answered(
                shape(reply.value),
                reply.token.positions().collect(),
                NodeId(server.unwrap_or_default()),
            )
        }
        Err(DynamoError::ConditionalCheckFailed { .. }) => Came::Refused,
        Err(DynamoError::InternalServerError(_)) => Came::Unknown,
        Err(_) => Came::Failed,
    }
}

/// Writes an item. To be called in the node's process, as all of these.
pub async fn write(tables: &ReplicatedTables, op: WriteOp, deadline: Instant) -> Came<()> {
    came(tables.write(&context(None, deadline), op).await, drop)
}

/// The numbers of an item: its list, or its value, or none.
pub async fn read(
    tables: &ReplicatedTables,
    (table, key): (&str, &str),
    consistent: bool,
    (token, deadline): (Option<Token>, Instant),
) -> Came<Vec<u64>> {
    let text = format!(
        r#"{{"TableName": "{table}", "Key": {{"pk": {{"S": "{key}"}}}}, "ConsistentRead": {consistent}}}"#
    );
    let Ok(get) = get_item::parse(text.as_bytes()) else { return Came::Failed };
    let got = tables.get(&context(token, deadline), get.op).await;
    came(got, |got| got.item.as_ref().map(numbers).unwrap_or_default())
}

fn numbers(item: &Item) -> Vec<u64> {
    let number = |value: &AttributeValue| match value {
        AttributeValue::N(number) => number.to_string().parse().ok(),
        _ => None,
    };
    match (item.get("l"), item.get("v")) {
        (Some(AttributeValue::L(list)), _) => list.iter().filter_map(number).collect(),
        (_, Some(value)) => number(value).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// The keys of all items that a node shows, by its own replicas, and their values.
///
/// # Errors
/// What the node says instead.
pub async fn all(
    tables: &ReplicatedTables,
    table: &str,
    deadline: Instant,
) -> Result<BTreeSet<(String, Vec<u64>)>, DynamoError> {
    let mut found = BTreeSet::new();
    let mut start = String::new();
    loop {
        let text = format!(r#"{{"TableName": "{table}"{start}}}"#);
        let asked = scan::parse(text.as_bytes())?;
        let context = context(None, deadline);
        let name = asked.table.clone();
        let known = tables.table(&context, &name).await?;
        let schema = known.ok_or_else(|| DynamoError::ResourceNotFound(table.to_owned()))?;
        let page = tables.scan(&context, asked.bind(&schema.definition.schema)?).await?.value;
        for item in &page.items {
            if let Some(AttributeValue::S(key)) = item.get("pk") {
                found.insert((key.clone(), numbers(item)));
            }
        }
        let Some(AttributeValue::S(last)) = page.last_evaluated_key.as_ref().and_then(|key| key.get("pk"))
        else {
            return Ok(found);
        };
        start = format!(r#", "ExclusiveStartKey": {{"pk": {{"S": "{last}"}}}}"#);
    }
}
