//! The short form of the benchmark: etcd and dynoxide where they are installed, and, when `MERIDIAN_BENCH_CLUSTER` names a
//! `cluster.json`, that cluster. With `--test` it only shows that everything works.

// A benchmark has nobody to hand an error to.
#![allow(clippy::unwrap_used)]

use meridian_drill::Silent;
use meridian_drill::bench::{BenchOptions, Cluster, Peer, run};
use meridian_types::{PolicyName, Replication};
use std::path::PathBuf;
use std::time::Duration;

fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let mut options = BenchOptions { peers: vec![Peer::Etcd, Peer::Dynoxide], ..BenchOptions::default() };
    options.duration = Duration::from_secs(3);
    if is_test {
        options.connections = 4;
        options.keys = 20;
        options.warm_up = Duration::ZERO;
        options.duration = Duration::from_millis(100);
    }
    if let Some(file) = std::env::var_os("MERIDIAN_BENCH_CLUSTER") {
        options.clusters.push(Cluster {
            name: "meridian".to_owned(),
            file: PathBuf::from(file),
            policy: PolicyName::new("active-passive-semi-sync").unwrap(),
            replication: Replication::SemiSync,
        });
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let report = runtime.block_on(run(&options, Silent)).unwrap();
    println!("{}", report.to_table());
}
