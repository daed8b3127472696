//! `docs/reference/configuration.md` lists every key of a node's configuration with its default, and no other.

use super::page::{first_word, sections};
use super::{none, tree};
use meridian::config::{
    AddressSection, AdminSection, AnycastSection, AuthSection, CertificateSection, ClusterSection,
    DnsSection, EdgeSection, ListenSection, LogSection, NameServerSection, NetworkSection, NodeConfig,
    NodeSection, PeerNode, RedisSection, RegionSection, ReplicationSection, Secret, StoreSection, TlsSection,
    ZoneFileSection, ZoneKeySection,
};
use meridian_types::policy::DEFAULT_GROUPS;
use meridian_types::{ConflictRule, Failback, NodeId, OnRegionLoss, Pattern, Policy, Replication, Span};
use std::collections::BTreeMap;
use toml::{Table, Value};

const PAGE: &str = "docs/reference/configuration.md";

/// A configuration with every key. A field that is added to a type must be added here too, or this does not compile.
fn everything() -> NodeConfig {
    let region = || "r".parse().unwrap();
    NodeConfig {
        node: NodeSection {
            id: "n".parse().unwrap(),
            number: NodeId(1),
            region: region(),
            zone: "z".parse().unwrap(),
            data_dir: "d".into(),
        },
        listen: ListenSection::default(),
        tls: Some(TlsSection { ca: "ca".into(), cert: "cert".into(), key: "key".into() }),
        cluster: ClusterSection {
            name: "c".to_owned(),
            witness: Some(region()),
            joins: true,
            nodes: vec![PeerNode {
                id: "n".parse().unwrap(),
                number: NodeId(1),
                region: region(),
                zone: "z".parse().unwrap(),
                peer: "h:1".to_owned(),
            }],
        },
        auth: AuthSection { bootstrap_credentials: Some("f".into()), ..AuthSection::default() },
        redis: RedisSection::default(),
        admin: AdminSection { token: Some(Secret::new("t".to_owned())) },
        replication: ReplicationSection::default(),
        store: StoreSection::default(),
        dns: DnsSection {
            database: Some("g".into()),
            name_servers: vec![NameServerSection { name: "ns".to_owned(), addresses: vec![] }],
            networks: vec![NetworkSection { region: region(), networks: vec![] }],
            regions: vec![RegionSection {
                name: region(),
                addresses: vec![[192, 0, 2, 1].into()],
                location: Some("1, 2".to_owned()),
            }],
            zone_files: vec![ZoneFileSection { zone: "a.b".parse().unwrap(), file: "z".into() }],
            zone_keys: vec![ZoneKeySection { zone: "a.b".parse().unwrap(), file: "k".into() }],
            ..DnsSection::default()
        },
        anycast: AnycastSection {
            peers: vec!["192.0.2.1:179".parse().unwrap()],
            router_id: Some([192, 0, 2, 1].into()),
            next_hop: Some([192, 0, 2, 1].into()),
            next_hop_v6: Some("2001:db8::1".parse().unwrap()),
            addresses: vec![AddressSection {
                network: "192.0.2.53/32".parse().unwrap(),
                services: vec!["s".parse().unwrap()],
            }],
            ..AnycastSection::default()
        },
        edge: EdgeSection {
            backend_ca: Some("e".into()),
            certificates: vec![CertificateSection { cert: "c".into(), key: "k".into() }],
            ..EdgeSection::default()
        },
        log: LogSection::default(),
        policies: vec![Policy {
            name: "p".parse().unwrap(),
            pattern: Pattern::ActiveActive,
            replication: Replication::Async,
            regions: vec![region()],
            primary: vec![region()],
            witness: Some(region()),
            groups: DEFAULT_GROUPS,
            on_region_loss: Some(OnRegionLoss::Block),
            conflict: Some(ConflictRule::Lww),
            auto_failover: true,
            failover_after: Some(Span::from_millis(1)),
            max_lag: Some(Span::from_millis(1)),
            failback: Some(Failback::Manual),
        }],
    }
}

/// What a file that says only what it must leaves to defaults.
const LEAST: &str = "[node]\nid='n'\nnumber=1\nregion='r'\nzone='z'\ndata_dir='d'\n[cluster]\nname='c'\n\
    nodes=[{id='n',number=1,region='r',zone='z',peer='h:1'}]\n\
    [[policy]]\nname='p'\npattern='active-passive'\nreplication='async'\nregions=['r']\n";
