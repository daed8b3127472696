//! A service that clients are steered to: its hosts, where it runs in each region, how it is probed, and who serves whom.
//!
//! What is not here: whether it is well, which is `steering`'s to say.

mod backend;
mod edge;
mod host;

pub use backend::{Backend, BackendError, BackendHost, Scheme};
pub use edge::{DEFAULT_STICKY_MS, EdgeError, EdgeOptions, EdgeRoute, MAX_EDGE_MS, MAX_ROUTES};
pub use host::{HostError, HostName};

use crate::name::{RegionName, ServiceName};
use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most hosts of a service.
pub const MAX_HOSTS: usize = 16;
/// Most backends of a service in one region.
pub const MAX_BACKENDS: usize = 8;
/// The longest that an answer may be cached, in seconds: a lost region must leave the answers of resolvers soon.
pub const MAX_TTL_S: u32 = 60;
/// How long an answer may be cached unless the service says otherwise, in seconds.
pub const DEFAULT_TTL_S: u32 = 10;
const MAX_PATH: usize = 1_024;

/// How a service spreads its clients over regions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServicePolicy {
    /// The nearest region serves.
    #[default]
    Nearest,
    /// The first region serves, the next one when it cannot. Regions that are not named come last, by name.
    ActivePassive(Vec<RegionName>),
    /// Regions serve by weight; one without a weight serves when no other can.
    Weighted(BTreeMap<RegionName, u32>),
}

/// How backends are probed. Written as a path, or as `tcp` or `region`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthCheck {
    /// `GET` of this path must be answered with a status of 200 to 399.
    Http(String),
    /// A connection must come about.
    Tcp,
    /// Not at all: the region's own Meridian nodes stand for the service.
    Region,
}

impl fmt::Display for HealthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Http(path) => path,
            Self::Tcp => "tcp",
            Self::Region => "region",
        })
    }
}

impl FromStr for HealthCheck {
    type Err = ServiceError;

    fn from_str(text: &str) -> Result<Self, ServiceError> {
        let graphic = text.bytes().all(|b| b.is_ascii_graphic());
        match text {
            "tcp" => Ok(Self::Tcp),
            "region" => Ok(Self::Region),
            path if path.starts_with('/') && path.len() <= MAX_PATH && graphic && !path.contains('#') => {
                Ok(Self::Http(path.to_owned()))
            }
            other => Err(ServiceError::Health(other.chars().take(64).collect())),
        }
    }
}

impl Serialize for HealthCheck {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HealthCheck {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// The host names under which clients know it.
    pub hosts: Vec<HostName>,
    /// How its backends are probed.
    pub health: HealthCheck,
    /// Where it runs.
    pub backends: BTreeMap<RegionName, Vec<Backend>>,
    /// Who serves whom.
    #[serde(default)]
    pub policy: ServicePolicy,
    /// How long an answer may be cached, in seconds.
    #[serde(default = "default_ttl")]
    pub ttl_s: u32,
    /// How the HTTP edge treats it.
    #[serde(default)]
    pub edge: EdgeOptions,
}

fn default_ttl() -> u32 {
    DEFAULT_TTL_S
}

/// What is wrong with a service. Each message says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// None, or too many.
    #[error("the service has {0} hosts; give it 1 to {MAX_HOSTS}")]
    Hosts(usize),
    /// The same one twice.
    #[error("host {0} is named twice; name it once")]
    HostTwice(HostName),
    /// Nothing that serves.
    #[error("the service has no backend; name one a region, such as us-east-1=http://192.0.2.1:8080")]
    NoBackend,
    /// Too many, or none in a region that is named.
    #[error("region {region} has {count} backends; give it 1 to {MAX_BACKENDS}, or leave it out")]
    Backends {
        /// Which region.
        region: RegionName,
        /// How many.
        count: usize,
    },
    /// A policy that names a region without a backend.
    #[error("the policy names region {0}, where the service has no backend")]
    PolicyRegion(RegionName),
    /// Weights that leave nobody.
    #[error("every weight is 0; give one region more")]
    NoWeight,
    /// Longer than a lost region may stay in answers.
    #[error("a ttl of {0} s is not possible; use 1 to {MAX_TTL_S}")]
    Ttl(u32),
    /// A path is probed over plain TCP.
    #[error("backend {0} has no HTTP to probe; use --health tcp, or an http:// or https:// backend")]
    NoHttp(Backend),
    /// What the edge is to do.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// Not a way to probe.
    #[error("{0:?} is no health check; write a path such as /healthz, or tcp, or region")]
    Health(String),
}

