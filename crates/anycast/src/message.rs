//! Messages as bytes and back; the wire format is the library's.

use crate::session::Speaker;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};
use zettabgp::prelude::{
    BgpAS, BgpASitem, BgpASpath, BgpASset, BgpAddr, BgpAddrV4, BgpAddrV6, BgpAddrs, BgpAttrItem,
    BgpAttrOrigin, BgpCapability, BgpCommunity, BgpCommunityList, BgpLocalpref, BgpMPUpdates, BgpMPWithdraws,
    BgpMessage, BgpMessageType, BgpNextHop, BgpNotificationMessage, BgpOpenMessage, BgpOrigin,
    BgpSessionParams, BgpTransportMode, BgpUpdateMessage,
};

/// Bytes before a message's body: marker, length, type.
const HEAD: usize = 19;
/// The longest message.
const MAX: usize = 4_096;

/// Codes of a notification: an error and what of it.
pub(crate) type Codes = (u8, u8);

pub(crate) const BAD_LENGTH: Codes = (1, 2);
pub(crate) const NOT_SYNCHRONIZED: Codes = (1, 1);
pub(crate) const BAD_TYPE: Codes = (1, 3);
pub(crate) const BAD_OPEN: Codes = (2, 0);
pub(crate) const BAD_PEER_AS: Codes = (2, 2);
pub(crate) const BAD_HOLD_TIME: Codes = (2, 6);
pub(crate) const HOLD_TIMER: Codes = (4, 0);
pub(crate) const UNEXPECTED: Codes = (5, 0);
pub(crate) const SHUT_DOWN: Codes = (6, 2);

/// What the other side said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Open {
        asn: u32,
        hold_time_s: u16,
        wide_as: bool,
        ipv6: bool,
    },
    Keepalive,
    /// Routes, or a wish to hear ours again: nothing that concerns an announcer.
    Other,
    /// It gives up, for this reason.
    Notification(String),
}

/// Why a message cannot be read, and what the other side is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) codes: Codes,
    pub(crate) why: String,
}

fn unreadable(codes: Codes, why: impl std::fmt::Display) -> Unreadable {
    Unreadable { codes, why: why.to_string() }
}

/// The parameters of a session of `speaker`.
pub(crate) fn params(speaker: &Speaker) -> BgpSessionParams {
    let capabilities =
        vec![BgpCapability::SafiIPv4u, BgpCapability::SafiIPv6u, BgpCapability::CapASN32(speaker.asn)];
    BgpSessionParams::new(
        speaker.asn,
        speaker.hold_time_s,
        BgpTransportMode::IPv4,
        speaker.router_id,
        capabilities,
    )
}

/// Takes the first whole message off `bytes`; `None` when it has not arrived whole.
pub(crate) fn take(params: &BgpSessionParams, bytes: &mut Vec<u8>) -> Result<Option<Heard>, Unreadable> {
    if bytes.len() < HEAD {
        return Ok(None);
    }
    let length = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
    if !(HEAD..=MAX).contains(&length) {
        return Err(unreadable(BAD_LENGTH, format_args!("a message of {length} bytes")));
    }
    if bytes.iter().take(16).any(|byte| *byte != 0xff) {
        return Err(unreadable(NOT_SYNCHRONIZED, "a message without its marker"));
    }
    if bytes.len() < length {
        return Ok(None);
    }
    let message: Vec<u8> = bytes.drain(..length).collect();
    let body = &message[HEAD..];
    let kind =
        BgpMessageType::decode_from(message[18]).map_err(|error| unreadable(BAD_TYPE, error.to_string()))?;
    Ok(Some(match kind {
        BgpMessageType::Open => opened(params, body)?,
        BgpMessageType::Keepalive => Heard::Keepalive,
        BgpMessageType::Update | BgpMessageType::Routerefresh => Heard::Other,
        BgpMessageType::Notification => {
            let mut notification = BgpNotificationMessage::new();
            match body {
                [code, subcode, ..] => {
                    (notification.error_code, notification.error_subcode) = (*code, *subcode);
                }
                _ => return Err(unreadable(BAD_LENGTH, "a notification without a code")),
            }
            Heard::Notification(notification.error_text())
        }
    }))
}

