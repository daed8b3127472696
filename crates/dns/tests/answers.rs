//! Whole messages in, whole messages out: what a resolver sees.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption, NSIDPayload};
use hickory_proto::rr::{DNSClass, RData, RecordType};
use meridian_dns::{Kind, Outcome, Transport, respond};
use meridian_steering::Verdict;
use world::{World, addresses, ask, subnet};

const EAST: &str = "192.0.2.0/24";
const WEST: &str = "198.51.100.0/24";

#[test]
fn each_client_gets_the_nearest_healthy_region() {
    let mut world = World::default();
    assert_eq!(addresses(&ask(&world.view(), "shop.example.com.", RecordType::A, Some(EAST))), ["10.0.0.1"]);
    let west = ask(&world.view(), "shop.example.com.", RecordType::A, Some(WEST));
    assert_eq!(addresses(&west), ["10.0.1.1"]);
    assert_eq!(subnet(&west).unwrap().scope_prefix(), 24);
    assert!(west.metadata.authoritative && !west.metadata.recursion_available);
    assert_eq!(west.answers[0].ttl, 7);
    world.stand("west", Verdict::Lost);
    let moved = ask(&world.view(), "shop.example.com.", RecordType::A, Some(WEST));
    assert_eq!(addresses(&moved), ["10.0.2.1"], "the next nearest by measured latency");
    world.stand("west", Verdict::Degraded);
    assert_eq!(addresses(&ask(&world.view(), "shop.example.com.", RecordType::A, Some(WEST))), ["10.0.2.1"]);
}

#[test]
fn when_all_are_lost_all_are_given() {
    let mut world = World::default();
    for region in ["east", "west", "south"] {
        world.stand(region, Verdict::Lost);
    }
    let view = world.view();
    let reply = ask(&view, "shop.example.com.", RecordType::A, Some(WEST));
    assert_eq!(addresses(&reply), ["10.0.1.1", "10.0.2.1", "10.0.0.1"], "the nearest first");
    let mut out = Vec::new();
    let query = world::query("shop.example.com.", RecordType::A, Some(WEST)).to_vec().unwrap();
    let outcome = respond(&view, &query, [127, 0, 0, 1].into(), Transport::Udp, world::NOW, &mut out);
    assert_eq!(outcome, Outcome::Reply { kind: Kind::Answer, truncated: false, fail_open: true });
}

#[test]
fn the_resolver_s_own_address_counts_when_it_says_nothing_of_its_client() {
    let world = World::default();
    let ask_from = |message: &Message, from: [u8; 4]| {
        let mut out = Vec::new();
        respond(&world.view(), &message.to_vec().unwrap(), from.into(), Transport::Udp, world::NOW, &mut out);
        addresses(&Message::from_vec(&out).unwrap())
    };
    let plain = world::query("shop.example.com.", RecordType::A, None);
    assert_eq!(ask_from(&plain, [198, 51, 100, 7]), ["10.0.1.1"]);
    assert_eq!(ask_from(&plain, [127, 0, 0, 1]), ["10.0.2.1"], "nobody knows: where it has come to");
    let private = world::query("shop.example.com.", RecordType::A, Some("0.0.0.0/0"));
    assert_eq!(ask_from(&private, [198, 51, 100, 7]), ["10.0.1.1"]);
}

#[test]
fn what_is_not_there_comes_with_the_soa() {
    let view = World::default().view();
    for (name, kind, code) in [
        ("nothing.example.com.", RecordType::A, ResponseCode::NXDomain),
        ("a.b.c.example.com.", RecordType::A, ResponseCode::NXDomain),
        ("shop.example.com.", RecordType::AAAA, ResponseCode::NoError),
        ("shop.example.com.", RecordType::TXT, ResponseCode::NoError),
        ("example.com.", RecordType::A, ResponseCode::NoError),
        ("_tcp.shop.example.com.", RecordType::A, ResponseCode::NoError),
    ] {
        let reply = ask(&view, name, kind, None);
        assert_eq!(reply.metadata.response_code, code, "{name} {kind}");
        assert!(reply.answers.is_empty(), "{name}");
        assert_eq!(reply.authorities.len(), 1, "{name}");
        assert_eq!(reply.authorities[0].record_type(), RecordType::SOA);
        assert_eq!(reply.authorities[0].name.to_string(), "example.com.");
        assert!(reply.authorities[0].ttl <= 60);
    }
}

