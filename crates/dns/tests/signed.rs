//! Signed zones: whatever is answered to those who want signatures can be verified, by the library's own verifier.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, RRSIG};
use hickory_proto::dnssec::{DigestType, Verifier};
use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use meridian_dns::dnssec::{Made, Signer};
use meridian_dns::{Transport, View, respond};
use meridian_steering::Verdict;
use proptest::prelude::*;
use std::sync::LazyLock;
use world::{KEY, NEXT, NOW, World, addresses};

const EAST: &str = "192.0.2.0/24";
const WEST: &str = "198.51.100.0/24";
const NXNAME: RecordType = RecordType::Unknown(128);
static VIEW: LazyLock<View> = LazyLock::new(|| World::signed(KEY).view());

/// A question by somebody who verifies.
#[derive(Clone, Copy, Debug)]
struct Asked<'a> {
    subnet: &'a str,
    compact: bool,
    transport: Transport,
    now_s: u64,
}

const USUAL: Asked<'_> = Asked { subnet: EAST, compact: false, transport: Transport::Udp, now_s: NOW };

impl Asked<'_> {
    fn ask(self, view: &View, name: &str, kind: RecordType) -> Message {
        let mut message = world::query(name, kind, None);
        let mut edns = Edns::new();
        edns.set_max_payload(1_232);
        edns.set_dnssec_ok(true);
        edns.flags_mut().z = if self.compact { 0x4000 } else { 0 };
        edns.options_mut().insert(EdnsOption::Subnet(self.subnet.parse::<ClientSubnet>().unwrap()));
        message.edns = Some(edns);
        let mut out = Vec::new();
        let (bytes, from) = (message.to_vec().unwrap(), [127, 0, 0, 1].into());
        respond(view, &bytes, from, self.transport, self.now_s, &mut out);
        assert!(self.transport == Transport::Tcp || out.len() <= 1_232, "{} bytes", out.len());
        Message::from_vec(&out).unwrap()
    }
}

fn ask(view: &View, name: &str, kind: RecordType) -> Message {
    USUAL.ask(view, name, kind)
}

fn data<'a, T>(
    records: &'a [Record],
    pick: impl Fn(&'a DNSSECRData) -> Option<&'a T>,
) -> Vec<(&'a Record, &'a T)> {
    let found = |record: &'a Record| match &record.data {
        RData::DNSSEC(data) => pick(data).map(|data| (record, data)),
        _ => None,
    };
    records.iter().filter_map(found).collect()
}

fn signatures(records: &[Record]) -> Vec<(&Record, &RRSIG)> {
    data(records, |data| match data {
        DNSSECRData::RRSIG(rrsig) => Some(rrsig),
        _ => None,
    })
}

fn keys(view: &View, zone: &Name) -> Vec<DNSKEY> {
    let reply = ask(view, &zone.to_ascii(), RecordType::DNSKEY);
    let found = data(&reply.answers, |data| match data {
        DNSSECRData::DNSKEY(key) => Some(key),
        _ => None,
    });
    found.into_iter().map(|(_, key)| key.clone()).collect()
}

/// The types that are said to be at a name.
fn denied(reply: &Message, name: &str) -> Vec<RecordType> {
    let found = data(&reply.authorities, |data| match data {
        DNSSECRData::NSEC(nsec) => Some(nsec),
        _ => None,
    });
    assert_eq!(found.len(), 1, "{reply}");
    let (record, nsec) = found[0];
    assert_eq!(record.name.to_string(), name);
    let next = record.name.to_lowercase().prepend_label([0_u8].as_slice()).unwrap();
    assert_eq!(nsec.next_domain_name(), &next, "nothing between");
    nsec.type_bit_maps().collect()
}