/// The keys that it says.
const SAID: [&str; 16] = [
    "[node] id",
    "[node] number",
    "[node] region",
    "[node] zone",
    "[node] data_dir",
    "[cluster] name",
    "[[cluster.nodes]] id",
    "[[cluster.nodes]] number",
    "[[cluster.nodes]] region",
    "[[cluster.nodes]] zone",
    "[[cluster.nodes]] peer",
    "[[policy]] name",
    "[[policy]] pattern",
    "[[policy]] replication",
    "[[policy]] regions",
    "[[policy]] primary",
];

/// Every key as `[section] key`, with its value as the file would write it.
fn keys(table: &Table) -> BTreeMap<String, String> {
    fn walk(table: &Table, path: &str, heading: &str, keys: &mut BTreeMap<String, String>) {
        for (key, value) in table {
            let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match value {
                Value::Table(table) => walk(table, &inner, &format!("[{inner}]"), keys),
                Value::Array(list) if list.iter().any(Value::is_table) => {
                    for table in list.iter().filter_map(Value::as_table) {
                        walk(table, &inner, &format!("[[{inner}]]"), keys);
                    }
                }
                value => _ = keys.insert(format!("{heading} {key}"), value.to_string()),
            }
        }
    }
    let mut keys = BTreeMap::new();
    walk(table, "", "", &mut keys);
    keys
}

/// What the page lacks, and what it makes up.
fn findings(keys: &BTreeMap<String, String>, defaults: &BTreeMap<String, String>, text: &str) -> Vec<String> {
    let sections = sections(text);
    let mut findings = Vec::new();
    for key in keys.keys() {
        let (heading, name) = key.rsplit_once(' ').unwrap();
        let section = sections.iter().find(|section| section.title == format!("`{heading}`"));
        match section.map(|section| section.row(name)) {
            None => findings.push(format!("no section `{heading}`")),
            Some(None) => findings.push(format!("no row for {key}")),
            Some(Some(row)) => {
                if let Some(default) =
                    defaults.get(key).filter(|default| !row.contains(&format!("`{default}`")))
                {
                    findings.push(format!("the row of {key} lacks its default, `{default}`"));
                }
            }
        }
    }
    for section in sections.iter().filter(|section| section.title.starts_with("`[")) {
        let heading = section.title.trim_matches('`');
        let made_up = section.rows().map(|(code, _)| format!("{heading} {}", first_word(code)));
        findings
            .extend(made_up.filter(|key| !keys.contains_key(key)).map(|key| format!("there is no {key}")));
    }
    findings
}

fn real_keys() -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let least = NodeConfig::parse(std::path::Path::new("node.toml"), LEAST, std::iter::empty()).unwrap();
    let mut defaults = keys(&Table::try_from(&least).unwrap());
    defaults.retain(|key, _| !SAID.contains(&key.as_str()));
    (keys(&Table::try_from(everything()).unwrap()), defaults)
}

#[test]
fn the_reference_is_the_configuration() {
    let (keys, defaults) = real_keys();
    assert_eq!(defaults["[store] min_free"], "\"64MiB\"");
    none(&findings(&keys, &defaults, tree().get(PAGE).unwrap()));
}

#[test]
fn what_the_reference_lacks_or_makes_up_is_found() {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let keys = map(&[("[a] x", "1"), ("[[b.c]] y", "2")]);
    let check = |text: &str| findings(&keys, &map(&[("[a] x", "1")]), text);
    let good = "## `[a]`\n| `x` | `1` |\n### `[[b.c]]`\n| `y` | required |\n";
    assert_eq!(check(good), Vec::<String>::new());
    assert_eq!(check(&good.replace("`1`", "`2`")), ["the row of [a] x lacks its default, `1`"]);
    assert_eq!(check(&good.replace("| `y` | required |\n", "")), ["no row for [[b.c]] y"]);
    assert_eq!(check(&good.replace("| `y`", "| `z` | |\n| `y`")), ["there is no [[b.c]] z"]);
    assert_eq!(check(&good.replace("[[b.c]]", "other")), ["no section `[[b.c]]`"]);
}
