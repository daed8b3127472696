//! What the admin API says of the cluster's nodes, and is told to change them.

use crate::config::Secret;
use meridian_steering::Verdict;
use meridian_types::{NodeId, NodeName, RegionName, ZoneName};
use serde::{Deserialize, Serialize};

/// The longest that a join token may last, in seconds: a week.
pub const MAX_TTL_S: u64 = 7 * 24 * 60 * 60;

/// `GET /v1/nodes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeList {
    /// The nodes, oldest first.
    pub nodes: Vec<NodeInfo>,
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its name.
    pub id: NodeName,
    /// Its number, never used again.
    pub number: NodeId,
    /// Its region.
    pub region: RegionName,
    /// Its zone.
    pub zone: ZoneName,
    /// Whether it only votes.
    pub witness: bool,
    /// Where the other nodes reach it.
    pub peer: String,
    /// The verdict on it.
    pub health: Verdict,
    /// Whether everything is moving off it.
    pub leaving: bool,
    /// How many groups it leads.
    pub leads: usize,
    /// How many replicas it holds; `null` when it does not answer.
    pub replicas: Option<usize>,
    /// The newest protocol that it speaks.
    pub protocol: u32,
}

/// `POST /v1/nodes/tokens`: a token with which one node may join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateJoinToken {
    /// The region of the node; with `replaces` it is the old node's.
    #[serde(default)]
    pub region: Option<RegionName>,
    /// Its zone; with `replaces` it is the old node's.
    #[serde(default)]
    pub zone: Option<ZoneName>,
    /// Whether it only votes.
    #[serde(default)]
    pub witness: bool,
    /// How long the token lasts, in seconds.
    pub ttl_s: u64,
    /// The node that leaves as the new one joins.
    #[serde(default)]
    pub replaces: Option<NodeName>,
}

/// A new join token: the only time that it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewJoinToken {
    /// The token.
    pub token: Secret,
    /// The number that the node will have.
    pub number: NodeId,
    /// The region of the node.
    pub region: RegionName,
    /// Its zone.
    pub zone: ZoneName,
    /// Whether it only votes.
    pub witness: bool,
    /// How long the token lasts, in seconds.
    pub ttl_s: u64,
}

/// `POST /v1/nodes/join`: a node takes up a token. The token stands for the bearer token of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The token.
    pub token: Secret,
    /// What the node is called; its certificate must carry the name.
    pub name: NodeName,
    /// `host:port` at which the other nodes reach it.
    pub peer: String,
}

/// What a node that has joined needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The cluster's name.
    pub cluster: String,
    /// The node's number.
    pub number: NodeId,
    /// Every node of the cluster, the new one among them.
    pub nodes: Vec<Peer>,
    /// Between heartbeats, in milliseconds; the same on every node.
    pub heartbeat_ms: u64,
    /// How long a leader may serve after one, in milliseconds; the same on every node.
    pub lease_ms: u64,
}

/// A node as another one must know it to reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub id: NodeName,
    /// Its number.
    pub number: NodeId,
    /// Its region.
    pub region: RegionName,
    /// Its zone.
    pub zone: ZoneName,
    /// Whether it only votes.
    pub witness: bool,
    /// Where the other nodes reach it.
    pub peer: String,
}
