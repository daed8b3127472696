//! `meridian bench`.

use super::drill::Shown;
use super::failure::{Exit, Failure};
use super::output;
use super::{Global, Outcome};
use crate::admin::AdminClient;
use crate::config::units::parse_duration;
use crate::dev::DEFAULT_DIR;
use crate::dev::cluster_file::{ClusterFile, FILE_NAME};
use crate::http::Endpoint;
use clap::{Args, ValueEnum};
use meridian_drill::bench::{self, BenchError, BenchOptions, Cluster, Operation, Peer};
use meridian_types::PolicyName;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments of `bench`.
#[derive(Args)]
pub(super) struct BenchArgs {
    /// The folder of a cluster that `meridian dev` runs; may be repeated, the first is compared with
    #[arg(long = "dir", default_value = DEFAULT_DIR, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// The policy of the table that is made for the benchmark
    #[arg(long, default_value = "active-passive-semi-sync", value_name = "POLICY")]
    policy: PolicyName,
    /// Other systems to measure in the same run
    #[arg(long = "peer", value_enum, value_delimiter = ',', value_name = "SYSTEM,...")]
    peers: Vec<PeerName>,
    /// What is measured, one after the other
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "put,get,mixed",
        value_name = "OPERATION,..."
    )]
    operations: Vec<OperationName>,
    /// Connections to each system
    #[arg(long, default_value_t = 64, value_name = "N")]
    connections: usize,
    /// Requests a second to each system, each timed from when it was due; without it as many as are answered
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Bytes of a value
    #[arg(long, default_value_t = 256, value_name = "N")]
    value_bytes: usize,
    /// Keys
    #[arg(long, default_value_t = 1000, value_name = "N")]
    keys: u32,
    /// Counted time of each row
    #[arg(long = "for", default_value = "10s", value_parser = parse_duration, value_name = "TIME")]
    duration: Duration,
    /// Go on without a system that is not installed, and say so
    #[arg(long)]
    skip_missing: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum PeerName {
    /// Three members of etcd
    Etcd,
    /// One node of dynoxide
    Dynoxide,
}

#[derive(Clone, Copy, ValueEnum)]
enum OperationName {
    /// Puts alone
    Put,
    /// Linearizable gets alone
    Get,
    /// Half and half
    Mixed,
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        Self { exit: Exit::of_code(error.exit_code()), message: error.to_string() }
    }
}

pub(super) async fn run(args: BenchArgs, global: &Global) -> Outcome {
    let mut clusters = Vec::new();
    for dir in &args.dirs {
        clusters.push(cluster(dir, &args.policy).await?);
    }
    let options = BenchOptions {
        clusters,
        peers: args
            .peers
            .iter()
            .map(|peer| match peer {
                PeerName::Etcd => Peer::Etcd,
                PeerName::Dynoxide => Peer::Dynoxide,
            })
            .collect(),
        operations: args
            .operations
            .iter()
            .map(|operation| match operation {
                OperationName::Put => Operation::Put,
                OperationName::Get => Operation::Get,
                OperationName::Mixed => Operation::Mixed,
            })
            .collect(),
        connections: args.connections,
        rate: args.rate,
        value_bytes: args.value_bytes,
        keys: args.keys,
        duration: args.duration,
        skip_missing_peers: args.skip_missing,
        ..BenchOptions::default()
    };
    let shown = Shown::new();
    let report = Box::pin(bench::run(&options, shown.clone())).await;
    shown.finish();
    let report = report?;
    output::emit(&if global.for_people() { report.to_table() } else { report.to_json() + "\n" });
    Ok(())
}

/// A running cluster, with what its policy makes of an acknowledgement.
async fn cluster(dir: &Path, policy: &PolicyName) -> Result<Cluster, Failure> {
    let file = ClusterFile::find(dir).ok_or_else(|| {
        let shown = dir.display();
        Failure::unreachable(format!(
            "there is no {shown}/{FILE_NAME}; start a cluster with: meridian dev --dir {shown}"
        ))
    })?;
    let (regions, nodes) = (file.regions.len(), file.nodes().count());
    let first = file.nodes().next().and_then(|node| node.admin.parse::<Endpoint>().ok());
    let endpoint =
        first.ok_or_else(|| Failure::failed(format!("{}/{FILE_NAME} names no node", dir.display())))?;
    let policies = AdminClient::new(endpoint, None).policies().await?.policies;
    let found = policies.iter().find(|found| found.name == *policy);
    let found = found
        .ok_or_else(|| Failure::usage(format!("there is no policy {policy}; see `meridian policy list`")))?;
    Ok(Cluster {
        name: format!("meridian ({regions} regions, {nodes} nodes)"),
        file: dir.join(FILE_NAME),
        policy: policy.clone(),
        replication: found.replication,
    })
}
