//! A service as its zone serves it.

use crate::geo::ClientNetwork;
use hickory_proto::rr::Name;
use meridian_steering::{Choice, Client, Steering, Verdict, choose, client_key};
use meridian_types::RegionName;
use meridian_types::service::Scheme;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Where one process of a service listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its addresses; none while its name cannot be resolved.
    pub addresses: Vec<IpAddr>,
    /// Its name, when it is not known by an address.
    pub name: Option<Name>,
    /// Its port.
    pub port: u16,
    /// What is spoken there.
    pub scheme: Scheme,
}

/// A service in one region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// Where clients go instead, if anywhere: the region's edge.
    pub edge: Vec<IpAddr>,
}

impl Place {
    fn has_address(&self) -> bool {
        !self.edge.is_empty() || self.endpoints.iter().any(|endpoint| !endpoint.addresses.is_empty())
    }

    /// The addresses that clients are sent to.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        if !self.edge.is_empty() {
            return self.edge.clone();
        }
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in self.endpoints.iter().flat_map(|endpoint| &endpoint.addresses) {
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        }
        addresses
    }
}

/// A service.
#[derive(Debug)]
pub struct Served {
    /// Its hosts.
    pub hosts: Vec<Name>,
    /// How long an answer may be kept, in seconds.
    pub ttl: u32,
    /// Who serves whom.
    pub steering: Steering,
    /// How it stands.
    pub verdicts: BTreeMap<RegionName, Verdict>,
    /// Where it runs.
    pub places: BTreeMap<RegionName, Place>,
    /// Milliseconds between regions.
    pub distances: Arc<BTreeMap<RegionName, BTreeMap<RegionName, u32>>>,
}

/// Whose turn it is to serve a client.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The places that the answer names.
    pub places: Vec<(&'a RegionName, &'a Place)>,
    /// Every region looks lost, so all are named.
    pub fail_open: bool,
    /// The least scope of the answer.
    pub scope: u8,
}

impl Served {
    /// The places that serve a client who is at home in `region`: one, or all when everything looks lost. A place without an
    /// address is passed over.
    #[must_use]
    pub fn turn(&self, region: Option<&RegionName>, client: ClientNetwork) -> Turn<'_> {
        let shares = matches!(self.steering, Steering::Weighted(_) | Steering::Load { .. });
        let (key, prefix) = if shares { client_key(client.address, client.prefix) } else { (0, 0) };
        let nowhere = BTreeMap::new();
        let distances = region.and_then(|region| self.distances.get(region)).unwrap_or(&nowhere);
        let Choice { regions, fail_open } = choose(&self.steering, &self.verdicts, Client { distances, key });
        let known = |region: &RegionName| self.places.get_key_value(region);
        let named = |place: &Place| place.endpoints.iter().any(|endpoint| endpoint.name.is_some());
        let mut places: Vec<_> = regions
            .iter()
            .filter_map(known)
            .filter(|(_, place)| place.has_address() || named(place))
            .collect();
        // A name that was resolved is better than one that was not, wherever it is.
        places.sort_by_key(|(_, place)| !place.has_address());
        if !fail_open {
            places.truncate(1);
        }
        Turn { places, fail_open, scope: prefix }
    }
}
