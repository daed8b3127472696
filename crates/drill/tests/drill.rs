//! Whole drills against a make-believe cluster: a good one passes, and each thing that can be wrong is found.

// The make-believe cluster stands outside test functions, where clippy would not allow it.
#![allow(clippy::unwrap_used)]

mod fake;

use fake::{Flaw, REGIONS, TAKE_OVER};
use meridian_drill::client::{Client, Credentials, TableShape, Target};
use meridian_drill::{DrillError, DrillOptions, DrillReport, Scenario, Silent, Verdict, run};
use meridian_types::{PolicyName, RegionName, TableName};
use serde_json::json;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

fn scenario(fault: &str) -> Scenario {
    Scenario::parse(&format!(
        "name = 'region-{fault}'\nfault = '{fault}'\n[timing]\nwarm_up_s = 1.0\nhold_s = 3.0\nafter_s = 1.0\n\
         settle_s = 20.0\n[workload]\nput_lanes = 4\nappend_lanes = 2\ncounter_lanes = 2\ninterval_ms = 100\ndeadline_ms = 800\nreaders = 2\n"
    ))
    .unwrap()
}

fn options(fake: &fake::Fake, fault: &str) -> DrillOptions {
    DrillOptions {
        cluster: fake.cluster_json.clone(),
        scenario: scenario(fault),
        region: Some(RegionName::new(REGIONS[0]).unwrap()),
        table: None,
        policy: PolicyName::new("active-passive-semi-sync").unwrap(),
        hold: None,
        max_rto: Some(Duration::from_secs(2)),
        max_rpo: None,
        service: None,
        edge_rate: 80,
        report: None,
    }
}

async fn drill(flaw: Flaw, fault: &str) -> DrillReport {
    let fake = fake::start(flaw).await;
    let report = run(options(&fake, fault), Silent).await.unwrap();
    let undo = if fault == "kill" { "start" } else { "thaw" };
    let orders = fake.orders.lock().unwrap().clone();
    assert_eq!(orders, [fault, undo].map(|order| format!("/v1/regions/us-east-1/{order}")));
    report
}

fn store(fake: &fake::Fake) -> Client {
    Client::new(&Target {
        endpoint: format!("http://{}", fake.store).parse().unwrap(),
        region: "us-east-1".to_owned(),
        credentials: Credentials { access_key_id: "a".to_owned(), secret_access_key: "b".to_owned() },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_kill_that_goes_well_passes_with_the_true_figures_and_leaves_nothing() {
    let fake = fake::start(Flaw::None).await;
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&fake, "kill");
    options.report = Some(folder.path().to_owned());
    let report = run(options, Silent).await.unwrap();
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.missed);
    let measured = &report.measured;
    let (rto, detect) = (measured.rto_s.unwrap(), measured.detect_s.unwrap());
    assert!((TAKE_OVER.as_secs_f64()..1.6).contains(&rto), "{rto}");
    assert!((fake::NOTICED.as_secs_f64()..0.9).contains(&detect), "{detect}");
    assert!(measured.acknowledged_writes > 100 && measured.errors > 50, "{measured:?}");
    assert!(measured.unknown > 0, "writes that were answered with a 500 are unknown");
    assert_eq!((measured.lost_writes, measured.duplicate_effects, measured.stale_reads), (0, 0, 0));
    assert!(folder.path().join("report.md").exists());
    let tables = store(&fake).call("ListTables", &json!({}), LIMIT).await.into_result().unwrap();
    assert_eq!(tables.body["TableNames"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_writes_are_found() {
    let report = drill(Flaw::LosesPuts, "kill").await;
    assert_eq!(report.verdict, Verdict::Fail);
    assert!(report.measured.lost_writes > 0 && report.measured.rpo_s > 0.0, "{:?}", report.measured);
    assert_eq!(report.measured.duplicate_effects, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_that_took_place_twice_are_found() {
    let report = drill(Flaw::DoublesUpdates, "kill").await;
    assert!(report.measured.duplicate_effects > 0, "{:?}", report.measured);
    assert_eq!((report.verdict, report.measured.lost_writes), (Verdict::Fail, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_freeze_that_goes_well_passes() {
    let report = drill(Flaw::None, "freeze").await;
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.missed);
    assert!(report.measured.old_leader.consistent_reads > 0, "{:?}", report.measured.old_leader);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_leader_that_answers_from_the_past_is_found() {
    let report = drill(Flaw::StaleAfterThaw, "freeze").await;
    assert_eq!(report.verdict, Verdict::Fail);
    let measured = &report.measured;
    assert!(measured.old_leader.stale_reads > 0 && measured.stale_reads > 0, "{measured:?}");
    assert_eq!((measured.lost_writes, measured.duplicate_effects), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_table_of_any_key_is_used_and_left_as_it_was() {
    let fake = fake::start(Flaw::None).await;
    let table = TableName::new("ledger").unwrap();
    let mut client = store(&fake);
    client.create_table(&TableShape::own(table.clone(), false), None, LIMIT).await.unwrap();
    let item = json!({"TableName": table, "Item": {"pk": {"S": "mine"}}});
    client.call("PutItem", &item, LIMIT).await.into_result().unwrap();
    let mut options = options(&fake, "kill");
    options.table = Some(table.clone());
    let report = run(options, Silent).await.unwrap();
    assert_eq!((report.verdict, &report.table), (Verdict::Pass, &table), "{:?}", report.missed);
    let left = client.call("Scan", &json!({"TableName": table}), LIMIT).await.into_result().unwrap();
    assert_eq!(left.body["Items"], json!([{"pk": {"S": "mine"}}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_before_anything_is_touched() {
    let fake = fake::start(Flaw::None).await;
    let mut unknown = options(&fake, "kill");
    unknown.region = Some(RegionName::new("mars-1").unwrap());
    let error = run(unknown, Silent).await.unwrap_err();
    assert!(matches!(error, DrillError::UnknownRegion { .. }) && error.exit_code() == 2, "{error}");
    let mut missing = options(&fake, "kill");
    missing.table = Some(TableName::new("nowhere").unwrap());
    let error = run(missing, Silent).await.unwrap_err();
    assert!(matches!(error, DrillError::NoTable(_)), "{error}");
    let mut long = options(&fake, "kill");
    long.hold = Some(Duration::from_secs(100_000));
    assert!(matches!(run(long, Silent).await.unwrap_err(), DrillError::Scenario(_)));
    assert!(fake.orders.lock().unwrap().is_empty());
}