impl Service {
    /// Checks what the parts mean together.
    ///
    /// # Errors
    /// The first [`ServiceError`] that there is.
    pub fn validate(&self) -> Result<(), ServiceError> {
        if !(1..=MAX_HOSTS).contains(&self.hosts.len()) {
            return Err(ServiceError::Hosts(self.hosts.len()));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.hosts.iter().find(|host| !seen.insert(*host)) {
            return Err(ServiceError::HostTwice(twice.clone()));
        }
        if self.backends.is_empty() {
            return Err(ServiceError::NoBackend);
        }
        for (region, backends) in &self.backends {
            let count = backends.len();
            if !(1..=MAX_BACKENDS).contains(&count) {
                return Err(ServiceError::Backends { region: region.clone(), count });
            }
        }
        let plain = |backend: &&Backend| backend.scheme == Scheme::Tcp;
        if let (HealthCheck::Http(_), Some(backend)) =
            (&self.health, self.backends.values().flatten().find(plain))
        {
            return Err(ServiceError::NoHttp(backend.clone()));
        }
        if !(1..=MAX_TTL_S).contains(&self.ttl_s) {
            return Err(ServiceError::Ttl(self.ttl_s));
        }
        self.edge.validate()?;
        let named: Vec<&RegionName> = match &self.policy {
            ServicePolicy::Nearest => Vec::new(),
            ServicePolicy::ActivePassive(order) => order.iter().collect(),
            ServicePolicy::Weighted(weights) if weights.values().all(|weight| *weight == 0) => {
                return Err(ServiceError::NoWeight);
            }
            ServicePolicy::Weighted(weights) => weights.keys().collect(),
        };
        match named.into_iter().find(|region| !self.backends.contains_key(*region)) {
            Some(region) => Err(ServiceError::PolicyRegion(region.clone())),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ServicePolicy {
    /// As people write it: `nearest`, `active-passive:a,b` or `weighted:a=3,b=1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nearest => f.write_str("nearest"),
            Self::ActivePassive(order) => {
                let order: Vec<&str> = order.iter().map(RegionName::as_str).collect();
                write!(f, "active-passive:{}", order.join(","))
            }
            Self::Weighted(weights) => {
                let weights: Vec<String> =
                    weights.iter().map(|(region, weight)| format!("{region}={weight}")).collect();
                write!(f, "weighted:{}", weights.join(","))
            }
        }
    }
}

impl FromStr for ServicePolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hint = "write nearest, active-passive:REGION,REGION or weighted:REGION=3,REGION=1";
        let region = |name: &str| RegionName::new(name).map_err(|error| error.to_string());
        match text.split_once(':') {
            None if text == "nearest" => Ok(Self::Nearest),
            Some(("active-passive", order)) => {
                Ok(Self::ActivePassive(order.split(',').map(region).collect::<Result<_, _>>()?))
            }
            Some(("weighted", weights)) => {
                let weight = |pair: &str| {
                    let (name, weight) = pair.split_once('=').ok_or_else(|| hint.to_owned())?;
                    let weight = weight.parse().map_err(|_| format!("{weight:?} is no weight; {hint}"))?;
                    Ok::<_, String>((region(name)?, weight))
                };
                Ok(Self::Weighted(weights.split(',').map(weight).collect::<Result<_, _>>()?))
            }
            _ => Err(format!("{:?} is no policy; {hint}", text.chars().take(64).collect::<String>())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        let region = |name| RegionName::new(name).unwrap();
        let backend = |text: &str| text.parse::<Backend>().unwrap();
        Service {
            name: ServiceName::new("shop").unwrap(),
            hosts: [HostName::new("shop.example.com").unwrap()].into(),
            health: HealthCheck::Http("/healthz".to_owned()),
            backends: [
                (region("a"), [backend("http://192.0.2.1:8080")].into()),
                (region("b"), [backend("https://b.example.com")].into()),
            ]
            .into(),
            policy: ServicePolicy::Nearest,
            ttl_s: 10,
            edge: EdgeOptions::default(),
        }
    }

    #[test]
    fn each_mistake_is_named() {
        assert_eq!(service().validate(), Ok(()));
        let error = |change: fn(&mut Service)| {
            let mut changed = service();
            change(&mut changed);
            changed.validate().unwrap_err().to_string()
        };
        assert!(error(|s| s.hosts.clear()).contains("0 hosts"));
        assert!(error(|s| s.hosts.push(s.hosts[0].clone())).contains("named twice"));
        assert!(error(|s| s.backends.clear()).contains("no backend"));
        assert!(error(|s| s.backends.values_mut().for_each(Vec::clear)).contains("0 backends"));
        assert!(error(|s| s.ttl_s = 61).contains("1 to 60"));
        assert!(error(|s| s.ttl_s = 0).contains("1 to 60"));
        assert!(error(|s| s.policy = "active-passive:a,c".parse().unwrap()).contains("region c"));
        assert!(error(|s| s.policy = "weighted:a=0".parse().unwrap()).contains("weight is 0"));
        let tcp =
            |s: &mut Service| s.backends.values_mut().for_each(|b| b.push("tcp://x.y:1".parse().unwrap()));
        assert!(error(tcp).contains("no HTTP to probe"));
    }

    #[test]
    fn policies_and_checks_read_as_they_are_written() {
        for text in ["nearest", "active-passive:a,b", "weighted:a=3,b=1"] {
            assert_eq!(text.parse::<ServicePolicy>().unwrap().to_string(), text);
        }
        for text in ["", "fastest", "weighted:a", "weighted:a=x", "active-passive:A"] {
            text.parse::<ServicePolicy>().unwrap_err();
        }
        for text in ["tcp", "region", "/", "/healthz?deep=1"] {
            assert_eq!(text.parse::<HealthCheck>().unwrap().to_string(), text);
        }
        for text in ["", "healthz", "/a b", "/a\r\nX: y", "/é", "http", "/#a"] {
            text.parse::<HealthCheck>().unwrap_err();
        }
    }
}
