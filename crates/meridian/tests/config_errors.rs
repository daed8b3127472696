//! Malformed node configurations, each with the exact message that it is refused with.

use meridian::config::NodeConfig;
use std::path::Path;

const GOOD: &str = r#"[node]
id = "n1"
number = 1
region = "us"
zone = "a"
data_dir = "data"

[listen]
dynamodb = "127.0.0.1:9000"

[tls]
ca = "ca.pem"
cert = "n1.pem"
key = "n1-key.pem"

[cluster]
name = "test"
nodes = [
  { id = "n1", number = 1, region = "us", zone = "a", peer = "127.0.0.1:8005" },
  { id = "n2", number = 2, region = "eu", zone = "a", peer = "127.0.0.1:8105" },
  { id = "n3", number = 3, region = "ap", zone = "a", peer = "127.0.0.1:8205" },
]

[auth]
mode = "sigv4"

[admin]

[replication]
heartbeat_interval = "200ms"

[store]
min_free = "64MiB"

[[policy]]
name = "eu-profiles"
pattern = "active-passive"
replication = "semi-sync"
regions = ["eu", "us", "ap"]
primary = ["eu"]
groups = 4
"#;

fn error(text: &str, vars: &[(&str, &str)]) -> Option<String> {
    let vars = vars.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    NodeConfig::parse(Path::new("node.toml"), text, vars).err().map(|error| error.to_string())
}

#[test]
fn the_base_of_the_table_is_valid() {
    assert_eq!(error(GOOD, &[]), None);
}

