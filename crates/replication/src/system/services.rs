//! Services that clients are steered to.

use super::command::{SystemError, SystemReply};
use super::state::{SystemState, within};
use meridian_types::{HostName, RegionName, Service, ServiceName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Every node probes every backend: this bounds what they do in a second.
const MAX_SERVICES: usize = 128;
/// Orders that are remembered: an edge that has missed more forgets everything.
const MAX_PURGES: usize = 64;
/// The longest tag.
const MAX_TAG: usize = 128;

/// All services, and how often they were changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {
    /// Services by name.
    pub by_name: BTreeMap<ServiceName, Service>,
    /// Grows with every change: the serial number of their DNS zones.
    pub version: u32,
    /// The last orders to forget what edges keep, the oldest first. Their numbers have no gaps.
    pub purges: Vec<Purge>,
}

/// An order to all edges to forget what they keep of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    /// From 1 on.
    pub number: u64,
    /// Whose.
    pub service: ServiceName,
    /// What has this tag; everything when there is none.
    pub tag: Option<String>,
}

impl SystemState {
    pub(super) fn put_service(&mut self, service: Service, new: bool) -> Result<SystemReply, SystemError> {
        let services = &self.since_2.services.by_name;
        match services.contains_key(&service.name) {
            true if new => return Err(SystemError::ServiceExists(service.name)),
            true => {}
            false => within("services", services.len(), MAX_SERVICES)?,
        }
        if let Some(region) = service.backends.keys().find(|region| !self.has_region(region)) {
            return Err(SystemError::NoSuchRegion(region.clone()));
        }
        let others = services.values().filter(|other| other.name != service.name);
        for other in others {
            if let Some(host) = service.hosts.iter().find(|host| other.hosts.contains(host)) {
                return Err(SystemError::HostTaken { host: host.clone(), service: other.name.clone() });
            }
        }
        self.since_2.services.by_name.insert(service.name.clone(), service);
        self.since_2.services.version = self.since_2.services.version.wrapping_add(1);
        Ok(SystemReply::Done)
    }

    pub(super) fn remove_service(&mut self, name: ServiceName) -> Result<SystemReply, SystemError> {
        if self.since_2.services.by_name.remove(&name).is_none() {
            return Err(SystemError::NoSuchService(name));
        }
        self.since_2.services.version = self.since_2.services.version.wrapping_add(1);
        Ok(SystemReply::Done)
    }

    pub(super) fn purge_service(
        &mut self,
        service: ServiceName,
        tag: Option<String>,
    ) -> Result<SystemReply, SystemError> {
        let services = &mut self.since_2.services;
        if !services.by_name.contains_key(&service) {
            return Err(SystemError::NoSuchService(service));
        }
        // The API refuses it before; a longer one is kept by no edge.
        let tag = tag.map(|tag| tag.chars().take(MAX_TAG).collect());
        let number = services.purges.last().map_or(1, |last| last.number + 1);
        services.purges.push(Purge { number, service, tag });
        let surplus = services.purges.len().saturating_sub(MAX_PURGES);
        services.purges.drain(..surplus);
        Ok(SystemReply::Done)
    }

    fn has_region(&self, region: &RegionName) -> bool {
        self.nodes.values().any(|node| node.region == *region)
    }

    /// The services.
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.since_2.services
    }

    /// The service that a host belongs to.
    #[must_use]
    pub fn service_of(&self, host: &HostName) -> Option<&Service> {
        self.since_2.services.by_name.values().find(|service| service.hosts.contains(host))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NodeEntry, SystemCommand};
    use super::*;
    use meridian_types::{HealthCheck, ServicePolicy};

    fn service(name: &str, host: &str, region: &str) -> Service {
        Service {
            name: ServiceName::new(name).unwrap(),
            hosts: vec![HostName::new(host).unwrap()],
            health: HealthCheck::Tcp,
            backends: [(RegionName::new(region).unwrap(), vec!["tcp://192.0.2.1:1".parse().unwrap()])].into(),
            policy: ServicePolicy::Nearest,
            ttl_s: 10,
            edge: meridian_types::service::EdgeOptions::default(),
        }
    }

    fn state() -> SystemState {
        let mut state = SystemState::default();
        state
            .apply(SystemCommand::Found { cluster: "c".to_owned(), nodes: vec![NodeEntry::example(1, "a")] })
            .unwrap();
        state.since_2.level = 2;
        state
    }

    #[test]
    fn hosts_belong_to_one_service_and_every_change_counts() {
        let mut state = state();
        let put = |state: &mut SystemState, service: Service, new| {
            state.apply(SystemCommand::PutService { service, new })
        };
        assert_eq!(put(&mut state, service("shop", "shop.x.y", "a"), true), Ok(SystemReply::Done));
        let before = state.clone();
        let shop = ServiceName::new("shop").unwrap();
        assert_eq!(
            put(&mut state, service("shop", "shop.x.y", "a"), true),
            Err(SystemError::ServiceExists(shop.clone()))
        );
        let taken =
            SystemError::HostTaken { host: HostName::new("shop.x.y").unwrap(), service: shop.clone() };
        assert_eq!(put(&mut state, service("till", "shop.x.y", "a"), true), Err(taken));
        let nowhere = SystemError::NoSuchRegion(RegionName::new("b").unwrap());
        assert_eq!(put(&mut state, service("till", "till.x.y", "b"), true), Err(nowhere));
        assert_eq!(state, before, "a refused command changes nothing");
        assert_eq!(put(&mut state, service("shop", "shop.x.y", "a"), false), Ok(SystemReply::Done));
        assert_eq!(state.services().version, 2);
        assert!(state.service_of(&HostName::new("shop.x.y").unwrap()).is_some());
        assert_eq!(state.apply(SystemCommand::RemoveService(shop.clone())), Ok(SystemReply::Done));
        assert_eq!(
            state.apply(SystemCommand::RemoveService(shop.clone())),
            Err(SystemError::NoSuchService(shop))
        );
        assert_eq!(state.services().version, 3);
    }

    #[test]
    fn orders_to_forget_are_numbered_without_gaps_and_bounded() {
        let mut state = state();
        let shop = ServiceName::new("shop").unwrap();
        let purge = |state: &mut SystemState, tag: Option<&str>| {
            let tag = tag.map(str::to_owned);
            state.apply(SystemCommand::PurgeService { service: shop.clone(), tag })
        };
        assert_eq!(purge(&mut state, None), Err(SystemError::NoSuchService(shop.clone())));
        let service = service("shop", "shop.x.y", "a");
        state.apply(SystemCommand::PutService { service, new: true }).unwrap();
        for _ in 0..100 {
            assert_eq!(purge(&mut state, Some("t")), Ok(SystemReply::Done));
        }
        let numbers: Vec<u64> = state.services().purges.iter().map(|order| order.number).collect();
        assert_eq!(numbers, (37..=100).collect::<Vec<u64>>());
    }
}
