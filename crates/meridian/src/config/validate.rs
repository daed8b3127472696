//! What the values of a configuration must satisfy together. Collects everything that is wrong, not the first thing.

use super::units::Size;
use super::{AuthMode, ConfigError, NodeConfig, secret};
use crate::cert::is_certificate_name;
use crate::dns::Files;
use meridian_edge::server::Certificates;
use meridian_types::{Policy, RegionName};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// The most nodes that a configuration may list.
pub const MAX_NODES: usize = 256;
/// The fewest characters of an admin token.
pub const MIN_ADMIN_TOKEN: usize = 16;

impl NodeConfig {
    /// All that is wrong, one message each; empty when the configuration can be used.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.check_cluster(&mut problems);
        self.check_self(&mut problems);
        self.check_listen(&mut problems);
        self.check_timing(&mut problems);
        self.check_policies(&mut problems);
        let regions = if self.cluster.joins { Vec::new() } else { self.cluster.all_regions() };
        self.store.check(&mut problems);
        self.edge.check(&mut problems);
        self.dns.check(&self.listen, &regions, &mut problems);
        self.anycast.check(&mut problems);
        problems
    }

    fn check_cluster(&self, problems: &mut Vec<String>) {
        let name = &self.cluster.name;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.len() > 63 || !name.bytes().all(plain) {
            problems.push(format!("cluster.name {name:?} must be 1 to 63 characters of a-z, 0-9 and -"));
        }
        let nodes = &self.cluster.nodes;
        if nodes.len() > MAX_NODES {
            problems.push(format!(
                "cluster.nodes lists {} nodes; at most {MAX_NODES} are supported",
                nodes.len()
            ));
        }
        let (mut ids, mut numbers) = (BTreeSet::new(), BTreeMap::new());
        for node in nodes {
            if !ids.insert(&node.id) {
                problems.push(format!("cluster.nodes lists {} twice; remove one", node.id));
            }
            if node.number.0 == 0 {
                problems.push(format!("cluster.nodes: {} has number 0; numbers start at 1", node.id));
            }
            if let Some(other) = numbers.insert(node.number, &node.id).filter(|other| **other != node.id) {
                let (id, number) = (&node.id, node.number);
                problems.push(format!(
                    "cluster.nodes: {other} and {id} both have number {number}; give each its own"
                ));
            }
            if nodes.len() > 1 && !is_certificate_name(node.id.as_str()) {
                let id = &node.id;
                problems.push(format!(
                    "cluster.nodes: id {id} cannot be a name in a certificate; \
                     use at most 63 characters and no - at either end"
                ));
            }
            if !is_host_port(&node.peer) {
                let (id, peer) = (&node.id, &node.peer);
                problems.push(format!("cluster.nodes: peer of {id} is {peer:?}; write it as \"host:port\""));
            }
        }
        // A node that joins takes the cluster as it finds it.
        if let Some(witness) = self.cluster.witness.as_ref().filter(|_| !self.cluster.joins) {
            if !nodes.iter().any(|node| node.region == *witness) {
                problems.push(format!(
                    "cluster.witness {witness} has no node in cluster.nodes; add one or remove it"
                ));
            }
            let data = self.cluster.data_regions().len();
            if data != 2 {
                problems.push(format!(
                    "cluster.witness is for two data regions; this cluster has {data}; remove it"
                ));
            }
        }
        if nodes.len() > 1 && self.tls.is_none() {
            problems.push(
                "a cluster of several nodes needs [tls] with ca, cert and key; \
                make them with `meridian cert ca` and `meridian cert node`"
                    .to_owned(),
            );
        }
    }

    fn check_self(&self, problems: &mut Vec<String>) {
        let own = &self.node;
        match self.cluster.nodes.iter().find(|node| node.id == own.id) {
            None => problems.push(format!("node.id {} is not in cluster.nodes; add it there", own.id)),
            Some(listed) => {
                let fields = [
                    ("number", own.number.to_string(), listed.number.to_string()),
                    ("region", own.region.to_string(), listed.region.to_string()),
                    ("zone", own.zone.to_string(), listed.zone.to_string()),
                ];
                for (field, here, there) in fields.iter().filter(|(_, here, there)| here != there) {
                    problems.push(format!(
                        "node.{field} is {here}, but cluster.nodes says {there} for {}; make them agree",
                        own.id
                    ));
                }
            }
        }
        if own.data_dir.as_os_str().is_empty() {
            problems.push("node.data_dir is empty; name a folder".to_owned());
        }
    }

    fn check_listen(&self, problems: &mut Vec<String>) {
        let mut seen: BTreeMap<SocketAddr, &str> = BTreeMap::new();
        for (field, address) in self.listen.all() {
            if address.port() == 0 {
                problems.push(format!("listen.{field} has port 0; name a port"));
            } else if let Some(other) = seen.insert(address, field) {
                problems.push(format!(
                    "listen.{other} and listen.{field} are both {address}; give each its own port"
                ));
            }
        }
        if let Some(token) = &self.admin.token {
            let text = token.expose();
            if text.len() < MIN_ADMIN_TOKEN || !text.bytes().all(|b| b.is_ascii_graphic()) {
                problems.push(format!(
                    "admin.token must be at least {MIN_ADMIN_TOKEN} printable ASCII characters without spaces"
                ));
            }
        } else if !self.listen.admin.ip().is_loopback() {
            let address = self.listen.admin;
            problems
                .push(format!("listen.admin {address} is not loopback, so admin.token is required; set one"));
        }
        for (field, data) in [("dynamodb", self.listen.dynamodb), ("redis", self.listen.redis)] {
            if self.auth.mode == AuthMode::None && !data.ip().is_loopback() {
                problems.push(format!(
                    "auth.mode is \"none\", but listen.{field} {data} is not loopback; use \"sigv4\" or 127.0.0.1"
                ));
            }
        }
    }

    fn check_timing(&self, problems: &mut Vec<String>) {
        let timing = &self.replication;
        let ms = Duration::from_millis;
        let ranges = [
            ("heartbeat_interval", timing.heartbeat_interval, ms(10), ms(10_000)),
            ("election_timeout", timing.election_timeout, ms(50), ms(60_000)),
            ("request_timeout", timing.request_timeout, ms(100), ms(60_000)),
            ("max_clock_offset", timing.max_clock_offset, ms(1), ms(60_000)),
        ];
        let sweep_after = self.redis.sweep_after;
        if !(ms(100)..=Duration::from_secs(86_400)).contains(&sweep_after) {
            problems.push(format!("redis.sweep_after is {sweep_after:?}; it must be 100ms to 24h"));
        }
        for (field, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                problems.push(format!("replication.{field} is {value:?}; it must be {low:?} to {high:?}"));
            }
        }
        let (rate, low) = (timing.catch_up_rate, Size(1 << 20));
        if rate < low {
            problems.push(format!("replication.catch_up_rate is {rate}; it must be {low} or more"));
        }
        let least = timing.heartbeat_interval.saturating_mul(3);
        if timing.election_timeout < least {
            problems.push(format!(
                "replication.election_timeout is {:?}, less than three heartbeats; make it at least {least:?}",
                timing.election_timeout
            ));
        }
    }

    fn check_policies(&self, problems: &mut Vec<String>) {
        let regions: BTreeSet<RegionName> = self.cluster.all_regions().into_iter().collect();
        let built_in = Policy::built_in(&self.cluster.data_regions(), self.cluster.witness.as_ref());
        let mut names = BTreeSet::new();
        for Policy { name, .. } in &self.policies {
            if built_in.iter().any(|policy| policy.name == *name) {
                problems.push(format!("policy {name} is built in; choose another name"));
            } else if !names.insert(name) {
                problems.push(format!("policy {name} is declared twice; rename or remove one"));
            }
        }
        for policy in &self.policies {
            if let Err(errors) = policy.validate(&regions) {
                problems.extend(errors.iter().map(ToString::to_string));
            }
            if let Some(witness) = self.cluster.witness.as_ref().filter(|w| policy.regions.contains(w)) {
                let name = &policy.name;
                problems.push(format!(
                    "policy {name}: region {witness} is the cluster's witness, which holds no data"
                ));
            }
        }
    }

    /// Checks the files that the configuration names.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when one is missing, is no file, or is a secret that others may read.
    pub(super) fn check_files(&self, file: &Path) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        let tls = self.tls.iter().flat_map(|tls| {
            [("tls.ca", &tls.ca, false), ("tls.cert", &tls.cert, false), ("tls.key", &tls.key, true)]
        });
        let missing = |field: &str, path: &Path| {
            format!("{field}: there is no file {}; make it or correct the path", path.display())
        };
        for (field, path, private) in tls {
            if !path.is_file() {
                problems.push(missing(field, path));
            } else if private && let Err(error) = secret::check_private(path) {
                problems.push(format!("{field}: {error}"));
            }
        }
        if let Some(path) = &self.auth.bootstrap_credentials {
            let field = "auth.bootstrap_credentials";
            if !path.is_file() {
                problems.push(missing(field, path));
            } else if let Err(error) = secret::Credentials::load(path) {
                problems.push(format!("{field}: {error}"));
            }
        }
        if let Err(error) = Certificates::load(&self.edge.certificate_files()) {
            problems.push(format!("edge.certificate: {error}"));
        }
        for entry in &self.edge.certificates {
            if let Err(error) = secret::check_private(&entry.key) {
                problems.push(format!("edge.certificate: {error}"));
            }
        }
        if let Some(path) = self.edge.backend_ca.as_ref().filter(|path| !path.is_file()) {
            problems.push(missing("edge.backend_ca", path));
        }
        if let Err(error) = Files::load(&self.dns) {
            problems.push(format!("dns: {error}"));
        }
        for entry in self.dns.zone_keys.iter().filter(|entry| entry.file.exists()) {
            if let Err(error) = secret::check_private(&entry.file) {
                problems.push(format!("dns.zone_key: {error}"));
            }
        }
        if self.node.data_dir.exists() && !self.node.data_dir.is_dir() {
            let shown = self.node.data_dir.display();
            problems.push(format!("node.data_dir: {shown} is not a folder; name another"));
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(ConfigError::Invalid { file: file.to_owned(), problems })
    }
}

/// Whether a text is `host:port`, with a port of 1 to 65535 and a host that is an address or a DNS name.
#[must_use]
pub fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let name = |host: &str| {
        !host.is_empty()
            && host.len() <= 253
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
    };
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host_ok =
        bracketed.map_or_else(|| name(host), |inner| inner.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()));
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    host_ok && digits && port.parse::<u16>().is_ok_and(|port| port > 0)
}
