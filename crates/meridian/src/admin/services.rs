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

/// `POST /v1/services/{name}/purge`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeOrder {
    /// What has this tag; everything when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

impl PurgeOrder {
    /// What a tag is, for those who bring something else.
    pub const RULE: &str = "a tag is 1 to 128 printable ASCII characters without commas";

    /// Whether the tag is one that a response can have.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        let plain = |tag: &str| tag.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) && !tag.contains(',');
        self.tag.as_ref().is_none_or(|tag| (1..=128).contains(&tag.len()) && plain(tag))
    }
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
    /// What the edge of the node that was asked has met, since its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<EdgeEvidence>,
}

/// What an edge has met at a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeEvidence {
    /// Attempts.
    pub requests: u64,
    /// Attempts without a usable response.
    pub failures: u64,
    /// How often the backend was left out.
    pub ejections: u64,
    /// Requests that it is at.
    pub in_flight: usize,
    /// For how much longer it is left out, in milliseconds; 0 when it is not.
    pub out_for_ms: u64,
    /// What the last failure was, while there is no success since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fault: Option<String>,
}
