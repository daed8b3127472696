//! An operator who moves tables to other policies, and takes some of it back.

use super::door::context;
use super::{LEDGER, entry};
use crate::cluster::{Cluster, Up};
use crate::faults::serving;
use crate::rng::Rng;
use meridian_api::Tables;
use meridian_replication::runtime;
use meridian_replication::system::{SystemCommand, SystemState, TableEntry};
use meridian_types::{GroupId, NodeId, Pattern, Policy, TableName};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long an order may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the operator watches one move.
const WATCHED: Duration = Duration::from_secs(15);
/// Between looks at it.
const LOOK: Duration = Duration::from_millis(100);
/// Of a hundred moves, so many are taken back by order.
const TAKEN_BACK: u64 = 15;
/// Of a hundred ledgers, so many may come to groups that may lose writes.
const LOOSE: u64 = 30;

/// Where a table may go.
#[must_use]
pub fn choices(cluster: &Cluster, table: &str, rng: &mut Rng) -> Vec<String> {
    let strict = usize::try_from(cluster.shape().strict_groups()).unwrap_or(1);
    let all = cluster.shape().policies();
    let loose = rng.chance(LOOSE);
    let allowed = |(place, policy): &(usize, &Policy)| {
        table != LEDGER || *place < strict || *place >= all.len() || (loose && !is_active(policy))
    };
    let policies = cluster.shape().all_policies().enumerate().filter(allowed);
    policies.map(|(_, policy)| policy.name.to_string()).collect()
}

fn is_active(policy: &Policy) -> bool {
    policy.pattern == Pattern::ActiveActive
}

/// One move as it was ordered.
struct Ordered {
    before: TableEntry,
    under_fault: bool,
    /// Who served each source.
    leaders: BTreeMap<GroupId, Option<NodeId>>,
    incarnations: BTreeMap<GroupId, u32>,
}

/// Moves a table about until `end`.
pub async fn order(cluster: Cluster, (table, to): (&'static str, Vec<String>), mut rng: Rng, end: Instant) {
    let Ok(name) = TableName::new(table) else { return };
    while Instant::now() < end {
        sleep(rng.ms(300..5_000)).await;
        let (Some(policy), Some((_, up))) = (rng.pick(&to).cloned(), rng.pick(&cluster.all_up()).cloned())
        else {
            continue;
        };
        let Some(before) = entry(&up, table).filter(|entry| entry.policy.as_str() != policy) else {
            continue;
        };
        let state = up.process.within(|| up.replication.system());
        let sources = state.groups_of(&before);
        let ordered = Ordered {
            under_fault: cluster.suffers(),
            leaders: sources.iter().map(|group| (*group, serving(&cluster, *group))).collect(),
            incarnations: incarnations(&state),
            before,
        };
        cluster.trace().event(format_args!("table {table}: to {policy}"));
        let (tables, to) = (up.tables(), BTreeMap::from([("meridian:policy".to_owned(), policy.clone())]));
        let asked = name.clone();
        let task = up.process.spawn(async move {
            tables.tag_table(&context(None, runtime::now() + PATIENCE), &asked, to).await
        });
        let answer = task.await.map(|answer| answer.map(drop));
        cluster.trace().event(format_args!("table {table}: to {policy}: {answer:?}"));
        let taken_back = rng.chance(TAKEN_BACK);
        if taken_back {
            sleep(rng.ms(0..4_000)).await;
            take_back(&cluster, &name, &mut rng).await;
        }
        watch(&cluster, (table, &policy), &ordered, taken_back).await;
    }
}

fn incarnations(state: &SystemState) -> BTreeMap<GroupId, u32> {
    state.groups.values().map(|group| (group.id, group.incarnation.0)).collect()
}

async fn take_back(cluster: &Cluster, name: &TableName, rng: &mut Rng) {
    let Some((_, up)) = rng.pick(&cluster.all_up()).cloned() else { return };
    let (replication, name) = (Arc::clone(&up.replication), name.clone());
    let cancel = SystemCommand::CancelMove { name, id: None };
    let task =
        up.process.spawn(async move { replication.system_write(cancel, runtime::now() + PATIENCE).await });
    if let Ok(Ok(Ok(_))) = task.await {
        cluster.mark("an operator took a table's move back");
    }
}

/// Waits for the end of a move, for some time, and tells how it came about.
async fn watch(cluster: &Cluster, (table, policy): (&str, &str), ordered: &Ordered, taken_back: bool) {
    let end = Instant::now() + WATCHED;
    let before = &ordered.before;
    while Instant::now() < end {
        sleep(LOOK).await;
        // The one that has heard the most.
        let heard = |(_, up): &(NodeId, Up)| {
            up.process.within(|| up.replication.system_position()).map(|at| at.index)
        };
        let all = cluster.all_up();
        let Some((_, up)) = all.iter().max_by_key(|node| heard(node)) else { continue };
        let Some(now) = entry(up, table).filter(|now| now.moving.is_none()) else { continue };
        if now.home == before.home {
            let state = up.process.within(|| up.replication.system());
            if !taken_back && now.sweep != before.sweep && incarnations(&state) != ordered.incarnations {
                cluster.mark("a table's move ended as a group was founded anew");
            }
            if now.policy == before.policy && now.sweep.is_empty() {
                return;
            }
            continue;
        }
        cluster.trace().event(format_args!("table {table}: is under {policy}"));
        cluster.mark("a table moved to another policy");
        let state = up.process.within(|| up.replication.system());
        let active = |entry: &meridian_replication::system::PolicyEntry| is_active(&entry.policy);
        if state.policies.get(&now.policy).is_some_and(active) {
            cluster.mark("a table moved to where every region writes");
        }
        if ordered.under_fault {
            cluster.mark("a table's move that began under a fault came to its end");
        }
        let other = |(group, leader): (&GroupId, &Option<NodeId>)| serving(cluster, *group) != *leader;
        if ordered.leaders.iter().any(other) {
            cluster.mark("a table's move ended under another leader than it began");
        }
        return;
    }
}
