//! What a node does for active-active tables in the background: each origin's leader notes what concurrent writes have lost or left in
//! conflict, and the leader of a share's first origin has tombstones collected.

use super::collect::{Blocked, Share};
use super::tend::{ActiveRead, ActiveWrite};
use crate::tables::ReplicatedTables;
use crate::tables::evaluate::{GroupRead, GroupWrite, decode, encode};
use bytes::Bytes;
use meridian_replication::system::{PolicyEntry, SystemState};
use meridian_replication::{ReadConsistency, Replication, Unserved, runtime, table_of, table_range};
use meridian_types::{Demand, GroupId, NodeId, Pattern, TableId};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Between looks at what the other origins have written.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Between tries to collect.
const COLLECT_EVERY: Duration = Duration::from_secs(10);
/// Items looked at in one go.
const PAGE: u32 = 512;
/// Bounds one request.
const PATIENCE: Duration = Duration::from_secs(5);

/// Up to where the other origins' logs were looked through, by (the group that this node leads, the other group).
type Looked = BTreeMap<(GroupId, GroupId), u64>;

/// Runs as long as the node. Collecting waits for regions that are away, and must not hold up the rest.
pub async fn run(tables: Arc<ReplicatedTables>) -> Infallible {
    tokio::select! {
        biased;
        never = Box::pin(keep_looking(&tables.replication)) => never,
        never = Box::pin(keep_collecting(&tables)) => never,
    }
}

async fn keep_looking(replication: &Replication) -> Infallible {
    let mut looked = Looked::new();
    loop {
        runtime::sleep(LOOK_EVERY).await;
        let state = replication.system();
        for share in active_shares(&state) {
            if let Err(error) = look(replication, &state, &share, &mut looked).await {
                tracing::debug!(%error, "concurrent writes are looked for later");
            }
        }
    }
}

async fn keep_collecting(tables: &ReplicatedTables) -> Infallible {
    loop {
        runtime::sleep(COLLECT_EVERY).await;
        let state = tables.replication.system();
        let shares = active_shares(&state);
        let collected = shares.iter().map(|groups| collect(tables, &state, groups));
        futures_util::future::join_all(collected).await;
    }
}

/// The groups of each share of the items of all active-active policies that have tables.
fn active_shares(state: &SystemState) -> Vec<Vec<GroupId>> {
    let has_tables = |entry: &&PolicyEntry| {
        entry.policy.pattern == Pattern::ActiveActive
            && state.tables.values().any(|table| table.policies().contains(&entry.policy.name))
    };
    state.policies.values().filter(has_tables).flat_map(shares).collect()
}

/// The groups of each share of a policy's items, by origin.
fn shares(entry: &PolicyEntry) -> Vec<Vec<GroupId>> {
    let count = usize::try_from(entry.policy.groups.max(1)).unwrap_or(1);
    (0..count.min(entry.groups.len()))
        .map(|share| entry.groups.iter().skip(share).step_by(count).copied().collect())
        .collect()
}

async fn collect(tables: &ReplicatedTables, state: &SystemState, groups: &[GroupId]) {
    let replication = &*tables.replication;
    let Some(first) = groups.first() else { return };
    let mut waits_for = None;
    if replication.serves_group(*first) {
        match (Share { replication, state, groups }).collect().await {
            Ok(()) => {}
            Err(Blocked::By(node)) => waits_for = Some(node),
            Err(blocked) => tracing::debug!(%blocked, "tombstones are collected later"),
        }
    }
    let mut waiting = tables.waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let before = match waits_for {
        Some(node) => waiting.insert(*first, node),
        None => waiting.remove(first),
    };
    if let Some(node) = waits_for.filter(|_| before != waits_for) {
        let region = state.region_of(node).map_or_else(String::new, ToString::to_string);
        let name = state.nodes.get(&node).map_or_else(String::new, |node| node.name.to_string());
        tracing::warn!(group = %first, node = name, region, "tombstones wait for a node that is away");
    }
}

