//! Conflicts and checksums for the admin API.

use super::conflicts::{Found, Kept, place, value_of};
use super::tend::{ActiveRead, ConflictsAnswer};
use crate::admin::conflicts::{
    ConflictEntry, ConflictId, ConflictList, ConflictState, ResolveConflict, Side, TableChecksum,
};
use crate::tables::catalog::Catalog;
use crate::tables::evaluate::{GroupRead, decode, encode};
use crate::tables::serve::{ReplicatedTables, unserved};
use bytes::Bytes;
use meridian_api::{RequestContext, Tables};
use meridian_dynamo::codec::decode_item;
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::expr::{Path, SetAction, SetValue, Step, UpdateExpr};
use meridian_dynamo::json::{item_to_json, value_from_json, value_to_json};
use meridian_dynamo::value::{AttributeValue, Item};
use meridian_dynamo::write::{ReturnValues, WriteKind, WriteOp};
use meridian_replication::{ReadConsistency, table_range};
use meridian_types::{Demand, GroupId, TableName};
use std::collections::BTreeMap;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// Conflicts that one list holds.
const MAX_LISTED: usize = 1_000;
/// Notes or items looked at in one go.
const PAGE: u32 = 512;

/// A conflict, with what it takes to resolve it.
struct Listed {
    entry: ConflictEntry,
    found: Found,
}

impl ReplicatedTables {
    /// What is in conflict or has lost, of one table or of all, as this node sees it.
    ///
    /// # Errors
    /// When a group cannot be read.
    pub async fn conflicts(
        &self,
        only: Option<&TableName>,
        deadline: Instant,
    ) -> Result<ConflictList, DynamoError> {
        let (listed, truncated) = self.listed(only, deadline).await?;
        let conflicts = listed.into_iter().map(|listed| listed.entry).collect();
        Ok(ConflictList { conflicts, truncated })
    }

    /// One conflict.
    ///
    /// # Errors
    /// When a group cannot be read.
    pub async fn conflict(
        &self,
        id: ConflictId,
        deadline: Instant,
    ) -> Result<Option<ConflictEntry>, DynamoError> {
        let (listed, _) = self.listed(None, deadline).await?;
        Ok(listed.into_iter().map(|listed| listed.entry).find(|entry| entry.id == id))
    }

    /// Writes a value in the place of a conflict; `None` when there is no such conflict.
    ///
    /// # Errors
    /// When the order names nothing that could be written, or the write is refused.
    pub async fn resolve_conflict(
        &self,
        ctx: &RequestContext,
        id: ConflictId,
        order: &ResolveConflict,
    ) -> Result<Option<ConflictEntry>, DynamoError> {
        let (listed, _) = self.listed(None, ctx.deadline).await?;
        let Some(Listed { entry, found }) = listed.into_iter().find(|listed| listed.entry.id == id) else {
            return Ok(None);
        };
        let value = match (&order.take, &order.value) {
            (Some(region), None) => {
                let mut sides = std::iter::once(&found.winner).chain(&found.others);
                let side = sides.find(|side| side.region == *region);
                value_of(side.ok_or_else(|| {
                    DynamoError::validation(format!("no write of {region} is in the conflict {id}"))
                })?)
            }
            (None, Some(value)) => Some(value_from_json(value.clone())?),
            _ => return Err(DynamoError::validation("give either the region to take or a value")),
        };
        let key = decode_item(&found.key).map_err(crate::tables::serve::internal)?;
        self.write(ctx, write_of(entry.table.clone(), key, &found.path, value)?).await?;
        Ok(Some(entry))
    }

    /// A sum over what this node's replicas show of a table's items.
    ///
    /// # Errors
    /// When a group cannot be read; `None` when there is no such table.
    pub async fn checksum(
        &self,
        name: &TableName,
        deadline: Instant,
    ) -> Result<Option<TableChecksum>, DynamoError> {
        let catalog = self.catalogs.newest();
        let Some(table) = catalog.table(name) else { return Ok(None) };
        let (mut sum, mut items, mut stored) = (0u64, 0, 0);
        for group in first_groups(&catalog, name) {
            let (mut start, end) = table_range(table.description.id);
            loop {
                let read = ActiveRead::Checksum(table.description.id, start, end.clone(), PAGE);
                let (part, there, looked, last): (u64, u64, u64, Option<Bytes>) =
                    self.here(group, read, deadline).await?;
                sum = sum.wrapping_add(part);
                items += there;
                stored += looked;
                let Some(last) = last else { break };
                start = [&last[..], &[0]].concat().into();
            }
        }
        Ok(Some(TableChecksum { table: name.clone(), checksum: format!("{sum:016x}"), items, stored }))
    }

