//! `cluster.json`: what programs and commands need to know of a running development cluster.

use crate::config::Secret;
use meridian_types::{NodeName, RegionName, ZoneName};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The file's name in the cluster's folder.
pub const FILE_NAME: &str = "cluster.json";

/// The file. It is there while the cluster runs, from the moment when every node was ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterFile {
    /// The regions in port order.
    pub regions: Vec<RegionEntry>,
    /// An access key that is allowed everything.
    pub credentials: CredentialsEntry,
    /// The process that watches over the nodes.
    pub supervisor: SupervisorEntry,
}

/// A region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionEntry {
    /// Its name.
    pub name: RegionName,
    /// Its nodes.
    pub nodes: Vec<NodeEntry>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Its name.
    pub id: NodeName,
    /// Its process; `null` while it has none.
    pub pid: Option<u32>,
    /// Its zone.
    pub zone: ZoneName,
    /// URL of the DynamoDB API.
    pub dynamodb: String,
    /// URL of the admin API.
    pub admin: String,
    /// URL reserved for the Redis API.
    pub redis: String,
    /// URL reserved for the HTTP edge.
    pub edge: String,
    /// Address of the name server, over UDP and TCP.
    pub dns: String,
    /// Address for other nodes.
    pub peer: String,
}

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialsEntry {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: Secret,
}

/// The supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorEntry {
    /// Its process.
    pub pid: u32,
    /// URL of its control API.
    pub control: String,
}

impl ClusterFile {
    /// Reads the file in `dir`; `None` when there is none or it cannot be understood.
    #[must_use]
    pub fn find(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(dir.join(FILE_NAME)).ok()?).ok()
    }

    /// Every node.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeEntry> {
        self.regions.iter().flat_map(|region| &region.nodes)
    }
}
