//! Removes keys that have expired, a little at a time.
//!
//! Every node sweeps what its own replicas show; what another has removed is not found any more. A key is removed only as long as it is still
//! expired where it is written, and only long after, so that a region that was away may still prolong it.

use super::config::RedisConfig;
use super::decide::delete;
use super::layout::{KEY, is_dead, place};
use crate::tables::{RequestContext, Tables};
use bytes::Bytes;
use core::time::Duration;
use meridian_dynamo::expr::Projection;
use meridian_dynamo::read::{PageShape, ScanOp};
use meridian_dynamo::write::{ReturnValues, WriteOp};
use meridian_dynamo::{AttributeValue, DynamoError, Item};
use std::sync::Arc;
use tokio::time::{Instant, sleep};

/// Keys that are looked at in one step.
const STEP: u32 = 500;
/// Rest after each step, and after each removal.
const REST: Duration = Duration::from_millis(50);
const REST_AFTER_ONE: Duration = Duration::from_millis(2);
/// Rest between rounds for each step of the last one: many keys are looked through a fifth of the time only.
const REST_FOR_STEP: Duration = Duration::from_millis(200);
/// Rest after each round at least, or a fifth of `sweep_after` when that is less.
const ROUND: Duration = Duration::from_secs(30);

/// Sweeps for ever.
pub async fn sweep(tables: Arc<dyn Tables>, config: RedisConfig) -> core::convert::Infallible {
    let round = (config.sweep_after / 5).clamp(Duration::from_millis(100), ROUND);
    let mut steps = 0;
    loop {
        // Nodes that were started together go apart.
        sleep(round.max(REST_FOR_STEP * steps).mul_f64(0.5 + rand::random::<f64>())).await;
        steps = 0;
        if let Err(error) = once(tables.as_ref(), &config, &mut steps).await {
            tracing::debug!(%error, "sweeping expired keys: tried again later");
        }
    }
}

async fn once(tables: &dyn Tables, config: &RedisConfig, steps: &mut u32) -> Result<(), DynamoError> {
    let context =
        || RequestContext { token: None, max_staleness: None, deadline: Instant::now() + config.deadline };
    if tables.table(&context(), &config.table).await?.is_none() {
        return Ok(());
    }
    let after = i64::try_from(config.sweep_after.as_millis()).unwrap_or(i64::MAX);
    let mut start_after: Option<Item> = None;
    loop {
        let before = config.now().saturating_sub(after);
        let shape = PageShape {
            filter: Some(is_dead(before)),
            projection: Some(Projection::new(vec![place(KEY)])),
            limit: Some(STEP),
            ..PageShape::default()
        };
        let op = ScanOp { table: config.table.clone(), segment: None, shape, start_after };
        let page = tables.scan(&context(), op).await?.value;
        for item in &page.items {
            let Some(AttributeValue::B(key)) = item.get(KEY) else { continue };
            let gone = delete(&Bytes::copy_from_slice(key), is_dead(before));
            let op = WriteOp {
                table: config.table.clone(),
                kind: gone.kind,
                condition: gone.condition,
                return_values: ReturnValues::None,
                return_on_failure: false,
            };
            match tables.write(&context(), op).await {
                Ok(_) | Err(DynamoError::ConditionalCheckFailed { .. }) => {}
                Err(error) => return Err(error),
            }
            sleep(REST_AFTER_ONE).await;
        }
        start_after = page.last_evaluated_key;
        if start_after.is_none() {
            return Ok(());
        }
        *steps = steps.saturating_add(1);
        sleep(REST).await;
    }
}
