//! Takes a run's items out of a table that was there before it.

use super::item::{Items, lanes_of};
use crate::client::{Client, Target};
use crate::sample::{Kind, Sample};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// The most writes in one BatchWriteItem.
const BATCH: usize = 25;
const CLIENTS: usize = 16;
const CALL_LIMIT: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Deletes every item that the samples tried to write, and gives the number of those that may be left when `limit` has passed.
pub async fn remove_items(target: &Target, items: &Items, samples: &[Sample], limit: Duration) -> usize {
    let deadline = Instant::now() + limit;
    let counters: BTreeSet<u16> =
        samples.iter().filter(|one| one.kind == Kind::Add).map(|one| one.lane).collect();
    let keys: Vec<_> = lanes_of(samples)
        .into_iter()
        .flat_map(|(lane, tried)| items.keys_of(&lane, tried))
        .chain(counters.into_iter().map(|counter| items.counter_key(counter)))
        .map(|key| json!({"DeleteRequest": {"Key": key}}))
        .collect();
    let mut tasks = JoinSet::new();
    for share in keys.chunks(keys.len().div_ceil(CLIENTS).max(1)) {
        let (client, table) = (Client::new(target), items.shape().name.to_string());
        tasks.spawn(delete(client, table, share.to_vec(), deadline));
    }
    let mut left = 0;
    while let Some(ended) = tasks.join_next().await {
        left += ended.unwrap_or(BATCH);
    }
    left
}

async fn delete(mut client: Client, table: String, mut requests: Vec<Value>, deadline: Instant) -> usize {
    while !requests.is_empty() {
        let batch = requests.split_off(requests.len().saturating_sub(BATCH));
        let body = json!({"RequestItems": {&table: batch}});
        match client.call("BatchWriteItem", &body, CALL_LIMIT).await.into_result() {
            Ok(answer) => {
                requests.extend(
                    answer.body["UnprocessedItems"][&table].as_array().into_iter().flatten().cloned(),
                );
            }
            Err(_) if Instant::now() >= deadline => return requests.len() + batch.len(),
            Err(_) => {
                requests.extend(batch);
                sleep(RETRY_AFTER).await;
            }
        }
    }
    0
}
