//! A running server: what is asked again is answered from what a thread remembers, and is right all the same.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use meridian_dns::server::{Options, Server};
use meridian_dns::{Transport, View, respond};
use meridian_steering::Verdict;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use world::World;

/// On a port that the kernel chooses; the few that are taken for datagrams only are passed over.
fn start() -> Server {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = Options { listen, threads: 1, rate_limit: 0, seed: 7 };
    let mut tries = (0..20).map(|_| Server::start(options));
    tries
        .find(|server| !matches!(server, Err(error) if error.kind() == ErrorKind::AddrInUse))
        .unwrap()
        .unwrap()
}

fn check(client: &UdpSocket, server: &Server, view: &View, message: &Message, id: u16) {
    let mut message = message.clone();
    message.metadata.id = id;
    let bytes = message.to_vec().unwrap();
    client.send_to(&bytes, server.listen()).unwrap();
    let mut answer = [0; 4_096];
    let length = client.recv(&mut answer).unwrap();
    let mut expected = Vec::new();
    let from: IpAddr = client.local_addr().unwrap().ip();
    respond(view, &bytes, from, Transport::Udp, world::NOW, &mut expected);
    assert_eq!(answer[..length], expected, "message {id}");
}

#[tokio::test]
async fn what_is_asked_again_has_the_answer_of_the_view_that_is_served() {
    let server = start();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let west = world::query("shop.example.com.", RecordType::A, Some("198.51.100.0/24"));
    let east = world::query("shop.example.com.", RecordType::A, Some("192.0.2.0/24"));
    let nobody = world::query("nobody.example.com.", RecordType::TXT, None);
    let mut world = World::default();
    let mut id = 0;
    for verdict in [Verdict::Healthy, Verdict::Lost, Verdict::Healthy] {
        world.stand("west", verdict);
        let view = Arc::new(world.view());
        server.set_view(Arc::clone(&view));
        for _ in 0..5 {
            for message in [&west, &east, &nobody] {
                id += 1;
                check(&client, &server, &view, message, id);
            }
        }
    }
    let counters = server.counters();
    let counts = [&counters.udp, &counters.answers, &counters.negatives, &counters.ignored];
    assert_eq!(counts.map(|count| count.load(Ordering::Relaxed)), [45, 30, 15, 0]);
}
