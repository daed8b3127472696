//! The documents say what the binary does: commands that they show parse, and the references leave nothing out and make nothing up.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod blocks;
mod commands;
mod config;
mod options;
mod page;

use xtask::tree::Tree;

fn tree() -> Tree {
    Tree::read(&xtask::root()).unwrap()
}

/// Fails with all findings, one a line.
fn none(findings: &[String]) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}
