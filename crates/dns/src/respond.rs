//! Bytes in, bytes out: one message and its response.
//!
//! Source: RFC 1035, RFC 6891 (EDNS), RFC 7871 (client subnet), RFC 5001 (NSID), RFC 3225 (DO), RFC 9824 (CO).

use crate::View;
use crate::answer::{Answer, Question, answer};
use crate::dnssec::NXNAME;
use crate::geo::ClientNetwork;
use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::DNSClass;
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption, NSIDPayload};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};
use std::net::IpAddr;

/// What is sent over UDP at most, and said to be taken: what passes every path unfragmented (DNS Flag Day 2020).
const UDP_PAYLOAD: u16 = 1_232;
/// What is sent over UDP to those who say nothing.
const PLAIN_PAYLOAD: u16 = 512;
/// The length of a header.
const HEADER: usize = 12;
/// The most additional records of a question: EDNS, and what a later standard may add.
const MAX_ADDITIONALS: u16 = 4;
/// The bit of EDNS, beside that for signatures, of those who know what NXNAME means: CO.
const COMPACT_OK: u16 = 0x4000;

/// How a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// On a stream.
    Tcp,
}

/// What a response is, for those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Records.
    Answer,
    /// That there is nothing.
    Negative,
    /// That it is not ours to say.
    Refused,
    /// That the message makes no sense, or we failed.
    Error,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It deserves no response.
    Nothing,
    /// The response is in the buffer.
    Reply {
        /// What it is.
        kind: Kind,
        /// It did not fit or costs too much, so the client must come back over TCP.
        truncated: bool,
        /// All regions of a service looked lost, so it names them all.
        fail_open: bool,
    },
}

/// Answers `message`, which has come from `from` at `now_s` seconds since 1970, into `out`, which is emptied first. Never panics, whatever the message is.
pub fn respond(
    view: &View,
    message: &[u8],
    from: IpAddr,
    transport: Transport,
    now_s: u64,
    out: &mut Vec<u8>,
) -> Outcome {
    out.clear();
    let Ok(header) = Header::read(&mut BinDecoder::new(message)) else { return Outcome::Nothing };
    // Two servers that answered each other's responses would never stop.
    if header.metadata.message_type == MessageType::Response {
        return Outcome::Nothing;
    }
    if header.metadata.op_code != OpCode::Query {
        return error(&header, ResponseCode::NotImp, None, out);
    }
    let counts = &header.counts;
    // Looked at before anything is made room for.
    let plausible = counts.queries == 1
        && counts.answers == 0
        && counts.authorities == 0
        && counts.additionals <= MAX_ADDITIONALS;
    let Some(request) = plausible.then(|| Message::from_vec(message).ok()).flatten() else {
        return error(&header, ResponseCode::FormErr, None, out);
    };
    if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return error(&header, ResponseCode::BADVERS, Some(reply_edns(view, &request, None)), out);
    }
    let subnet = request.edns.as_ref().and_then(client_subnet);
    if subnet.as_ref().is_some_and(|subnet| !is_valid(subnet)) {
        return error(&header, ResponseCode::FormErr, Some(reply_edns(view, &request, None)), out);
    }
    let Some(query) = request.queries.first() else { return Outcome::Nothing };
    if query.query_type() == NXNAME {
        let edns = request.edns.as_ref().map(|_| reply_edns(view, &request, None));
        return error(&header, ResponseCode::FormErr, edns, out);
    }
    let (dnssec_ok, compact_ok) = request.edns.as_ref().map_or((false, false), wants);
    let found = match query.query_class() {
        DNSClass::IN | DNSClass::ANY => {
            let client =
                subnet.as_ref().map_or_else(|| ClientNetwork::of(from), |subnet| whose(subnet, from));
            let (name, kind) = (query.name(), query.query_type());
            let on_stream = transport == Transport::Tcp;
            answer(view, Question { name, kind, client, dnssec_ok, compact_ok, now_s, on_stream })
        }
        _ => Answer { code: ResponseCode::Refused, ..Answer::default() },
    };
    let kind = kind(&found);
    let (fail_open, withheld) = (found.fail_open, found.withheld);
    let edns = request
        .edns
        .as_ref()
        .map(|_| reply_edns(view, &request, subnet.map(|subnet| scoped(subnet, &found))));
    let limit = match (transport, &request.edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, None) => PLAIN_PAYLOAD,
        (Transport::Udp, Some(edns)) => edns.max_payload().clamp(PLAIN_PAYLOAD, UDP_PAYLOAD),
    };
    let mut reply = reply(&header, found.code, edns);
    reply.metadata.authoritative = found.authoritative;
    reply.queries = request.queries;
    reply.answers = found.answers;
    reply.authorities = found.authorities;
    reply.additionals = found.additionals;
    if withheld {
        reply = reply.truncate();
    }
    match write(reply, limit, out) {
        Some(cut) => Outcome::Reply { kind, truncated: cut || withheld, fail_open },
        None => error(&header, ResponseCode::ServFail, None, out),
    }
}

