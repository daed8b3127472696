//! Messages from anybody: each is answered or not, never with more than fits, and what is sent can be read.
#![no_main]

use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;
use meridian_dns::{Outcome, Transport, View, respond};
use std::sync::LazyLock;

#[path = "../../crates/dns/tests/world/mod.rs"]
mod world;

static VIEWS: LazyLock<[View; 2]> =
    LazyLock::new(|| [world::World::default().view(), world::World::signed(world::KEY).view()]);

fuzz_target!(|bytes: &[u8]| {
    let ways = [(Transport::Udp, 1_232), (Transport::Tcp, 65_535)];
    for (view, (transport, limit)) in VIEWS.iter().flat_map(|view| ways.map(|way| (view, way))) {
        let (mut out, from) = (Vec::new(), [192, 0, 2, 1].into());
        if let Outcome::Reply { .. } = respond(view, bytes, from, transport, world::NOW, &mut out) {
            assert!(out.len() <= limit);
            Message::from_vec(&out).expect("what is sent can be read");
        }
    }
});
