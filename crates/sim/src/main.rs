//! Runs simulations from the command line.

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use meridian_drill::Scenario;
use meridian_sim::{Report, Settings, marks, run_many};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Without a terminal for a bar, so many seeds bring a line of how far the run is.
const SAY_EVERY: u64 = 1_000;

/// Simulates whole clusters: one seed is one run, byte for byte
#[derive(Parser)]
#[command(name = "meridian-sim")]
struct Arguments {
    /// How many seeds to run
    #[arg(long, default_value_t = 50)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Run this one seed only
    #[arg(long, conflicts_with_all = ["seeds", "start"])]
    seed: Option<u64>,
    /// Print every event of the run
    #[arg(long, requires = "seed")]
    trace: bool,
    /// How many seeds to run at once; by default one a processor
    #[arg(long)]
    jobs: Option<usize>,
    /// Have some items written in every region at once
    #[arg(long)]
    active: bool,
    /// Have tables that change their policies, and regions that are expelled
    #[arg(long)]
    tables: bool,
    /// How many seconds things go wrong for, in simulated time
    #[arg(long, default_value_t = 40)]
    chaos: u64,
    /// Carry out the drill of this scenario's .toml file instead of drawn faults
    #[arg(long, value_name = "FILE", conflicts_with = "chaos")]
    scenario: Option<PathBuf>,
}

fn read(path: &Path) -> Result<Scenario, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Scenario::parse(&text).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_default_env() {
        let log = tracing_subscriber::fmt().with_env_filter(filter).without_time().with_ansi(false);
        log.with_writer(std::io::stderr).init();
    }
    let drill = match arguments.scenario.as_deref().map(read).transpose() {
        Ok(drill) => drill,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let again = rerun(&arguments);
    let settings = Settings {
        trace: arguments.trace,
        chaos: Duration::from_secs(arguments.chaos),
        drill,
        active: arguments.active,
        tables: arguments.tables,
        ..Settings::default()
    };
    let seeds = match arguments.seed {
        Some(seed) => seed..seed.saturating_add(1),
        None => arguments.start..arguments.start.saturating_add(arguments.seeds),
    };
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = arguments.jobs.unwrap_or_else(processors);
    let one = arguments.seed.is_some();
    let bar = if arguments.trace { ProgressBar::hidden() } else { progress(&seeds) };
    let summary = run_many(seeds, jobs, &settings, |report| {
        bar.suspend(|| {
            if one {
                let (hash, events) = report.digest;
                println!("trace {hash:016x} over {events} events");
            }
            show(report, &again);
        });
        bar.inc(1);
        if bar.is_hidden() && bar.position().is_multiple_of(SAY_EVERY) {
            eprintln!("{} of {} seeds", bar.position(), bar.length().unwrap_or_default());
        }
    });
    bar.finish_and_clear();
    print!("{summary}");
    if arguments.scenario.is_none() {
        for path in marks::missed(&summary.marks, arguments.tables) {
            println!("   NEVER  {path}");
        }
    }
    if summary.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How far the seeds have come, on standard error if that is a terminal.
fn progress(seeds: &Range<u64>) -> ProgressBar {
    let bar = ProgressBar::new(seeds.end - seeds.start);
    // A template that does not parse leaves the default look.
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} seeds, {eta} left") {
        bar.set_style(style);
    }
    bar
}

/// What a person types to run a seed of these again, without the seed.
fn rerun(arguments: &Arguments) -> String {
    let active = if arguments.active { " --active" } else { "" };
    let scenario = arguments.scenario.as_ref();
    let tables = if arguments.tables { " --tables" } else { "" };
    scenario.map_or_else(String::new, |file| format!(" --scenario {}", file.display())) + active + tables
}

fn show(report: &Report, again: &str) {
    if report.wrong.is_empty() {
        return;
    }
    println!(
        "seed {} failed; run it again with: meridian-sim{again} --seed {} --trace",
        report.seed, report.seed
    );
    for wrong in report.wrong.iter().take(8) {
        println!("    {wrong}");
    }
    if report.wrong.len() > 8 {
        println!("    and {} more", report.wrong.len() - 8);
    }
}