#[test]
fn what_is_not_ours_is_refused() {
    let view = World::default().view();
    for (name, kind) in [
        ("example.net.", RecordType::A),
        ("com.", RecordType::NS),
        (".", RecordType::NS),
        ("shop.example.com.", RecordType::AXFR),
        ("example.com.", RecordType::IXFR),
    ] {
        let reply = ask(&view, name, kind, None);
        assert_eq!(reply.metadata.response_code, ResponseCode::Refused, "{name} {kind}");
        assert!(!reply.metadata.authoritative);
    }
    let mut chaos = Message::query();
    let mut query = Query::query("version.bind.".parse().unwrap(), RecordType::TXT);
    query.set_query_class(DNSClass::CH);
    chaos.add_query(query);
    assert_eq!(world::send(&view, &chaos).metadata.response_code, ResponseCode::Refused);
}

#[test]
fn the_zone_has_an_apex_name_servers_and_services() {
    let view = World::default().view();
    let soa = ask(&view, "example.com.", RecordType::SOA, None);
    let RData::SOA(soa) = &soa.answers[0].data else { panic!("{soa:?}") };
    assert_eq!((soa.mname.to_string().as_str(), soa.serial), ("ns1.example.com.", 9));
    assert_eq!(soa.rname.to_string(), "hostmaster.example.com.");
    let ns = ask(&view, "example.com.", RecordType::NS, None);
    assert_eq!((ns.answers.len(), ns.additionals.len()), (1, 1), "with its address");
    let srv = ask(&view, "_http._tcp.shop.example.com.", RecordType::SRV, Some(WEST));
    let RData::SRV(data) = &srv.answers[0].data else { panic!("{srv:?}") };
    assert_eq!((data.port, data.target.to_string().as_str()), (8_081, "west.shop.example.com."));
    assert_eq!(srv.additionals.len(), 1);
    let named = ask(&view, "west.shop.example.com.", RecordType::A, Some(EAST));
    assert_eq!(addresses(&named), ["10.0.1.1"], "a region by its own name, for everybody");
    assert_eq!(subnet(&named).unwrap().scope_prefix(), 0);
}

#[test]
fn static_records_wildcards_aliases_and_delegations() {
    let view = World::default().view();
    assert_eq!(ask(&view, "example.com.", RecordType::TXT, None).answers.len(), 1);
    assert_eq!(ask(&view, "example.com.", RecordType::HTTPS, None).answers.len(), 1);
    let wild = ask(&view, "any.wild.example.com.", RecordType::A, None);
    assert_eq!(
        (addresses(&wild), wild.answers[0].name.to_string()),
        (vec!["10.9.9.9".to_owned()], "any.wild.example.com.".to_owned())
    );
    let alias = ask(&view, "www.example.com.", RecordType::A, Some(WEST));
    assert_eq!(alias.answers[0].record_type(), RecordType::CNAME);
    assert_eq!(addresses(&alias), ["10.0.1.1"], "through the alias to the client's region");
    assert_eq!(subnet(&alias).unwrap().scope_prefix(), 24);
    let outside = ask(&view, "blog.example.com.", RecordType::A, None);
    assert_eq!(outside.answers.len(), 1, "not ours to follow");
    let below = ask(&view, "x.sub.example.com.", RecordType::A, None);
    assert!(!below.metadata.authoritative && below.answers.is_empty());
    assert_eq!(below.authorities[0].record_type(), RecordType::NS);
    assert_eq!(below.additionals.len(), 1, "the glue");
    let circle = ask(&view, "one.example.com.", RecordType::A, None);
    assert_eq!(circle.metadata.response_code, ResponseCode::ServFail);
    let any = ask(&view, "www.example.com.", RecordType::ANY, None);
    assert_eq!(any.answers[0].record_type(), RecordType::HINFO);
}

