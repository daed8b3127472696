//! The sections of a node's configuration file, as types. What values mean together is checked in `validate`.

use super::secret::Secret;
use super::units::{self, Size};
use meridian_replication::LogLimits;
use meridian_types::{NodeId, NodeName, RegionName, TableName, ZoneName};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// `[node]`: who this node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSection {
    /// The node's name, one of `cluster.nodes`.
    pub id: NodeName,
    /// The node's number, 1 or more, never reused within the cluster.
    pub number: NodeId,
    /// The region it stands in.
    pub region: RegionName,
    /// The zone of the region.
    pub zone: ZoneName,
    /// Where the node keeps its data; made when missing.
    pub data_dir: PathBuf,
}

/// `[listen]`: the addresses this node opens. All of them are loopback unless told otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenSection {
    /// The DynamoDB API.
    pub dynamodb: SocketAddr,
    /// The admin API.
    pub admin: SocketAddr,
    /// The Redis protocol.
    pub redis: SocketAddr,
    /// The HTTP edge; opened once there is a service.
    pub edge: SocketAddr,
    /// DNS, over UDP and TCP.
    pub dns: SocketAddr,
    /// Traffic between nodes, mTLS.
    pub peer: SocketAddr,
}

impl ListenSection {
    /// The addresses of a node whose first port is `base`, all on loopback; `None` when they pass port 65535.
    #[must_use]
    pub fn loopback(base: u16) -> Option<Self> {
        let at = |offset| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, base.checked_add(offset)?)));
        Some(Self { dynamodb: at(0)?, admin: at(1)?, redis: at(2)?, edge: at(3)?, dns: at(4)?, peer: at(5)? })
    }

    /// Every address with the name of its field, in port order.
    #[must_use]
    pub fn all(&self) -> [(&'static str, SocketAddr); 6] {
        [
            ("dynamodb", self.dynamodb),
            ("admin", self.admin),
            ("redis", self.redis),
            ("edge", self.edge),
            ("dns", self.dns),
            ("peer", self.peer),
        ]
    }

    /// The addresses that a node opens at its start.
    #[must_use]
    pub fn opened(&self) -> [(&'static str, SocketAddr); 4] {
        [("dynamodb", self.dynamodb), ("admin", self.admin), ("dns", self.dns), ("peer", self.peer)]
    }
}

impl Default for ListenSection {
    fn default() -> Self {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            dynamodb: at(8000),
            admin: at(8001),
            redis: at(8002),
            edge: at(8003),
            dns: at(8004),
            peer: at(8005),
        }
    }
}

/// `[tls]`: the certificates of mTLS between nodes, PEM. `meridian cert` makes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// The certificate authority that every peer's certificate must come from.
    pub ca: PathBuf,
    /// This node's certificate; its names include `node.id`.
    pub cert: PathBuf,
    /// The certificate's private key, readable by the node's user only.
    pub key: PathBuf,
}

/// `[cluster]`: all nodes, this one included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSection {
    /// The cluster's name; nodes of another name are refused.
    pub name: String,
    /// A region that votes and holds no data; for clusters of two data regions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<RegionName>,
    /// Whether this node joins a cluster that runs: it founds nothing. `meridian node join` writes it.
    #[serde(default)]
    pub joins: bool,
    /// The nodes. The order of their regions is the order of preference of built-in policies.
    pub nodes: Vec<PeerNode>,
}

impl ClusterSection {
    /// The regions in order of first appearance, the witness included.
    #[must_use]
    pub fn all_regions(&self) -> Vec<RegionName> {
        let mut regions: Vec<RegionName> = Vec::new();
        for node in &self.nodes {
            if !regions.contains(&node.region) {
                regions.push(node.region.clone());
            }
        }
        regions
    }

    /// The regions that may hold data, in order of first appearance.
    #[must_use]
    pub fn data_regions(&self) -> Vec<RegionName> {
        let mut regions = self.all_regions();
        regions.retain(|region| Some(region) != self.witness.as_ref());
        regions
    }
}

