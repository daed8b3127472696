//! An operator who has active-active policies go on without a region that is away, and takes it back once it answers.

use crate::cluster::{Cluster, Up};
use crate::faults::{border, part};
use crate::rng::Rng;
use crate::run::until;
use meridian_replication::{MembersError, runtime, system::SystemError};
use meridian_types::{NodeId, RegionName};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long an order may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// Between orders.
const AGAIN: Duration = Duration::from_millis(500);

/// Cuts a region off, expels it, and takes it back once it is heard again; again and again until `end`.
pub async fn order(cluster: Cluster, mut rng: Rng, end: Instant) {
    let regions = cluster.shape().data_regions();
    while regions.len() > 1 && Instant::now() < end {
        sleep(rng.ms(1_000..15_000)).await;
        let Some(region) = rng.pick(&regions).cloned() else { return };
        let inside: BTreeSet<NodeId> = cluster.shape().nodes_of(&region).into_iter().collect();
        let away = cluster.suffer(async {
            let expelled = expel(&cluster, &region, &inside, &mut rng).await;
            // It goes on by itself meanwhile: where every region writes, it may.
            sleep(rng.ms(0..15_000)).await;
            expelled
        });
        cluster.trace().event(format_args!("region {region} is away"));
        let expelled = part(cluster.network(), &border(&cluster, &inside), away).await;
        cluster.trace().event(format_args!("region {region} is back, expelled {expelled}"));
        if expelled {
            sleep(rng.ms(0..8_000)).await;
            readmit(&cluster, &region, &mut rng).await;
        }
    }
}

async fn expel(cluster: &Cluster, region: &RegionName, inside: &BTreeSet<NodeId>, rng: &mut Rng) -> bool {
    let tries = rng.range(1..8);
    for _ in 0..tries {
        sleep(rng.ms(300..3_000)).await;
        let outside: Vec<Up> = cluster
            .all_up()
            .into_iter()
            .filter(|(node, _)| !inside.contains(node))
            .map(|(_, up)| up)
            .collect();
        let Some(up) = rng.pick(&outside) else { continue };
        let (replication, away) = (Arc::clone(&up.replication), region.clone());
        let task = up.process.spawn(async move { replication.expel(&away, runtime::now() + PATIENCE).await });
        let done = task.await;
        cluster.trace().event(format_args!("region {region} is to be expelled: {done:?}"));
        match done {
            Ok(Ok(groups)) => {
                cluster.mark("a region was expelled");
                if groups.iter().any(|group| group.cut.is_some()) {
                    cluster.mark("the groups of an expelled region were founded anew");
                }
                return true;
            }
            Ok(Err(MembersError::Refused(SystemError::RegionAnswers(_)))) => {
                cluster.mark("a region was not expelled, because it answers");
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
    is_expelled(cluster, region)
}

fn is_expelled(cluster: &Cluster, region: &RegionName) -> bool {
    cluster
        .all_up()
        .iter()
        .any(|(_, up)| up.process.within(|| up.replication.system()).expelled().contains(region))
}

/// Takes a region back through any node, if it can be.
async fn readmit(cluster: &Cluster, region: &RegionName, rng: &mut Rng) {
    let Some((_, up)) = rng.pick(&cluster.all_up()).cloned() else { return };
    let (replication, back) = (Arc::clone(&up.replication), region.clone());
    let task = up.process.spawn(async move { replication.readmit(&back, runtime::now() + PATIENCE).await });
    let done = task.await;
    cluster.trace().event(format_args!("region {region} is to be readmitted: {done:?}"));
    if let Ok(Ok(())) = done {
        cluster.mark("an expelled region was taken back");
        if cluster.suffers() {
            cluster.mark("an expelled region was taken back under a fault");
        }
    }
}

/// Takes back whatever is still expelled, once everything is healed.
///
/// # Errors
/// When that takes too long.
pub async fn take_all_back(cluster: &Cluster, mut rng: Rng, patience: Duration) -> Result<(), String> {
    until(patience, "an expelled region could not be taken back", async || {
        let left: Vec<RegionName> = cluster
            .shape()
            .data_regions()
            .into_iter()
            .filter(|region| is_expelled(cluster, region))
            .collect();
        for region in &left {
            readmit(cluster, region, &mut rng).await;
            sleep(AGAIN).await;
        }
        left.is_empty()
    })
    .await
}
