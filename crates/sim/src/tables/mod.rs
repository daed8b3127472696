//! Tables as the shipped binary serves them, on simulated nodes: clients of the DynamoDB API without HTTP, an operator who moves tables
//! from policy to policy, and one who expels regions.
//!
//! The table [`LEDGER`] stays under policies with one primary region, where everything is linearizable whatever moves. The table [`SHARED`]
//! goes to the policy under which every region writes, and is held to what that promises: nothing acknowledged is missing, nothing
//! deleted comes back, and all nodes show the same.

pub mod door;
mod evaluator;
pub mod expulsion;
pub mod items;
pub mod moves;
mod work;

pub use evaluator::Evaluators;
pub use work::Work;

use crate::cluster::{Cluster, Up};
use crate::run::until;
use door::{Came, context};
use meridian_api::Tables;
use meridian_history::{FinalState, Key, Value};
use meridian_replication::runtime;
use meridian_replication::system::{TableEntry, TableStatus};
use meridian_types::{Incarnation, TableName};
use std::time::Duration;

/// A table whose items are registers, lists and counters.
pub const LEDGER: &str = "ledger";
/// A table that ends where every region writes.
pub const SHARED: &str = "shared";

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// A table as a node knows it.
#[must_use]
pub fn entry(up: &Up, table: &str) -> Option<TableEntry> {
    let name = TableName::new(table).ok()?;
    up.process.within(|| up.replication.system()).tables.get(&name).cloned()
}

/// Makes the tables, under these policies, and waits until every node knows them.
///
/// # Errors
/// When that takes too long.
pub async fn create(
    cluster: &Cluster,
    tables: &[(&'static str, String)],
    patience: Duration,
) -> Result<(), String> {
    for (name, policy) in tables {
        until(patience, &format!("table {name} is not there"), async || {
            let all = cluster.all_up();
            let known = |up: &Up| entry(up, name).map(|entry| entry.status);
            if all.iter().any(|(_, up)| known(up).is_some()) {
                return all.iter().all(|(_, up)| known(up) == Some(TableStatus::Active));
            }
            let Some((_, up)) = all.into_iter().next() else { return false };
            let (Ok(definition), tables) = (door::table(name, policy), up.tables()) else { return false };
            let made = up.process.spawn(async move {
                tables.create_table(&context(None, runtime::now() + PATIENCE), definition).await.map(drop)
            });
            cluster.trace().event(format_args!("table {name} under {policy}: {:?}", made.await));
            false
        })
        .await?;
    }
    Ok(())
}

/// Whether every node knows that no table moves any more, that nothing is left to delete, and that no region is expelled.
#[must_use]
pub fn is_settled(cluster: &Cluster) -> bool {
    cluster.all_up().iter().all(|(_, up)| {
        let system = up.process.within(|| up.replication.system());
        let at_rest = |table: &TableEntry| table.moving.is_none() && table.sweep.is_empty();
        system.expelled().is_empty() && system.tables.values().all(at_rest)
    })
}

/// Whether any group was founded anew, and so may lack what it had acknowledged.
#[must_use]
pub fn may_lack(cluster: &Cluster) -> bool {
    cluster.all_up().iter().any(|(_, up)| {
        let system = up.process.within(|| up.replication.system());
        system.groups.values().any(|group| group.incarnation > Incarnation(0))
    })
}

/// Reads all registers, lists and the counter of [`LEDGER`].
///
/// # Errors
/// When one cannot be read.
pub async fn read_back(cluster: &Cluster, patience: Duration) -> Result<FinalState, String> {
    let (registers, lists, counter) = crate::workload::keys_of_table();
    let mut state = FinalState::default();
    for key in registers {
        if let Some(value) = read(cluster, &key, patience).await?.first() {
            state.registers.insert(key, Value(*value));
        }
    }
    for key in lists {
        let values = read(cluster, &key, patience).await?.into_iter().map(Value).collect();
        state.lists.insert(key, values);
    }
    let count = read(cluster, &counter, patience).await?.first().copied().unwrap_or_default();
    state.counters.insert(counter, i64::try_from(count).unwrap_or(i64::MAX));
    Ok(state)
}

async fn read(cluster: &Cluster, key: &Key, patience: Duration) -> Result<Vec<u64>, String> {
    let mut found = None;
    let what = format!("{key} of table {LEDGER} cannot be read");
    until(patience, &what, async || {
        for (_, up) in cluster.all_up() {
            let (tables, key) = (up.tables(), key.to_string());
            let read = up.process.spawn(async move {
                door::read(&tables, (LEDGER, &key), true, (None, runtime::now() + PATIENCE)).await
            });
            if let Ok(Came::Answered(values, ..)) = read.await {
                found = Some(values);
                return true;
            }
        }
        false
    })
    .await?;
    found.ok_or(what)
}

/// Rows of tables in groups where they do not live, once everything is at rest.
#[must_use]
pub fn strays(cluster: &Cluster) -> Vec<String> {
    let mut found = Vec::new();
    for (node, up) in cluster.all_up() {
        let system = up.process.within(|| up.replication.system());
        for table in system.tables.values() {
            let home = system.groups_of(table);
            for group in system.groups.values().filter(|group| !home.contains(&group.id)) {
                let (start, end) = meridian_replication::table_range(table.id);
                let Some(stored) = group.replica().stored() else { continue };
                let rows = up.store.group(stored).scan(
                    std::ops::Bound::Included(&start),
                    std::ops::Bound::Excluded(&end),
                    false,
                );
                let left = rows.map(Iterator::count).unwrap_or_default();
                if left > 0 {
                    let name = &table.name;
                    found.push(format!(
                        "node {node} group {}: {left} rows of table {name}, which is elsewhere",
                        group.id
                    ));
                }
            }
        }
    }
    found
}
