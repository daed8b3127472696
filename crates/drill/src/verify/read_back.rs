//! Reads everything back through one region, with consistent reads, until it is done or the time is up.

use crate::client::{Answer, Client};
use crate::sample::WriteId;
use crate::workload::count_in;
use crate::workload::item::{Items, Lane};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// How many lanes of one region are read at once.
const CONCURRENCY: usize = 16;
const CALL_LIMIT: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// The most keys in one BatchGetItem.
const BATCH: usize = 100;

/// What one region shows: how often each write is there.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) writes: BTreeMap<WriteId, u32>,
    pub(super) unread: Vec<String>,
}

/// Reads the items of all lanes back through the region that `client` makes clients of.
pub(super) async fn lanes(
    items: &Arc<Items>,
    lanes: &BTreeMap<Lane, u32>,
    client: impl Fn(usize) -> Option<Client>,
    deadline: Instant,
) -> Shown {
    let places = Arc::new(Semaphore::new(CONCURRENCY));
    let mut tasks = JoinSet::new();
    for (index, (lane, tried)) in lanes.iter().enumerate() {
        let Some(client) = client(index) else { continue };
        let (items, places, lane, tried) = (Arc::clone(items), Arc::clone(&places), *lane, *tried);
        tasks.spawn(async move {
            // The semaphore is never closed; without a place the lane is read all the same.
            let _place = places.acquire().await;
            read_lane(&items, &lane, tried, client, deadline).await
        });
    }
    let mut shown = Shown::default();
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(Ok(found)) => found.into_iter().for_each(|id| *shown.writes.entry(id).or_default() += 1),
            Ok(Err(reason)) => shown.unread.push(reason),
            Err(error) => shown.unread.push(error.to_string()),
        }
    }
    shown
}

/// The value of one counter.
pub(super) async fn counter(
    items: &Items,
    counter: u16,
    client: &mut Client,
    deadline: Instant,
) -> Result<u64, String> {
    let body =
        json!({"TableName": items.shape().name, "Key": items.counter_key(counter), "ConsistentRead": true});
    let answer = insist(client, "GetItem", &body, deadline).await?;
    Ok(count_in(&answer.body["Item"]).unwrap_or(0))
}

async fn read_lane(
    items: &Items,
    lane: &Lane,
    tried: u32,
    mut client: Client,
    deadline: Instant,
) -> Result<Vec<WriteId>, String> {
    let read = if items.lane_is_partition() {
        query(items, lane, &mut client, deadline).await
    } else {
        batches(items, lane, tried, &mut client, deadline).await
    };
    read.map_err(|reason| format!("{:?} lane {} of region {}: {reason}", lane.kind, lane.lane, lane.path))
}

async fn query(
    items: &Items,
    lane: &Lane,
    client: &mut Client,
    deadline: Instant,
) -> Result<Vec<WriteId>, String> {
    let mut body = json!({
        "TableName": items.shape().name, "ConsistentRead": true,
        "KeyConditionExpression": "#p = :p", "ExpressionAttributeNames": {"#p": items.shape().partition.name},
        "ExpressionAttributeValues": {":p": items.lane_partition(lane)},
    });
    let mut found = Vec::new();
    loop {
        let page = insist(client, "Query", &body, deadline).await?.body;
        found.extend(
            page["Items"].as_array().into_iter().flatten().flat_map(|item| items.shown_by(lane, item)),
        );
        match page.get("LastEvaluatedKey") {
            Some(key) if !key.is_null() => body["ExclusiveStartKey"] = key.clone(),
            _ => return Ok(found),
        }
    }
}

async fn batches(
    items: &Items,
    lane: &Lane,
    tried: u32,
    client: &mut Client,
    deadline: Instant,
) -> Result<Vec<WriteId>, String> {
    let table = items.shape().name.as_str();
    let mut found = Vec::new();
    let mut keys: Vec<Value> = items.keys_of(lane, tried).into_iter().map(Value::Object).collect();
    while !keys.is_empty() {
        let batch = keys.split_off(keys.len().saturating_sub(BATCH));
        let body = json!({"RequestItems": {table: {"Keys": batch, "ConsistentRead": true}}});
        let page = insist(client, "BatchGetItem", &body, deadline).await?.body;
        let answered = page["Responses"][table].as_array().into_iter().flatten();
        found.extend(answered.flat_map(|item| items.shown_by(lane, item)));
        let unprocessed = page["UnprocessedKeys"][table]["Keys"].as_array();
        keys.extend(unprocessed.into_iter().flatten().cloned());
        if unprocessed.is_some() && Instant::now() >= deadline {
            return Err("the time is up with keys left unprocessed".to_owned());
        }
    }
    Ok(found)
}

/// Repeats a read, which is harmless, until it is answered or the time is up.
async fn insist(
    client: &mut Client,
    operation: &str,
    body: &Value,
    deadline: Instant,
) -> Result<Answer, String> {
    loop {
        match client.call(operation, body, CALL_LIMIT).await.into_result() {
            Ok(answer) => return Ok(answer),
            Err(reason) if Instant::now() >= deadline => return Err(reason),
            Err(_) => sleep(RETRY_AFTER).await,
        }
    }
}
