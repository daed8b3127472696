//! Which nodes a development cluster has, and each one's name, number, ports and configuration.

use super::folder::Folder;
use crate::config::{
    AnycastSection, AuthMode, AuthSection, ClusterSection, DnsSection, EdgeSection, ListenSection,
    NetworkSection, NodeConfig, NodeSection, PeerNode, ReplicationSection, TlsSection,
};
use crate::wan::{Wan, WanError, WanModel, WanNode};
use ipnet::IpNet;
use meridian_drill::service::NETWORKS;
use meridian_replication::Timing;
use meridian_types::{NodeId, NodeName, RegionName, ZoneName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Ports from one region's first to the next one's.
const REGION_STRIDE: u16 = 100;
/// Ports from one node's first to the next one's in its region.
const NODE_STRIDE: u16 = 10;
/// The most nodes a region: their ports must fit between two regions'.
pub(super) const MAX_NODES_PER_REGION: u8 = 10;
/// The most regions of a development cluster: it is one machine.
pub(super) const MAX_REGIONS: usize = 16;
/// The most nodes of a zone that are named apart.
const MAX_NODES: u32 = 1_000;
/// The cluster's name in every node's configuration.
const CLUSTER: &str = "dev";

/// What `meridian dev` was asked for.
#[derive(Clone, Debug)]
pub struct DevOptions {
    /// Regions that hold data, in port order.
    pub regions: Vec<RegionName>,
    /// A third region that only votes, when there are two.
    pub witness: Option<RegionName>,
    /// Nodes, each in its own zone, in every data region.
    pub nodes_per_region: u8,
    /// The first port.
    pub base_port: u16,
    /// The WAN between regions.
    pub wan: WanModel,
    /// How the WAN model was written, for people.
    pub wan_text: String,
    /// Where everything is kept.
    pub dir: PathBuf,
    /// Discard what the folder holds first.
    pub fresh: bool,
    /// Accept any credentials on the data API.
    pub no_auth: bool,
}

/// Options that make no cluster. Each message says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No region, or too many.
    #[error("--regions lists {0} regions; 1 to {MAX_REGIONS} are possible")]
    RegionCount(usize),
    /// The same region twice.
    #[error("region {0} is named twice; name each region once")]
    Duplicate(RegionName),
    /// Two regions cannot lose one.
    #[error("two regions cannot survive losing one; add --witness NAME for a third vote, or a third region")]
    WitnessNeeded,
    /// A witness without need.
    #[error("--witness is for two regions; there are {0}; leave it out")]
    WitnessNotNeeded(usize),
    /// Too many or too few nodes.
    #[error("--nodes-per-region is {0}; it must be 1 to {MAX_NODES_PER_REGION}")]
    NodeCount(u8),
    /// The last port would be past 65535, or the first one 0.
    #[error(
        "--base-port {base} with {regions} regions needs ports up to {last}; choose one from 1 to {highest}"
    )]
    Ports {
        /// The first port.
        base: u16,
        /// Regions, the witness included.
        regions: usize,
        /// The last port needed.
        last: u32,
        /// The highest base port that would do.
        highest: u32,
    },
    /// A node's name would be too long.
    #[error("region name {0} is too long for a node's name; use at most 50 characters")]
    LongName(RegionName),
    /// The WAN model lacks a pair.
    #[error(transparent)]
    Wan(#[from] WanError),
    /// The region has all nodes that fit.
    #[error("region {0} has {MAX_NODES_PER_REGION} nodes, the most that fit between two regions' ports")]
    RegionFull(RegionName),
    /// The cluster has all regions that fit.
    #[error("the cluster has {MAX_REGIONS} regions, the most of a development cluster")]
    ClusterFull,
    /// The timing of the running nodes does not suit the distance.
    #[error(
        "region {0} is further away than the running nodes' timing allows, which was set for the regions that the cluster started with"
    )]
    TooFar(RegionName),
}

/// A node that joined after the start, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Added {
    /// Its name.
    pub id: NodeName,
    /// Its number.
    pub number: NodeId,
    /// Its region.
    pub region: RegionName,
    /// Its zone.
    pub zone: ZoneName,
    /// The first of its ports.
    pub port: u16,
}

/// One node of the plan.
#[derive(Clone, Debug)]
pub struct PlannedNode {
    /// Its name, such as `us-east-1-a-0`.
    pub id: NodeName,
    /// Its number, from 1 in region order.
    pub number: NodeId,
    /// Its region.
    pub region: RegionName,
    /// Its zone.
    pub zone: ZoneName,
    /// Its addresses.
    pub listen: ListenSection,
    /// Whether it joined the running cluster.
    pub joined: bool,
}