impl ReplicatedTables {
    /// For the first group of each share whose tombstones wait, as far as this node collects them: the node that they wait for.
    #[must_use]
    pub fn tombstones_wait(&self) -> BTreeMap<GroupId, NodeId> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Looks through what the other origins have written since the last time.
async fn look(
    replication: &Replication,
    state: &SystemState,
    groups: &[GroupId],
    looked: &mut Looked,
) -> Result<(), Unserved> {
    for own in groups {
        if !replication.serves_group(*own) {
            looked.retain(|(led, _), _| led != own);
            continue;
        }
        for other in groups.iter().filter(|other| *other != own) {
            let Some(applied) = replication.applied(*other) else { continue };
            let at = looked.entry((*own, *other)).or_default();
            // A group that was founded anew may be behind where it was.
            *at = (*at).min(applied);
            while *at < applied {
                match replication.changes(*other, *at).await? {
                    Some(changes) if changes.upto > *at => {
                        check(replication, state, *own, changes.keys.into_iter()).await?;
                        *at = changes.upto;
                    }
                    // The log no longer goes back that far: all items are looked at.
                    _ => {
                        check_all(replication, state, *own).await?;
                        *at = applied;
                    }
                }
            }
        }
    }
    Ok(())
}

async fn check_all(replication: &Replication, state: &SystemState, own: GroupId) -> Result<(), Unserved> {
    let Some(policy) = state.groups.get(&own).map(|group| &group.policy) else { return Ok(()) };
    for table in state.tables.values().filter(|table| table.policies().contains(policy)) {
        let (mut start, end) = table_range(table.id);
        loop {
            let read = ActiveRead::Suspects(table.id, start.clone(), end.clone(), PAGE);
            let (found, last): (Vec<Bytes>, Option<Bytes>) = read_here(replication, own, read).await?;
            note(replication, own, table.id, found).await?;
            let Some(last) = last else { break };
            start = [&last[..], &[0]].concat().into();
        }
    }
    Ok(())
}

/// Has noted what is to be noted of these items.
async fn check(
    replication: &Replication,
    state: &SystemState,
    own: GroupId,
    items: impl Iterator<Item = Bytes>,
) -> Result<(), Unserved> {
    let mut by_table: BTreeMap<TableId, Vec<Bytes>> = BTreeMap::new();
    let Some(policy) = state.groups.get(&own).map(|group| &group.policy) else { return Ok(()) };
    // What is on its way here, or gone, is in nobody's hands.
    let lives = |id: &TableId| {
        state.tables.values().any(|table| table.id == *id && table.policies().contains(policy))
    };
    for item in items {
        if let Some(table) = table_of(&item).filter(lives) {
            by_table.entry(table).or_default().push(item);
        }
    }
    for (table, items) in by_table {
        let mut unsure = Vec::new();
        for some in items.chunks(PAGE as usize) {
            unsure.extend(
                read_here::<Vec<Bytes>>(replication, own, ActiveRead::Unnoted(table, some.to_vec())).await?,
            );
        }
        note(replication, own, table, unsure).await?;
    }
    Ok(())
}

async fn note(
    replication: &Replication,
    own: GroupId,
    table: TableId,
    items: Vec<Bytes>,
) -> Result<(), Unserved> {
    if !items.is_empty() {
        tracing::info!(group = %own, table = %table, items = items.len(), "concurrent writes of items are noted");
    }
    for some in items.chunks(PAGE as usize) {
        let request = encode(&GroupWrite::Active(ActiveWrite::Check(table, some.to_vec())))?;
        replication.write(own, request, runtime::now() + PATIENCE).await?;
    }
    Ok(())
}

async fn read_here<T: serde::de::DeserializeOwned>(
    replication: &Replication,
    group: GroupId,
    read: ActiveRead,
) -> Result<T, Unserved> {
    let request = encode(&GroupRead::Active(read))?;
    let here = ReadConsistency::Local { seen: Demand::Nothing, max_staleness: None };
    let done = replication.read(group, request, here, runtime::now() + PATIENCE).await?;
    Ok(decode(&done.response)?)
}
