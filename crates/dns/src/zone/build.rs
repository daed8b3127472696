//! Puts zones together: from services, from zone files, and from what every zone needs.

use super::file::ZoneFile;
use super::service::Served;
use super::signed;
use super::{Node, Zone, Zones};
use crate::dnssec::Signer;
use hickory_proto::rr::rdata::{A, AAAA, NS, SOA};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use meridian_types::service::Scheme;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// How long that there is nothing may be kept, in seconds: a host that was added just now is asked for just now.
const NEGATIVE_TTL: u32 = 15;
/// How long SOA and NS records may be kept, in seconds.
pub(super) const APEX_TTL: u32 = 3_600;
/// What a secondary would go by, in seconds; there are none, since every node has every zone.
const REFRESH: i32 = 3_600;
const RETRY: i32 = 600;
const EXPIRE: i32 = 604_800;

/// A name server of the zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer {
    /// Its name; one that is not fully qualified is in each zone.
    pub name: Name,
    /// Its addresses, for zones that it is in.
    pub addresses: Vec<IpAddr>,
}

/// What all zones have in common.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The name servers, the first one first.
    pub name_servers: Vec<NameServer>,
    /// Whom to write to, as a name; one that is not fully qualified is in each zone.
    pub contact: Name,
    /// The serial number.
    pub serial: u32,
    /// Zones that are there without anything in them.
    pub origins: Vec<Name>,
    /// What names outside were last resolved to.
    pub resolved: Arc<BTreeMap<Name, Vec<IpAddr>>>,
    /// What signs zones, which are there without anything in them as well; one for a zone.
    pub signers: Vec<Arc<Signer>>,
}

/// Builds all zones. A host's zone is the longest origin that it is in; without one it is the domain behind its first label.
#[must_use]
pub fn build(settings: &Settings, files: &[ZoneFile], services: &[Arc<Served>]) -> Zones {
    let mut zones: HashMap<LowerName, Zone> = HashMap::new();
    let signed = settings.signers.iter().map(|signer| signer.zone());
    for origin in settings.origins.iter().chain(files.iter().map(|file| &file.origin)).chain(signed) {
        zones.entry(LowerName::new(origin)).or_insert_with(|| empty(settings, origin));
    }
    for host in services.iter().flat_map(|service| &service.hosts) {
        let name = LowerName::new(host);
        let known = zones.keys().any(|origin| origin.zone_of(&name));
        if !known {
            let domain = if host.num_labels() > 2 { host.base_name() } else { host.clone() };
            zones.insert(LowerName::new(&domain), empty(settings, &domain));
        }
    }
    let mut zones = Zones { by_origin: zones };
    for file in files {
        for record in &file.records {
            add_record(&mut zones, record.clone());
        }
    }
    for service in services {
        for host in &service.hosts {
            add_host(&mut zones, host, service);
        }
    }
    for zone in zones.by_origin.values_mut() {
        finish(settings, zone);
    }
    delegate(&mut zones);
    for zone in zones.by_origin.values_mut() {
        connect(zone);
        if let Some(signer) = zone.signer.clone() {
            signed::prepare(zone, &signer);
        }
    }
    zones
}

fn empty(settings: &Settings, origin: &Name) -> Zone {
    let within = |name: &Name| within(name, origin);
    let first = settings.name_servers.first().map_or_else(|| origin.clone(), |server| within(&server.name));
    let soa = SOA::new(
        first,
        within(&settings.contact),
        settings.serial.max(1),
        REFRESH,
        RETRY,
        EXPIRE,
        NEGATIVE_TTL,
    );
    Zone {
        origin: LowerName::new(origin),
        soa: Record::from_rdata(origin.clone(), NEGATIVE_TTL, RData::SOA(soa)),
        signer: settings.signers.iter().find(|signer| signer.zone() == origin).cloned(),
        nodes: HashMap::new(),
        delegates: false,
        resolved: Arc::clone(&settings.resolved),
    }
}

/// A name as it is in a zone.
fn within(name: &Name, origin: &Name) -> Name {
    if name.is_fqdn() {
        return name.clone();
    }
    // Too long a name is not possible: the configuration is checked.
    name.clone().append_domain(origin).unwrap_or_else(|_| origin.clone())
}

fn zone_of<'a>(zones: &'a mut Zones, name: &Name) -> Option<&'a mut Zone> {
    let origin = zones.of(&LowerName::new(name))?.origin.clone();
    zones.by_origin.get_mut(&origin)
}

