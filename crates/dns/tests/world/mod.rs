//! Three regions, one service, and a zone file with one of everything.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a test fails by panicking; not every test uses everything"
)]

use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RecordType};
use meridian_dns::dnssec::Signer;
use meridian_dns::geo::{Locator, Networks};
use meridian_dns::zone::{Endpoint, NameServer, Place, Served, Settings, ZoneFile, build};
use meridian_dns::{Transport, View, respond};
use meridian_steering::{Steering, Verdict};
use meridian_types::service::Scheme;
use meridian_types::{RegionName, ServicePolicy};
use std::collections::BTreeMap;
use std::sync::Arc;

const REGIONS: [&str; 3] = ["east", "west", "south"];
/// What the signed zones are signed with.
pub(crate) const KEY: &str = include_str!("../data/zone.pem");
/// Another key.
pub(crate) const NEXT: &str = include_str!("../data/next.pem");
/// The moment of every question that names no other.
pub(crate) const NOW: u64 = 1_800_000_000;
const FILE: &str = r#"
$TTL 300
@ IN TXT "hello"
@ IN HTTPS 1 . alpn=h2
*.wild IN A 10.9.9.9
www IN CNAME shop
blog IN CNAME elsewhere.example.net.
one IN CNAME two
two IN CNAME one
sub IN NS ns.sub
ns.sub IN A 10.8.8.8
safe IN NS ns.safe
safe IN DS 4711 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
ns.safe IN A 10.8.8.9
mixed 60 IN MX 10 _B.example.com.
mixed 30 IN MX 10 _a.EXAMPLE.com.
deep.empty IN TXT "below nothing"
down IN CNAME host.child
"#;

pub(crate) struct World {
    pub(crate) verdicts: BTreeMap<RegionName, Verdict>,
    pub(crate) policy: ServicePolicy,
    pub(crate) apex: String,
    /// The keys of every zone but one; empty for zones without signatures.
    pub(crate) keys: String,
}

impl Default for World {
    fn default() -> Self {
        let verdicts = REGIONS.map(|name| (region(name), Verdict::Healthy)).into();
        Self {
            verdicts,
            policy: ServicePolicy::Nearest,
            apex: "shop.example.com.".to_owned(),
            keys: String::new(),
        }
    }
}

fn region(name: &str) -> RegionName {
    RegionName::new(name).unwrap()
}

impl World {
    pub(crate) fn stand(&mut self, name: &str, verdict: Verdict) {
        self.verdicts.insert(region(name), verdict);
    }

    /// Everything is signed with the first of these keys.
    pub(crate) fn signed(keys: &str) -> Self {
        Self { keys: keys.to_owned(), ..Self::default() }
    }

    fn signers(&self) -> Vec<Arc<Signer>> {
        let zones = ["example.com.", "apex.test.", "child.example.com."].into_iter();
        let zones = zones.filter(|_| !self.keys.is_empty());
        let signer = |zone: &str| Signer::from_pem(&zone.parse().unwrap(), self.keys.as_bytes()).unwrap();
        zones.map(|zone| Arc::new(signer(zone))).collect()
    }

    pub(crate) fn view(&self) -> View {
        let trips = |to: [u32; 3]| REGIONS.map(region).into_iter().zip(to).collect::<BTreeMap<_, _>>();
        let distances = [
            (region("east"), trips([0, 80, 200])),
            (region("west"), trips([80, 0, 60])),
            (region("south"), trips([200, 60, 0])),
        ];
        let places = (0_u8..).zip(REGIONS).map(|(number, name)| {
            let endpoint = Endpoint {
                addresses: vec![[10, 0, number, 1].into()],
                name: None,
                port: 8_080 + u16::from(number),
                scheme: Scheme::Http,
            };
            (region(name), Place { endpoints: vec![endpoint], edge: vec![] })
        });
        let served = Served {
            hosts: vec!["shop.example.com.".parse().unwrap()],
            ttl: 7,
            steering: Steering::of(&self.policy),
            verdicts: self.verdicts.clone(),
            places: places.collect(),
            distances: Arc::new(distances.into()),
        };
        let relative = |label: &str| {
            let mut name: Name = label.parse().unwrap();
            name.set_fqdn(false);
            name
        };
        let settings = Settings {
            name_servers: vec![NameServer { name: relative("ns1"), addresses: vec![[10, 0, 0, 53].into()] }],
            contact: relative("hostmaster"),
            serial: 9,
            origins: vec![],
            signers: self.signers(),
            resolved: Arc::new([("lb.elsewhere.net.".parse().unwrap(), vec![[10, 7, 7, 7].into()])].into()),
        };
        let big: String = (0..30).map(|n| format!("big IN TXT \"{n:0>60}\"\n")).collect();
        let files = [
            ZoneFile::parse(&"example.com.".parse().unwrap(), &format!("{FILE}{big}")).unwrap(),
            ZoneFile::parse(&"apex.test.".parse().unwrap(), &format!("@ 60 IN CNAME {}", self.apex)).unwrap(),
            ZoneFile::parse(&"child.example.com.".parse().unwrap(), "host 60 IN A 10.7.0.1\n").unwrap(),
            ZoneFile::parse(&"plain.example.com.".parse().unwrap(), "host 60 IN A 10.7.0.2\n").unwrap(),
        ];
        let networks = ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"].into_iter().zip(REGIONS);
        View {
            zones: build(&settings, &files, &[Arc::new(served)]),
            locator: Locator {
                networks: Networks::new(networks.map(|(net, name)| (net.parse().unwrap(), region(name)))),
                here: Some(region("south")),
                ..Locator::default()
            },
            nsid: b"node-1".to_vec(),
        }
    }
}

pub(crate) fn query(name: &str, kind: RecordType, subnet: Option<&str>) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    if let Some(subnet) = subnet {
        let mut edns = Edns::new();
        edns.options_mut().insert(EdnsOption::Subnet(subnet.parse::<ClientSubnet>().unwrap()));
        message.edns = Some(edns);
    }
    message
}

pub(crate) fn send(view: &View, message: &Message) -> Message {
    let mut out = Vec::new();
    let bytes = message.to_vec().unwrap();
    respond(view, &bytes, [127, 0, 0, 1].into(), Transport::Udp, NOW, &mut out);
    let reply = Message::from_vec(&out).unwrap();
    assert_eq!(reply.metadata.id, message.metadata.id);
    reply
}

pub(crate) fn ask(view: &View, name: &str, kind: RecordType, subnet: Option<&str>) -> Message {
    send(view, &query(name, kind, subnet.or(Some("192.0.2.0/24"))))
}

pub(crate) fn addresses(reply: &Message) -> Vec<String> {
    reply.answers.iter().filter_map(|record| record.data.ip_addr()).map(|ip| ip.to_string()).collect()
}

pub(crate) fn subnet(reply: &Message) -> Option<ClientSubnet> {
    match reply.edns.as_ref()?.option(EdnsCode::Subnet) {
        Some(EdnsOption::Subnet(subnet)) => Some(*subnet),
        _ => None,
    }
}
