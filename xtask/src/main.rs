//! `cargo xtask`: `tidy` and `verify` read, `fix` mends.

use anyhow::Result;
use clap::Parser;
use std::process::{Command, ExitCode};

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

fn main() -> Result<ExitCode> {
    let ok = match Habit::parse() {
        Habit::Tidy => tidy()?,
        Habit::Verify => {
            cargo(&["fmt", "--all", "--check"])?
                && cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?
                && cargo(&["doc", "--workspace", "--no-deps"])?
                && tidy()?
        }
        Habit::Fix => {
            let fixed = cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--fix",
                "--allow-dirty",
                "--allow-staged",
            ])? && cargo(&["fmt", "--all"])?;
            let lowered = xtask::ratchet::lower(&xtask::root())?;
            println!("ratchet: {lowered} limits lowered");
            tidy()? && fixed
        }
    };
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what is untidy; whether nothing is.
fn tidy() -> Result<bool> {
    let findings = xtask::tidy(&xtask::root())?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    println!("tidy: {} findings", findings.len());
    Ok(findings.is_empty())
}

/// Runs cargo in the workspace; whether it succeeded.
fn cargo(arguments: &[&str]) -> Result<bool> {
    println!("cargo {}", arguments.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).env("RUSTDOCFLAGS", "-D warnings").current_dir(xtask::root());
    Ok(command.status()?.success())
}
