//! The acceptance suite, `tests/acceptance`: the shipped binary as the AWS SDK for Python and a shell see it.
//!
//! Needs `python3` with pytest, boto3, redis and PyJWT, and redis-server; without them the test says so and passes, unless
//! `MERIDIAN_REQUIRE_CLIENTS=1`. With pytest-xdist two files of it run at a time.

use std::path::PathBuf;
use std::process::{Command, Stdio};

fn imports(modules: &str) -> bool {
    let probe = Command::new("python3").args(["-c", &format!("import {modules}")]).output();
    probe.is_ok_and(|output| output.status.success())
}

/// What is missing of the clients, in words; `None` when all are there.
fn missing() -> Option<&'static str> {
    if !imports("sys") {
        return Some("python3 is missing; on Debian: apt install python3 python3-pytest python3-boto3");
    }
    if !imports("pytest, boto3, redis, jwt, cryptography") {
        return Some("python3 lacks a package; `pip install pytest boto3 redis pyjwt cryptography`");
    }
    let server = Command::new("redis-server").arg("--version").output();
    (!server.is_ok_and(|output| output.status.success()))
        .then_some("redis-server is missing; on Debian: apt install redis-server redis-tools")
}

#[test]
fn the_shipped_binary_is_accepted_from_outside() {
    if let Some(missing) = missing() {
        assert_ne!(std::env::var("MERIDIAN_REQUIRE_CLIENTS").as_deref(), Ok("1"), "{missing}");
        eprintln!("NOTICE: {missing}; the acceptance suite was not run");
        return;
    }
    // Most of a test's time passes in waiting. Those of one file share clusters, so they stay together.
    let side_by_side: &[&str] = if imports("xdist") { &["-n", "2", "--dist", "loadfile"] } else { &[] };
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new("python3")
        .args(["-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", "tests/acceptance"])
        .args(side_by_side)
        .current_dir(root)
        .env("MERIDIAN_BIN", env!("CARGO_BIN_EXE_meridian"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .expect("python3 was there a moment ago");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // The figures are in it, so it is shown whenever a test's output is.
    println!("{out}\n{err}");
    assert!(output.status.success(), "the acceptance suite failed: {}", output.status);
}
