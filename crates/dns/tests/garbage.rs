//! Whatever comes in, nothing breaks, and what goes out is bounded.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::RecordType;
use meridian_dns::{Outcome, Transport, View, respond};
use proptest::prelude::*;
use std::sync::LazyLock;
use world::World;

static VIEWS: LazyLock<[View; 2]> =
    LazyLock::new(|| [World::default().view(), World::signed(world::KEY).view()]);

fn check(bytes: &[u8]) {
    let ways = [(Transport::Udp, 1_232), (Transport::Tcp, 65_535)];
    for (view, (transport, limit)) in VIEWS.iter().flat_map(|view| ways.map(|way| (view, way))) {
        let mut out = vec![1; 3];
        match respond(view, bytes, [192, 0, 2, 1].into(), transport, world::NOW, &mut out) {
            Outcome::Nothing => assert!(out.is_empty() || bytes.len() < 12 || bytes[2] & 0x80 > 0),
            Outcome::Reply { .. } => {
                assert!(out.len() <= limit, "{} bytes", out.len());
                let reply = Message::from_vec(&out).unwrap();
                assert_eq!(reply.metadata.message_type, MessageType::Response);
                assert_eq!(reply.metadata.id.to_be_bytes(), bytes[..2]);
                // A flood of these must not become a larger flood of those, but for what is asked for.
                assert!(reply.answers.len() <= 65);
            }
        }
    }
}

proptest! {
    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        check(&bytes);
    }

    #[test]
    fn a_question_with_some_bytes_changed(
        name in prop_oneof![
            Just("shop.example.com."), Just("x.wild.example.com."), Just("www.example.com."), Just("example.com."), Just("apex.test."),
        ],
        kind in any::<u16>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
        signed in any::<bool>(),
    ) {
        let mut question = world::query(name, RecordType::from(kind), Some("192.0.2.0/24"));
        question.edns.as_mut().unwrap().set_dnssec_ok(signed);
        let mut bytes = question.to_vec().unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        check(&bytes);
    }
}

#[test]
fn counts_that_promise_much_cost_nothing() {
    let mut bytes = vec![0; 12];
    for count in [4, 6, 8, 10] {
        bytes[count..count + 2].copy_from_slice(&[255, 255]);
    }
    bytes.extend([0; 500]);
    check(&bytes);
}

#[test]
fn pointers_in_circles_end() {
    // One question whose name points at itself.
    let bytes = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xC0, 12, 0, 1, 0, 1];
    check(&bytes);
}
