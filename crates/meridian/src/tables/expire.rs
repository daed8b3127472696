//! Deletes items that have expired, of tables with a time to live.
//!
//! The leader of each group looks through its items and deletes by ordinary conditional writes, a little at a time: so a delete is replicated as
//! any other, and an item that was prolonged meanwhile stays. Of an active-active table each origin's leader does so, one later than the
//! other: where the regions hear each other there is one delete, and where they do not, none is missing.

use super::active::{Guard, undisputed};
use super::catalog::Catalog;
use super::evaluate::{GroupRead, GroupScan, ScanPart};
use super::serve::ReplicatedTables;
use meridian_api::{RequestContext, Tables};
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::expiry::has_expired;
use meridian_dynamo::expr::{Condition, Path, Projection};
use meridian_dynamo::read::{PageShape, ScanOp};
use meridian_dynamo::write::{ReturnValues, WriteKind, WriteOp};
use meridian_replication::runtime::wall_ms;
use meridian_types::{GroupId, TableId, TableName};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between rounds, at least.
const ROUND: Duration = Duration::from_secs(10);
/// Rest between rounds for each step of the last one: large tables are looked through a fifth of the time only.
const REST_FOR_STEP: Duration = Duration::from_millis(200);
/// Items looked at in one step, and the rest after it and after each delete: they bound what this takes from clients.
const STEP: u32 = 500;
const REST: Duration = Duration::from_millis(50);
const REST_AFTER_ONE: Duration = Duration::from_millis(2);
/// How much later each further origin deletes, in seconds: a round and some replication.
const NEXT_ORIGIN_S: u64 = 15;
/// Deletes that may fail before a group is left alone until the next round.
const MAX_FAILED: u32 = 16;
/// Bounds one request.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs as long as the node.
pub async fn run(tables: Arc<ReplicatedTables>, guard: Guard) -> Infallible {
    let mut steps = 0;
    loop {
        sleep(ROUND.max(REST_FOR_STEP * steps)).await;
        steps = 0;
        // By a wrong clock too much would expire.
        if guard.trusts(tables.replication.clock_behind_ms()) {
            steps = Box::pin(tables.expire(guard)).await;
        }
    }
}

/// One group of a table, as far as it is looked through.
struct Part<'a> {
    name: &'a TableName,
    attribute: &'a str,
    group: GroupId,
    /// How long after the time an item is deleted, in seconds.
    late_s: u64,
}

impl ReplicatedTables {
    /// Items that this node has deleted since it started because they had expired.
    #[must_use]
    pub fn expired_items(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// Looks through all groups that this node leads, in so many steps.
    async fn expire(&self, guard: Guard) -> u32 {
        let mut steps = 0;
        let catalog = self.catalogs.newest();
        for (name, table) in catalog.tables() {
            let Some(attribute) = &table.description.time_to_live else { continue };
            let Some(entry) = catalog.system.tables.get(name) else { continue };
            for group in catalog.system.groups_of(entry) {
                if !self.replication.serves_group(group) {
                    continue;
                }
                let part = Part { name, attribute, group, late_s: late_s(&catalog, group) };
                if let Err(error) = self.expire_part(&part, guard, &mut steps).await {
                    tracing::debug!(table = %name, %group, %error, "expired items are deleted later");
                }
            }
        }
        steps
    }

    async fn expire_part(&self, part: &Part<'_>, guard: Guard, steps: &mut u32) -> Result<(), DynamoError> {
        let mut start_after = None;
        let mut failed = 0;
        while guard.trusts(self.replication.clock_behind_ms()) {
            let catalog = self.catalogs.newest();
            let Some(table) = catalog.table(part.name) else { return Ok(()) };
            let description = &table.description;
            if description.time_to_live.as_deref() != Some(part.attribute) {
                return Ok(());
            }
            let schema = &description.definition.schema;
            let keys = std::iter::once(&schema.partition).chain(&schema.sort);
            let condition = has_expired(part.attribute, (wall_ms() / 1_000).saturating_sub(part.late_s));
            let shape = PageShape {
                filter: Some(condition.clone()),
                projection: Some(Projection::new(keys.map(|key| Path::attribute(&key.name)).collect())),
                limit: Some(STEP),
                ..PageShape::default()
            };
            let resume = start_after.is_some();
            let op = ScanOp { table: part.name.clone(), segment: None, shape, start_after };
            let read = GroupRead::Scan(table.place(), GroupScan { op, resume, seen: (0, 0) });
            let deadline = Instant::now() + PATIENCE;
            let answer = self.read_led::<ScanPart>(&catalog, part.group, &read, deadline).await?;
            let Some(found) = answer.transpose()? else { return Ok(()) };
            for key in found.page.items {
                if !self.expires_still(part, description.id) {
                    return Ok(());
                }
                let op = WriteOp {
                    table: part.name.clone(),
                    kind: WriteKind::Delete { key },
                    condition: Some(Condition::And(vec![condition.clone(), undisputed(part.attribute)])),
                    return_values: ReturnValues::None,
                    return_on_failure: false,
                };
                let context =
                    RequestContext { token: None, max_staleness: None, deadline: Instant::now() + PATIENCE };
                match self.write(&context, op).await {
                    Ok(_) => {
                        self.expired.fetch_add(1, Ordering::Relaxed);
                    }
                    // Prolonged or deleted meanwhile, or regions do not agree on when it expires.
                    Err(DynamoError::ConditionalCheckFailed { .. }) => {}
                    Err(error) if failed >= MAX_FAILED => return Err(error),
                    // One that cannot be deleted now must not keep those behind it.
                    Err(error) => {
                        failed += 1;
                        tracing::debug!(table = %part.name, %error, "an expired item is deleted later");
                    }
                }
                sleep(REST_AFTER_ONE).await;
            }
            if !found.full {
                return Ok(());
            }
            start_after = found.last;
            *steps = steps.saturating_add(1);
            sleep(REST).await;
        }
        Ok(())
    }

    /// Whether the table is still the one that was looked at, and its items still expire by that attribute.
    fn expires_still(&self, part: &Part<'_>, id: TableId) -> bool {
        self.catalogs.newest().table(part.name).is_some_and(|now| {
            now.description.id == id && now.description.time_to_live.as_deref() == Some(part.attribute)
        })
    }
}

/// How much later than the first origin's leader the leader of a group deletes, in seconds.
fn late_s(catalog: &Catalog, group: GroupId) -> u64 {
    let info = catalog.system.groups.get(&group).filter(|info| catalog.system.is_active_active(info));
    let policy = info.and_then(|info| Some((info, &catalog.system.policies.get(&info.policy)?.policy)));
    policy.map_or(0, |(info, policy)| {
        u64::from(info.ordinal.checked_div(policy.groups).unwrap_or(0)) * NEXT_ORIGIN_S
    })
}
