//! Nodes that join and leave while everything else goes wrong.

use crate::cluster::{Cluster, Up};
use crate::rng::Rng;
use meridian_placement::Node;
use meridian_replication::system::{JoinToken, Joining};
use meridian_types::{NodeId, NodeName, RegionName, ZoneName};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long an operator waits for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of a hundred runs, in so many nodes come and go.
const CHANGING: u64 = 60;
/// Between looks whether somebody has left.
const LOOK: Duration = Duration::from_millis(250);
/// Longer than any run.
const TTL: Duration = Duration::from_secs(3_600);

/// Has a node join and another one leave, in some runs, as an operator would who tries until it works.
///
/// # Errors
/// When a node does not start.
pub async fn change(cluster: Cluster, mut rng: Rng, end: Instant) -> Result<(), String> {
    if !rng.chance(CHANGING) {
        return Ok(());
    }
    sleep(rng.ms(0..10_000)).await;
    // Data regions: every policy names all of them.
    let regions = cluster.shape().policies().first().map(|policy| policy.regions.clone()).unwrap_or_default();
    let Some(region) = rng.pick(&regions).cloned() else { return Ok(()) };
    while Instant::now() < end {
        if let Some(node) = join(&cluster, &region, &mut rng).await {
            cluster.mark("a node joined");
            let id = node.id;
            cluster.admit(node, &mut rng);
            cluster.start(id).await?;
            break;
        }
        sleep(rng.ms(100..1_000)).await;
    }
    if !cluster.has_changed() {
        return Ok(());
    }
    sleep(rng.ms(1_000..12_000)).await;
    let Some(leaver) = rng.pick(&cluster.members()).copied() else { return Ok(()) };
    while Instant::now() < end {
        if leave(&cluster, leaver, &mut rng).await {
            cluster.mark("a node was asked to leave");
            return Ok(());
        }
        sleep(rng.ms(100..2_000)).await;
    }
    Ok(())
}

fn anyone(cluster: &Cluster, rng: &mut Rng) -> Option<Up> {
    rng.pick(&cluster.all_up()).map(|(_, up)| up.clone())
}

async fn join(cluster: &Cluster, region: &RegionName, rng: &mut Rng) -> Option<Node> {
    let asked = anyone(cluster, rng)?;
    let zone = ZoneName::new("zone-new").ok()?;
    let token = JoinToken {
        number: NodeId(0),
        region: region.clone(),
        zone: zone.clone(),
        witness: false,
        replaces: None,
        expires_ms: 0,
        used_by: None,
    };
    let hash = format!("hash-{}", rng.range(0..u64::MAX));
    let (replication, key) = (Arc::clone(&asked.replication), hash.clone());
    let made = asked.process.spawn(async move {
        replication.create_join_token(key, (token, TTL), Instant::now() + PATIENCE).await
    });
    let number = made.await.ok()?.ok()?;
    let node_name = NodeName::new(&format!("node-{number}")).ok()?;
    let joining = Joining { hash, name: node_name.clone(), peer: node_name.to_string(), now_ms: 0 };
    // The answer may be lost and the node be in: it asks again until it knows, even if everybody is down for a while.
    loop {
        if let Some(asked) = anyone(cluster, rng) {
            let (replication, joining) = (Arc::clone(&asked.replication), joining.clone());
            let joined = asked
                .process
                .spawn(async move { replication.join(joining, Instant::now() + PATIENCE).await });
            if let Ok(Ok(id)) = joined.await {
                return Some(Node { id, name: node_name, region: region.clone(), zone, witness: false });
            }
        }
        sleep(rng.ms(50..500)).await;
    }
}

async fn leave(cluster: &Cluster, node: NodeId, rng: &mut Rng) -> bool {
    let Some(asked) = anyone(cluster, rng) else { return false };
    let replication = Arc::clone(&asked.replication);
    let task = asked.process.spawn(async move {
        let name = replication.system().nodes.get(&node)?.name.clone();
        Some(replication.leave(&name, false, Instant::now() + PATIENCE).await)
    });
    matches!(task.await, Ok(Some(Ok(()))))
}

/// Ends nodes that have left, as they do by themselves. Runs until it is aborted.
pub async fn let_go(cluster: Cluster) {
    loop {
        sleep(LOOK).await;
        for node in cluster.members() {
            let left = |up: &Up| {
                let state = up.replication.system();
                !state.nodes.is_empty() && state.is_removed(node)
            };
            if cluster.all_up().iter().any(|(_, up)| left(up)) {
                cluster.trace().event(format_args!("node {node} has left"));
                cluster.retire(node);
            }
        }
    }
}
