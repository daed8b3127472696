//! `cargo xtask`: `tidy` and `verify` read, `fix` mends.

use anyhow::{Result, bail};
use clap::Parser;
use std::process::Command;

/// Habits of the workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Habit {
    /// Check arrows between crates, sizes, headers, documentation, decision records and licences
    Tidy,
    /// Everything that reads only: format, clippy, documentation, tidy
    Verify,
    /// Mend what can be mended: format, clippy's safe suggestions, the ratchet
    Fix,
}

fn main() -> Result<()> {
    match Habit::parse() {
        Habit::Tidy => tidy(),
        Habit::Verify => {
            cargo(&["fmt", "--all", "--check"])?;
            cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
            cargo(&["doc", "--workspace", "--no-deps"])?;
            tidy()
        }
        Habit::Fix => {
            cargo(&["clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"])?;
            cargo(&["fmt", "--all"])?;
            let lowered = xtask::ratchet::lower(&xtask::root())?;
            println!("ratchet: {lowered} limits lowered");
            tidy()
        }
    }
}

fn tidy() -> Result<()> {
    let findings = xtask::tidy(&xtask::root())?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    println!("tidy");
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    println!("cargo {}", arguments.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(arguments)
        .env("RUSTDOCFLAGS", "-D warnings")
        .current_dir(xtask::root())
        .status()?;
    if !status.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    Ok(())
}
