//! What the answer to a question is.
//!
//! Source: RFC 1034, section 4.3.2, without the cache; RFC 2308 for what is not there; RFC 8482 for ANY; RFC 2782 for SRV.

use crate::View;
use crate::geo::ClientNetwork;
use crate::zone::{Found, Node, Served, Zone, build_address};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{CNAME, HINFO, SRV};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use meridian_types::service::Scheme;
use std::net::IpAddr;

/// The most aliases that are followed.
const MAX_ALIASES: usize = 8;
/// What stands for all that there is at a name, to those who ask for anything.
const ANY_TTL: u32 = 3_600;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The name as it was written.
    pub name: &'a Name,
    /// The type.
    pub kind: RecordType,
    /// For whom.
    pub client: ClientNetwork,
}

/// What is answered.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub code: ResponseCode,
    pub authoritative: bool,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
    pub additionals: Vec<Record>,
    /// For how many bits of the client's address the answer holds; `None` when it is the same for everybody.
    pub scope: Option<u8>,
    /// Every region of a service looked lost.
    pub fail_open: bool,
}

/// Answers a question.
pub(crate) fn answer(view: &View, question: Question<'_>) -> Answer {
    let name = LowerName::new(question.name);
    let transfer = matches!(question.kind, RecordType::AXFR | RecordType::IXFR);
    let Some(zone) = view.zones.of(&name).filter(|_| !transfer) else {
        return Answer { code: ResponseCode::Refused, ..Answer::default() };
    };
    let mut search =
        Search { view, zone, question, answer: Answer { authoritative: true, ..Answer::default() } };
    search.follow(name);
    search.answer
}

struct Search<'a> {
    view: &'a View,
    zone: &'a Zone,
    question: Question<'a>,
    answer: Answer,
}

impl<'a> Search<'a> {
    fn follow(&mut self, mut name: LowerName) {
        let mut owner = self.question.name.clone();
        for _ in 0..=MAX_ALIASES {
            let (node, wild) = match self.zone.find(&name) {
                Found::Node(node) => (node, false),
                Found::Wildcard(node) => (node, true),
                Found::Nothing => return self.nothing(ResponseCode::NXDomain),
                Found::Delegation(servers) => return self.refer(servers),
            };
            match self.at(node, &owner, wild) {
                Some(target) => {
                    name = LowerName::new(&target);
                    owner = target;
                }
                None => return,
            }
            // Another zone's names are for those to ask who want them.
            if !self.zone.origin.zone_of(&name) {
                return;
            }
        }
        self.answer.code = ResponseCode::ServFail;
    }

    /// Answers from a node, or gives the name to go on with.
    fn at(&mut self, node: &'a Node, owner: &Name, wild: bool) -> Option<Name> {
        let kind = self.question.kind;
        let owned = |record: &Record| {
            let mut record = record.clone();
            if wild || record.name == *owner {
                record.name = owner.clone();
            }
            record
        };
        if kind == RecordType::ANY {
            let minimal = HINFO::new("RFC8482".to_owned(), String::new());
            self.answer.answers.push(Record::from_rdata(owner.clone(), ANY_TTL, RData::HINFO(minimal)));
            return None;
        }
        if let (Some(service), RecordType::A | RecordType::AAAA) = (&node.host, kind) {
            return self.steer(service, owner);
        }
        if let (Some((service, scheme)), RecordType::SRV) = (&node.srv, kind) {
            self.services(service, *scheme, owner);
            return None;
        }
        if let Some(set) = node.sets.get(&kind) {
            self.answer.answers.extend(set.iter().map(owned));
            self.add_targets(set);
            return None;
        }
        let alias = node.sets.get(&RecordType::CNAME).and_then(|set| set.first());
        if let Some((record, target)) = alias.and_then(|record| Some((record, alias_target(record)?))) {
            if LowerName::new(owner) == self.zone.origin {
                self.flatten(owner, record.ttl, target);
                return None;
            }
            self.answer.answers.push(owned(record));
            return Some(target.clone());
        }
        self.nothing(ResponseCode::NoError);
        None
    }

