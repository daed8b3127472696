//! Replication at a steady rate over long links: no write waits for the answers to those before it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use meridian_replication::{LAG_BUCKETS_MS, LagHistogram, runtime};
use meridian_sim::cluster::Cluster;
use meridian_sim::disk::Bugs;
use meridian_sim::register::{Request, encode};
use meridian_sim::rng::Rng;
use meridian_sim::shape::Shape;
use meridian_sim::trace::Trace;
use meridian_types::{GroupId, NodeId};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Of the policy that waits for no other region.
const GROUP: GroupId = GroupId(3);
const EVERY: Duration = Duration::from_millis(1);
const WRITES: u64 = 1_500;
/// Writes that are not counted: the first few arrive while streams of appends are being set up.
const WARM_UP: u64 = 300;
/// What storing an entry twice may add to the way of light.
const GRACE: Duration = Duration::from_millis(20);

/// What each node has seen of the writes of the first region.
fn lags(cluster: &Cluster) -> BTreeMap<NodeId, LagHistogram> {
    let region = cluster.shape().regions().into_iter().next().unwrap();
    let seen = cluster.all_up().into_iter().map(|(node, up)| {
        let lags = up.process.within(|| up.replication.lags());
        (node, lags.get(&region).copied().unwrap_or_default())
    });
    seen.collect()
}

/// The share of later writes that took no longer than so many milliseconds, in percent.
fn share_within(before: &LagHistogram, after: &LagHistogram, bound_ms: u64) -> u64 {
    let within = |lags: &LagHistogram| -> u64 {
        LAG_BUCKETS_MS.iter().zip(lags.buckets).filter(|(bound, _)| **bound <= bound_ms).map(|(_, n)| n).sum()
    };
    (within(after) - within(before)) * 100 / (after.count - before.count).max(1)
}

#[tokio::test(start_paused = true)]
async fn steady_writes_arrive_a_way_of_light_later() {
    let mut rng = Rng::new(4);
    let shape = Shape::of_drill(&mut rng, 1);
    let (leader, ways) = (NodeId(1), shape.latencies());
    let cluster = Cluster::new(shape, Bugs::default(), &mut rng, &Trace::new(false));
    for node in cluster.shape().nodes() {
        cluster.start(node.id).await.unwrap();
    }
    let up = cluster.up(leader).unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while !up.process.within(|| up.replication.serves_group(GROUP)) {
        assert!(Instant::now() < end, "the group is not led where it was told to be");
        sleep(Duration::from_millis(100)).await;
    }
    let (mut writes, mut before) = (Vec::new(), BTreeMap::new());
    for number in 0..WRITES {
        let request = encode(&Request::Put(format!("key-{number}"), number)).unwrap();
        let replication = up.replication.clone();
        writes.push(up.process.spawn(async move {
            replication.write(GROUP, request, runtime::now() + Duration::from_secs(10)).await.map(drop)
        }));
        sleep(EVERY).await;
        if number + 1 == WARM_UP {
            before = lags(&cluster);
        }
    }
    for write in writes {
        write.await.unwrap().unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    let entries = up.process.within(|| up.replication.applied(GROUP)).unwrap();
    assert!(
        entries < WRITES * 4 / 5,
        "{entries} entries for {WRITES} writes, though a sync takes longer than they are apart"
    );
    let after = lags(&cluster);
    let mut long = 0;
    for (node, after) in after.iter().filter(|(node, _)| **node != leader) {
        let way = ways[&(leader, *node)];
        let bound = u64::try_from((way + GRACE).as_millis()).unwrap();
        let bound = LAG_BUCKETS_MS.into_iter().find(|bucket| *bucket >= bound).unwrap();
        assert!(after.count >= WRITES, "{after:?}");
        let share = share_within(&before[node], after, bound);
        assert!(share >= 99, "node {node}, {way:?} away: {share} % within {bound} ms; {after:?}");
        long += u32::from(way > Duration::from_millis(50));
    }
    assert!(long > 0, "no link is long: {ways:?}");
}
