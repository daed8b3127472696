//! `[anycast]`: service addresses that are announced to a BGP speaker.

use super::units;
use ipnet::IpNet;
use meridian_anycast::MIN_HOLD_TIME_S;
use meridian_types::ServiceName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// The most speakers.
const MAX_PEERS: usize = 8;
/// The most addresses.
const MAX_ADDRESSES: usize = 64;
/// The most communities.
const MAX_COMMUNITIES: usize = 32;

/// `[anycast]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnycastSection {
    /// The BGP speakers, as `address:port`; none for no announcements.
    pub peers: Vec<SocketAddr>,
    /// The autonomous system of this node.
    #[serde(rename = "as")]
    pub asn: u32,
    /// That of the speakers; the same one means an internal session.
    pub peer_as: u32,
    /// The identifier in BGP; by default the IPv4 address from which the speaker is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router_id: Option<Ipv4Addr>,
    /// Where IPv4 traffic goes; by default the address from which the speaker is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<Ipv4Addr>,
    /// Where IPv6 traffic goes; by default the address from which the speaker is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_hop_v6: Option<Ipv6Addr>,
    /// For how long the speakers keep the addresses of a node that is frozen. Whole seconds.
    #[serde(with = "units::duration")]
    pub hold_time: Duration,
    /// Communities of the routes, as `AS:number`.
    pub communities: Vec<String>,
    /// The addresses.
    #[serde(rename = "address", skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<AddressSection>,
}

impl Default for AnycastSection {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            asn: 0,
            peer_as: 0,
            router_id: None,
            next_hop: None,
            next_hop_v6: None,
            hold_time: Duration::from_secs(MIN_HOLD_TIME_S.into()),
            communities: Vec::new(),
            addresses: Vec::new(),
        }
    }
}

/// `[[anycast.address]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressSection {
    /// The address as a network, such as `192.0.2.53/32`.
    pub network: IpNet,
    /// The services that are reached at it; none: everything that the region serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceName>,
}

/// A community (RFC 1997) as `AS:number`.
#[must_use]
pub fn community(text: &str) -> Option<u32> {
    let (system, number) = text.split_once(':')?;
    let (system, number): (u16, u16) = (system.parse().ok()?, number.parse().ok()?);
    Some(u32::from(system) << 16 | u32::from(number))
}

