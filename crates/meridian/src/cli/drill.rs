//! `meridian drill`.

use super::failure::{Exit, Failure};
use super::output;
use super::{Global, Outcome};
use crate::config::units::parse_duration;
use crate::dev::DEFAULT_DIR;
use crate::dev::cluster_file::FILE_NAME;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use meridian_drill::service::MAX_EDGE_RATE;
use meridian_drill::workload::Live;
use meridian_drill::{DrillError, DrillOptions, DrillReport, Progress, RepeatedReport, Scenario, Verdict};
use meridian_types::{PolicyName, RegionName, ServiceName, TableName};
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `drill`.
#[derive(Args)]
pub(super) struct DrillArgs {
    /// The drill: region-kill, region-freeze, region-partition, region-oneway, region-slow, service-down, node-kill, zone-kill,
    /// disk-full, clock-skew, switchover, or a scenario's .toml file
    #[arg(value_parser = scenario, value_name = "NAME")]
    drill: Scenario,
    /// The region that the fault is in; of a switchover, the one that is to lead
    #[arg(long, value_name = "REGION")]
    region: Option<RegionName>,
    /// A service whose users are driven too, through the edges and by DNS; service-down is of the sample application `demo`
    #[arg(long, value_name = "SERVICE")]
    service: Option<ServiceName>,
    /// Requests a second of the service's users through each edge
    #[arg(long, default_value_t = 80, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_EDGE_RATE)))]
    edge_rate: u16,
    /// How long the fault stays
    #[arg(long = "for", value_parser = parse_duration, value_name = "TIME")]
    hold: Option<Duration>,
    /// Carry it out so many times, each time in the next region unless --region names one; prints RTO percentiles over all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    repeat: Option<u32>,
    /// The table to load; without it one is made, and dropped in the end
    #[arg(long, value_name = "TABLE")]
    table: Option<TableName>,
    /// The policy of the table that is made
    #[arg(long, default_value = "active-passive-semi-sync", value_name = "POLICY", conflicts_with = "table")]
    policy: PolicyName,
    /// The longest recovery that passes
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    max_rto: Option<Duration>,
    /// The oldest lost write that passes
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    max_rpo: Option<Duration>,
    /// A folder for the report as JSON, Markdown and a picture
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// The folder of the cluster that `meridian dev` runs
    #[arg(long, default_value = DEFAULT_DIR, value_name = "DIR")]
    dir: PathBuf,
}

fn scenario(name: &str) -> Result<Scenario, String> {
    let found = if name.ends_with(".toml") {
        let text = std::fs::read_to_string(name).map_err(|error| format!("cannot read {name}: {error}"))?;
        Scenario::parse(&text)
    } else {
        Scenario::built_in(name)
    };
    found.map_err(|error| error.to_string())
}

impl From<DrillError> for Failure {
    fn from(error: DrillError) -> Self {
        Self { exit: Exit::of_code(error.exit_code()), message: error.to_string() }
    }
}

pub(super) async fn run(args: DrillArgs, global: &Global) -> Outcome {
    let options = DrillOptions {
        cluster: args.dir.join(FILE_NAME),
        scenario: args.drill,
        region: args.region,
        table: args.table,
        policy: args.policy,
        hold: args.hold,
        service: args.service,
        edge_rate: args.edge_rate,
        max_rto: args.max_rto,
        max_rpo: args.max_rpo,
        report: args.report,
    };
    let shown = Shown::new();
    let done = match args.repeat {
        None => Box::pin(meridian_drill::run(options, shown.clone())).await.map(Done::Once),
        Some(rounds) => {
            Box::pin(meridian_drill::repeat(options, rounds, shown.clone())).await.map(Done::Often)
        }
    };
    shown.finish();
    // The report of a drill is JSON for everything but a person at a terminal.
    let (text, verdict) = match (done?, global.for_people()) {
        (Done::Once(report), true) => (report.to_markdown(), report.verdict),
        (Done::Once(report), false) => (report.to_json() + "\n", report.verdict),
        (Done::Often(report), true) => (report.to_markdown(), report.worst.verdict),
        (Done::Often(report), false) => (report.to_json() + "\n", report.worst.verdict),
    };
    output::emit(&text);
    if verdict == Verdict::Pass {
        return Ok(());
    }
    Err(Failure {
        exit: Exit::Missed,
        message: "the drill's objectives were missed; the report says which".to_owned(),
    })
}

/// What came of it.
enum Done {
    Once(DrillReport),
    Often(RepeatedReport),
}

/// Progress on standard error.
#[derive(Clone)]
pub(super) struct Shown {
    bar: ProgressBar,
}

impl Shown {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        Self { bar }
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Shown {
    fn event(&self, at_s: f64, text: &str) {
        self.bar.suspend(|| output::note(&format!("{at_s:>8.2} s  {text}")));
    }

    fn tick(&self, elapsed: Duration, regions: &[(&str, Live)]) {
        let counts: Vec<String> = regions
            .iter()
            .map(|(name, live)| format!("{name} {} ok, {} errors", live.done, live.errors))
            .collect();
        self.bar.set_message(format!("{:.0} s  {}", elapsed.as_secs_f64(), counts.join("; ")));
        self.bar.tick();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_drill() {
        let mut command = DrillArgs::augment_args(clap::Command::new("drill"));
        let help = command.render_long_help().to_string();
        let words: Vec<&str> = help.split([' ', ',', '\n']).collect();
        for name in Scenario::names() {
            assert!(words.contains(&name), "{name} is not in {help}");
        }
    }
}
