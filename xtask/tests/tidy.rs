//! The workspace is tidy. Run `cargo xtask fix` for what can be mended by itself.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[test]
fn the_workspace_is_tidy() {
    let findings = xtask::tidy(&xtask::root()).unwrap();
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} findings:\n{}", lines.len(), lines.join("\n"));
}