/// Every set is signed, every signature is right, lasts, and is over a set that is there.
fn verify(view: &View, reply: &Message, now_s: u64) {
    for (number, section) in [&reply.answers, &reply.authorities, &reply.additionals].into_iter().enumerate()
    {
        let signatures = signatures(section);
        let same =
            |record: &Record, of: &Record| record.name == of.name && record.record_type() == of.record_type();
        let plain = || section.iter().filter(|record| record.record_type() != RecordType::RRSIG);
        for record in plain() {
            let zone: Name = match record.name.to_lowercase().to_string() {
                name if name.ends_with("apex.test.") => "apex.test.",
                name if name.ends_with("child.example.com.") && record.record_type() != RecordType::DS => {
                    "child.example.com."
                }
                _ => "example.com.",
            }
            .parse()
            .unwrap();
            let covers = |rrsig: &RRSIG| rrsig.input().type_covered == record.record_type();
            let found: Vec<_> =
                signatures.iter().filter(|(at, rrsig)| at.name == record.name && covers(rrsig)).collect();
            if found.is_empty() {
                // Of a zone below there is only what leads to it.
                let below = ["sub.", "safe.", "child.", "ns.sub.", "ns.safe."]
                    .map(|cut| format!("{cut}example.com."));
                let name = record.name.to_string().to_lowercase();
                assert!(number > 0 && below.contains(&name), "{record} is not signed in {reply}");
                continue;
            }
            let keys = keys(view, &zone);
            for (at, rrsig) in found {
                let input = rrsig.input();
                assert_eq!((&input.signer_name, at.ttl, input.original_ttl), (&zone, record.ttl, record.ttl));
                let (begin, end) =
                    (u64::from(input.sig_inception.get()), u64::from(input.sig_expiration.get()));
                assert!(begin + 3_600 <= now_s && now_s + 4 * 86_400 < end && end <= now_s + 5 * 86_400);
                let key = keys.iter().find(|key| key.calculate_key_tag().unwrap() == input.key_tag).unwrap();
                let set = plain().filter(|other| same(other, record));
                key.verify_rrsig(&record.name, record.dns_class, rrsig, set).unwrap();
            }
        }
        for (at, rrsig) in signatures {
            let over = |record: &Record| {
                record.name == at.name && record.record_type() == rrsig.input().type_covered
            };
            assert!(plain().any(over), "{at} is over nothing in {reply}");
        }
    }
}

fn asked() -> impl Strategy<Value = Asked<'static>> {
    let subnet = prop_oneof![Just(EAST), Just(WEST), Just("203.0.113.0/24"), Just("100.64.0.0/16")];
    let transport = prop_oneof![Just(Transport::Udp), Just(Transport::Tcp)];
    (subnet, any::<bool>(), transport, 1_000_000_000_u64..4_000_000_000)
        .prop_map(|(subnet, compact, transport, now_s)| Asked { subnet, compact, transport, now_s })
}

fn names() -> impl Strategy<Value = String> {
    let known = prop_oneof![
        Just("example.com."),
        Just("shop.example.com."),
        Just("west.shop.example.com."),
        Just("_http._tcp.shop.example.com."),
        Just("_tcp.shop.example.com."),
        Just("www.example.com."),
        Just("blog.example.com."),
        Just("one.example.com."),
        Just("x.wild.example.com."),
        Just("*.wild.example.com."),
        Just("wild.example.com."),
        Just("sub.example.com."),
        Just("x.sub.example.com."),
        Just("safe.example.com."),
        Just("y.safe.example.com."),
        Just("big.example.com."),
        Just("mixed.example.com."),
        Just("empty.example.com."),
        Just("deep.empty.example.com."),
        Just("down.example.com."),
        Just("child.example.com."),
        Just("host.child.example.com."),
        Just("plain.example.com."),
        Just("apex.test."),
        Just("ns1.example.com."),
        Just("www.apex.test."),
    ];
    let random =
        "((\\*|[a-z0-9_][a-z0-9_-]{0,29})\\.){1,4}".prop_map(|labels| format!("{labels}example.com."));
    prop_oneof![3 => known.prop_map(str::to_owned), 1 => random]
}

fn kinds() -> impl Strategy<Value = RecordType> {
    use RecordType::{A, AAAA, ANY, CDNSKEY, CDS, CNAME, DNSKEY, DS, HTTPS, MX, NS, NSEC, SOA, SRV, TXT};
    let known = [A, AAAA, ANY, CDNSKEY, CDS, CNAME, DNSKEY, DS, HTTPS, MX, NS, NSEC, SOA, SRV, TXT];
    prop_oneof![5 => prop::sample::select(known.to_vec()), 1 => any::<u16>().prop_map(RecordType::from)]
}

