//! The front as the AWS SDK for Python sees it, signatures included.
//!
//! Needs `python3` with `boto3`; without them the test says so and passes, unless `MERIDIAN_REQUIRE_CLIENTS=1`.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod support;

use meridian_api::dynamodb::AuthMode;
use std::path::Path;
use support::{ACCESS_KEY_ID, READER_ID, Running, SECRET_ACCESS_KEY};
use tokio::process::Command;

async fn has_boto3() -> bool {
    let probe = Command::new("python3").args(["-c", "import boto3"]).output().await;
    probe.is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_is_served() {
    if !has_boto3().await {
        assert_ne!(
            std::env::var("MERIDIAN_REQUIRE_CLIENTS").as_deref(),
            Ok("1"),
            "python3 with boto3 is missing"
        );
        eprintln!("NOTICE: python3 with boto3 is missing; the front was not tested with an SDK");
        return;
    }
    let front = Running::start(AuthMode::SigV4).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/sdk.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(front.url())
        .env("MERIDIAN_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("MERIDIAN_READER_ID", READER_ID)
        .env("MERIDIAN_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(core::time::Duration::from_secs(300), output).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("all passed"), "{out}\n{err}");
    front.stop().await;
}