#[test]
fn an_alias_at_the_apex_is_flattened() {
    let mut world = World::default();
    let apex = |world: &World, kind| ask(&world.view(), "apex.test.", kind, Some(WEST));
    assert_eq!(addresses(&apex(&world, RecordType::A)), ["10.0.1.1"], "to a service of ours");
    assert_eq!(apex(&world, RecordType::A).answers[0].record_type(), RecordType::A);
    let mx = apex(&world, RecordType::MX);
    assert_eq!((mx.metadata.response_code, mx.answers.len()), (ResponseCode::NoError, 0));
    world.apex = "lb.elsewhere.net.".to_owned();
    assert_eq!(addresses(&apex(&world, RecordType::A)), ["10.7.7.7"], "to what was resolved");
    world.apex = "unknown.elsewhere.net.".to_owned();
    assert_eq!(apex(&world, RecordType::A).metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn names_are_answered_in_the_case_in_which_they_were_asked() {
    let reply = ask(&World::default().view(), "sHoP.eXample.COM.", RecordType::A, Some(EAST));
    assert_eq!(reply.answers[0].name.to_ascii(), "sHoP.eXample.COM.");
    assert_eq!(reply.queries[0].name().to_ascii(), "sHoP.eXample.COM.");
}

#[test]
fn what_does_not_fit_is_truncated_over_udp_and_whole_over_tcp() {
    let view = World::default().view();
    let send = |transport, payload: Option<u16>| {
        let mut message = world::query("big.example.com.", RecordType::TXT, None);
        message.edns = payload.map(|payload| {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            edns
        });
        let mut out = Vec::new();
        respond(&view, &message.to_vec().unwrap(), [127, 0, 0, 1].into(), transport, world::NOW, &mut out);
        (out.len(), Message::from_vec(&out).unwrap())
    };
    let (length, reply) = send(Transport::Udp, None);
    assert!(length <= 512 && reply.metadata.truncation && reply.answers.is_empty());
    let (length, reply) = send(Transport::Udp, Some(4_096));
    assert!(length <= 1_232 && reply.metadata.truncation && reply.edns.is_some());
    let (length, reply) = send(Transport::Tcp, Some(4_096));
    assert!(length > 1_232 && !reply.metadata.truncation && reply.answers.len() == 30);
}

#[test]
fn edns_is_spoken_back() {
    let view = World::default().view();
    let with = |change: fn(&mut Edns)| {
        let mut message = world::query("shop.example.com.", RecordType::A, None);
        let mut edns = Edns::new();
        edns.set_max_payload(1_232);
        change(&mut edns);
        message.edns = Some(edns);
        world::send(&view, &message)
    };
    let asked = with(|edns| edns.options_mut().insert(EdnsOption::NSID(NSIDPayload::new([]).unwrap())));
    let nsid = asked.edns.as_ref().unwrap().option(EdnsCode::NSID).unwrap();
    assert_eq!(nsid, &EdnsOption::NSID(NSIDPayload::new(*b"node-1").unwrap()));
    assert!(with(|_| {}).edns.unwrap().option(EdnsCode::NSID).is_none(), "only to those who ask");
    let later = with(|edns| {
        edns.set_version(1);
    });
    assert_eq!(u16::from(later.metadata.response_code), 16, "BADVERS");
    let bad =
        [ClientSubnet::new([192, 0, 2, 1].into(), 24, 0), ClientSubnet::new([192, 0, 2, 0].into(), 24, 24)];
    for subnet in bad {
        let mut message = world::query("shop.example.com.", RecordType::A, None);
        let mut edns = Edns::new();
        edns.options_mut().insert(EdnsOption::Subnet(subnet));
        message.edns = Some(edns);
        // The last byte of a prefix is sent whole, so only bits within it can be wrong.
        let wrong = subnet.scope_prefix() > 0;
        let reply = world::send(&view, &message);
        assert_eq!(reply.metadata.response_code == ResponseCode::FormErr, wrong, "{subnet:?}");
    }
    let mut update = Message::new(1, hickory_proto::op::MessageType::Query, OpCode::Notify);
    update.add_query(Query::query("example.com.".parse().unwrap(), RecordType::SOA));
    assert_eq!(world::send(&view, &update).metadata.response_code, ResponseCode::NotImp);
}

#[test]
fn weights_share_clients_by_network() {
    let mut world = World { policy: "weighted:east=3,west=1".parse().unwrap(), ..World::default() };
    let view = world.view();
    let mut east = 0;
    for number in 0..=255_u8 {
        for block in 0..4_u8 {
            let network = format!("100.{block}.{number}.0/24");
            let reply = ask(&view, "shop.example.com.", RecordType::A, Some(&network));
            assert_eq!(subnet(&reply).unwrap().scope_prefix(), 24);
            east += usize::from(addresses(&reply) == ["10.0.0.1"]);
        }
    }
    assert!((700..840).contains(&east), "{east} of 1024");
    world.policy = "active-passive:south,east".parse().unwrap();
    assert_eq!(addresses(&ask(&world.view(), "shop.example.com.", RecordType::A, Some(EAST))), ["10.0.2.1"]);
}