    /// For each group of an origin that this node leads: how many writes it has noted as lost, and how many items as in conflict.
    pub async fn conflict_counts(&self, deadline: Instant) -> Vec<(GroupId, u64, u64)> {
        let system = self.replication.system();
        let led = self.replication.serves().into_iter().map(|replica| replica.group);
        let mut counts = Vec::new();
        for group in
            led.filter(|id| system.groups.get(id).is_some_and(|group| system.is_active_active(group)))
        {
            if let Ok((lost, open)) = self.here(group, ActiveRead::Counts, deadline).await {
                counts.push((group, lost, open));
            }
        }
        counts
    }

    async fn listed(
        &self,
        only: Option<&TableName>,
        deadline: Instant,
    ) -> Result<(Vec<Listed>, bool), DynamoError> {
        let catalog = self.catalogs.newest();
        let mut all: BTreeMap<(bool, u64, ConflictId), Listed> = BTreeMap::new();
        let tables = catalog.tables().filter(|(name, _)| only.is_none_or(|only| only == *name));
        for (name, table) in tables.filter(|(_, table)| table.rules.is_some()) {
            for group in catalog
                .system
                .tables
                .get(name)
                .map(|entry| catalog.system.groups_of(entry))
                .unwrap_or_default()
            {
                let mut after = None;
                loop {
                    let read = ActiveRead::Conflicts(table.description.id, after.take(), PAGE);
                    let (found, next): ConflictsAnswer = self.here(group, read, deadline).await?;
                    for found in found {
                        let entry = entry(name, &found)?;
                        // Every origin that noticed it has noted it.
                        let when = found.others.first().map_or(0, |other| other.written_ms);
                        all.entry((found.lost, when, entry.id)).or_insert(Listed { entry, found });
                    }
                    if all.len() > MAX_LISTED {
                        return Ok((all.into_values().take(MAX_LISTED).collect(), true));
                    }
                    match next {
                        Some(next) => after = Some(next),
                        None => break,
                    }
                }
            }
        }
        Ok((all.into_values().collect(), false))
    }

    async fn here<T: serde::de::DeserializeOwned>(
        &self,
        group: GroupId,
        read: ActiveRead,
        deadline: Instant,
    ) -> Result<T, DynamoError> {
        let request = encode(&GroupRead::Active(read)).map_err(crate::tables::serve::internal)?;
        let here = ReadConsistency::Local { seen: Demand::Nothing, max_staleness: None };
        let done = self.replication.read(group, request, here, deadline).await.map_err(unserved)?;
        decode(&done.response).map_err(crate::tables::serve::internal)
    }
}

/// A group of each share of a table's items.
fn first_groups(catalog: &Catalog, name: &TableName) -> Vec<GroupId> {
    let Some(table) = catalog.system.tables.get(name) else { return Vec::new() };
    let entries = catalog.system.policies_of(table);
    entries.flat_map(|entry| entry.groups.iter().take(entry.policy.groups as usize).copied()).collect()
}

fn entry(table: &TableName, found: &Found) -> Result<ConflictEntry, DynamoError> {
    let key = decode_item(&found.key).map_err(crate::tables::serve::internal)?;
    let side = |kept: &Kept| Side {
        region: kept.region.clone(),
        written_ms: kept.written_ms,
        value: value_of(kept).as_ref().map(value_to_json),
    };
    let others: Vec<Side> = found.others.iter().map(side).collect();
    let path = place(&found.path);
    let mut named = [&found.item[..], b"/", path.as_bytes()].concat();
    if let Some(lost) = others.first().filter(|_| found.lost) {
        named.extend(format!("/{}/{}", lost.region, lost.written_ms).into_bytes());
    }
    Ok(ConflictEntry {
        id: ConflictId(xxh3_64(&named)),
        table: table.clone(),
        key: item_to_json(&key),
        path,
        state: if found.lost { ConflictState::Lost } else { ConflictState::Open },
        winner: side(&found.winner),
        others,
    })
}

/// The write that leaves `value` in a place of an item, or nothing.
fn write_of(
    table: TableName,
    key: Item,
    path: &[String],
    value: Option<AttributeValue>,
) -> Result<WriteOp, DynamoError> {
    let kind = match (path.split_first(), value) {
        (None, None) => WriteKind::Delete { key },
        (None, Some(AttributeValue::M(item))) => {
            WriteKind::Put { item: item.into_iter().chain(key).collect() }
        }
        (None, Some(_)) => {
            return Err(DynamoError::validation("the value of an item as a whole is a map (M)"));
        }
        (Some((root, steps)), value) => {
            let steps = steps.iter().cloned().map(Step::Name).collect();
            let path = Path { root: root.clone(), steps };
            let update = match value {
                Some(value) => UpdateExpr {
                    sets: vec![SetAction { path, value: SetValue::Value(value) }],
                    ..UpdateExpr::default()
                },
                None => UpdateExpr { removes: vec![path], ..UpdateExpr::default() },
            };
            WriteKind::Update { key, update }
        }
    };
    let return_values = ReturnValues::None;
    Ok(WriteOp { table, kind, condition: None, return_values, return_on_failure: false })
}
