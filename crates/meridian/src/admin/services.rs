//! What the admin API says of services.

use meridian_steering::{Evidence, Verdict};
use meridian_types::{Backend, HostName, NodeName, RegionName, Service, ServiceName, ServicePolicy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `GET /v1/services`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceList {
    /// The services, by name.
    pub services: Vec<Service>,
}

/// `GET /v1/services/status`: how services stand, as one node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServicesStatus {
    /// The node that was asked: each judges by itself, by what all of them report.
    pub judge: NodeName,
    /// Every region by its own nodes.
    pub regions: Vec<PlaceStatus>,
    /// The services, by name.
    pub services: Vec<ServiceStatus>,
}

/// How a service stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// The service.
    pub name: ServiceName,
    /// Its hosts.
    pub hosts: Vec<HostName>,
    /// Who serves whom.
    pub policy: ServicePolicy,
    /// Every region looks lost, so clients are sent to all of them.
    pub fail_open: bool,
    /// How it stands in each of its regions.
    pub regions: Vec<PlaceStatus>,
}

/// How a region, or a service in one, stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlaceStatus {
    /// The region.
    pub region: RegionName,
    /// The verdict.
    pub verdict: Verdict,
    /// For how long it is so, in seconds.
    pub since_s: f64,
    /// Why it is not healthy; empty when it is.
    pub because: Vec<String>,
    /// The backends; none for a region.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<BackendStatus>,
}

/// How one backend stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// The backend.
    pub backend: Backend,
    /// The verdict.
    pub verdict: Verdict,
    /// Who says so.
    pub evidence: Evidence,
    /// What those who find it down have met, by region.
    pub details: BTreeMap<RegionName, String>,
}
