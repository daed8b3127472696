//! Writers: one task of a lane starts a write each period and records how it ended.

use super::item::COUNT;
use super::shared::Shared;
use crate::client::{Answer, Outcome};
use crate::sample::{End, Kind, Sample, WriteId};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// One lane of one region.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) path: u8,
    /// Its number among the region's lanes of its kind, or the counter's index over all regions.
    pub(super) lane: u16,
    pub(super) kind: Kind,
    next: AtomicU32,
}

impl Lane {
    pub(super) fn new(path: u8, lane: u16, kind: Kind) -> Self {
        Self { path, lane, kind, next: AtomicU32::new(0) }
    }
}

/// Writes until the load stops. `worker` is this task's number among the lane's `depth` tasks; they take turns, so that
/// the lane starts a write each interval, and goes on starting them while earlier ones hang.
pub(super) async fn write(shared: Arc<Shared>, lane: Arc<Lane>, worker: u32) -> Vec<Sample> {
    let mut samples = Vec::new();
    let Some(mut client) = shared.client(lane.path, usize::from(lane.lane) + worker as usize) else {
        return samples;
    };
    let period = shared.load.interval() * u32::try_from(shared.load.depth()).unwrap_or(1);
    let mut next = Instant::now() + shared.load.interval() * worker;
    while shared.wait_until(next).await {
        let sequence = lane.next.fetch_add(1, Relaxed);
        let (operation, body) = request(&shared, &lane, sequence);
        let invoked = shared.now();
        let outcome = client.call(operation, &body, shared.load.deadline()).await;
        let mut sample = Sample {
            path: lane.path,
            lane: lane.lane,
            kind: lane.kind,
            end: End::Done,
            invoked,
            returned: shared.now(),
            sequence,
            value: 0,
            floor: 0,
        };
        let reason = match outcome {
            Outcome::Done(answer) if lane.kind == Kind::Add => {
                told(&shared, &mut sample, answer);
                None
            }
            Outcome::Done(_) => None,
            Outcome::Refused(refusal) => {
                sample.end = End::Refused;
                Some(shared.refused(lane.path, operation, &refusal))
            }
            Outcome::Unknown(reason) => {
                sample.end = End::Unknown;
                Some(format!("the outcome of {operation} is unknown: {reason}"))
            }
        };
        shared.note(&sample, reason);
        samples.push(sample);
        next = next_turn(next, period, Instant::now());
    }
    samples
}

/// When a worker's turn comes next: turns that were missed are left out. To make up for them at once would bring all workers of a lane into
/// step, and leave gaps between their writes that are not the cluster's.
fn next_turn(last: Instant, period: Duration, now: Instant) -> Instant {
    let missed = now.saturating_duration_since(last).as_nanos() / period.as_nanos().max(1);
    last + period * u32::try_from(missed + 1).unwrap_or(u32::MAX)
}

fn request(shared: &Shared, lane: &Lane, sequence: u32) -> (&'static str, Value) {
    let table = &shared.items.shape().name;
    let id = WriteId { kind: lane.kind, path: lane.path, lane: lane.lane, sequence };
    if lane.kind == Kind::Append {
        return ("UpdateItem", Value::Object(shared.items.append(id)));
    }
    if lane.kind == Kind::Put {
        let (condition, names) = shared.items.is_new_condition();
        let body = json!({
            "TableName": table, "Item": shared.items.put_item(id),
            "ConditionExpression": condition, "ExpressionAttributeNames": names,
        });
        return ("PutItem", body);
    }
    let body = json!({
        "TableName": table, "Key": shared.items.counter_key(lane.lane),
        "UpdateExpression": "ADD #c :one", "ExpressionAttributeNames": {"#c": COUNT},
        "ExpressionAttributeValues": {":one": {"N": "1"}}, "ReturnValues": "UPDATED_NEW",
    });
    ("UpdateItem", body)
}

/// An add was acknowledged: from now on nobody may be shown less.
fn told(shared: &Shared, sample: &mut Sample, answer: Answer) {
    sample.value = super::count_of(&answer.body["Attributes"]);
    if let Some(counter) = shared.counters.get(usize::from(sample.lane)) {
        counter.told(sample.value);
        if let Some(token) = answer.token {
            counter.set_token(token, sample.value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_keep_their_turns_after_a_standstill() {
        let start = Instant::now();
        let (ms, period) = (Duration::from_millis, Duration::from_millis(1_200));
        let after = |turn: u64, now: u64| next_turn(start + ms(turn), period, start + ms(now)) - start;
        assert_eq!(after(0, 230), ms(1_200), "the usual");
        assert_eq!(after(0, 1_200), ms(2_400));
        let turns = [0, 300, 600, 900].map(|turn| after(turn, 1_900));
        assert_eq!(turns, [2_400, 2_700, 3_000, 2_100].map(ms));
    }
}