proptest! {
    #[test]
    fn whatever_is_answered_verifies(name in names(), kind in kinds(), asked in asked(), lost in any::<[bool; 3]>(), upper in any::<bool>()) {
        let mut world = World::signed(KEY);
        for (region, _) in ["east", "west", "south"].into_iter().zip(lost).filter(|(_, lost)| *lost) {
            world.stand(region, Verdict::Lost);
        }
        let view = world.view();
        let name = if upper { name.to_ascii_uppercase() } else { name };
        let reply = asked.ask(&view, &name, kind);
        if kind != RecordType::RRSIG && !name.to_ascii_lowercase().ends_with("plain.example.com.") {
            verify(&view, &reply, asked.now_s);
        }
        let empty = reply.answers.is_empty() && reply.metadata.authoritative && !reply.metadata.truncation;
        let negative = matches!(reply.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
        if empty && negative && !name.to_ascii_lowercase().ends_with("plain.example.com.") {
            let kinds = denied(&reply, &name);
            prop_assert!(!kinds.contains(&kind) && !kinds.contains(&RecordType::CNAME), "{kinds:?}");
            let gone = kinds.contains(&NXNAME);
            let code = if gone && asked.compact { ResponseCode::NXDomain } else { ResponseCode::NoError };
            prop_assert_eq!(reply.metadata.response_code, code);
        }
    }
}

#[test]
fn geo_answers_are_signed_for_each_region() {
    for (subnet, address) in [(EAST, "10.0.0.1"), (WEST, "10.0.1.1")] {
        let reply = Asked { subnet, ..USUAL }.ask(&VIEW, "sHop.example.com.", RecordType::A);
        assert_eq!((addresses(&reply), signatures(&reply.answers).len()), (vec![address.to_owned()], 1));
        verify(&VIEW, &reply, NOW);
        let flat = Asked { subnet, ..USUAL }.ask(&VIEW, "apex.test.", RecordType::A);
        assert_eq!((addresses(&flat), signatures(&flat.answers).len()), (vec![address.to_owned()], 1));
        verify(&VIEW, &flat, NOW);
    }
}

#[test]
fn those_who_do_not_want_signatures_get_none() {
    for (name, kind) in [
        ("shop.example.com.", RecordType::A),
        ("nobody.example.com.", RecordType::A),
        ("shop.example.com.", RecordType::MX),
        ("safe.example.com.", RecordType::A),
        ("example.com.", RecordType::DNSKEY),
    ] {
        let (signed, plain) =
            (world::ask(&VIEW, name, kind, None), world::ask(&World::default().view(), name, kind, None));
        for section in [&signed.answers, &signed.authorities, &signed.additionals] {
            assert!(signatures(section).is_empty(), "{signed}");
        }
        if kind != RecordType::DNSKEY {
            assert_eq!(signed.answers, plain.answers);
            assert_eq!(signed.authorities, plain.authorities);
            assert_eq!(signed.metadata.response_code, plain.metadata.response_code);
        }
    }
}

#[test]
fn what_is_not_there_is_proved() {
    let nobody = ask(&VIEW, "nobody.example.com.", RecordType::A);
    assert_eq!(nobody.metadata.response_code, ResponseCode::NoError);
    assert_eq!(denied(&nobody, "nobody.example.com."), [RecordType::RRSIG, RecordType::NSEC, NXNAME]);
    let compact = Asked { compact: true, ..USUAL }.ask(&VIEW, "nobody.example.com.", RecordType::A);
    assert_eq!(compact.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(compact.edns.as_ref().unwrap().flags().z, 0x4000);
    let between = ask(&VIEW, "empty.example.com.", RecordType::A);
    assert_eq!(denied(&between, "empty.example.com."), [RecordType::RRSIG, RecordType::NSEC]);
    let service = denied(&ask(&VIEW, "shop.example.com.", RecordType::AAAA), "shop.example.com.");
    assert!(service.contains(&RecordType::A) && !service.contains(&RecordType::AAAA), "{service:?}");
    let flat = denied(&ask(&VIEW, "apex.test.", RecordType::MX), "apex.test.");
    assert!(flat.contains(&RecordType::A) && !flat.contains(&RecordType::CNAME), "{flat:?}");
    // One label less than what a name may have, so that nothing comes right behind it.
    let long = format!("{0}.{0}.{0}.{1}.example.com.", "x".repeat(61), "x".repeat(53));
    assert_eq!(long.len(), 252);
    assert_eq!(ask(&VIEW, &long, RecordType::A).metadata.response_code, ResponseCode::NoError);
    let longest = format!("x{long}");
    assert_eq!(ask(&VIEW, &longest, RecordType::A).metadata.response_code, ResponseCode::ServFail);
    assert_eq!(ask(&VIEW, "example.com.", NXNAME).metadata.response_code, ResponseCode::FormErr);
}

#[test]
fn cuts_say_how_the_zone_below_is_signed() {
    let has = |records: &[Record], kind| records.iter().any(|record| record.record_type() == kind);
    let safe = ask(&VIEW, "x.safe.example.com.", RecordType::A);
    assert!(!safe.metadata.authoritative && has(&safe.authorities, RecordType::DS), "{safe}");
    let sub = ask(&VIEW, "x.sub.example.com.", RecordType::A);
    assert_eq!(denied(&sub, "sub.example.com."), [RecordType::NS, RecordType::RRSIG, RecordType::NSEC]);
    // Zones that are served here too are vouched for by their keys.
    let child = ask(&VIEW, "child.example.com.", RecordType::DS);
    let found = data(&child.answers, |data| match data {
        DNSSECRData::DS(ds) => Some(ds),
        _ => None,
    });
    let name: Name = "child.example.com.".parse().unwrap();
    assert!(found[0].1.covers(&name, &keys(&VIEW, &name)[0]).unwrap());
    let plain = ask(&VIEW, "plain.example.com.", RecordType::DS);
    assert_eq!(denied(&plain, "plain.example.com."), [RecordType::NS, RecordType::RRSIG, RecordType::NSEC]);
    for reply in [&safe, &sub, &child, &plain] {
        verify(&VIEW, reply, NOW);
    }
    assert!(signatures(&ask(&VIEW, "host.plain.example.com.", RecordType::A).answers).is_empty());
}

#[test]
fn who_asks_for_proofs_gets_them() {
    let nsec = world::ask(&VIEW, "www.example.com.", RecordType::NSEC, None);
    assert_eq!(nsec.answers.len(), 1);
    let rrsig = world::ask(&VIEW, "www.example.com.", RecordType::RRSIG, None);
    assert_eq!((rrsig.answers.len(), signatures(&rrsig.answers).len()), (1, 1));
    let unsigned = world::ask(&World::default().view(), "www.example.com.", RecordType::NSEC, None);
    assert_eq!(unsigned.answers[0].record_type(), RecordType::CNAME, "as any type");
}

#[test]
fn signatures_are_made_once_and_never_served_late() {
    let view = World::signed(KEY).view();
    let made = || {
        view.zones.signers().map(Signer::made).fold(Made::default(), |sum, made| Made {
            signed: sum.signed + made.signed,
            found: sum.found + made.found,
        })
    };
    for name in ["shop.example.com.", "SHOP.example.com."] {
        ask(&view, name, RecordType::A);
    }
    assert_eq!(made(), Made { signed: 1, found: 1 });
    for day in 0..10 {
        let now_s = NOW + day * 86_400;
        verify(&view, &Asked { now_s, ..USUAL }.ask(&view, "shop.example.com.", RecordType::A), now_s);
    }
}

#[test]
fn a_flood_of_made_up_names_is_sent_to_streams_and_what_is_known_is_answered() {
    let view = World::signed(KEY).view();
    let known = ask(&view, "shop.example.com.", RecordType::A);
    let flood = (0..6_000).map(|name| ask(&view, &format!("x{name}.example.com."), RecordType::A));
    let withheld: Vec<Message> = flood.filter(|reply| reply.metadata.truncation).collect();
    assert!((900..1_100).contains(&withheld.len()), "{} were withheld", withheld.len());
    for reply in &withheld {
        assert_eq!((reply.answers.len(), reply.authorities.len()), (0, 0));
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    }
    assert_eq!(ask(&view, "shop.example.com.", RecordType::A).answers, known.answers);
    let stream = Asked { transport: Transport::Tcp, ..USUAL };
    let proved = stream.ask(&view, "x5999.example.com.", RecordType::A);
    assert!(denied(&proved, "x5999.example.com.").contains(&NXNAME));
    let later = Asked { now_s: NOW + 1, ..USUAL }.ask(&view, "y.example.com.", RecordType::A);
    assert!(!later.metadata.truncation);
}

#[test]
fn all_keys_are_published_and_the_first_one_signs() {
    let view = World::signed(&format!("{NEXT}{KEY}")).view();
    let name: Name = "example.com.".parse().unwrap();
    let keys = keys(&view, &name);
    let tags: Vec<u16> = keys.iter().map(|key| key.calculate_key_tag().unwrap()).collect();
    let published = ask(&view, "example.com.", RecordType::DNSKEY);
    let by: Vec<u16> =
        signatures(&published.answers).iter().map(|(_, rrsig)| rrsig.input().key_tag).collect();
    assert_eq!((tags.len(), &by), (2, &tags), "each vouches for both");
    verify(&view, &published, NOW);
    let answer = ask(&view, "shop.example.com.", RecordType::A);
    assert_eq!(signatures(&answer.answers)[0].1.input().key_tag, tags[0]);
    let first = &view.zones.signers().next().unwrap().keys()[0];
    assert_eq!(first, &RData::DNSSEC(DNSSECRData::DNSKEY(keys[0].clone())));
    // What the parent is to have.
    for (kind, count) in [(RecordType::CDS, 2), (RecordType::CDNSKEY, 2)] {
        let reply = ask(&view, "example.com.", kind);
        assert_eq!(reply.answers.len(), count + 1);
        verify(&view, &reply, NOW);
    }
    let ds = DS::from_key(keys[0].public_key(), &name, DigestType::SHA256).unwrap();
    let signer = view.zones.signers().find(|signer| *signer.zone() == name).unwrap();
    assert_eq!(signer.delegations()[0], RData::DNSSEC(DNSSECRData::DS(ds)));
    assert!(!format!("{signer:?}").contains("secret"));
}

#[test]
fn what_does_not_fit_is_truncated() {
    let short = ask(&VIEW, "big.example.com.", RecordType::TXT);
    assert!(short.metadata.truncation && short.answers.is_empty());
    let whole = Asked { transport: Transport::Tcp, ..USUAL }.ask(&VIEW, "big.example.com.", RecordType::TXT);
    assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 31));
    verify(&VIEW, &whole, NOW);
}

