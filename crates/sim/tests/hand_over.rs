//! What random seeds found, made on purpose: a hand-over to a node that does not answer leaves nobody leading for long.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use meridian_sim::cluster::{Cluster, Up};
use meridian_sim::disk::Bugs;
use meridian_sim::rng::Rng;
use meridian_sim::shape::Shape;
use meridian_sim::trace::Trace;
use meridian_types::{GroupId, NodeId};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const GROUP: GroupId = GroupId(2);

fn serving(cluster: &Cluster) -> Option<NodeId> {
    let serves =
        |up: &Up| up.process.within(|| up.replication.serves()).iter().any(|served| served.group == GROUP);
    cluster.all_up().into_iter().find(|(_, up)| serves(up)).map(|(node, _)| node)
}

async fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < end, "not within {patience:?}: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_offer_is_not_taken_votes_again() {
    let mut rng = Rng::new(1);
    let shape = Shape::of_drill(&mut rng, 1);
    let cluster = Cluster::new(shape, Bugs::default(), &mut rng, &Trace::new(false));
    for node in cluster.shape().nodes() {
        cluster.start(node.id).await.unwrap();
    }
    until("the group is led", Duration::from_secs(30), || serving(&cluster).is_some()).await;
    let leader = serving(&cluster).unwrap();
    let (target, up) = cluster.all_up().into_iter().find(|(node, _)| *node != leader).unwrap();
    up.process.freeze();
    let offering = cluster.up(leader).unwrap();
    let replication = offering.replication.clone();
    drop(offering.process.spawn(async move { replication.offer_leadership(GROUP, target).await }));
    sleep(Duration::from_millis(200)).await;
    assert_eq!(serving(&cluster), None, "the lease of the leader that offered is not used any more");
    // One of the two that are left: with a node of three away a group has its majority.
    until("somebody leads again", Duration::from_secs(15), || serving(&cluster).is_some()).await;
}
