//! Watches the whole cluster at once, as nobody in it can.

use crate::cluster::Cluster;
use crate::workload::Notes;
use meridian_types::{GroupId, NodeId};
use std::collections::BTreeMap;
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
        note_lost(&cluster, &notes);
        let mut serving: BTreeMap<GroupId, NodeId> = BTreeMap::new();
        for (node, up) in cluster.all_up() {
            for group in up.process.within(|| up.replication.serves()) {
                if let Some(other) = serving.insert(group, node) {
                    let text = format!("both {other} and {node} would answer for group {group}");
                    notes.broken(cluster.trace().now(), &text);
                }
            }
            if look.is_multiple_of(POSITIONS_EVERY) {
                for replica in up.replication.status_here().replicas {
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

/// Notes which regions are recorded as lost now, by any node.
pub fn note_lost(cluster: &Cluster, notes: &Notes) {
    let now = cluster.trace().now();
    for (_, up) in cluster.all_up() {
        for region in &up.replication.system().lost_regions {
            notes.lock().lost_at.insert(region.clone(), now);
        }
    }
}