/// A change to the good configuration, and what it is answered with.
const CHANGES: &[(&str, &str, &str)] = &[
    // The shape of the file.
    ("[node]", "[node", "node.toml:1:6: unclosed table, expected `]`"),
    ("id = \"n1\"\n", "", "node.toml:1:1: missing field `id`"),
    (
        "id = \"n1\"\n",
        "id = \"n1\"\nname = \"x\"\n",
        "node.toml:3:1: unknown field `name`, expected one of `id`, `number`, `region`, `zone`, `data_dir`",
    ),
    ("id = \"n1\"\n", "id = \"n1\"\nid = \"n1\"\n", "node.toml:3:1: duplicate key"),
    (
        "id = \"n1\"\n",
        "id = \"N1\"\n",
        "node.toml:2:6: node name \"N1\" is not valid: it must be 1 to 127 characters of a-z, 0-9 and -",
    ),
    ("id = \"n1\"\n", "id = 7\n", "node.toml:2:6: invalid type: integer `7`, expected a string"),
    ("number = 1\n", "number = -1\n", "node.toml:3:10: invalid value: integer `-1`, expected u64"),
    ("number = 1\n", "number = \"1\"\n", "node.toml:3:10: invalid type: string \"1\", expected u64"),
    (
        "region = \"us\"\n",
        "region = \"\"\n",
        "node.toml:4:10: region name \"\" is not valid: it must be 1 to 63 characters of a-z, 0-9 and -",
    ),
    (
        "zone = \"a\"\n",
        "zone = \"a b\"\n",
        "node.toml:5:8: zone name \"a b\" is not valid: it must be 1 to 63 characters of a-z, 0-9 and -",
    ),
    (
        "[store]",
        "[disk]",
        "node.toml:32:2: unknown field `disk`, expected one of `node`, `listen`, `tls`, `cluster`, `auth`, `redis`, `admin`, `replication`, `store`, `dns`, `anycast`, `edge`, `log`, `policy`",
    ),
    (
        "dynamodb = \"127.0.0.1:9000\"",
        "dynamodb = \"localhost:9000\"",
        "node.toml:9:12: invalid socket address syntax",
    ),
    (
        "dynamodb = \"127.0.0.1:9000\"",
        "http = \"127.0.0.1:9000\"",
        "node.toml:9:1: unknown field `http`, expected one of `dynamodb`, `admin`, `redis`, `edge`, `dns`, `peer`",
    ),
    ("cert = \"n1.pem\"\n", "", "node.toml:11:1: missing field `cert`"),
    (
        "mode = \"sigv4\"",
        "mode = \"basic\"",
        "node.toml:25:8: unknown variant `basic`, expected `sigv4` or `none`",
    ),
    (
        "\"200ms\"",
        "\"200\"",
        "node.toml:30:22: \"200\" is not a duration; write a number and a unit, such as \"300ms\", \"5s\" or \"2m\"",
    ),
    ("\"200ms\"", "200", "node.toml:30:22: invalid type: integer `200`, expected a string"),
    (
        "\"64MiB\"",
        "\"64MB\"",
        "node.toml:33:12: \"64MB\" is not a size; write a whole number and a unit, such as \"512KiB\", \"64MiB\" or \"2GiB\"",
    ),
    (
        "\"active-passive\"",
        "\"active\"",
        "node.toml:37:11: unknown variant `active`, expected one of `active-passive`, `active-active`, `read-local`",
    ),
    (
        "groups = 4",
        "gruops = 4",
        "node.toml:41:1: unknown field `gruops`, expected one of `name`, `pattern`, `replication`, `regions`, `primary`, `witness`, `groups`, `on_region_loss`, `conflict`, `auto_failover`, `failover_after`, `max_lag`, `failback`",
    ),
    // What values mean together.
    ("id = \"n1\"\n", "id = \"n9\"\n", "node.toml: node.id n9 is not in cluster.nodes; add it there"),
    (
        "number = 1\n",
        "number = 2\n",
        "node.toml: node.number is 2, but cluster.nodes says 1 for n1; make them agree",
    ),
    (
        "region = \"us\"\n",
        "region = \"eu\"\n",
        "node.toml: node.region is eu, but cluster.nodes says us for n1; make them agree",
    ),
    (
        "zone = \"a\"\n",
        "zone = \"b\"\n",
        "node.toml: node.zone is b, but cluster.nodes says a for n1; make them agree",
    ),
    ("data_dir = \"data\"", "data_dir = \"\"", "node.toml: node.data_dir is empty; name a folder"),
    (
        "dynamodb = \"127.0.0.1:9000\"",
        "dynamodb = \"127.0.0.1:0\"",
        "node.toml: listen.dynamodb has port 0; name a port",
    ),
    (
        "dynamodb = \"127.0.0.1:9000\"",
        "dynamodb = \"127.0.0.1:8001\"",
        "node.toml: listen.dynamodb and listen.admin are both 127.0.0.1:8001; give each its own port",
    ),
    (
        "dynamodb =",
        "admin = \"0.0.0.0:8001\"\ndynamodb =",
        "node.toml: listen.admin 0.0.0.0:8001 is not loopback, so admin.token is required; set one",
    ),
    (
        "[admin]",
        "[admin]\ntoken = \"short\"",
        "node.toml: admin.token must be at least 16 printable ASCII characters without spaces",
    ),
    (
        "[admin]",
        "[admin]\ntoken = \"sixteen and a gap\"",
        "node.toml: admin.token must be at least 16 printable ASCII characters without spaces",
    ),
    (
        "mode = \"sigv4\"",
        "mode = \"none\"\n[log]\n[listen2]",
        "node.toml:27:2: unknown field `listen2`, expected one of `node`, `listen`, `tls`, `cluster`, `auth`, `redis`, `admin`, `replication`, `store`, `dns`, `anycast`, `edge`, `log`, `policy`",
    ),
    (
        "name = \"test\"",
        "name = \"My Cluster\"",
        "node.toml: cluster.name \"My Cluster\" must be 1 to 63 characters of a-z, 0-9 and -",
    ),
    (
        "id = \"n3\", number = 3",
        "id = \"n2\", number = 3",
        "node.toml: cluster.nodes lists n2 twice; remove one",
    ),
    (
        "id = \"n3\", number = 3",
        "id = \"n3\", number = 2",
        "node.toml: cluster.nodes: n2 and n3 both have number 2; give each its own",
    ),
    (
        "id = \"n3\", number = 3",
        "id = \"n3\", number = 0",
        "node.toml: cluster.nodes: n3 has number 0; numbers start at 1",
    ),
    (
        "id = \"n3\"",
        "id = \"n3-\"",
        "node.toml: cluster.nodes: id n3- cannot be a name in a certificate; use at most 63 characters and no - at either end",
    ),
    (
        "127.0.0.1:8205",
        "127.0.0.1",
        "node.toml: cluster.nodes: peer of n3 is \"127.0.0.1\"; write it as \"host:port\"",
    ),
    (
        "127.0.0.1:8205",
        "host:99999",
        "node.toml: cluster.nodes: peer of n3 is \"host:99999\"; write it as \"host:port\"",
    ),
    (
        "127.0.0.1:8205",
        "::1:8205",
        "node.toml: cluster.nodes: peer of n3 is \"::1:8205\"; write it as \"host:port\"",
    ),
    (
        "name = \"test\"",
        "name = \"test\"\nwitness = \"sa\"",
        "node.toml:\n  - cluster.witness sa has no node in cluster.nodes; add one or remove it\n  - cluster.witness is for two data regions; this cluster has 3; remove it",
    ),
    (
        "[tls]\nca = \"ca.pem\"\ncert = \"n1.pem\"\nkey = \"n1-key.pem\"\n",
        "",
        "node.toml: a cluster of several nodes needs [tls] with ca, cert and key; make them with `meridian cert ca` and `meridian cert node`",
    ),
    ("\"200ms\"", "\"1ms\"", "node.toml: replication.heartbeat_interval is 1ms; it must be 10ms to 10s"),
    (
        "\"200ms\"",
        "\"500ms\"\nelection_timeout = \"1s\"",
        "node.toml: replication.election_timeout is 1s, less than three heartbeats; make it at least 1.5s",
    ),
    (
        "\"200ms\"",
        "\"200ms\"\nrequest_timeout = \"1h\"",
        "node.toml: replication.request_timeout is 3600s; it must be 100ms to 60s",
    ),
    (
        "\"200ms\"",
        "\"200ms\"\nmax_clock_offset = \"0s\"",
        "node.toml: replication.max_clock_offset is 0ns; it must be 1ms to 60s",
    ),
    (
        "\"200ms\"",
        "\"200ms\"\ncatch_up_rate = \"512KiB\"",
        "node.toml: replication.catch_up_rate is 512KiB; it must be 1MiB or more",
    ),
    (
        "name = \"eu-profiles\"",
        "name = \"read-local\"",
        "node.toml: policy read-local is built in; choose another name",
    ),
    (
        "groups = 4",
        "groups = 4\n[[policy]]\nname = \"eu-profiles\"\npattern = \"read-local\"\nreplication = \"async\"\nregions = [\"us\"]",
        "node.toml: policy eu-profiles is declared twice; rename or remove one",
    ),
    ("groups = 4", "groups = 0", "node.toml: policy eu-profiles: `groups` is 0; it must be 1 to 256"),
    (
        "regions = [\"eu\", \"us\", \"ap\"]",
        "regions = [\"eu\", \"us\", \"mars\"]",
        "node.toml: policy eu-profiles: region mars is not in this cluster; it has ap, eu, us",
    ),
    (
        "primary = [\"eu\"]",
        "primary = [\"mars\"]",
        "node.toml: policy eu-profiles: primary region mars is not one of `regions`; add it there or choose another primary",
    ),
    (
        "regions = [\"eu\", \"us\", \"ap\"]",
        "regions = [\"eu\", \"us\"]",
        "node.toml: policy eu-profiles: semi-sync over two regions cannot survive losing one without a third vote; add `witness = \"REGION\"` or a third region",
    ),
    (
        "primary = [\"eu\"]",
        "primary = [\"eu\"]\nconflict = \"lww\"",
        "node.toml: policy eu-profiles: `conflict` is for active-active policies; remove it or set `pattern = \"active-active\"`",
    ),
    (
        "primary = [\"eu\"]",
        "primary = [\"eu\"]\non_region_loss = \"block\"",
        "node.toml: policy eu-profiles: `on_region_loss` is for sync policies; remove it or set `replication = \"sync\"`",
    ),
];