/// A checked plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What was asked for.
    pub options: DevOptions,
    /// Every node: those of the start in port order, then those that joined.
    pub nodes: Vec<PlannedNode>,
    /// Nodes that have left; their names are not used again.
    pub left: Vec<NodeName>,
}

impl Plan {
    /// Checks the options and lays out the nodes.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn new(options: DevOptions) -> Result<Self, PlanError> {
        let count = options.regions.len();
        if !(1..=MAX_REGIONS).contains(&count) {
            return Err(PlanError::RegionCount(count));
        }
        if !(1..=MAX_NODES_PER_REGION).contains(&options.nodes_per_region) {
            return Err(PlanError::NodeCount(options.nodes_per_region));
        }
        let all: Vec<RegionName> = options.regions.iter().chain(&options.witness).cloned().collect();
        let mut seen = BTreeSet::new();
        if let Some(twice) = all.iter().find(|region| !seen.insert(*region)) {
            return Err(PlanError::Duplicate(twice.clone()));
        }
        match (&options.witness, count) {
            (None, 2) => return Err(PlanError::WitnessNeeded),
            (Some(_), count) if count != 2 => return Err(PlanError::WitnessNotNeeded(count)),
            _ => {}
        }
        check_ports(&options, all.len())?;
        options.wan.check(&all)?;
        let nodes = lay_out(&options, &all)?;
        Ok(Self { options, nodes, left: Vec::new() })
    }

    /// Timing that the longest round trip of the emulated WAN can live with.
    fn timing(&self) -> ReplicationSection {
        timing(&self.options.wan, &self.regions())
    }

    /// The regions in port order, the witness behind those of the start.
    #[must_use]
    pub fn regions(&self) -> Vec<RegionName> {
        let mut regions: Vec<_> = self.options.regions.iter().chain(&self.options.witness).cloned().collect();
        for node in &self.nodes {
            if !regions.contains(&node.region) {
                regions.push(node.region.clone());
            }
        }
        regions
    }

    /// Takes up nodes that joined in earlier runs, and drops those that left.
    pub(super) fn restore(&mut self, added: &[Added], left: &[NodeName]) {
        for node in added {
            let Some(listen) = ListenSection::loopback(node.port) else { continue };
            let Added { id, number, region, zone, .. } = node.clone();
            self.nodes.push(PlannedNode { id, number, region, zone, listen, joined: true });
        }
        self.left = left.to_vec();
        self.nodes.retain(|node| !left.contains(&node.id));
    }

    /// The nodes that joined, to be remembered.
    pub(super) fn added(&self) -> Vec<Added> {
        let joined = self.nodes.iter().filter(|node| node.joined);
        let added = joined.map(|node| Added {
            id: node.id.clone(),
            number: node.number,
            region: node.region.clone(),
            zone: node.zone.clone(),
            port: node.listen.dynamodb.port(),
        });
        added.collect()
    }

    /// Lays out one more node; its number is still to be given out. Without a zone it gets one of its own.
    ///
    /// # Errors
    /// [`PlanError`].
    pub(super) fn next(&self, region: &RegionName, zone: Option<ZoneName>) -> Result<PlannedNode, PlanError> {
        let mut regions = self.regions();
        let place = regions.iter().position(|known| known == region).unwrap_or(regions.len());
        if place == regions.len() {
            if place == MAX_REGIONS {
                return Err(PlanError::ClusterFull);
            }
            regions.push(region.clone());
            self.options.wan.check(&regions)?;
            if timing(&self.options.wan, &regions) != self.timing() {
                return Err(PlanError::TooFar(region.clone()));
            }
        }
        // At most `MAX_REGIONS`, so it fits.
        let place = u32::try_from(place).map_err(|_| PlanError::ClusterFull)?;
        let first = u32::from(self.options.base_port) + place * u32::from(REGION_STRIDE);
        let free = |port: &u32| self.nodes.iter().all(|node| u32::from(node.listen.dynamodb.port()) != *port);
        let mut ports = (0..u32::from(MAX_NODES_PER_REGION)).map(|n| first + n * u32::from(NODE_STRIDE));
        let port = ports.find(free).ok_or_else(|| PlanError::RegionFull(region.clone()))?;
        let long = || PlanError::LongName(region.clone());
        let listen = u16::try_from(port).ok().and_then(ListenSection::loopback);
        let listen = listen.ok_or(PlanError::ClusterFull)?;
        let zone = match zone {
            Some(zone) => zone,
            None => {
                let taken = |zone: &ZoneName| self.nodes_of(region).any(|node| node.zone == *zone);
                let letters =
                    (b'a'..=b'z').filter_map(|letter| ZoneName::new(&char::from(letter).to_string()).ok());
                letters.into_iter().find(|zone| !taken(zone)).ok_or_else(long)?
            }
        };
        let taken = |id: &NodeName| self.left.contains(id) || self.nodes.iter().any(|node| node.id == *id);
        let names = (0..=MAX_NODES).filter_map(|n| NodeName::new(&format!("{region}-{zone}-{n}")).ok());
        let id =
            names.into_iter().find(|id| !taken(id)).filter(|id| id.as_str().len() <= 63).ok_or_else(long)?;
        Ok(PlannedNode { id, number: NodeId(0), region: region.clone(), zone, listen, joined: true })
    }

    /// The nodes of one region.
    pub fn nodes_of<'a>(&'a self, region: &'a RegionName) -> impl Iterator<Item = &'a PlannedNode> {
        self.nodes.iter().filter(move |node| node.region == *region)
    }

    /// The networks of documentation stand for the regions, in order, so that a client can be anywhere.
    fn dns(&self) -> DnsSection {
        let networks = NETWORKS.iter().filter_map(|first| IpNet::new((*first).into(), 24).ok());
        let networks = self.options.regions.iter().zip(networks);
        let networks = networks
            .map(|(region, network)| NetworkSection { region: region.clone(), networks: vec![network] });
        DnsSection { networks: networks.collect(), ..DnsSection::default() }
    }

    /// The nodes as the WAN relay needs them.
    pub(super) fn wan_nodes(&self) -> Vec<WanNode> {
        let node = |node: &PlannedNode| WanNode {
            number: node.number,
            region: node.region.clone(),
            peer: node.listen.peer,
        };
        self.nodes.iter().map(node).collect()
    }

    /// The configuration of one node, with its peers' addresses as this node must dial them.
    pub(super) fn config(&self, own: &PlannedNode, folder: &Folder, wan: &Wan) -> NodeConfig {
        let peer = |node: &PlannedNode| PeerNode {
            id: node.id.clone(),
            number: node.number,
            region: node.region.clone(),
            zone: node.zone.clone(),
            peer: wan.route(own.number, node.number).unwrap_or(node.listen.peer).to_string(),
        };
        NodeConfig {
            node: NodeSection {
                id: own.id.clone(),
                number: own.number,
                region: own.region.clone(),
                zone: own.zone.clone(),
                data_dir: folder.data(&own.id),
            },
            listen: own.listen.clone(),
            tls: Some(TlsSection {
                ca: folder.ca(),
                cert: folder.certificate(&own.id),
                key: folder.key(&own.id),
            }),
            cluster: ClusterSection {
                name: CLUSTER.to_owned(),
                witness: self.options.witness.clone(),
                // Once nodes have joined the cluster is founded, and nobody founds it again.
                joins: self.nodes.iter().any(|node| node.joined),
                nodes: self.nodes.iter().map(peer).collect(),
            },
            auth: AuthSection {
                mode: if self.options.no_auth { AuthMode::None } else { AuthMode::Sigv4 },
                bootstrap_credentials: Some(folder.credentials()),
            },
            redis: Default::default(),
            admin: Default::default(),
            replication: self.timing(),
            store: Default::default(),
            anycast: AnycastSection::default(),
            dns: self.dns(),
            edge: edge(),
            log: Default::default(),
            policies: Vec::new(),
        }
    }
}

