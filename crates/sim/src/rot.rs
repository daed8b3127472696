//! Bits that rot: one node of a run has a disk that flips them, as often as it likes. What it may damage is what a cluster promises to
//! survive: its log of a group that can do without it.

use crate::cluster::Cluster;
use crate::faults::{border, serving};
use crate::rng::Rng;
use meridian_replication::spares;
use meridian_types::{GroupId, NodeId};
use std::collections::BTreeSet;
use tokio::time::sleep;

/// A group whose log may be damaged: of those that lose nothing.
#[must_use]
pub fn group(cluster: &Cluster, rng: &mut Rng) -> GroupId {
    let groups = cluster.shape().strict_groups();
    GroupId(u32::try_from(rng.range(1..groups + 1)).unwrap_or(1))
}

/// Whether the cluster promises to survive that the frail node's log of a group is damaged.
fn may_rot(cluster: &Cluster, group: GroupId) -> bool {
    let any = cluster.all_up().into_iter().next();
    any.is_some_and(|(_, up)| {
        let system = up.replication.system();
        system.groups.get(&group).is_some_and(|group| spares(&group.placement, cluster.frail()))
    })
}

/// Flips a bit of one of the last records, and has the node read its disk again.
///
/// # Errors
/// When the node does not start again.
pub async fn flip(cluster: &Cluster, group: GroupId, rng: &mut Rng) -> Result<(), String> {
    if !may_rot(cluster, group) {
        return Ok(());
    }
    let node = cluster.frail();
    // Mostly the last one, which is looked at first.
    let back = if rng.chance(60) { 0 } else { rng.index(30) };
    cluster.kill(node, true);
    let flipped = cluster.disk(node).is_some_and(|disk| disk.memory().damage_log(group, back));
    cluster.trace().event(format_args!("node {node}: a bit of group {group} rots, {back} back: {flipped}"));
    sleep(rng.ms(1..500)).await;
    cluster.start(node).await
}

/// The node is the only one to have what the leader has, loses it, and the others ask for its vote while the leader is out of reach.
///
/// # Errors
/// When the node does not start again.
pub async fn forget(cluster: &Cluster, rng: &mut Rng) -> Result<(), String> {
    let frail = cluster.frail();
    // The last of those that lose nothing: it waits for one other region only.
    let group = GroupId(u32::try_from(cluster.shape().strict_groups()).unwrap_or(1));
    let Some(leader) = serving(cluster, group).filter(|leader| *leader != frail) else { return Ok(()) };
    let all = cluster.shape().nodes().iter().map(|node| node.id);
    let others: BTreeSet<NodeId> = all.filter(|node| ![leader, frail].contains(node)).collect();
    let network = cluster.network();
    let (others, leader) = (border(cluster, &others), border(cluster, &BTreeSet::from([leader])));
    network.block(&others);
    sleep(rng.ms(300..1_500)).await;
    network.open(&others);
    network.block(&leader);
    let flipped = flip(cluster, group, rng).await;
    sleep(rng.ms(3_000..10_000)).await;
    network.open(&leader);
    flipped
}
