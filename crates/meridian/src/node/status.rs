//! `GET /v1/status`: what all nodes that answer say, put together.

use super::failover::{refoundations, risks};
use crate::admin::failover::AtRisk;
use crate::admin::types::{
    GroupStatus, NodeStatus, PolicyStatus, RegionStatus, ReplicaStatus, Status, SystemStatus, Verdict,
};
use meridian_placement::sole_region;
use meridian_replication::system::{GroupInfo, NodeEntry, SystemState};
use meridian_replication::{NodeStatus as Said, ReplicaStatus as Replica, Replication};
use meridian_types::{GroupId, NodeId, NodeName, RegionName};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long other nodes are waited for: above any round trip, short enough for a person.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) async fn gather(replication: &Arc<Replication>) -> Status {
    let said = replication.status_everywhere(PATIENCE).await;
    let state = replication.system();
    let risks = risks(&state, &said);
    let system = leading(&said, GroupId::SYSTEM);
    Status {
        cluster: state.cluster.clone(),
        system: SystemStatus {
            leader: system.and_then(|(node, _)| name(&state, node)),
            term: system.map_or(0, |(_, replica)| replica.term),
            level: state.level(),
        },
        regions: regions(replication, &state, &said, &risks),
        groups: state.groups.values().map(|group| group_status(&state, &said, &risks, group)).collect(),
        policies: policies(&state),
        refoundations: refoundations(&state),
    }
}

/// The replica that leads a group: of those that hold a lease, the one of the highest term.
fn leading(said: &BTreeMap<NodeId, Said>, group: GroupId) -> Option<(NodeId, &Replica)> {
    let replicas =
        said.iter().flat_map(|(node, said)| said.replicas.iter().map(move |replica| (*node, replica)));
    replicas
        .filter(|(_, replica)| replica.group == group && replica.lease_ms.is_some())
        .max_by_key(|(_, replica)| replica.term)
}

fn name(state: &SystemState, node: NodeId) -> Option<NodeName> {
    state.nodes.get(&node).map(|entry| entry.name.clone())
}

fn names(state: &SystemState, nodes: impl IntoIterator<Item = NodeId>) -> Vec<NodeName> {
    nodes.into_iter().filter_map(|node| name(state, node)).collect()
}

fn regions(
    replication: &Replication,
    state: &SystemState,
    said: &BTreeMap<NodeId, Said>,
    risks: &BTreeMap<GroupId, AtRisk>,
) -> Vec<RegionStatus> {
    let mut regions: Vec<RegionStatus> = Vec::new();
    for entry in state.nodes.values() {
        let heard = said.contains_key(&entry.number) || replication.hears(entry.number);
        let health = if heard { Verdict::Healthy } else { Verdict::Lost };
        let node = NodeStatus { id: entry.name.clone(), zone: entry.zone.clone(), health };
        match regions.iter_mut().find(|region| region.name == entry.region) {
            Some(region) => region.nodes.push(node),
            None => regions.push(new_region(entry, node)),
        }
    }
    for region in &mut regions {
        region.expelled = state.expelled().contains(&region.name);
        region.drained = state.drained_regions.contains(&region.name);
        let lost = region.nodes.iter().filter(|node| node.health == Verdict::Lost).count();
        region.health = match lost {
            0 if !state.lost_regions.contains(&region.name) => Verdict::Healthy,
            lost if lost < region.nodes.len() => Verdict::Degraded,
            _ => Verdict::Lost,
        };
        region.loses = loses(state, &region.name, risks);
    }
    regions
}

/// What losing a region now would lose: of all groups that stand and fall with it.
fn loses(state: &SystemState, region: &RegionName, risks: &BTreeMap<GroupId, AtRisk>) -> Option<AtRisk> {
    let there = state.groups.values().filter(|group| sole_region(&group.placement) == Some(region));
    there.filter_map(|group| risks.get(&group.id)).copied().reduce(|a, b| AtRisk {
        writes: a.writes + b.writes,
        entries: a.entries + b.entries,
        ms: a.ms.max(b.ms),
        heard_ms: a.heard_ms.max(b.heard_ms),
    })
}

fn new_region(entry: &NodeEntry, node: NodeStatus) -> RegionStatus {
    RegionStatus {
        name: entry.region.clone(),
        health: node.health,
        drained: false,
        expelled: false,
        nodes: vec![node],
        loses: None,
    }
}

fn group_status(
    state: &SystemState,
    said: &BTreeMap<NodeId, Said>,
    risks: &BTreeMap<GroupId, AtRisk>,
    group: &GroupInfo,
) -> GroupStatus {
    let said_of = |said: &Said| {
        let newest =
            |replica: &&Replica| replica.group == group.id && replica.incarnation == group.incarnation;
        said.replicas.iter().find(newest).cloned()
    };
    let leader = leading(said, group.id);
    let committed = leader.map_or(0, |(_, replica)| replica.committed);
    let replicas = group.placement.members().filter_map(|member| {
        let own = said.get(&member).and_then(said_of);
        let matched = leader.and_then(|(_, leader)| leader.matched.get(&member).copied());
        let applied = own.as_ref().map(|replica| replica.applied).or(matched).unwrap_or(0);
        Some(ReplicaStatus {
            node: name(state, member)?,
            applied,
            lag_entries: committed.saturating_sub(applied),
            lag_ms: own.and_then(|replica| replica.stale_ms),
        })
    });
    let votes = |member: NodeId| (member, group.placement.voters.contains(&member));
    let wanted: BTreeMap<NodeId, bool> = group.placement.members().map(votes).collect();
    GroupStatus {
        id: group.id,
        policy: group.policy.clone(),
        incarnation: group.incarnation.0,
        leader: leader.and_then(|(node, _)| name(state, node)),
        leader_region: leader.and_then(|(node, _)| state.region_of(node).cloned()),
        origin: state.policies.get(&group.policy).and_then(|e| e.policy.origin(group.ordinal).cloned()),
        lease_ms: leader.and_then(|(_, replica)| replica.lease_ms),
        voters: names(state, group.placement.voters.iter().copied()),
        learners: names(state, group.placement.learners.iter().copied()),
        committed,
        answerable: leader.map_or(0, |(_, replica)| replica.answerable),
        replicas: replicas.collect(),
        settled: group.arriving.is_empty()
            && leader.is_some_and(|(_, leader)| leader.members.as_ref() == Some(&wanted)),
        at_risk: risks.get(&group.id).copied(),
    }
}

fn policies(state: &SystemState) -> Vec<PolicyStatus> {
    let mut entries: Vec<_> = state.policies.values().collect();
    entries.sort_by_key(|entry| entry.groups.first().copied());
    let status = |entry: &meridian_replication::system::PolicyEntry| PolicyStatus {
        name: entry.policy.name.clone(),
        pattern: entry.policy.pattern,
        replication: entry.policy.replication,
        regions: entry.policy.regions.clone(),
        tables: state
            .tables
            .values()
            .filter(|table| table.policy == entry.policy.name)
            .map(|table| table.name.clone())
            .collect(),
        groups: entry.groups.clone(),
    };
    entries.into_iter().map(status).collect()
}
