//! Writes to a group that lives and dies with one region: it is founded anew elsewhere when that is lost, and may lose what it had
//! acknowledged, but never silently (invariant 4): in the end each is in the group, or in the salvage.

use crate::cluster::{Cluster, Up};
use crate::register::{Request, Response, decode, encode};
use crate::rng::Rng;
use meridian_replication::{LostWrite, ReadConsistency, runtime};
use meridian_types::{GroupId, Replication};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long old replicas may take to be looked at once everything is healed.
const SEARCH: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(1);

/// The keys of acknowledged writes. Clones are the same notes.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged(Arc<Mutex<BTreeSet<String>>>);

impl Acknowledged {
    fn add(&self, key: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    fn all(&self) -> BTreeSet<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The group, if the cluster has one.
#[must_use]
pub fn group(cluster: &Cluster) -> Option<GroupId> {
    let policies = cluster.shape().policies();
    let loose = policies.iter().position(|policy| policy.replication == Replication::Async)?;
    // Policies have one group each, in their order.
    (policies.len() > 1).then(|| GroupId(u32::try_from(loose + 1).unwrap_or(u32::MAX)))
}

/// Writes through any node until `end`.
pub async fn write(cluster: Cluster, acknowledged: Acknowledged, mut rng: Rng, end: Instant) {
    let Some(group) = group(&cluster) else { return };
    let mut number = 0;
    while Instant::now() < end {
        sleep(rng.ms(20..200)).await;
        let Some((_, up)) = rng.pick(&cluster.all_up()).cloned() else { continue };
        number += 1;
        let key = format!("loose-{number}");
        let Ok(request) = encode(&Request::Put(key.clone(), number)) else { return };
        let replication = Arc::clone(&up.replication);
        let task = up
            .process
            .spawn(async move { replication.write(group, request, runtime::now() + PATIENCE).await });
        if let Ok(Ok(Ok(_))) = timeout(PATIENCE, task).await {
            acknowledged.add(key);
        }
    }
}

/// What is neither in the group nor in the salvage.
pub async fn missing(cluster: &Cluster, acknowledged: &Acknowledged) -> Vec<String> {
    let Some(group) = group(cluster) else { return Vec::new() };
    let mut left = acknowledged.all();
    let end = Instant::now() + SEARCH;
    loop {
        if let Some((_, up)) = cluster.all_up().first() {
            for key in left.clone() {
                if is_there(up, group, &key).await {
                    left.remove(&key);
                }
            }
            for lost in salvage(up).await {
                left.remove(&*String::from_utf8_lossy(&lost.key));
            }
        }
        if left.is_empty() || Instant::now() > end {
            return left
                .into_iter()
                .map(|key| format!("{key} is neither in its group nor in the salvage"))
                .collect();
        }
        sleep(RETRY).await;
    }
}

async fn is_there(up: &Up, group: GroupId, key: &str) -> bool {
    let Ok(request) = encode(&Request::Read(key.to_owned())) else { return false };
    let replication = Arc::clone(&up.replication);
    let task = up.process.spawn(async move {
        replication.read(group, request, ReadConsistency::Consistent, runtime::now() + PATIENCE).await
    });
    let Ok(Ok(done)) = task.await else { return false };
    matches!(decode(&done.response), Ok(Response::Saw(values)) if !values.is_empty())
}

/// All that is kept of old incarnations.
pub(crate) async fn salvage(up: &Up) -> Vec<LostWrite> {
    let replication = Arc::clone(&up.replication);
    let task = up.process.spawn(async move {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = replication.salvage(after, runtime::now() + PATIENCE).await;
            let Some(last) = page.last() else { return all };
            after = Some(last.at());
            all.extend(page);
        }
    });
    task.await.unwrap_or_default()
}
