//! The nodes of a cluster and where they stand. Says nothing about health.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use meridian_types::{NodeId, NodeName, RegionName, ZoneName};
use serde::{Deserialize, Serialize};

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The node's number, given out in order of joining and never reused.
    pub id: NodeId,
    /// The name that people see.
    pub name: NodeName,
    /// The region it stands in.
    pub region: RegionName,
    /// The zone within the region.
    pub zone: ZoneName,
    /// A witness votes and holds no data of any policy.
    pub witness: bool,
}

/// Why a list of nodes makes no topology.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// Two nodes with one number.
    #[error("nodes {1} and {2} both have the number {0}; give each node its own, never reused")]
    DuplicateId(NodeId, NodeName, NodeName),
    /// Two nodes with one name.
    #[error("two nodes are named {0}; give each node its own name")]
    DuplicateName(NodeName),
}

/// All nodes of a cluster, by id. Regions and zones are ordered by their oldest node, so that adding a node reorders nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    nodes: BTreeMap<NodeId, Node>,
}

impl Topology {
    /// Builds a topology; the order of `nodes` does not matter.
    ///
    /// # Errors
    /// [`TopologyError`] when two nodes share an id or a name.
    pub fn new(nodes: impl IntoIterator<Item = Node>) -> Result<Self, TopologyError> {
        let mut names = BTreeSet::new();
        let mut by_id: BTreeMap<NodeId, Node> = BTreeMap::new();
        for node in nodes {
            if !names.insert(node.name.clone()) {
                return Err(TopologyError::DuplicateName(node.name));
            }
            if let Some(other) = by_id.get(&node.id) {
                return Err(TopologyError::DuplicateId(node.id, other.name.clone(), node.name));
            }
            by_id.insert(node.id, node);
        }
        Ok(Self { nodes: by_id })
    }

    /// The node of this id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// All regions, oldest first.
    #[must_use]
    pub fn regions(&self) -> Vec<RegionName> {
        distinct(self.nodes().map(|node| &node.region))
    }

    /// The regions that have a node which may hold data, oldest first.
    #[must_use]
    pub fn data_regions(&self) -> Vec<RegionName> {
        distinct(self.nodes().filter(|node| !node.witness).map(|node| &node.region))
    }

    /// The regions of which every node is a witness, oldest first.
    #[must_use]
    pub fn witness_regions(&self) -> Vec<RegionName> {
        let data = self.data_regions();
        self.regions().into_iter().filter(|region| !data.contains(region)).collect()
    }
}

/// Each value once, in order of first appearance.
fn distinct<'a, T: Clone + PartialEq + 'a>(values: impl Iterator<Item = &'a T>) -> Vec<T> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(value) {
            seen.push(value.clone());
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn node(id: u64, region: &str, witness: bool) -> Node {
        Node {
            id: NodeId(id),
            name: NodeName::new(&format!("{region}-{id}")).unwrap(),
            region: RegionName::new(region).unwrap(),
            zone: ZoneName::new("a").unwrap(),
            witness,
        }
    }

    #[test]
    fn regions_are_ordered_by_their_oldest_node_whatever_the_order_told() {
        let nodes = [node(3, "a", false), node(1, "c", false), node(2, "b", true), node(4, "c", false)];
        let topology = Topology::new(nodes.clone()).unwrap();
        assert_eq!(Topology::new(nodes.into_iter().rev()).unwrap(), topology);
        let names = |regions: Vec<RegionName>| format!("{regions:?}");
        assert_eq!(names(topology.regions()), r#"["c", "b", "a"]"#);
        assert_eq!(names(topology.data_regions()), r#"["c", "a"]"#);
        assert_eq!(names(topology.witness_regions()), r#"["b"]"#);
    }

    #[test]
    fn ids_and_names_are_unique() {
        let mut other = node(1, "b", false);
        assert!(matches!(
            Topology::new([node(1, "a", false), other.clone()]),
            Err(TopologyError::DuplicateId(..))
        ));
        other.id = NodeId(2);
        other.name = NodeName::new("a-1").unwrap();
        assert!(matches!(Topology::new([node(1, "a", false), other]), Err(TopologyError::DuplicateName(_))));
    }
}
