//! Benchmarks: a closed loop, or a fixed rate, of puts and gets against clusters of ours and, in the same run on the same machine, against
//! other systems, each with what its acknowledgement promises.

mod error;
mod load;
mod peers;
mod report;
mod system;

pub use error::BenchError;
pub use report::{BenchReport, Row};

use crate::client::{TableShape, Target};
use crate::cluster::ClusterFile;
use crate::progress::Progress;
use load::Load;
use meridian_types::{PolicyName, Replication, TableName};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use system::{Access, System, make_table};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Puts alone.
    Put,
    /// Linearizable gets alone.
    Get,
    /// Half puts, half gets.
    Mixed,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Mixed => "mixed",
        })
    }
}

/// A system to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Three members of etcd on loopback.
    Etcd,
    /// One node of dynoxide, on disk.
    Dynoxide,
}

/// A running cluster of ours to measure, asked through the nodes of its first region.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// What the rows call it, such as `meridian (1 node)`.
    pub name: String,
    /// Its `cluster.json`.
    pub file: PathBuf,
    /// The policy of the table that is made for the benchmark.
    pub policy: PolicyName,
    /// The policy's replication, which decides what an acknowledgement means.
    pub replication: Replication,
}

/// What a benchmark is to do.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Clusters of ours; the first is what the others are compared with.
    pub clusters: Vec<Cluster>,
    /// Other systems.
    pub peers: Vec<Peer>,
    /// What is done, one after the other.
    pub operations: Vec<Operation>,
    /// Connections to each system.
    pub connections: usize,
    /// Requests a second to each system; as many as it answers without one.
    pub rate: Option<u32>,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Keys.
    pub keys: u32,
    /// Uncounted time before each row.
    pub warm_up: Duration,
    /// Counted time of each row.
    pub duration: Duration,
    /// Go on without a peer that is not installed, and say so in the report, instead of failing.
    pub skip_missing_peers: bool,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self {
            clusters: Vec::new(),
            peers: vec![Peer::Etcd, Peer::Dynoxide],
            operations: vec![Operation::Put, Operation::Get, Operation::Mixed],
            connections: 64,
            rate: None,
            value_bytes: 256,
            keys: 1_000,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(10),
            skip_missing_peers: true,
        }
    }
}

impl BenchOptions {
    fn check(&self) -> Result<(), BenchError> {
        let checks = [
            ("connections", self.connections as u64, 1, 4_096),
            ("rate", u64::from(self.rate.unwrap_or(1)), 1, 1_000_000),
            ("value_bytes", self.value_bytes as u64, 1, 350_000),
            ("keys", u64::from(self.keys), 1, 1_000_000),
            ("duration_s", self.duration.as_secs(), 0, 600),
            ("warm_up_s", self.warm_up.as_secs(), 0, 60),
        ];
        if let Some((name, _, low, high)) =
            checks.into_iter().find(|(_, value, low, high)| value < low || value > high)
        {
            return Err(BenchError::Option { name, low, high });
        }
        if self.operations.is_empty() || (self.clusters.is_empty() && self.peers.is_empty()) {
            return Err(BenchError::Nothing);
        }
        Ok(())
    }
}

