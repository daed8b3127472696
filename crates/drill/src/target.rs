//! What a fault hits: a region, or the part of it that leads most.

use crate::cluster::{ClusterFile, Status};
use crate::error::DrillError;
use crate::scenario::{FaultKind, Scope};
use meridian_types::{NodeName, PolicyName, RegionName};

/// What a fault hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The region.
    pub region: RegionName,
    /// Its index among the cluster's regions.
    pub path: u8,
    /// The nodes.
    pub nodes: Vec<NodeName>,
    /// Whether these are all nodes of the region.
    pub whole: bool,
    /// How many groups of the policy they lead.
    pub led_groups: usize,
}

impl Target {
    /// Chooses by who leads, which is the worst case: of the region's nodes the one that leads most groups of `policy`, the
    /// first of them when several do.
    ///
    /// # Errors
    /// [`DrillError::UnknownRegion`].
    pub fn choose(
        cluster: &ClusterFile,
        region: &RegionName,
        scope: Scope,
        status: &Status,
        policy: &PolicyName,
    ) -> Result<Self, DrillError> {
        let index = cluster.region_index(region)?;
        let all = cluster.regions.get(index).map_or(&[][..], |region| &region.nodes);
        let leads = |node: &NodeName| {
            let mine = |group: &&crate::cluster::GroupStatus| {
                group.leader.as_ref() == Some(node) && group.policy.as_ref().is_none_or(|its| its == policy)
            };
            status.groups.iter().filter(mine).count()
        };
        // The last of equals is what `max_by_key` gives, hence from the end.
        let first = all.iter().rev().max_by_key(|node| leads(&node.id));
        let is_hit = |node: &crate::cluster::Node| match scope {
            Scope::Region => true,
            Scope::Zone => first.is_some_and(|first| first.zone == node.zone),
            Scope::Node => first.is_some_and(|first| first.id == node.id),
        };
        let nodes: Vec<NodeName> =
            all.iter().filter(|node| is_hit(node)).map(|node| node.id.clone()).collect();
        let whole = nodes.len() == all.len();
        let led_groups = nodes.iter().map(leads).sum();
        let path = u8::try_from(index).unwrap_or(u8::MAX);
        Ok(Self { region: region.clone(), path, nodes, whole, led_groups })
    }

    /// Whether the region is expected to serve clients while the fault lasts.
    #[must_use]
    pub fn serves(&self, fault: FaultKind) -> bool {
        !fault.takes_away() || !self.whole
    }

    /// Whether `region` is expected to serve clients while the fault lasts.
    #[must_use]
    pub fn leaves(&self, region: &RegionName, fault: FaultKind) -> bool {
        self.serves(fault) || *region != self.region
    }

    /// The cluster as clients use it: those of the region go to nodes that the fault does not take away, if there are any.
    #[must_use]
    pub fn used(&self, cluster: &ClusterFile, fault: FaultKind) -> ClusterFile {
        let mut used = cluster.clone();
        if fault.takes_away() && !self.whole {
            for region in &mut used.regions {
                region.nodes.retain(|node| !self.nodes.contains(&node.id));
            }
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_part_that_leads_most_is_hit_and_clients_use_the_rest() {
        let node = |id: &str, zone: &str| json!({"id": id, "zone": zone, "dynamodb": "http://127.0.0.1:1", "admin": "http://127.0.0.1:2"});
        let nodes = json!([node("r-a-0", "a"), node("r-b-0", "b"), node("r-b-1", "b")]);
        let file = json!({"regions": [{"name": "r", "nodes": nodes}]});
        let cluster: ClusterFile = serde_json::from_value(file).unwrap();
        let group =
            |id: u32, leader: &str, policy: &str| json!({"id": id, "leader": leader, "policy": policy});
        let groups = json!([group(1, "r-b-1", "p"), group(2, "r-a-0", "other"), group(3, "r-a-0", "other")]);
        let status: Status = serde_json::from_value(json!({"groups": groups})).unwrap();
        let (region, policy) = (RegionName::new("r").unwrap(), PolicyName::new("p").unwrap());
        let chosen = |scope| Target::choose(&cluster, &region, scope, &status, &policy).unwrap();
        let names = |target: &Target| target.nodes.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (whole, zone, node) = (chosen(Scope::Region), chosen(Scope::Zone), chosen(Scope::Node));
        assert_eq!(names(&node), ["r-b-1"]);
        assert_eq!(names(&zone), ["r-b-0", "r-b-1"]);
        assert_eq!((whole.led_groups, zone.led_groups, node.led_groups), (1, 1, 1));
        assert!(whole.whole && !zone.whole && !node.whole);
        assert!(!whole.serves(FaultKind::Kill) && zone.serves(FaultKind::Kill));
        assert!(whole.serves(FaultKind::Slow));
        assert_eq!(zone.used(&cluster, FaultKind::Kill).regions[0].nodes.len(), 1);
        assert_eq!(node.used(&cluster, FaultKind::DiskFull).regions[0].nodes.len(), 3);
        assert_eq!(whole.used(&cluster, FaultKind::Kill).regions[0].nodes.len(), 3);
        let idle = Target::choose(&cluster, &region, Scope::Node, &Status::default(), &policy).unwrap();
        assert_eq!(names(&idle), ["r-a-0"]);
    }
}
