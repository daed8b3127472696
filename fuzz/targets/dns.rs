//! Messages from anybody: each is answered or not, never with more than fits, and what is sent can be read.
#![no_main]

use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;
use meridian_dns::{Outcome, Transport, View, respond};
use std::sync::LazyLock;

#[path = "../../crates/dns/tests/world/mod.rs"]
mod world;

static VIEW: LazyLock<View> = LazyLock::new(|| world::World::default().view());

fuzz_target!(|bytes: &[u8]| {
    for (transport, limit) in [(Transport::Udp, 1_232), (Transport::Tcp, 65_535)] {
        let mut out = Vec::new();
        if let Outcome::Reply { .. } = respond(&VIEW, bytes, [192, 0, 2, 1].into(), transport, &mut out) {
            assert!(out.len() <= limit);
            Message::from_vec(&out).expect("what is sent can be read");
        }
    }
});
