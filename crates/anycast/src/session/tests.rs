//! Two sessions that meet, what a peer learns from the bytes, and bytes that no speaker sends.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use proptest::prelude::*;
use zettabgp::prelude::{BgpAddrs, BgpAttrItem, BgpMessage, BgpUpdateMessage};

fn speaker(asn: u32, peer_asn: u32) -> Speaker {
    Speaker {
        asn,
        peer_asn,
        router_id: Ipv4Addr::new(10, 0, 0, 1),
        hold_time_s: 3,
        next_hops: NextHops { v4: Some(Ipv4Addr::new(10, 0, 0, 1)), v6: Some("fd00::1".parse().unwrap()) },
        local_pref: 100,
        communities: vec![(65_000 << 16) | 7],
    }
}

/// What a peer has after these bytes, by the library's own decoder.
fn learn(table: &mut BTreeSet<IpNet>, mut bytes: &[u8]) {
    let params = message::params(&speaker(65_001, 65_000));
    while !bytes.is_empty() {
        let length = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
        let (one, rest) = bytes.split_at(length);
        bytes = rest;
        if one[18] != 2 {
            continue;
        }
        let mut update = BgpUpdateMessage::new();
        // The library wants one byte more than a withdrawal without attributes has.
        let mut body = one[19..].to_vec();
        body.push(0);
        let body = if update.decode_from(&params, &one[19..]).is_ok() { &one[19..] } else { &body[..] };
        update = BgpUpdateMessage::new();
        update.decode_from(&params, body).unwrap();
        let mut each = |addrs: &BgpAddrs, add: bool| {
            let networks: Vec<IpNet> = match addrs {
                BgpAddrs::IPV4U(list) => {
                    list.iter().map(|a| IpNet::new(a.addr.into(), a.prefixlen).unwrap()).collect()
                }
                BgpAddrs::IPV6U(list) => {
                    list.iter().map(|a| IpNet::new(a.addr.into(), a.prefixlen).unwrap()).collect()
                }
                _ => Vec::new(),
            };
            for network in networks {
                if add {
                    table.insert(network)
                } else {
                    table.remove(&network)
                };
            }
        };
        each(&update.withdraws, false);
        each(&update.updates, true);
        for attribute in &update.attrs {
            match attribute {
                BgpAttrItem::MPUpdates(found) => each(&found.addrs, true),
                BgpAttrItem::MPWithdraws(found) => each(&found.addrs, false),
                _ => {}
            }
        }
    }
}

/// Two sessions that talk to each other until neither has anything to say.
fn meet(a: &mut Session, b: &mut Session, now_ms: u64) -> Result<(), Ended> {
    loop {
        let (from_a, from_b) = (a.output(), b.output());
        if from_a.is_empty() && from_b.is_empty() {
            return Ok(());
        }
        b.receive(&from_a, now_ms)?;
        a.receive(&from_b, now_ms)?;
    }
}

fn established() -> (Session, Session) {
    let (mut a, mut b) = (Session::new(speaker(65_001, 65_000), 0), Session::new(speaker(65_000, 65_001), 0));
    meet(&mut a, &mut b, 0).unwrap();
    assert_eq!((a.state(), b.state()), (State::Established, State::Established));
    (a, b)
}

fn nets(list: &[&str]) -> BTreeSet<IpNet> {
    list.iter().map(|net| net.parse().unwrap()).collect()
}

#[test]
fn what_was_wanted_before_is_announced_once_both_have_agreed() {
    let mut a = Session::new(speaker(4_200_000_000, 65_000), 0);
    let mut b = Session::new(speaker(65_000, 4_200_000_000), 0);
    a.announce(&nets(&["192.0.2.53/32", "2001:db8::53/128"]), 0);
    assert!(a.announced().is_empty());
    b.receive(&a.output(), 0).unwrap();
    a.receive(&b.output(), 0).unwrap();
    let mut table = BTreeSet::new();
    learn(&mut table, &a.output());
    assert_eq!(table, nets(&["192.0.2.53/32", "2001:db8::53/128"]));
    assert_eq!(a.announced(), &table);
}

/// By the bytes, since the library reads as it writes.
#[test]
fn the_path_is_a_sequence_of_the_own_system_or_empty_within_it() {
    let path = |peer_asn| {
        let speaker = speaker(65_001, peer_asn);
        let update =
            message::announce(&message::params(&speaker), &speaker, "192.0.2.53/32".parse().unwrap())
                .unwrap();
        // Behind the head: no withdrawals, the length of the attributes, and the origin. The path's own length has two bytes.
        let [_, 2, 0, length, rest @ ..] = &update[19 + 4 + 4..] else { panic!("{update:?}") };
        rest[..usize::from(*length)].to_vec()
    };
    assert_eq!(path(65_000), [2, 1, 0, 0, 0xfd, 0xe9]);
    assert_eq!(path(65_001), []);
}

