//! The benchmark against real systems, very short: dynoxide embedded, and etcd where it is installed.

use super::*;
use crate::progress::Silent;
use ::dynoxide::Database;
use tokio::net::TcpListener;

fn short() -> BenchOptions {
    BenchOptions {
        peers: vec![],
        connections: 4,
        value_bytes: 32,
        keys: 20,
        warm_up: Duration::ZERO,
        duration: Duration::from_millis(300),
        ..BenchOptions::default()
    }
}

/// A cluster file that leads to an embedded dynoxide.
async fn cluster(folder: &tempfile::TempDir) -> Cluster {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(::dynoxide::server::serve_on(listener, Database::memory().unwrap()));
    let text = format!(
        r#"{{"regions":[{{"name":"a","nodes":[{{"id":"a-a-0","zone":"a","dynamodb":"http://{address}","admin":"http://{address}"}}]}}]}}"#
    );
    let file = folder.path().join("cluster.json");
    std::fs::write(&file, text).unwrap();
    let policy = PolicyName::new("active-passive-async").unwrap();
    Cluster { name: "ours".to_owned(), file, policy, replication: Replication::Async }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_is_a_row_with_figures_that_fit_together() {
    let folder = tempfile::tempdir().unwrap();
    let options = BenchOptions { clusters: vec![cluster(&folder).await], ..short() };
    let report = run(&options, Silent).await.unwrap();
    let operations: Vec<_> = report.rows.iter().map(|row| row.operation).collect();
    assert_eq!(operations, [Operation::Put, Operation::Get, Operation::Mixed]);
    for row in &report.rows {
        assert!(row.requests > 0 && row.errors == 0, "{row:?}");
        assert!(row.p50_ms <= row.p99_ms && row.p50_ms > 0.0, "{row:?}");
        assert_eq!(row.first_system_ratio, Some(1.0));
        #[allow(clippy::cast_precision_loss)]
        let most = row.requests as f64 / 0.3;
        assert!(row.throughput_per_s <= most + 1.0, "{row:?}");
    }
    let table = report.to_table();
    assert!(table.contains("ours") && table.contains("one node: in the log, synced"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["rows"][0]["operation"], "put");
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_measured_where_it_is_installed_and_left_out_aloud_where_it_is_not() {
    let options = BenchOptions { peers: vec![Peer::Etcd], operations: vec![Operation::Mixed], ..short() };
    let report = run(&options, Silent).await.unwrap();
    match report.rows.first() {
        Some(row) => assert!(row.system == "etcd" && row.requests > 0 && row.errors == 0, "{row:?}"),
        None => assert!(report.skipped[0].contains("apt-get install etcd-server"), "{:?}", report.skipped),
    }
}

#[tokio::test]
async fn options_out_of_bounds_and_missing_systems_are_errors() {
    let nothing = run(&short(), Silent).await.unwrap_err();
    assert_eq!((nothing.exit_code(), nothing.to_string().contains("no system")), (2, true));
    let many = BenchOptions { connections: 5_000, peers: vec![Peer::Etcd], ..short() };
    assert_eq!(run(&many, Silent).await.unwrap_err().to_string(), "`connections` must be 1 to 4096");
    let missing = peers::spawn("no-such-program-of-ours", &[], "build it").unwrap_err();
    assert_eq!(missing.to_string(), "no-such-program-of-ours is not installed; build it");
}

#[test]
fn each_replication_mode_says_what_it_promises() {
    assert!(durability(Replication::Sync, 3, 1).contains("every one of 3 regions"));
    assert!(durability(Replication::SemiSync, 3, 1).contains("another data region"));
    assert!(durability(Replication::Async, 3, 2).contains("local zones (2)"));
    assert!(durability(Replication::Async, 1, 3).contains("of a majority"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_kept_whatever_the_system_could_do() {
    let folder = tempfile::tempdir().unwrap();
    let options = BenchOptions {
        clusters: vec![cluster(&folder).await],
        operations: vec![Operation::Put],
        rate: Some(100),
        duration: Duration::from_secs(1),
        ..short()
    };
    let report = run(&options, Silent).await.unwrap();
    assert_eq!(report.rows[0].requests, 100);
    assert!(report.to_table().contains("100 requests a second"), "{}", report.to_table());
}
