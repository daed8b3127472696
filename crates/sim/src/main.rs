//! Runs simulations from the command line.

use clap::Parser;
use meridian_sim::{Report, Settings, run_many};
use std::process::ExitCode;
use std::time::Duration;

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
    /// How many seconds things go wrong for, in simulated time
    #[arg(long, default_value_t = 40)]
    chaos: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_default_env() {
        let log = tracing_subscriber::fmt().with_env_filter(filter).without_time().with_ansi(false);
        log.with_writer(std::io::stderr).init();
    }
    let settings = Settings {
        trace: arguments.trace,
        chaos: Duration::from_secs(arguments.chaos),
        ..Settings::default()
    };
    let seeds = match arguments.seed {
        Some(seed) => seed..seed.saturating_add(1),
        None => arguments.start..arguments.start.saturating_add(arguments.seeds),
    };
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = arguments.jobs.unwrap_or_else(processors);
    let one = arguments.seed.is_some();
    let summary = run_many(seeds, jobs, &settings, |report| {
        if one {
            let (hash, events) = report.digest;
            println!("trace {hash:016x} over {events} events");
        }
        show(report);
    });
    print!("{summary}");
    if summary.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn show(report: &Report) {
    if report.wrong.is_empty() {
        return;
    }
    println!("seed {} failed; run it again with: meridian-sim --seed {} --trace", report.seed, report.seed);
    for wrong in report.wrong.iter().take(8) {
        println!("    {wrong}");
    }
    if report.wrong.len() > 8 {
        println!("    and {} more", report.wrong.len() - 8);
    }
}
