//! What a signed answer costs one thread, beside one that is not signed. Prints one table.
//!
//!     cargo bench -p meridian-dns                  about ten seconds
//!     cargo bench -p meridian-dns -- --test        a moment, to see that it runs
#![allow(clippy::unwrap_used, reason = "a measurement fails by panicking")]

#[path = "../tests/world/mod.rs"]
mod world;

use hickory_proto::op::{Edns, Message};
use hickory_proto::rr::RecordType;
use meridian_dns::{Transport, View, respond};
use std::hint::black_box;
use std::time::{Duration, Instant};
use world::{KEY, NOW, World};

const DAY: u64 = 24 * 60 * 60;

struct Case {
    what: &'static str,
    view: View,
    /// Without a name: another one each time.
    name: Option<&'static str>,
    dnssec_ok: bool,
    /// How much later each question is than the one before: signatures do not last for a day.
    step_s: u64,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let time = if quick { Duration::from_millis(20) } else { Duration::from_secs(2) };
    let (plain, signed) = (|| World::default().view(), || World::signed(KEY).view());
    let shop = Some("shop.example.com.");
    let case = |what, view, name, dnssec_ok, step_s| Case { what, view, name, dnssec_ok, step_s };
    println!("answer | us of one thread | bytes");
    for case in [
        case("address, unsigned zone", plain(), shop, true, 0),
        case("address, no signatures wanted", signed(), shop, false, 0),
        case("address, signed before", signed(), shop, true, 0),
        case("address, signed now", signed(), shop, true, DAY),
        case("no such name, unsigned zone", plain(), None, true, 0),
        case("no such name, signed now", signed(), None, true, 0),
    ] {
        let (mut count, mut bytes) = (0_u64, 0);
        let start = Instant::now();
        while start.elapsed() < time {
            for _ in 0..16 {
                bytes = answer(&case, count);
                count += 1;
            }
        }
        let each = start.elapsed().as_secs_f64() * 1e6 / count as f64;
        println!("{} | {each:.1} | {bytes}", case.what);
    }
}

/// The question is written anew each time: that is a part of what every case costs.
fn answer(case: &Case, number: u64) -> usize {
    let mut message = match case.name {
        Some(name) => world::query(name, RecordType::A, None),
        None => world::query(&format!("n{number}.example.com."), RecordType::A, None),
    };
    ask_for_signatures(&mut message, case.dnssec_ok);
    let (question, mut out) = (message.to_vec().unwrap(), Vec::with_capacity(1_232));
    let now_s = NOW + number * case.step_s;
    respond(&case.view, &question, [192, 0, 2, 1].into(), Transport::Udp, now_s, &mut out);
    black_box(out).len()
}

fn ask_for_signatures(message: &mut Message, dnssec_ok: bool) {
    let mut edns = Edns::new();
    edns.set_max_payload(1_232);
    edns.set_dnssec_ok(dnssec_ok);
    message.edns = Some(edns);
}
