//! Items that are written once and perhaps deleted once: in the end each is there or not, as was acknowledged, on every node. Where a
//! policy may lose acknowledged writes, they are in the salvage (invariant 4).

use super::door::{self, Came};
use crate::cluster::{Cluster, Up};
use crate::loose;
use crate::rng::Rng;
use meridian_replication::{runtime, table_prefix};
use meridian_types::TableName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long old replicas may take to be looked at once everything is healed.
const SEARCH: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(1);

/// What is known of a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Write {
    /// Not sent, or certainly not done.
    #[default]
    No,
    Perhaps,
    Acknowledged,
}

/// What was done to one item.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    put: Write,
    delete: Write,
}

impl Life {
    /// Whether it is there; `None`: it may be or not.
    fn is_there(self) -> Option<bool> {
        match (self.put, self.delete) {
            (Write::No, _) | (_, Write::Acknowledged) => Some(false),
            (Write::Acknowledged, Write::No) => Some(true),
            _ => None,
        }
    }
}

/// The items of one table. Clones are the same notes.
#[derive(Clone, Debug)]
pub struct Items {
    table: &'static str,
    lives: Arc<Mutex<BTreeMap<String, Life>>>,
}

impl Items {
    /// Of a table without any.
    #[must_use]
    pub fn of(table: &'static str) -> Self {
        Self { table, lives: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Life>> {
        // One thread only; a panic ends the run.
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that was acknowledged and not been asked to be deleted.
    fn living(&self, rng: &mut Rng) -> Option<String> {
        let lives = self.lock();
        let living: Vec<&String> =
            lives.iter().filter(|(_, life)| life.is_there() == Some(true)).map(|(key, _)| key).collect();
        rng.pick(&living).map(|key| (*key).clone())
    }

    /// Writes and deletes through any node until `end`.
    pub async fn work(self, cluster: Cluster, mut rng: Rng, end: Instant) {
        let mut number = 0;
        while Instant::now() < end {
            sleep(rng.ms(20..300)).await;
            let Some((_, up)) = rng.pick(&cluster.all_up()).cloned() else { continue };
            let deleted = if rng.chance(35) { self.living(&mut rng) } else { None };
            let (key, op) = match deleted {
                Some(key) => (key.clone(), door::delete(self.table, &key)),
                None => {
                    number += 1;
                    let key = format!("item-{number:05}");
                    (key.clone(), door::put(self.table, &key, number))
                }
            };
            let Ok(op) = op else { return };
            let deletes = self.lock().contains_key(&key);
            let tables = up.tables();
            let task =
                up.process.spawn(async move { door::write(&tables, op, runtime::now() + PATIENCE).await });
            let came = match timeout(PATIENCE, task).await {
                Ok(Ok(Came::Answered(..))) => Write::Acknowledged,
                // Not there to be deleted, or not there yet where it was asked for; what is true shows in the end.
                Ok(Ok(Came::Refused | Came::Failed)) => Write::No,
                Ok(Ok(Came::Unknown) | Err(_)) | Err(_) => Write::Perhaps,
            };
            let mut lives = self.lock();
            let life = lives.entry(key.clone()).or_default();
            *(if deletes { &mut life.delete } else { &mut life.put }) = came;
            let what = if deletes { "delete" } else { "put" };
            cluster.trace().event(format_args!("item {} {key} {what} {came:?}", self.table));
        }
    }

    /// What is there and should not be, or the other way round, on any node; once all replicas have applied the same.
    pub async fn wrong(&self, cluster: &Cluster) -> Vec<String> {
        let end = Instant::now() + SEARCH;
        loop {
            let wrong = self.look(cluster).await;
            if wrong.is_empty() || Instant::now() > end {
                return wrong;
            }
            sleep(RETRY).await;
        }
    }

    async fn look(&self, cluster: &Cluster) -> Vec<String> {
        let table = self.table;
        let mut wrong = Vec::new();
        let mut first: Option<BTreeSet<(String, Vec<u64>)>> = None;
        for (node, up) in cluster.all_up() {
            let shown = match shown(&up, table).await {
                Ok(shown) => shown,
                Err(why) => {
                    wrong.push(format!("node {node} does not show table {table}: {why}"));
                    continue;
                }
            };
            if let Some(other) = first.as_ref().filter(|other| **other != shown) {
                let differ: Vec<_> = other.symmetric_difference(&shown).collect();
                wrong.push(format!(
                    "node {node} shows table {table} differently than another one: {differ:?}"
                ));
            }
            first.get_or_insert(shown);
        }
        let there: BTreeSet<String> = first.into_iter().flatten().map(|(key, _)| key).collect();
        let lives = self.lock().clone();
        let odd: Vec<(&String, &Life)> = lives
            .iter()
            .filter(|(key, life)| life.is_there().is_some_and(|is| is != there.contains(*key)))
            .collect();
        if !odd.is_empty() {
            let kept = salvaged(cluster, table).await;
            if odd.iter().any(|(key, _)| kept.contains(*key)) {
                cluster.mark("an item that only an expelled or lost region had was in the salvage");
            }
            let lost = odd.into_iter().filter(|(key, life)| life.put == Write::No || !kept.contains(*key));
            wrong.extend(lost.map(|(key, life)| {
                let is = if there.contains(key) { "there" } else { "not there" };
                format!(
                    "{key} of table {table} is {is} and not in the salvage; put {:?}, delete {:?}",
                    life.put, life.delete
                )
            }));
        }
        wrong
    }
}

async fn shown(up: &Up, table: &'static str) -> Result<BTreeSet<(String, Vec<u64>)>, String> {
    let tables = up.tables();
    let task = up.process.spawn(async move { door::all(&tables, table, runtime::now() + PATIENCE).await });
    task.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// The keys of the table's items that are kept of old incarnations.
async fn salvaged(cluster: &Cluster, table: &str) -> BTreeSet<String> {
    let Some((_, up)) = cluster.all_up().into_iter().next() else { return BTreeSet::new() };
    let name = TableName::new(table).ok();
    let system = up.process.within(|| up.replication.system());
    let Some(entry) = name.and_then(|name| system.tables.get(&name).cloned()) else { return BTreeSet::new() };
    let lost = loose::salvage(&up).await.into_iter();
    let keys = lost.filter_map(|lost| {
        // Behind the table's number, the hash of the key (8 bytes) and its length (2).
        let key = lost.key.strip_prefix(&table_prefix(entry.id))?.get(10..)?.to_vec();
        String::from_utf8(key).ok()
    });
    keys.collect()
}
