//! What the admin API says of anycast addresses.

use ipnet::IpNet;
use meridian_types::{NodeName, ServiceName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// `GET /v1/anycast`: what this node announces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnycastStatus {
    /// The node that was asked.
    pub node: NodeName,
    /// Its addresses, as configured.
    pub addresses: Vec<AddressStatus>,
    /// The BGP speakers that it announces them to.
    pub peers: Vec<PeerStatus>,
}

/// One service address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressStatus {
    /// The address.
    pub network: IpNet,
    /// The services that are reached at it; none: everything that the region serves.
    pub services: Vec<ServiceName>,
    /// Whether the node wants it announced.
    pub announced: bool,
    /// Why not; empty when it does.
    pub because: Vec<String>,
}

/// One BGP speaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its address.
    pub peer: SocketAddr,
    /// Whether it takes announcements.
    pub established: bool,
    /// What it has been told to have.
    pub announced: BTreeSet<IpNet>,
    /// Why the last session ended; `null` while one is established.
    pub error: Option<String>,
}

impl PeerStatus {
    /// Nothing has been tried.
    #[must_use]
    pub fn new(peer: SocketAddr) -> Self {
        Self { peer, established: false, announced: BTreeSet::new(), error: None }
    }
}
