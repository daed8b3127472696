//! Watches the whole cluster at once, as nobody in it can.

use crate::cluster::Cluster;
use crate::workload::Notes;
use meridian_replication::ReplicaId;
use meridian_types::{Incarnation, NodeId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Between looks.
const TICK: Duration = Duration::from_millis(10);
/// Every so many looks the positions are compared too.
const POSITIONS_EVERY: u64 = 20;

/// Runs until it is aborted: at every look at most one node would show the latest state of a group (invariant 3), and each
/// replica's positions are in order (invariant 1).
pub async fn watch(cluster: Cluster, notes: Notes) {
    for look in 0_u64.. {
        sleep(TICK).await;
        note_decisions(&cluster, &notes);
        let mut serving: BTreeMap<ReplicaId, NodeId> = BTreeMap::new();
        for (node, up) in cluster.all_up() {
            let system = up.replication.system();
            for ReplicaId { group, incarnation } in up.process.within(|| up.replication.serves()) {
                // A region that was expelled goes on by itself until it hears of that, where every region writes: its incarnation
                // is another group's.
                let apart = system.groups.get(&group).is_some_and(|group| system.is_active_active(group));
                let incarnation = if apart { incarnation } else { Incarnation(0) };
                if let Some(other) = serving.insert(ReplicaId { group, incarnation }, node) {
                    let text = format!("both {other} and {node} would answer for group {group}");
                    notes.broken(cluster.trace().now(), &text);
                }
            }
            if look.is_multiple_of(POSITIONS_EVERY) {
                for replica in up.process.within(|| up.replication.status_here()).replicas {
                    let (applied, committed) = (replica.applied, replica.committed);
                    // Positions are published one after another; only those of a leader that serves are compared.
                    if replica.lease_ms.is_some() && replica.answerable > committed {
                        let group = replica.group;
                        let text = format!(
                            "node {node} group {group}: answerable {} beyond committed {committed}, applied {applied}",
                            replica.answerable
                        );
                        notes.broken(cluster.trace().now(), &text);
                    }
                }
            }
        }
    }
}

/// Notes which regions are recorded as lost now, and which voters groups have been given, by any node.
pub fn note_decisions(cluster: &Cluster, notes: &Notes) {
    let now = cluster.trace().now();
    let mut noted = notes.lock();
    for (node, up) in cluster.all_up() {
        let system = up.replication.system();
        for region in &system.lost_regions {
            noted.lost_at.insert(region.clone(), now);
        }
        if noted.systems.get(&node).is_some_and(|seen| Arc::ptr_eq(seen, &system)) {
            continue;
        }
        for group in system.groups.values() {
            let known = noted.voters.entry(group.id).or_default();
            if !known.contains(&group.placement.voters) {
                known.insert(group.placement.voters.clone());
            }
        }
        noted.systems.insert(node, system);
    }
}