impl AnycastSection {
    /// Whether anything is announced.
    #[must_use]
    pub fn is_used(&self) -> bool {
        !self.peers.is_empty()
    }

    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if self.is_used() == self.addresses.is_empty() {
            let lacks = if self.is_used() { "[[anycast.address]]" } else { "anycast.peers" };
            problems
                .push(format!("{lacks} is missing: addresses are announced to peers, so both are needed"));
        }
        if !self.is_used() {
            return;
        }
        for (name, asn) in [("as", self.asn), ("peer_as", self.peer_as)] {
            // 23456 stands for those that do not fit two bytes (RFC 6793).
            if asn == 0 || asn == 23_456 || asn == u32::MAX {
                problems.push(format!(
                    "anycast.{name} is {asn}; set it to the number of an autonomous system, such as 64512"
                ));
            }
        }
        if self.router_id.is_some_and(|id| id.is_unspecified()) {
            problems.push("anycast.router_id is 0.0.0.0; set it to an address of this node".to_owned());
        }
        if self.next_hop.is_none()
            && self.peers.iter().any(|peer| peer.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST))
        {
            problems.push(
                "anycast.next_hop is missing: a speaker that is reached over loopback gives none".to_owned(),
            );
        }
        if self.router_id.is_none() && self.peers.iter().any(SocketAddr::is_ipv6) {
            problems.push(
                "anycast.router_id is missing: a speaker that is reached over IPv6 gives none".to_owned(),
            );
        }
        let seconds = self.hold_time.as_secs();
        if !(MIN_HOLD_TIME_S.into()..=u16::MAX.into()).contains(&seconds)
            || self.hold_time.subsec_nanos() != 0
        {
            problems.push(format!(
                "anycast.hold_time is {}; it must be whole seconds from 3s to 65535s",
                humantime::format_duration(self.hold_time)
            ));
        }
        let bounded = [
            ("peers", self.peers.len(), MAX_PEERS),
            ("address", self.addresses.len(), MAX_ADDRESSES),
            ("communities", self.communities.len(), MAX_COMMUNITIES),
        ];
        for (name, count, most) in bounded.into_iter().filter(|(_, count, most)| count > most) {
            problems.push(format!("anycast.{name} lists {count}; at most {most} are possible"));
        }
        for text in self.communities.iter().filter(|text| community(text).is_none()) {
            problems.push(format!(
                "anycast.communities: {text:?} is not two numbers of 16 bits, such as \"64512:100\""
            ));
        }
        let mut seen = BTreeSet::new();
        for AddressSection { network, .. } in &self.addresses {
            let address: IpAddr = network.addr();
            if *network != network.trunc()
                || address.is_loopback()
                || address.is_multicast()
                || network.prefix_len() == 0
            {
                problems.push(format!(
                    "anycast.address {network} is not a network of service addresses, such as 192.0.2.53/32"
                ));
            }
            if !seen.insert(*network) {
                problems.push(format!("anycast.address {network} is there twice; keep one"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section() -> AnycastSection {
        AnycastSection {
            peers: vec!["10.0.0.254:179".parse().unwrap()],
            asn: 64_512,
            peer_as: 64_512,
            addresses: vec![AddressSection {
                network: "192.0.2.53/32".parse().unwrap(),
                services: Vec::new(),
            }],
            ..AnycastSection::default()
        }
    }

    fn problems(section: &AnycastSection) -> String {
        let mut problems = Vec::new();
        section.check(&mut problems);
        problems.join("\n")
    }

    #[test]
    fn a_section_that_is_not_there_or_complete_is_right() {
        assert_eq!(problems(&AnycastSection::default()), "");
        assert_eq!(problems(&section()), "");
    }

    #[test]
    fn mistakes_are_named_with_the_fix() {
        let twice = [section().addresses, section().addresses].concat();
        let address =
            |text: &str| vec![AddressSection { network: text.parse().unwrap(), services: Vec::new() }];
        for (part, wrong) in [
            ("anycast.peers is missing", AnycastSection { peers: Vec::new(), ..section() }),
            ("[[anycast.address]] is missing", AnycastSection { addresses: Vec::new(), ..section() }),
            ("anycast.as is 0", AnycastSection { asn: 0, ..section() }),
            ("anycast.peer_as is 23456", AnycastSection { peer_as: 23_456, ..section() }),
            ("3s to 65535s", AnycastSection { hold_time: Duration::from_secs(2), ..section() }),
            ("3s to 65535s", AnycastSection { hold_time: Duration::from_millis(3_500), ..section() }),
            ("64512:100", AnycastSection { communities: vec!["70000:1".to_owned()], ..section() }),
            ("twice", AnycastSection { addresses: twice, ..section() }),
            ("192.0.2.53/24 is not", AnycastSection { addresses: address("192.0.2.53/24"), ..section() }),
            (
                "next_hop is missing",
                AnycastSection { peers: vec!["127.0.0.1:179".parse().unwrap()], ..section() },
            ),
            (
                "router_id is missing",
                AnycastSection { peers: vec!["[::1]:179".parse().unwrap()], ..section() },
            ),
        ] {
            assert!(problems(&wrong).contains(part), "{part}: {}", problems(&wrong));
        }
    }

    #[test]
    fn a_community_is_two_numbers() {
        assert_eq!(community("64512:100"), Some(64_512 << 16 | 100));
        for text in ["", "1", "1:", ":1", "1:65536", "1:2:3", "-1:2"] {
            assert_eq!(community(text), None, "{text}");
        }
    }
}
