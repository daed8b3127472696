//! Makes a view from what is known; decides nothing.

use super::files::{Files, name};
use crate::config::{DnsSection, NameServerSection, dns_location};
use crate::health::Findings;
use hickory_proto::rr::Name;
use meridian_dns::View;
use meridian_dns::geo::{Locator, Networks, Point};
use meridian_dns::zone::{Endpoint, NameServer, Place, Served, Settings, build};
use meridian_replication::system::SystemState;
use meridian_steering::{Steering, Verdict, usable};
use meridian_types::service::BackendHost;
use meridian_types::{Backend, NodeName, RegionName, Service};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// All that is known.
pub(super) struct Source<'a> {
    pub section: &'a DnsSection,
    pub files: &'a Files,
    pub node: &'a NodeName,
    pub state: &'a SystemState,
    pub findings: &'a Findings,
    pub aliases: Arc<BTreeMap<Name, Vec<IpAddr>>>,
    pub listen: IpAddr,
}

pub(super) fn make(source: &Source<'_>) -> View {
    let distances = Arc::new(source.findings.distances.clone());
    let services = source.state.services().by_name.values();
    let services: Vec<Arc<Served>> =
        services.map(|service| Arc::new(served(source, service, &distances))).collect();
    let settings = Settings {
        name_servers: name_servers(source),
        contact: contact(&source.section.contact),
        // The same on every node, however long each has run.
        serial: source.state.services().version,
        origins: source.section.zones.iter().map(|zone| name(zone.as_str())).collect(),
        resolved: Arc::clone(&source.aliases),
        signers: source.files.signers.clone(),
    };
    View {
        zones: build(&settings, &source.files.zones, &services),
        locator: locator(source),
        nsid: source.node.as_str().as_bytes().to_vec(),
    }
}

fn served(
    source: &Source<'_>,
    service: &Service,
    distances: &Arc<BTreeMap<RegionName, BTreeMap<RegionName, u32>>>,
) -> Served {
    let standings = source.findings.standings.services.get(&service.name);
    let standing = |region: &RegionName| standings.and_then(|places| places.get(region));
    // Before anything is judged every region is as good as the others.
    let verdict = |region: &RegionName| {
        (region.clone(), standing(region).map_or(Verdict::Degraded, |standing| standing.verdict))
    };
    let place = |region: &RegionName| {
        let endpoints = usable(service, region, standing(region));
        let endpoints = endpoints.into_iter().map(|backend| endpoint(source, backend)).collect();
        (region.clone(), Place { endpoints, edge: edge(source.section, region) })
    };
    Served {
        hosts: service.hosts.iter().map(|host| name(host.as_str())).collect(),
        ttl: service.ttl_s,
        steering: Steering::of(&service.policy),
        verdicts: service.backends.keys().map(verdict).collect(),
        places: service.backends.keys().map(place).collect(),
        distances: Arc::clone(distances),
    }
}

fn endpoint(source: &Source<'_>, backend: &Backend) -> Endpoint {
    let (addresses, known_as) = match &backend.host {
        BackendHost::Address(address) => (vec![*address], None),
        BackendHost::Name(host) => {
            let found = source.findings.addresses.get(backend);
            (found.cloned().unwrap_or_default(), Some(name(host.as_str())))
        }
    };
    Endpoint { addresses, name: known_as, port: backend.port, scheme: backend.scheme }
}

fn edge(section: &DnsSection, region: &RegionName) -> Vec<IpAddr> {
    let own = section.regions.iter().find(|entry| entry.name == *region);
    own.map(|entry| entry.addresses.clone()).unwrap_or_default()
}

fn name_servers(source: &Source<'_>) -> Vec<NameServer> {
    let listed = source.section.name_servers.iter();
    let mut servers: Vec<NameServer> = listed
        .map(|NameServerSection { name: text, addresses }| NameServer {
            name: relative_or_full(text),
            addresses: addresses.clone(),
        })
        .collect();
    if servers.is_empty() {
        // On loopback only: elsewhere the configuration must list them.
        servers.push(NameServer { name: relative_or_full("ns1"), addresses: vec![source.listen] });
    }
    servers
}

/// A single label is relative to each zone.
fn relative_or_full(text: &str) -> Name {
    if text.contains('.') {
        return name(text);
    }
    let mut label = Name::from_ascii(text).unwrap_or_default();
    label.set_fqdn(false);
    label
}

/// A mail address as a name (RFC 1035, section 8).
fn contact(text: &str) -> Name {
    match text.split_once('@') {
        Some((user, host)) => name(host).prepend_label(user.as_bytes()).unwrap_or_default(),
        None => relative_or_full(text),
    }
}

fn locator(source: &Source<'_>) -> Locator {
    let section = source.section;
    let networks = section
        .networks
        .iter()
        .flat_map(|entry| entry.networks.iter().map(|network| (*network, entry.region.clone())));
    let places = section.regions.iter().filter_map(|entry| {
        let (latitude, longitude) = dns_location(entry.location.as_ref()?)?;
        Some((entry.name.clone(), Point { latitude, longitude }))
    });
    let here = source.state.nodes.values().find(|node| node.name == *source.node);
    Locator {
        networks: Networks::new(networks),
        database: source.files.database.clone(),
        places: places.collect(),
        here: here.map(|node| node.region.clone()),
    }
}