#[test]
fn another_system_than_configured_is_refused_with_the_reason() {
    let (mut a, mut b) = (Session::new(speaker(65_001, 65_000), 0), Session::new(speaker(65_009, 65_001), 0));
    let error = a.receive(&b.output(), 0).unwrap_err();
    assert!(
        error.to_string().contains("AS 65009") && error.to_string().contains("anycast.peer_as"),
        "{error}"
    );
    let told = a.output();
    let told = b.receive(&told[told.len() - 21..], 0).unwrap_err();
    assert!(matches!(&told, Ended::Notified(why) if why.contains("Bad Peer AS")), "{told}");
}

#[test]
fn a_hold_time_of_for_ever_is_refused() {
    let (mut a, mut b) = (
        Session::new(speaker(65_001, 65_000), 0),
        Session::new(Speaker { hold_time_s: 0, ..speaker(65_000, 65_001) }, 0),
    );
    assert!(matches!(a.receive(&b.output(), 0), Err(Ended::Refused(why)) if why.contains("hold time")));
}

#[test]
fn silence_ends_the_session_and_speech_keeps_it() {
    let (mut a, mut b) = established();
    for now_ms in (0..30_000).step_by(100) {
        a.tick(now_ms).unwrap();
        b.tick(now_ms).unwrap();
        meet(&mut a, &mut b, now_ms).unwrap();
    }
    let mut now_ms = 30_000;
    let ended = loop {
        now_ms = a.next_tick_ms().max(now_ms + 1);
        if let Err(ended) = a.tick(now_ms) {
            break ended;
        }
    };
    assert!(matches!(ended, Ended::Silent(ms) if (3_000..3_100).contains(&ms)), "{ended}");
}

#[test]
fn closing_takes_everything_back() {
    let (mut a, mut b) = established();
    a.announce(&nets(&["192.0.2.53/32"]), 0);
    let mut table = BTreeSet::new();
    learn(&mut table, &a.output());
    assert_eq!(table.len(), 1);
    a.close(1);
    let last = a.output();
    learn(&mut table, &last);
    assert!(table.is_empty());
    assert!(matches!(b.receive(&last, 1), Err(Ended::Notified(_))));
}

#[test]
fn a_message_that_claims_to_be_shorter_than_its_head_or_longer_than_allowed_is_refused() {
    for length in [0u16, 18, 4_097, u16::MAX] {
        let (mut a, _) = established();
        let mut message = vec![0xff; 16];
        message.extend(length.to_be_bytes());
        message.push(4);
        assert!(matches!(a.receive(&message, 0), Err(Ended::Refused(_))), "{length}");
    }
}

proptest! {
    /// Whatever is wanted in which order, the peer has just that in the end.
    #[test]
    fn the_peer_has_what_is_wanted(steps in prop::collection::vec(prop::collection::btree_set(0u8..12, 0..8), 1..12)) {
        let (mut a, _) = established();
        let mut table = BTreeSet::new();
        for step in steps {
            let wanted: BTreeSet<IpNet> = step
                .into_iter()
                .map(|n| if n % 2 == 0 { format!("192.0.2.{n}/32") } else { format!("2001:db8::{n}/128") })
                .map(|net| net.parse().unwrap())
                .collect();
            a.announce(&wanted, 0);
            learn(&mut table, &a.output());
            prop_assert_eq!(&table, &wanted);
            prop_assert_eq!(a.announced(), &wanted);
        }
    }

    /// No bytes make the session panic or hang, in any state, however they are cut; nor does it keep more than one message of them.
    #[test]
    fn garbage_ends_the_session_or_is_waited_for(
        open in any::<bool>(),
        framed in any::<bool>(),
        kind in 0u8..8,
        body in prop::collection::vec(any::<u8>(), 0..300),
        cut in 1usize..64,
    ) {
        let mut a = if open { established().0 } else { Session::new(speaker(65_001, 65_000), 0) };
        let bytes = if framed {
            let mut bytes = vec![0xff; 16];
            bytes.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
            bytes.push(kind);
            bytes.extend(&body);
            bytes
        } else {
            body
        };
        for part in bytes.chunks(cut) {
            if a.receive(part, 0).is_err() {
                break;
            }
            prop_assert!(a.inbox.len() <= 4_096 + cut);
        }
    }
}
