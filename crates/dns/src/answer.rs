//! What the answer to a question is.
//!
//! Source: RFC 1034, section 4.3.2, without the cache; RFC 2308 for what is not there; RFC 8482 for ANY; RFC 2782 for SRV; RFC 4035, section 3.1, and
//! RFC 9824, section 3, for signed zones.

use crate::View;
use crate::dnssec::{Denial, NXNAME, SignError, nsec, prove};
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
    /// Whether signatures are wanted.
    pub dnssec_ok: bool,
    /// Whether a proof that the name is not there may come with the code that says so (RFC 9824, section 5.1).
    pub compact_ok: bool,
    /// When, in seconds since 1970.
    pub now_s: u64,
    /// Whether it came on a stream, so from where it says.
    pub on_stream: bool,
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
    /// There is one, for those who come over a stream.
    pub withheld: bool,
}

/// Answers a question.
pub(crate) fn answer(view: &View, question: Question<'_>) -> Answer {
    let name = LowerName::new(question.name);
    let transfer = matches!(question.kind, RecordType::AXFR | RecordType::IXFR);
    let zone = match question.kind {
        // What vouches for a zone is the one above.
        RecordType::DS => view.zones.above(&name).or_else(|| view.zones.of(&name)),
        _ => view.zones.of(&name),
    };
    let Some(zone) = zone.filter(|_| !transfer) else {
        return Answer { code: ResponseCode::Refused, ..Answer::default() };
    };
    let answer = Answer { authoritative: true, ..Answer::default() };
    let mut search = Search { view, zone, question, answer, node: None, denial: None };
    search.follow(name);
    let Search { mut answer, denial, .. } = search;
    let failed = || Answer { code: ResponseCode::ServFail, authoritative: true, ..Answer::default() };
    if answer.code == ResponseCode::ServFail {
        return failed();
    }
    match zone.signer.as_deref().map(|signer| prove((zone, signer), question, denial, &mut answer)) {
        None | Some(Ok(())) => answer,
        Some(Err(SignError::TooMany)) => Answer { withheld: true, authoritative: true, ..Answer::default() },
        Some(Err(SignError::Failed(error))) => {
            tracing::debug!(%error, "an answer could not be signed");
            failed()
        }
    }
}

struct Search<'a> {
    view: &'a View,
    zone: &'a Zone,
    question: Question<'a>,
    answer: Answer,
    /// What there is at the name that the search has come to.
    node: Option<&'a Node>,
    /// What a signed zone has to prove.
    denial: Option<Denial>,
}

impl<'a> Search<'a> {
    fn follow(&mut self, mut name: LowerName) {
        let mut owner = self.question.name.clone();
        for _ in 0..=MAX_ALIASES {
            self.node = None;
            let (node, wild) = match self.zone.find(&name) {
                Found::Node(node) => (node, false),
                Found::Wildcard(node) => (node, true),
                Found::Nothing => {
                    if !self.describe(&owner) {
                        self.nothing(ResponseCode::NXDomain, &owner);
                    }
                    return;
                }
                Found::Delegation(servers) => return self.refer(servers, &owner),
            };
            self.node = Some(node);
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
        if self.describe(owner) {
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
        self.nothing(ResponseCode::NoError, owner);
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
            self.nothing(ResponseCode::NoError, owner);
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
                let record = Record::from_rdata(owner.clone(), service.ttl, data);
                // Processes of a region that listen on the same port are one record.
                if !self.answer.answers.contains(&record) {
                    self.answer.answers.push(record);
                }
            }
            self.add_addresses(&target);
        }
        if self.answer.answers.is_empty() {
            self.nothing(ResponseCode::NoError, owner);
        }
    }

    /// Answers at the apex, where an alias may not be, with the addresses that it leads to.
    fn flatten(&mut self, owner: &Name, ttl: u32, target: &Name) {
        if !matches!(self.question.kind, RecordType::A | RecordType::AAAA) {
            return self.nothing(ResponseCode::NoError, owner);
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
            Some(_) => self.nothing(ResponseCode::NoError, owner),
            None => match self.zone.resolved(target) {
                [] => self.answer.code = ResponseCode::ServFail,
                addresses => self.addresses(owner, ttl, addresses),
            },
        }
    }

    fn refer(&mut self, servers: &'a [Record], owner: &Name) {
        let Some(cut) = servers.first().map(|record| &record.name) else { return };
        let vouchers = self.zone.vouchers(cut);
        if self.question.kind == RecordType::DS && cut == owner {
            // The one question about the zone below that is this zone's to answer.
            return match vouchers {
                [] => {
                    self.nothing(ResponseCode::NoError, owner);
                    self.denial = Some(Denial { name: owner.clone(), kinds: vec![RecordType::NS] });
                }
                found => self.answer.answers.extend_from_slice(found),
            };
        }
        self.answer.authoritative = !self.answer.answers.is_empty();
        self.answer.authorities.extend(servers.iter().cloned());
        match vouchers {
            [] => self.denial = Some(Denial { name: cut.clone(), kinds: vec![RecordType::NS] }),
            found if self.question.dnssec_ok => self.answer.authorities.extend_from_slice(found),
            _ => {}
        }
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
            self.add_addresses(target);
        }
    }

    fn add_addresses(&mut self, target: &Name) {
        let additionals = &mut self.answer.additionals;
        if additionals.iter().all(|record| record.name != *target) {
            additionals.extend(self.zone.addresses_of(target).cloned());
        }
    }

    /// Answers who asks a signed zone for its proofs themselves; false for any other question.
    fn describe(&mut self, owner: &Name) -> bool {
        let asked = matches!(self.question.kind, RecordType::NSEC | RecordType::RRSIG);
        if !asked || self.zone.signer.is_none() {
            return false;
        }
        match nsec(self.zone, owner, self.kinds(owner)) {
            Ok(record) => self.answer.answers.push(record),
            Err(_) => self.answer.code = ResponseCode::ServFail,
        }
        true
    }

    /// The types at the name that the search has come to, but for the one that is asked for.
    fn kinds(&self, owner: &Name) -> Vec<RecordType> {
        let Some(node) = self.node else { return vec![NXNAME] };
        let mut kinds: Vec<RecordType> = node.sets.keys().copied().collect();
        let flattened = kinds.contains(&RecordType::CNAME) && LowerName::new(owner) == self.zone.origin;
        if flattened {
            kinds.retain(|kind| *kind != RecordType::CNAME);
        }
        // What is there for one client and not for another is better said to be there.
        if flattened || node.host.is_some() {
            kinds.extend([RecordType::A, RecordType::AAAA]);
        }
        kinds.extend(node.srv.as_ref().map(|_| RecordType::SRV));
        kinds.retain(|kind| *kind != self.question.kind);
        kinds
    }

    fn nothing(&mut self, code: ResponseCode, owner: &Name) {
        self.answer.code = code;
        let mut soa = self.zone.soa.clone();
        soa.ttl = self.zone.negative_ttl();
        self.answer.authorities.push(soa);
        self.denial = Some(Denial { name: owner.clone(), kinds: self.kinds(owner) });
    }
}

fn alias_target(record: &Record) -> Option<&Name> {
    match &record.data {
        RData::CNAME(alias) => Some(&alias.0),
        _ => None,
    }
}