/// Replaces a response by one without records that says to come back over TCP.
pub(crate) fn truncate(out: &mut Vec<u8>) {
    let Ok(reply) = Message::from_vec(out) else { return };
    out.clear();
    // What was decoded just now can be encoded.
    _ = reply.truncate().emit(&mut BinEncoder::new(out));
}

fn reply(header: &Header, code: ResponseCode, edns: Option<Edns>) -> Message {
    let mut reply = Message::response(header.metadata.id, header.metadata.op_code);
    reply.metadata.recursion_desired = header.metadata.recursion_desired;
    reply.metadata.checking_disabled = header.metadata.checking_disabled;
    reply.metadata.response_code = code;
    reply.edns = edns;
    reply
}

fn error(header: &Header, code: ResponseCode, edns: Option<Edns>, out: &mut Vec<u8>) -> Outcome {
    match write(reply(header, code, edns), PLAIN_PAYLOAD, out) {
        Some(truncated) => Outcome::Reply { kind: Kind::Error, truncated, fail_open: false },
        None => Outcome::Nothing,
    }
}

/// Writes a response of at most `limit` bytes; answers whether it had to be truncated, `None` when it cannot be written.
fn write(mut reply: Message, limit: u16, out: &mut Vec<u8>) -> Option<bool> {
    let mut emit = |reply: &Message| {
        out.clear();
        reply.emit(&mut BinEncoder::new(out)).ok()?;
        Some(out.len() <= usize::from(limit))
    };
    if emit(&reply)? {
        return Some(false);
    }
    // What was added of our own accord goes first (RFC 2181, section 9).
    reply.additionals.clear();
    if emit(&reply)? {
        return Some(false);
    }
    let fits = emit(&reply.truncate())?;
    (fits || out.len() > HEADER).then_some(true)
}

/// Whether signatures are wanted, and whether proofs are understood.
fn wants(edns: &Edns) -> (bool, bool) {
    let flags = edns.flags();
    (flags.dnssec_ok, flags.dnssec_ok && flags.z & COMPACT_OK > 0)
}

fn client_subnet(edns: &Edns) -> Option<ClientSubnet> {
    match edns.option(EdnsCode::Subnet) {
        Some(EdnsOption::Subnet(subnet)) => Some(*subnet),
        _ => None,
    }
}

/// Whether a subnet is as a question may have it: a scope of 0, and no bit set behind the prefix.
fn is_valid(subnet: &ClientSubnet) -> bool {
    let prefix = u32::from(subnet.source_prefix());
    let behind = match subnet.addr() {
        IpAddr::V4(four) if prefix <= 32 => u64::from(u32::from(four).checked_shl(prefix).unwrap_or(0)) > 0,
        IpAddr::V6(six) if prefix <= 128 => u128::from(six).checked_shl(prefix).unwrap_or(0) > 0,
        _ => return false,
    };
    subnet.scope_prefix() == 0 && !behind
}

/// For whom a resolver asks. One that says nothing of its client asks for itself.
fn whose(subnet: &ClientSubnet, from: IpAddr) -> ClientNetwork {
    match subnet.source_prefix() {
        0 => ClientNetwork::of(from),
        prefix => ClientNetwork { address: subnet.addr(), prefix },
    }
}

fn scoped(mut subnet: ClientSubnet, found: &Answer) -> ClientSubnet {
    let scope = if subnet.source_prefix() == 0 { 0 } else { found.scope.unwrap_or(0) };
    subnet.set_scope_prefix(scope);
    subnet
}

fn reply_edns(view: &View, request: &Message, subnet: Option<ClientSubnet>) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD);
    edns.set_version(0);
    if let Some(asked) = &request.edns {
        let (dnssec_ok, compact_ok) = wants(asked);
        edns.set_dnssec_ok(dnssec_ok);
        edns.flags_mut().z = if compact_ok { COMPACT_OK } else { 0 };
        if asked.option(EdnsCode::NSID).is_some()
            && let Ok(nsid) = NSIDPayload::new(view.nsid.clone())
        {
            edns.options_mut().insert(EdnsOption::NSID(nsid));
        }
    }
    if let Some(subnet) = subnet {
        edns.options_mut().insert(EdnsOption::Subnet(subnet));
    }
    edns
}

fn kind(found: &Answer) -> Kind {
    match found.code {
        ResponseCode::NoError if !found.answers.is_empty() => Kind::Answer,
        ResponseCode::NoError | ResponseCode::NXDomain => Kind::Negative,
        ResponseCode::Refused => Kind::Refused,
        _ => Kind::Error,
    }
}