#[test]
fn every_malformed_configuration_has_its_exact_message() {
    let mut wrong = Vec::new();
    for (from, to, expected) in CHANGES {
        assert!(GOOD.contains(from), "{from:?} is not in the base");
        let found = error(&GOOD.replacen(from, to, 1), &[]);
        if found.as_deref() != Some(expected) {
            wrong.push(format!("{from:?} -> {to:?}\n  expected {expected:?}\n  found    {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), CHANGES.len(), wrong.join("\n"));
}

#[test]
fn every_wrong_override_has_its_exact_message() {
    let long = "x".repeat(70_000);
    let cases = [
        (
            "MERIDIAN_NODE__NUMBER",
            "one",
            "environment variable MERIDIAN_NODE__NUMBER: \"one\" is not a whole number",
        ),
        (
            "MERIDIAN_NODE__",
            "x",
            "environment variable MERIDIAN_NODE__: name one section and one field, as in MERIDIAN_LISTEN__DYNAMODB",
        ),
        ("MERIDIAN_NODE__ID__X", "x", "environment variable MERIDIAN_NODE__ID__X: `id` is not a section"),
        (
            "MERIDIAN_POLICY__7__GROUPS",
            "1",
            "environment variable MERIDIAN_POLICY__7__GROUPS: `policy` is a list of 1; name an element by number from 0",
        ),
        (
            "MERIDIAN_POLICY__GROUPS",
            "1",
            "environment variable MERIDIAN_POLICY__GROUPS: `policy` is a list of 1; name an element by number from 0",
        ),
        (
            "MERIDIAN_POLICY__0__REGIONS",
            "us",
            "environment variable MERIDIAN_POLICY__0__REGIONS: \"us\" is not a list; write it as in [\"a\", \"b\"]",
        ),
        (
            "MERIDIAN_LISTEN__DYNAMODB",
            "here",
            "node.toml with MERIDIAN_LISTEN__DYNAMODB: invalid socket address syntax in `listen.dynamodb`",
        ),
        (
            "MERIDIAN_LISTEN__HTTP",
            "1",
            "node.toml with MERIDIAN_LISTEN__HTTP: unknown field `http`, expected one of `dynamodb`, `admin`, `redis`, `edge`, `dns`, `peer` in `listen`",
        ),
        (
            "MERIDIAN_ADMIN__TOKEN",
            long.as_str(),
            "environment variable MERIDIAN_ADMIN__TOKEN: the value is longer than 65536 bytes",
        ),
        (
            "MERIDIAN_AUTH__MODE",
            "open",
            "node.toml with MERIDIAN_AUTH__MODE: unknown variant `open`, expected `sigv4` or `none` in `auth.mode`",
        ),
    ];
    let mut wrong = Vec::new();
    for (name, value, expected) in cases {
        let found = error(GOOD, &[(name, value)]);
        if found.as_deref() != Some(expected) {
            wrong.push(format!(
                "{name}={}\n  expected {expected:?}\n  found    {found:?}",
                &value[..value.len().min(20)]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let text =
        GOOD.replacen("data_dir = \"data\"", "data_dir = \"\"", 1).replacen("groups = 4", "groups = 999", 1);
    let found = error(&text, &[]).unwrap_or_default();
    assert_eq!(
        found,
        "node.toml:\n  - node.data_dir is empty; name a folder\n  - policy eu-profiles: `groups` is 999; it must be 1 to 256"
    );
}

#[test]
fn open_access_beyond_loopback_is_refused() {
    let text = GOOD.replacen("mode = \"sigv4\"", "mode = \"none\"", 1).replacen(
        "dynamodb = \"127.0.0.1:9000\"",
        "dynamodb = \"0.0.0.0:9000\"",
        1,
    );
    let expected = "node.toml: auth.mode is \"none\", but listen.dynamodb 0.0.0.0:9000 is not loopback; use \"sigv4\" or 127.0.0.1";
    assert_eq!(error(&text, &[]).as_deref(), Some(expected));
}

#[test]
fn hostile_text_is_an_error_not_a_crash() {
    for text in [
        "[".repeat(100_000),
        "a = ".to_owned() + &"[".repeat(50_000),
        "\u{0}".repeat(100),
        "a.".repeat(50_000),
    ] {
        assert!(error(&text, &[]).is_some());
    }
}