/// The machine's own word counts, so that a client can be anywhere.
fn edge() -> EdgeSection {
    let loopback = ["127.0.0.0/8", "::1/128"].into_iter();
    EdgeSection { trusted: loopback.filter_map(|text| text.parse().ok()).collect(), ..EdgeSection::default() }
}

fn timing(wan: &WanModel, regions: &[RegionName]) -> ReplicationSection {
    let pairs = regions.iter().flat_map(|a| regions.iter().map(move |b| (a, b)));
    let links = pairs.filter_map(|(a, b)| wan.link(a, b).ok().flatten());
    let longest = links.map(|link| link.rtt + link.jitter * 2).max().unwrap_or_default();
    let timing = Timing::for_round_trip(longest);
    ReplicationSection {
        heartbeat_interval: timing.heartbeat,
        election_timeout: timing.lease,
        ..ReplicationSection::default()
    }
}

fn check_ports(options: &DevOptions, regions: usize) -> Result<(), PlanError> {
    let count = u32::try_from(regions).unwrap_or(u32::MAX);
    let per_region = u32::from(options.nodes_per_region);
    // The last node's last port, counted from the first port of all.
    let span = (count - 1) * u32::from(REGION_STRIDE) + (per_region - 1) * u32::from(NODE_STRIDE) + 5;
    let last = u32::from(options.base_port) + span;
    if options.base_port == 0 || last > u32::from(u16::MAX) {
        let highest = u32::from(u16::MAX) - span;
        return Err(PlanError::Ports { base: options.base_port, regions, last, highest });
    }
    Ok(())
}