    /// Answers with the addresses of the region that serves the client.
    fn steer(&mut self, service: &'a Served, owner: &Name) -> Option<Name> {
        let turn = self.turn(service);
        let addresses: Vec<IpAddr> = {
            let mut all = Vec::new();
            for address in turn.iter().flat_map(|(_, place)| place.addresses()) {
                if !all.contains(&address) {
                    all.push(address);
                }
            }
            all
        };
        if !addresses.is_empty() {
            self.addresses(owner, service.ttl, &addresses);
            return None;
        }
        // A name that was not resolved yet: the client can do it itself, except at the apex.
        let endpoints = turn.iter().flat_map(|(_, place)| &place.endpoints);
        let name = endpoints.filter_map(|endpoint| endpoint.name.clone()).next();
        match name.filter(|_| LowerName::new(owner) != self.zone.origin) {
            Some(target) => {
                let alias = RData::CNAME(CNAME(target.clone()));
                self.answer.answers.push(Record::from_rdata(owner.clone(), service.ttl, alias));
                Some(target)
            }
            None => {
                self.answer.code = ResponseCode::ServFail;
                None
            }
        }
    }

    fn turn(&mut self, service: &'a Served) -> Vec<(&'a meridian_types::RegionName, &'a crate::zone::Place)> {
        let located = self.view.locator.locate(self.question.client);
        let turn = service.turn(located.region.as_ref(), self.question.client);
        self.answer.scope = Some(located.scope.max(turn.scope));
        self.answer.fail_open |= turn.fail_open;
        turn.places
    }

    fn addresses(&mut self, owner: &Name, ttl: u32, addresses: &[IpAddr]) {
        let before = self.answer.answers.len();
        for address in addresses {
            let data = build_address(*address);
            if data.record_type() == self.question.kind {
                self.answer.answers.push(Record::from_rdata(owner.clone(), ttl, data));
            }
        }
        if self.answer.answers.len() == before {
            self.nothing(ResponseCode::NoError);
        }
    }

    /// Answers with where the service listens in the region that serves the client.
    fn services(&mut self, service: &'a Served, scheme: Scheme, owner: &Name) {
        let turn = self.turn(service);
        // The owner is `_http._tcp.HOST`.
        let host = owner.base_name().base_name();
        for (priority, (region, place)) in (1_u16..).zip(turn) {
            let Ok(target) = host.prepend_label(region.as_str()) else { continue };
            for endpoint in place.endpoints.iter().filter(|endpoint| endpoint.scheme == scheme) {
                let data = RData::SRV(SRV::new(priority, 1, endpoint.port, target.clone()));
                self.answer.answers.push(Record::from_rdata(owner.clone(), service.ttl, data));
            }
            self.answer.additionals.extend(self.zone.addresses_of(&target).cloned());
        }
        if self.answer.answers.is_empty() {
            self.nothing(ResponseCode::NoError);
        }
    }

    /// Answers at the apex, where an alias may not be, with the addresses that it leads to.
    fn flatten(&mut self, owner: &Name, ttl: u32, target: &Name) {
        if !matches!(self.question.kind, RecordType::A | RecordType::AAAA) {
            return self.nothing(ResponseCode::NoError);
        }
        let lower = LowerName::new(target);
        let inside = self.view.zones.of(&lower).map(|zone| zone.find(&lower));
        match inside {
            Some(Found::Node(Node { host: Some(service), .. })) => {
                // The service's own name is the same question, so it leads no further.
                _ = self.steer(service, owner);
            }
            Some(Found::Node(node) | Found::Wildcard(node)) => {
                let set = node.sets.get(&self.question.kind).into_iter().flatten();
                let addresses: Vec<IpAddr> = set.filter_map(|record| record.data.ip_addr()).collect();
                self.addresses(owner, ttl, &addresses);
            }
            Some(_) => self.nothing(ResponseCode::NoError),
            None => match self.zone.resolved(target) {
                [] => self.answer.code = ResponseCode::ServFail,
                addresses => self.addresses(owner, ttl, addresses),
            },
        }
    }

    fn refer(&mut self, servers: &[Record]) {
        self.answer.authoritative = !self.answer.answers.is_empty();
        self.answer.authorities.extend(servers.iter().cloned());
        self.add_targets(servers);
    }

    /// Adds the addresses that records lead to, as far as the zone has them.
    fn add_targets(&mut self, set: &[Record]) {
        for record in set {
            let target = match &record.data {
                RData::NS(ns) => &ns.0,
                RData::SRV(srv) => &srv.target,
                RData::MX(mx) => &mx.exchange,
                _ => continue,
            };
            self.answer.additionals.extend(self.zone.addresses_of(target).cloned());
        }
    }

    fn nothing(&mut self, code: ResponseCode) {
        self.answer.code = code;
        let mut soa = self.zone.soa.clone();
        if let RData::SOA(data) = &soa.data {
            soa.ttl = soa.ttl.min(data.minimum);
        }
        self.answer.authorities.push(soa);
    }
}

fn alias_target(record: &Record) -> Option<&Name> {
    match &record.data {
        RData::CNAME(alias) => Some(&alias.0),
        _ => None,
    }
}
