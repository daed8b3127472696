//! dynoxide: one node, on disk, behind the same API.

use super::super::BenchError;
use super::super::system::{Access, System, make_table};
use crate::client::{Client, Credentials, TableShape, Target};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const NAME: &str = "dynoxide";
const HINT: &str = "install it with `cargo install dynoxide-rs`, or leave it out of the peers";
const READY_LIMIT: Duration = Duration::from_secs(20);

/// Starts it with an empty database.
pub(in super::super) async fn start(shape: &TableShape) -> Result<System, BenchError> {
    let folder = tempfile::tempdir().map_err(|error| BenchError::system(NAME, error))?;
    let [port] = super::free_ports::<1>().map_err(|error| BenchError::system(NAME, error))?;
    let database = folder.path().join("bench.db").display().to_string();
    let port_text = port.to_string();
    let arguments = ["serve", "--port", &port_text, "--db-path", &database, "--log", "quiet"];
    let child = super::spawn(NAME, &arguments.map(str::to_owned), HINT)?;
    let endpoint =
        format!("http://127.0.0.1:{port}").parse().map_err(|error| BenchError::system(NAME, error))?;
    let credentials =
        Credentials { access_key_id: "bench".to_owned(), secret_access_key: "bench".to_owned() };
    let target = Target { endpoint, region: "us-east-1".to_owned(), credentials };
    wait_until_up(&target).await?;
    make_table(NAME, std::slice::from_ref(&target), shape, None).await?;
    Ok(System {
        name: NAME.to_owned(),
        durability: "one node: in SQLite's write-ahead log, synced (SQLite's default, synchronous = FULL)"
            .to_owned(),
        access: Access::Dynamo { targets: vec![target], shape: shape.clone() },
        _keep: Some(Box::new((child, folder))),
    })
}

async fn wait_until_up(target: &Target) -> Result<(), BenchError> {
    let end = Instant::now() + READY_LIMIT;
    let mut client = Client::new(target);
    loop {
        match client.call("ListTables", &json!({}), READY_LIMIT).await.into_result() {
            Ok(_) => return Ok(()),
            Err(reason) if Instant::now() >= end => return Err(BenchError::system(NAME, reason)),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}
