//! Good configurations and overrides. The table of refused ones is in `tests/config_errors.rs`.

use super::*;
use std::time::Duration;

const ONE_NODE: &str = r#"
[node]
id = "n1"
number = 1
region = "us-east-1"
zone = "a"
data_dir = "data"

[cluster]
name = "test"
nodes = [{ id = "n1", number = 1, region = "us-east-1", zone = "a", peer = "127.0.0.1:8005" }]
"#;

fn parse(text: &str, vars: &[(&str, &str)]) -> Result<NodeConfig, ConfigError> {
    let vars = vars.iter().map(|&(k, v)| (k.to_owned(), v.to_owned()));
    NodeConfig::parse(Path::new("/etc/meridian/node.toml"), text, vars)
}

#[test]
fn a_minimal_file_gets_defaults_and_absolute_paths() {
    let config = parse(ONE_NODE, &[]).unwrap();
    assert_eq!(config.node.data_dir, Path::new("/etc/meridian/data"));
    assert_eq!(config.listen, ListenSection::loopback(8000).unwrap());
    assert_eq!(config.auth.mode, AuthMode::Sigv4);
    assert_eq!(config.all_policies().len(), 7);
}

#[test]
fn what_is_written_reads_back_the_same() {
    let mut config = parse(ONE_NODE, &[]).unwrap();
    config.admin.token = Some(Secret::new("0123456789abcdef".to_owned()));
    config.store.min_free = "3MiB".parse().unwrap();
    config.replication.heartbeat_interval = Duration::from_millis(75);
    config.policies.push(
        toml::from_str("name='p'\npattern='active-passive'\nreplication='async'\nregions=['us-east-1']")
            .unwrap(),
    );
    let text = toml::to_string(&config).unwrap();
    assert_eq!(parse(&text, &[]).unwrap(), config, "{text}");
}

#[test]
fn every_kind_of_field_can_be_overridden() {
    let policy = "[[policy]]\nname='p'\npattern='active-passive'\nreplication='async'\nregions=['us-east-1']";
    let vars = [
        ("MERIDIAN_ENDPOINT", "not a field"),
        ("HOME", "/root"),
        ("MERIDIAN_LISTEN__DYNAMODB", "127.0.0.1:9000"),
        ("MERIDIAN_REPLICATION__HEARTBEAT_INTERVAL", "50ms"),
        ("MERIDIAN_STORE__MIN_FREE", "1GiB"),
        ("MERIDIAN_ADMIN__TOKEN", "12345678901234567890"),
        ("MERIDIAN_POLICY__0__GROUPS", "8"),
        ("MERIDIAN_CLUSTER__NODES__0__PEER", "db.example:1"),
        ("MERIDIAN_POLICY__0__PRIMARY", "['us-east-1']"),
        ("MERIDIAN_TLS__CA", "ca.pem"),
        ("MERIDIAN_TLS__CERT", "/c.pem"),
        ("MERIDIAN_TLS__KEY", "k.pem"),
    ];
    let config = parse(&format!("{ONE_NODE}{policy}"), &vars).unwrap();
    assert_eq!(config.listen.dynamodb.port(), 9000);
    assert_eq!(config.replication.heartbeat_interval, Duration::from_millis(50));
    assert_eq!(config.store.min_free.0, 1 << 30);
    assert_eq!(config.admin.token.unwrap().expose(), "12345678901234567890");
    assert_eq!(config.policies[0].groups, 8);
    assert_eq!(config.policies[0].primary.len(), 1);
    assert_eq!(config.cluster.nodes[0].peer, "db.example:1");
    assert_eq!(config.tls.unwrap().ca, Path::new("/etc/meridian/ca.pem"));
}

#[test]
fn the_order_of_regions_is_the_order_of_nodes_less_the_witness() {
    let nodes = r#"witness = "w"
        nodes = [
        { id = "n1", number = 1, region = "us-east-1", zone = "a", peer = "h:1" },
        { id = "n2", number = 2, region = "w", zone = "a", peer = "[::1]:2" },
        { id = "n3", number = 3, region = "b", zone = "a", peer = "h:3" },
        { id = "n4", number = 4, region = "us-east-1", zone = "b", peer = "h:4" }]
        [tls]
        ca = "ca"
        cert = "cert"
        key = "key""#;
    let (head, _) = ONE_NODE.split_once("nodes =").unwrap();
    let config = parse(&format!("{head}{nodes}"), &[]).unwrap();
    let names = |regions: Vec<meridian_types::RegionName>| {
        regions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(config.cluster.all_regions()), "us-east-1 w b");
    assert_eq!(names(config.cluster.data_regions()), "us-east-1 b");
    let sync = &config.all_policies()[0];
    assert_eq!(sync.witness.as_ref().map(meridian_types::RegionName::as_str), Some("w"));
}
