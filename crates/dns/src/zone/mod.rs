//! Zones: what this server is authoritative for.

mod build;
mod file;
mod service;
mod signed;

pub(crate) use build::address_data as build_address;
pub use build::{NameServer, Settings, build};
pub use file::{ZoneFile, ZoneFileError};
pub use service::{Endpoint, Place, Served, Turn};

use crate::dnssec::Signer;
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// All zones of this server.
#[derive(Debug, Default)]
pub struct Zones {
    by_origin: HashMap<LowerName, Zone>,
}

impl Zones {
    /// The zone that a name is in: the one whose origin is longest.
    #[must_use]
    pub fn of(&self, name: &LowerName) -> Option<&Zone> {
        let mut origin = name.clone();
        loop {
            if let Some(zone) = self.by_origin.get(&origin) {
                return Some(zone);
            }
            if origin.is_root() {
                return None;
            }
            origin = origin.base_name();
        }
    }

    /// The zone above the one of this name.
    #[must_use]
    pub fn above(&self, origin: &LowerName) -> Option<&Zone> {
        if origin.is_root() || !self.by_origin.contains_key(origin) {
            return None;
        }
        self.of(&origin.base_name())
    }

    /// What signs zones, for those that are signed.
    pub fn signers(&self) -> impl Iterator<Item = &Signer> {
        self.by_origin.values().filter_map(|zone| zone.signer.as_deref())
    }

    /// The origins of the zones, sorted.
    #[must_use]
    pub fn origins(&self) -> Vec<String> {
        let mut origins: Vec<String> = self.by_origin.keys().map(ToString::to_string).collect();
        origins.sort();
        origins
    }
}

/// One zone.
#[derive(Debug)]
pub struct Zone {
    /// Its name.
    pub origin: LowerName,
    /// Its SOA record.
    pub soa: Record,
    /// What signs it; `None` for a zone without signatures.
    pub signer: Option<Arc<Signer>>,
    /// What there is at each name, names with nothing of their own included.
    nodes: HashMap<LowerName, Node>,
    /// Whether a name below the origin is another server's.
    delegates: bool,
    /// What aliases outside this server's zones were last resolved to.
    resolved: Arc<BTreeMap<Name, Vec<IpAddr>>>,
}

/// What there is at a name.
#[derive(Debug, Default)]
pub struct Node {
    /// Records that are the same for everybody.
    pub sets: BTreeMap<RecordType, Vec<Record>>,
    /// The service whose host it is.
    pub host: Option<Arc<Served>>,
    /// The service that is found here by SRV, at endpoints of one scheme.
    pub srv: Option<(Arc<Served>, meridian_types::service::Scheme)>,
}

/// What a name leads to.
#[derive(Debug)]
pub enum Found<'a> {
    /// To this.
    Node(&'a Node),
    /// To this, which stands for every name that is not there.
    Wildcard(&'a Node),
    /// To the servers of a zone below, whose NS records these are.
    Delegation(&'a [Record]),
    /// To nothing.
    Nothing,
}

impl Zone {
    /// Looks a name up that is in this zone. Source: RFC 1034, section 4.3.2, and RFC 4592.
    #[must_use]
    pub fn find(&self, name: &LowerName) -> Found<'_> {
        if self.delegates
            && let Some(servers) = self.delegation(name)
        {
            return Found::Delegation(servers);
        }
        if let Some(node) = self.nodes.get(name) {
            return Found::Node(node);
        }
        let mut closest = name.base_name();
        while !self.nodes.contains_key(&closest) {
            if closest == self.origin || closest.is_root() {
                return Found::Nothing;
            }
            closest = closest.base_name();
        }
        let wildcard = Name::from(&closest).prepend_label("*").ok();
        match wildcard.and_then(|name| self.nodes.get(&LowerName::new(&name))) {
            Some(node) => Found::Wildcard(node),
            None => Found::Nothing,
        }
    }

    /// The NS records of the highest cut between the origin and a name.
    fn delegation(&self, name: &LowerName) -> Option<&[Record]> {
        let mut servers = None;
        let mut at = name.clone();
        while at != self.origin && !at.is_root() {
            if let Some(set) = self.nodes.get(&at).and_then(|node| node.sets.get(&RecordType::NS)) {
                servers = Some(set.as_slice());
            }
            at = at.base_name();
        }
        servers
    }

    /// The DS records of a cut.
    #[must_use]
    pub fn vouchers(&self, cut: &Name) -> &[Record] {
        let node = self.nodes.get(&LowerName::new(cut));
        node.and_then(|node| node.sets.get(&RecordType::DS)).map_or(&[], Vec::as_slice)
    }

    /// Whether records are this zone's own, not those of a zone below: at a cut it has only what says how the one below is signed.
    #[must_use]
    pub fn vouches_for(&self, name: &LowerName, kind: RecordType) -> bool {
        let below = self.delegates && self.delegation(name).is_some();
        !below || matches!(kind, RecordType::DS | RecordType::NSEC)
    }

    /// How long that there is nothing may be kept, in seconds (RFC 2308 and RFC 9077).
    #[must_use]
    pub fn negative_ttl(&self) -> u32 {
        match &self.soa.data {
            RData::SOA(soa) => self.soa.ttl.min(soa.minimum),
            _ => self.soa.ttl,
        }
    }

    /// The address records of a name in this zone that are the same for everybody.
    pub fn addresses_of(&self, name: &Name) -> impl Iterator<Item = &Record> {
        let node = self.nodes.get(&LowerName::new(name));
        let sets = node.into_iter().flat_map(|node| {
            [RecordType::A, RecordType::AAAA].into_iter().filter_map(|kind| node.sets.get(&kind))
        });
        sets.flatten()
    }

    /// What a name outside this server's zones was last resolved to.
    #[must_use]
    pub fn resolved(&self, name: &Name) -> &[IpAddr] {
        self.resolved.get(name).map_or(&[], Vec::as_slice)
    }
}
