//! Readers: go round all counters, through one region, in one of the three ways of reading.

use super::shared::Shared;
use crate::client::Outcome;
use crate::sample::{End, Kind, Sample};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The pause between two reads of one reader.
const PACE: Duration = Duration::from_millis(100);
/// The pause when the region is watched closely: short, but bounding what one reader can record.
const HURRIED_PACE: Duration = Duration::from_millis(2);

/// Reads until the load stops. `worker` spreads the readers of a region over the counters.
pub(super) async fn read(shared: Arc<Shared>, path: u8, kind: Kind, worker: usize) -> Vec<Sample> {
    let mut samples = Vec::new();
    let Some(mut client) = shared.client(path, worker) else { return samples };
    let count = shared.counters.len();
    let mut next = Instant::now();
    // Readers of one region start evenly apart and all move on by one.
    let mut turn = worker * count / usize::from(shared.load.readers).max(1);
    while shared.wait_until(next).await {
        let pace = if shared.is_hurried(path) { HURRIED_PACE } else { PACE };
        next = (next + pace).max(Instant::now());
        turn = (turn + 1) % count.max(1);
        let (Some(counter), Ok(lane)) = (shared.counters.get(turn), u16::try_from(turn)) else { continue };
        let (token, floor) = match kind {
            Kind::TokenRead => match counter.token() {
                Some((token, value)) => (Some(token), value),
                // No write has been answered with a token yet, or the endpoint gives none.
                None => continue,
            },
            _ => (None, counter.highest()),
        };
        let body = json!({
            "TableName": shared.items.shape().name, "Key": shared.items.counter_key(lane),
            "ConsistentRead": kind == Kind::ConsistentRead,
        });
        let invoked = shared.now();
        let outcome =
            client.call_with_token("GetItem", &body, token.as_deref(), shared.load.deadline()).await;
        let (end, value, reason) = match outcome {
            Outcome::Done(answer) => (End::Done, super::count_of(&answer.body["Item"]), None),
            Outcome::Refused(refusal) => (End::Refused, 0, Some(shared.refused(path, "GetItem", &refusal))),
            Outcome::Unknown(reason) => {
                (End::Unknown, 0, Some(format!("GetItem was not answered: {reason}")))
            }
        };
        if kind == Kind::ConsistentRead && end == End::Done {
            counter.told(value);
        }
        let returned = shared.now();
        let sample = Sample { path, lane, kind, end, invoked, returned, sequence: 0, value, floor };
        shared.note(&sample, reason);
        samples.push(sample);
    }
    samples
}