/// `[[cluster.nodes]]`: one node as the others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerNode {
    /// The node's name.
    pub id: NodeName,
    /// The node's number.
    pub number: NodeId,
    /// Its region.
    pub region: RegionName,
    /// Its zone.
    pub zone: ZoneName,
    /// `host:port` that this node dials to reach it.
    pub peer: String,
}

/// Who may use the data API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthMode {
    /// Requests are signed with a key that the cluster knows.
    #[default]
    Sigv4,
    /// Any credentials pass; allowed on loopback only.
    None,
}

/// `[auth]`: the data API's authentication.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthSection {
    /// Who may use the data API.
    pub mode: AuthMode,
    /// A file with the first access key, allowed everything; see [`super::Credentials`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap_credentials: Option<PathBuf>,
}

/// `[redis]`: the Redis protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisSection {
    /// The table that holds the keys; made at the first command when there is none.
    pub table: TableName,
    /// How long after its expiry a key is removed from the disk. Longer than a region is likely to be cut off from the others.
    #[serde(with = "units::duration")]
    pub sweep_after: Duration,
}

impl Default for RedisSection {
    fn default() -> Self {
        // A name that is known to be one.
        let table = TableName::new("redis").unwrap_or_else(|_| unreachable!("`redis` is a table's name"));
        Self { table, sweep_after: Duration::from_secs(300) }
    }
}

/// `[admin]`: the admin API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSection {
    /// The bearer token that requests must carry; required when `listen.admin` is not loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
}

/// `[replication]`: timing between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReplicationSection {
    /// How often a leader tells its followers that it is there. Longer than the longest round trip between nodes.
    #[serde(with = "units::duration")]
    pub heartbeat_interval: Duration,
    /// How long a follower waits for a leader before it stands for election, at least; also the leader's lease. Three
    /// heartbeats or more.
    #[serde(with = "units::duration")]
    pub election_timeout: Duration,
    /// How long a write or a consistent read may take before its outcome is reported as unknown.
    #[serde(with = "units::duration")]
    pub request_timeout: Duration,
    /// A node whose clock differs by more from its peers refuses writes.
    #[serde(with = "units::duration")]
    pub max_clock_offset: Duration,
    /// Bytes a second that a node spends on all members together that are far behind.
    pub catch_up_rate: Size,
}

impl Default for ReplicationSection {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_millis(300),
            election_timeout: Duration::from_millis(900),
            request_timeout: Duration::from_secs(5),
            max_clock_offset: Duration::from_millis(500),
            catch_up_rate: Size(LogLimits::default().catch_up_rate),
        }
    }
}

/// `[store]`: the node's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSection {
    /// With less free space the node refuses writes and goes on answering reads.
    pub min_free: Size,
    /// Memory for cached blocks.
    pub cache_size: Size,
    /// What is gathered in memory before it becomes a table, of logs and of items each. Fixed when the data folder is made.
    pub write_buffer: Size,
    /// Bytes a second that are read in the background to find damage; 0 for never.
    pub scrub_rate: Size,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self {
            min_free: Size(64 << 20),
            cache_size: Size(32 << 20),
            write_buffer: Size(16 << 20),
            scrub_rate: Size(4 << 20),
        }
    }
}

impl StoreSection {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let (low, high) = (Size(1 << 20), Size(1 << 30));
        if !(low..=high).contains(&self.write_buffer) {
            let value = self.write_buffer;
            problems.push(format!("store.write_buffer is {value}; it must be {low} to {high}"));
        }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// One line of text an event.
    #[default]
    Text,
    /// One JSON object an event.
    Json,
}

/// `[log]`: what the node writes to standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// A tracing filter, such as `info` or `info,meridian_replication=debug`.
    pub filter: String,
    /// Text or JSON.
    pub format: LogFormat,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { filter: "info,openraft=error,hickory_proto=error".to_owned(), format: LogFormat::Text }
    }
}
