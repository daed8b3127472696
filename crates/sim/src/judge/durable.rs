//! Invariants 1 and 2: an acknowledged write is on the disks that its policy names at that moment.

use crate::cluster::{Cluster, Up};
use crate::judge::monitor;
use crate::workload::Notes;
use meridian_placement::{CommitRule, Placement};
use meridian_types::{GroupId, Incarnation, NodeId, Position, RegionName};
use std::collections::{BTreeMap, BTreeSet};

/// A write that was just acknowledged.
pub struct Acknowledged {
    /// Where it landed.
    pub position: Position,
    /// Who evaluated it.
    pub server: NodeId,
    /// When it was sent.
    pub invoked: u64,
    /// The node that was asked.
    pub asked: Up,
}

impl Acknowledged {
    /// Looks at the disks.
    pub fn check(self, cluster: &Cluster, notes: &Notes) {
        let Position { group, index, .. } = self.position;
        let now = cluster.trace().now();
        monitor::note_decisions(cluster, notes);
        let system = self.asked.replication.system();
        let Some(info) = system.groups.get(&group) else { return };
        let placement = &info.placement;
        // Tables are in groups of all policies; one that may be founded anew is not held to its old disks.
        if info.incarnation.max(self.position.incarnation) > Incarnation(0) {
            return;
        }
        let has = |node: &NodeId| {
            let disk = cluster.disk(*node);
            disk.is_some_and(|disk| {
                // What such a disk has had and lost, the cluster makes up for: nobody is elected on the strength of it.
                if disk.memory().was_damaged() {
                    return true;
                }
                let applied = disk.memory().durable_applied(group).and_then(|marker| applied_index(&marker));
                disk.memory().durable_index(group).max(applied.unwrap_or(0)) >= index
            })
        };
        // While voters change, what counts are those of before, of after, or both. A join may be committed before the one who
        // asked for it has heard so.
        let known = system.nodes.len() == cluster.shape().nodes().len();
        let changed = cluster.has_changed() || !known || system.nodes.values().any(|node| node.leaving);
        let voting = if changed { voters(cluster, self.server, group) } else { placement.voters.clone() };
        let given = notes.lock().voters.get(&group).cloned().unwrap_or_default();
        let holders = |voters: &BTreeSet<NodeId>| voters.iter().filter(|node| has(node)).count();
        let held = given.iter().chain([&voting]).any(|voters| holders(voters) * 2 > voters.len());
        let voters = holders(&voting);
        if !voting.is_empty() && !held {
            notes.broken(
                now,
                &format!("{group}/{index} is acknowledged and on the disks of {voters} voters only"),
            );
        }
        // What counts is the record at the moment at which the leader answered, which lies in between.
        let lost: BTreeSet<RegionName> = {
            let noted = notes.lock();
            noted
                .lost_at
                .iter()
                .filter(|(_, at)| **at >= self.invoked)
                .map(|(region, _)| region.clone())
                .collect()
        };
        // A node that leaves keeps what its region has until another one there has it.
        let holders = cluster.holders();
        for region in missing(placement, self.server, (&lost, &holders), has) {
            notes.broken(now, &format!("{group}/{index} is acknowledged and on no disk of {region}"));
        }
    }
}

/// The index in an applied marker, which begins with the last log id: a term and an index, if there is one.
fn applied_index(marker: &[u8]) -> Option<u64> {
    let (last, _) = postcard::take_from_bytes::<Option<(u64, u64)>>(marker).ok()?;
    last.map(|(_, index)| index)
}

/// Who votes now: by the leader's word, since members change one after another; none while they do.
fn voters(cluster: &Cluster, server: NodeId, group: GroupId) -> BTreeSet<NodeId> {
    let Some(up) = cluster.up(server) else { return BTreeSet::new() };
    let said = up.process.within(|| up.replication.status_here());
    let members =
        said.replicas.into_iter().find(|replica| replica.group == group).and_then(|own| own.members);
    members.unwrap_or_default().into_iter().filter(|(_, votes)| *votes).map(|(node, _)| node).collect()
}

/// The regions that the commit rule wants and that do not have the entry.
fn missing(
    placement: &Placement,
    server: NodeId,
    (lost, holders): (&BTreeSet<RegionName>, &BTreeMap<NodeId, RegionName>),
    has: impl Fn(&NodeId) -> bool,
) -> Vec<String> {
    let regions: BTreeSet<&RegionName> = placement.data.values().collect();
    let on_disk = |region: &RegionName| holders.iter().any(|(node, of)| of == region && has(node));
    match placement.rule {
        CommitRule::Majority => Vec::new(),
        CommitRule::OtherRegion => {
            let home = holders.get(&server);
            let others: Vec<_> = regions.iter().filter(|region| Some(**region) != home).collect();
            let excused = !others.is_empty() && others.iter().all(|region| lost.contains(**region));
            let held = others.iter().any(|region| on_disk(region));
            if excused || held { Vec::new() } else { vec!["any other region".to_owned()] }
        }
        CommitRule::EveryRegion => regions
            .into_iter()
            .filter(|region| !lost.contains(*region) && !on_disk(region))
            .map(ToString::to_string)
            .collect(),
    }
}