fn opened(params: &BgpSessionParams, body: &[u8]) -> Result<Heard, Unreadable> {
    let mut open = BgpOpenMessage::new();
    open.decode_from(params, body).map_err(|error| unreadable(BAD_OPEN, error.to_string()))?;
    let wide = open.caps.iter().find_map(|capability| match capability {
        BgpCapability::CapASN32(asn) => Some(*asn),
        _ => None,
    });
    Ok(Heard::Open {
        asn: wide.unwrap_or(open.as_num),
        hold_time_s: open.hold_time,
        wide_as: wide.is_some(),
        ipv6: open.caps.contains(&BgpCapability::SafiIPv6u),
    })
}

fn encode(params: &BgpSessionParams, kind: BgpMessageType, message: Option<&dyn BgpMessage>) -> Vec<u8> {
    let mut buffer = vec![0; MAX];
    let written = message.map_or(Ok(0), |message| message.encode_to(params, &mut buffer[HEAD..]));
    let whole = written.and_then(|length| params.prepare_message_buf(&mut buffer, kind, length));
    // Every message here is far shorter than the buffer, which is all that can fail.
    buffer.truncate(whole.unwrap_or(0));
    buffer
}

pub(crate) fn open(params: &BgpSessionParams) -> Vec<u8> {
    encode(params, BgpMessageType::Open, Some(&params.open_message()))
}

pub(crate) fn keepalive(params: &BgpSessionParams) -> Vec<u8> {
    encode(params, BgpMessageType::Keepalive, None)
}

pub(crate) fn notification(codes: Codes) -> Vec<u8> {
    // By hand: the library always adds two bytes of data, which some codes give a meaning.
    let mut message = vec![0xff; 16];
    message.extend([0, 21, 3, codes.0, codes.1]);
    message
}

/// Announces one network.
pub(crate) fn announce(params: &BgpSessionParams, speaker: &Speaker, network: IpNet) -> Option<Vec<u8>> {
    let internal = speaker.asn == speaker.peer_asn;
    let mut update = BgpUpdateMessage::new();
    update.attrs = vec![
        BgpAttrItem::Origin(BgpOrigin { value: BgpAttrOrigin::Igp }),
        BgpAttrItem::ASPath(path(speaker)),
    ];
    match network {
        IpNet::V4(network) => {
            let next_hop: Ipv4Addr = speaker.next_hops.v4?;
            update.attrs.push(BgpAttrItem::NextHop(BgpNextHop::new(IpAddr::V4(next_hop))));
            update.updates = BgpAddrs::IPV4U(vec![BgpAddrV4::new(network.addr(), network.prefix_len())]);
        }
        IpNet::V6(network) => {
            let networks = BgpAddrs::IPV6U(vec![BgpAddrV6::new(network.addr(), network.prefix_len())]);
            let nexthop = BgpAddr::V6(speaker.next_hops.v6?);
            update.attrs.push(BgpAttrItem::MPUpdates(BgpMPUpdates { nexthop, addrs: networks }));
        }
    }
    if internal {
        update.attrs.push(BgpAttrItem::LocalPref(BgpLocalpref::new(speaker.local_pref)));
    }
    if !speaker.communities.is_empty() {
        let value = speaker.communities.iter().map(|value| BgpCommunity { value: *value }).collect();
        update.attrs.push(BgpAttrItem::CommunityList(BgpCommunityList { value }));
    }
    Some(encode(params, BgpMessageType::Update, Some(&update)))
}

/// The path that routes of `speaker` have taken: none within its own system, else the sequence of itself.
fn path(speaker: &Speaker) -> BgpASpath {
    if speaker.asn == speaker.peer_asn {
        return BgpASpath { value: Vec::new() };
    }
    // zettabgp 0.6.0 writes a set with the code of a sequence, and the other way round (RFC 4271, 4.3: 1 is a set, 2 a sequence).
    let own = BgpASset { value: [BgpAS::new(speaker.asn)].into() };
    BgpASpath { value: vec![BgpASitem::Set(own)] }
}

/// Takes one network back.
pub(crate) fn withdraw(params: &BgpSessionParams, network: IpNet) -> Vec<u8> {
    let mut update = BgpUpdateMessage::new();
    match network {
        IpNet::V4(network) => {
            update.withdraws = BgpAddrs::IPV4U(vec![BgpAddrV4::new(network.addr(), network.prefix_len())]);
        }
        IpNet::V6(network) => {
            let networks = BgpAddrs::IPV6U(vec![BgpAddrV6::new(network.addr(), network.prefix_len())]);
            update.attrs.push(BgpAttrItem::MPWithdraws(BgpMPWithdraws { addrs: networks }));
        }
    }
    encode(params, BgpMessageType::Update, Some(&update))
}