fn add_record(zones: &mut Zones, record: Record) {
    let Some(zone) = zone_of(zones, &record.name) else { return };
    let at_origin = LowerName::new(&record.name) == zone.origin;
    if let RData::SOA(_) = record.data {
        if at_origin {
            zone.soa = record;
        }
        return;
    }
    // What vouches for a zone is the business of the one above.
    if at_origin && record.record_type() == RecordType::DS {
        return;
    }
    zone.node(&record.name).sets.entry(record.record_type()).or_default().push(record);
}

fn add_host(zones: &mut Zones, host: &Name, service: &Arc<Served>) {
    let Some(zone) = zone_of(zones, host) else { return };
    let node = zone.node(host);
    for kind in [RecordType::A, RecordType::AAAA, RecordType::CNAME] {
        node.sets.remove(&kind);
    }
    node.host = Some(Arc::clone(service));
    let endpoints = service.places.values().flat_map(|place| &place.endpoints);
    let schemes: Vec<Scheme> = endpoints.map(|endpoint| endpoint.scheme).collect();
    for (scheme, label) in [(Scheme::Http, "_http"), (Scheme::Https, "_https")] {
        let name = host.prepend_label("_tcp").and_then(|name| name.prepend_label(label));
        if let (true, Ok(name)) = (schemes.contains(&scheme), name) {
            zone.node(&name).srv = Some((Arc::clone(service), scheme));
        }
    }
    // Each region by its own name, well or not: where SRV records point, and for people who look for a fault.
    for (region, place) in &service.places {
        let Ok(name) = host.prepend_label(region.as_str()) else { continue };
        for address in place.addresses() {
            let record = Record::from_rdata(name.clone(), service.ttl, address_data(address));
            zone.node(&name).sets.entry(record.record_type()).or_default().push(record);
        }
    }
}

pub(crate) fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(four) => RData::A(A(four)),
        IpAddr::V6(six) => RData::AAAA(AAAA(six)),
    }
}

/// Adds what every zone has.
fn finish(settings: &Settings, zone: &mut Zone) {
    let origin = Name::from(&zone.origin);
    let own_servers =
        zone.nodes.get(&zone.origin).is_some_and(|node| node.sets.contains_key(&RecordType::NS));
    if !own_servers {
        for server in &settings.name_servers {
            let name = within(&server.name, &origin);
            let record = Record::from_rdata(origin.clone(), APEX_TTL, RData::NS(NS(name.clone())));
            zone.node(&origin).sets.entry(RecordType::NS).or_default().push(record);
            let ours = zone.origin.zone_of(&LowerName::new(&name));
            let known = zone.addresses_of(&name).next().is_some();
            for address in server.addresses.iter().filter(|_| ours && !known) {
                let record = Record::from_rdata(name.clone(), APEX_TTL, address_data(*address));
                zone.node(&name).sets.entry(record.record_type()).or_default().push(record);
            }
        }
    }
    let soa = zone.soa.clone();
    zone.node(&origin).sets.insert(RecordType::SOA, vec![soa]);
}

/// Tells zones of those below them that are served here as well.
fn delegate(zones: &mut Zones) {
    let below: Vec<(LowerName, LowerName)> = zones
        .by_origin
        .keys()
        .filter_map(|origin| Some((zones.above(origin)?.origin.clone(), origin.clone())))
        .collect();
    for (above, origin) in below {
        let Some(zone) = zones.by_origin.get(&origin) else { continue };
        let servers = zone.nodes.get(&origin).and_then(|node| node.sets.get(&RecordType::NS)).cloned();
        let vouchers = zone.signer.iter().flat_map(|signer| signer.delegations());
        let vouchers: Vec<Record> =
            vouchers.map(|data| Record::from_rdata(Name::from(&origin), APEX_TTL, data)).collect();
        let Some(above) = zones.by_origin.get_mut(&above) else { continue };
        let node = above.nodes.entry(origin).or_default();
        node.sets.extend(servers.map(|servers| (RecordType::NS, servers)));
        if above.signer.is_some() && !vouchers.is_empty() {
            node.sets.insert(RecordType::DS, vouchers);
        }
    }
}

/// Adds the names between others, and notes whether any is another server's.
fn connect(zone: &mut Zone) {
    let names: Vec<LowerName> = zone.nodes.keys().cloned().collect();
    for mut name in names {
        if name != zone.origin
            && zone.nodes.get(&name).is_some_and(|node| node.sets.contains_key(&RecordType::NS))
        {
            zone.delegates = true;
        }
        while name != zone.origin && !name.is_root() {
            name = name.base_name();
            zone.nodes.entry(name.clone()).or_default();
        }
    }
}

impl Zone {
    pub(super) fn node(&mut self, name: &Name) -> &mut Node {
        self.nodes.entry(LowerName::new(name)).or_default()
    }
}