#[test]
fn keys_that_cannot_be_used_are_named() {
    let error = |pem: &str| {
        Signer::from_pem(&"example.com.".parse().unwrap(), pem.as_bytes()).unwrap_err().to_string()
    };
    assert!(error("").contains("no private key"));
    assert!(error("-----BEGIN PRIVATE KEY-----\n???\n-----END PRIVATE KEY-----\n").contains("not PEM"));
    let wrong = [
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIPEfEo3iZ+U7hMlgq0nxq2BwYWTSyLNK1CZG4Py/nnou\n-----END PRIVATE KEY-----\n",
        "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEILRHiTMWIFsn7L80C9fRj+L9ruZYYJy0Rd0S1TOQTy5KoAoGCCqGSM49\nAwEHoUQDQgAE7GsQX27U14YIH7MkIraqHkhT1ZZv7lymHtlv79JV/0NiTV+AAkCB\nVXTQsir2sjO2rhAXQh+7p5Dpg9eiBW7PuQ==\n-----END EC PRIVATE KEY-----\n",
    ];
    for pem in wrong {
        assert!(
            error(&format!("{KEY}{pem}")).contains("key 2 is not an ECDSA key on P-256 in PKCS#8"),
            "{}",
            error(pem)
        );
    }
    assert!(error(&format!("{KEY}{NEXT}{KEY}")).contains("keys 1 and 3 have the same tag"));
}