fn lay_out(options: &DevOptions, regions: &[RegionName]) -> Result<Vec<PlannedNode>, PlanError> {
    let mut nodes = Vec::new();
    let mut first_port = options.base_port;
    for region in regions {
        let count = if options.witness.as_ref() == Some(region) { 1 } else { options.nodes_per_region };
        let mut port = first_port;
        for letter in (b'a'..).take(usize::from(count)).map(char::from) {
            let long = |_| PlanError::LongName(region.clone());
            let zone = ZoneName::new(&letter.to_string()).map_err(long)?;
            let id = NodeName::new(&format!("{region}-{zone}-0")).map_err(long)?;
            let number = NodeId(nodes.len() as u64 + 1);
            let listen = ListenSection::loopback(port).filter(|_| id.as_str().len() <= 63);
            let listen = listen.ok_or_else(|| PlanError::LongName(region.clone()))?;
            nodes.push(PlannedNode { id, number, region: region.clone(), zone, listen, joined: false });
            // `check_ports` has seen to it that every port that is used fits.
            port = port.saturating_add(NODE_STRIDE);
        }
        first_port = first_port.saturating_add(REGION_STRIDE);
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(regions: &[&str], witness: Option<&str>) -> DevOptions {
        DevOptions {
            regions: regions.iter().map(|name| RegionName::new(name).unwrap()).collect(),
            witness: witness.map(|name| RegionName::new(name).unwrap()),
            nodes_per_region: 1,
            base_port: 8000,
            wan: WanModel::None,
            wan_text: "none".to_owned(),
            dir: PathBuf::from("dev"),
            fresh: false,
            no_auth: false,
        }
    }

    #[test]
    fn ports_and_names_follow_the_reference() {
        let mut options = options(&["us-east-1", "eu-west-1"], Some("w"));
        options.nodes_per_region = 2;
        let plan = Plan::new(options).unwrap();
        let found: Vec<_> = plan
            .nodes
            .iter()
            .map(|node| format!("{} {} {}", node.number, node.id, node.listen.dynamodb.port()))
            .collect();
        let expected = [
            "1 us-east-1-a-0 8000",
            "2 us-east-1-b-0 8010",
            "3 eu-west-1-a-0 8100",
            "4 eu-west-1-b-0 8110",
            "5 w-a-0 8200",
        ];
        assert_eq!(found, expected);
        assert_eq!(plan.nodes[4].listen.peer.port(), 8205);
    }

    #[test]
    fn each_mistake_has_its_own_words() {
        let error = |options: DevOptions| Plan::new(options).unwrap_err().to_string();
        assert_eq!(error(options(&[], None)), "--regions lists 0 regions; 1 to 16 are possible");
        assert_eq!(error(options(&["a", "b", "a"], None)), "region a is named twice; name each region once");
        assert_eq!(error(options(&["a", "b"], Some("a"))), "region a is named twice; name each region once");
        assert!(error(options(&["a", "b"], None)).contains("add --witness NAME"));
        assert_eq!(
            error(options(&["a"], Some("w"))),
            "--witness is for two regions; there are 1; leave it out"
        );
        let nodes = |count| DevOptions { nodes_per_region: count, ..options(&["a"], None) };
        assert_eq!(error(nodes(0)), "--nodes-per-region is 0; it must be 1 to 10");
        assert_eq!(error(nodes(11)), "--nodes-per-region is 11; it must be 1 to 10");
        let port = |port| DevOptions { base_port: port, ..options(&["a", "b", "c"], None) };
        assert!(Plan::new(port(65330)).is_ok());
        assert_eq!(
            error(port(65331)),
            "--base-port 65331 with 3 regions needs ports up to 65536; choose one from 1 to 65330"
        );
        assert!(error(port(0)).contains("choose one from 1 to 65330"));
        assert!(error(options(&[&"x".repeat(60)], None)).contains("at most 50 characters"));
        let realistic = DevOptions { wan: WanModel::Realistic, ..options(&["a", "b", "c"], None) };
        assert!(error(realistic).starts_with("--wan realistic knows no round-trip time between"));
    }
}