/// Measures every system, one after the other, so that no two compete. Peers that were started are ended.
///
/// # Errors
/// [`BenchError`] when a system cannot be prepared; single requests that fail are counted in its row.
pub async fn run(options: &BenchOptions, progress: impl Progress) -> Result<BenchReport, BenchError> {
    options.check()?;
    let begun = Instant::now();
    let mut rows = Vec::new();
    let mut skipped = Vec::new();
    let say = |text: String| progress.event(begun.elapsed().as_secs_f64(), &text);
    let shape = own_shape()?;
    for cluster in &options.clusters {
        say(format!("preparing {}", cluster.name));
        let system = prepare(cluster, &shape).await?;
        let measured = measure(&system, options, &say).await;
        let dropped = drop_table(&system).await;
        rows.extend(measured?);
        dropped?;
    }
    for peer in &options.peers {
        say(format!("starting {peer:?}"));
        let started = match peer {
            Peer::Etcd => peers::etcd::start().await,
            Peer::Dynoxide => peers::dynoxide::start(&shape).await,
        };
        match started {
            Ok(system) => rows.extend(measure(&system, options, &say).await?),
            Err(error @ BenchError::Missing { .. }) if options.skip_missing_peers => {
                skipped.push(error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(BenchReport::new(options, rows, skipped))
}

async fn measure(
    system: &System,
    options: &BenchOptions,
    say: &impl Fn(String),
) -> Result<Vec<Row>, BenchError> {
    let failed = |reason: String| BenchError::system(&system.name, reason);
    let load = |operation| Load {
        operation,
        connections: options.connections,
        rate: options.rate,
        keys: options.keys,
        value_bytes: options.value_bytes,
        warm_up: options.warm_up,
        duration: options.duration,
    };
    load::fill(&system.access, &load(Operation::Put)).await.map_err(failed)?;
    let mut rows = Vec::new();
    for operation in &options.operations {
        say(format!("{}: {operation}", system.name));
        let outcome = load::run(&system.access, load(*operation)).await.map_err(failed)?;
        // Microseconds to milliseconds; far within what a float holds exactly.
        #[allow(clippy::cast_precision_loss)]
        let ms = |quantile: f64| outcome.latency.value_at_quantile(quantile) as f64 / 1e3;
        let requests = outcome.latency.len();
        #[allow(clippy::cast_precision_loss)]
        let throughput_per_s = requests as f64 / outcome.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        rows.push(Row {
            system: system.name.clone(),
            operation: *operation,
            throughput_per_s,
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            requests,
            errors: outcome.errors,
            first_error: outcome.first_error,
            first_system_ratio: None,
            durability: system.durability.clone(),
        });
    }
    Ok(rows)
}

async fn prepare(cluster: &Cluster, shape: &TableShape) -> Result<System, BenchError> {
    let file = ClusterFile::read(&cluster.file)?;
    let nodes = file.regions.first().map_or(0, |region| region.nodes.len());
    let targets: Vec<Target> = (0..nodes).filter_map(|node| file.target(0, node)).collect();
    make_table(&cluster.name, &targets, shape, Some(&cluster.policy)).await?;
    Ok(System {
        name: cluster.name.clone(),
        durability: durability(cluster.replication, file.regions.len(), nodes),
        access: Access::Dynamo { targets, shape: shape.clone() },
        _keep: None,
    })
}

/// What an acknowledged write means under a replication mode.
fn durability(replication: Replication, regions: usize, nodes: usize) -> String {
    match replication {
        _ if regions == 1 && nodes == 1 => "one node: in the log, synced".to_owned(),
        _ if regions == 1 => format!("{nodes} nodes of one region: in the log, synced, of a majority"),
        Replication::Sync => format!("in the log, synced, in every one of {regions} regions"),
        Replication::SemiSync => {
            format!(
                "{regions} regions: in the log, synced, of a majority of the voters and of another data region"
            )
        }
        Replication::Async => {
            format!("{regions} regions: in the log, synced, of a majority of the local zones ({nodes})")
        }
    }
}

async fn drop_table(system: &System) -> Result<(), BenchError> {
    let Access::Dynamo { targets, shape } = &system.access else { return Ok(()) };
    let Some(target) = targets.first() else { return Ok(()) };
    let dropped = crate::client::Client::new(target).delete_table(&shape.name).await;
    dropped.map_err(|reason| BenchError::system(&system.name, reason))
}

fn own_shape() -> Result<TableShape, BenchError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let name = TableName::new(&format!("meridian-bench-{now}"));
    Ok(TableShape::own(name.map_err(|error| BenchError::system("the benchmark", error))?, false))
}

#[cfg(test)]
mod tests;
