//! Replicas that have applied the same entries hold the same bytes.

use crate::cluster::Cluster;
use bytes::Bytes;
use meridian_replication::ReplicaId;
use meridian_types::{GroupId, NodeId};
use std::collections::BTreeMap;
use std::ops::Bound;

/// How far a replica is, and all that it holds.
type Content = (Vec<u8>, BTreeMap<Bytes, Bytes>);

fn content(cluster: &Cluster, node: NodeId, group: ReplicaId) -> Result<Content, String> {
    let up = cluster.up(node).ok_or_else(|| format!("node {node} is down"))?;
    let number = group.stored().ok_or_else(|| format!("group {group} has no place in a store"))?;
    let store = up.store.group(number);
    let said = |error| format!("node {node} group {group}: {error}");
    let applied = store.applied().map_err(said)?.map(|marker| marker.to_vec()).unwrap_or_default();
    let rows = store.scan(Bound::Unbounded, Bound::Unbounded, false).map_err(said)?;
    Ok((applied, rows.collect::<Result<_, _>>().map_err(said)?))
}

/// The first row in which two contents differ, for a person.
fn first_difference(a: &BTreeMap<Bytes, Bytes>, b: &BTreeMap<Bytes, Bytes>) -> String {
    let keys = a.keys().chain(b.keys()).collect::<std::collections::BTreeSet<_>>();
    let differs = keys.into_iter().find(|key| a.get(*key) != b.get(*key));
    differs.map_or_else(String::new, |key| format!("{key:?}: {:?} and {:?}", a.get(key), b.get(key)))
}

/// What keeps the replicas of all groups from being equal; empty when nothing does.
#[must_use]
pub fn differences(cluster: &Cluster) -> Vec<String> {
    let mut found = Vec::new();
    let Some((_, any)) = cluster.all_up().into_iter().next() else { return vec!["no node is up".to_owned()] };
    let system = any.replication.system();
    let everywhere = system.nodes.keys().copied().collect::<Vec<_>>();
    let mut groups = vec![(ReplicaId::from(GroupId::SYSTEM), everywhere)];
    groups.extend(
        system.groups.values().map(|group| (group.replica(), group.placement.data.keys().copied().collect())),
    );
    for (group, members) in groups {
        let mut first: Option<(NodeId, Content)> = None;
        for node in members {
            match (content(cluster, node, group), &first) {
                (Err(why), _) => found.push(why),
                (Ok(content), None) => first = Some((node, content)),
                (Ok((applied, rows)), Some((other, (reference, expected)))) => {
                    if applied != *reference {
                        found.push(format!(
                            "group {group}: nodes {other} and {node} have not applied the same"
                        ));
                    } else if rows != *expected {
                        let row = first_difference(expected, &rows);
                        found.push(format!(
                            "group {group}: nodes {other} and {node} hold different bytes at {row}"
                        ));
                    }
                }
            }
        }
    }
    found
}
