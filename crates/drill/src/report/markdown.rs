//! The report for people. Every figure comes with how it was taken.

use super::{DrillReport, Verdict};
use crate::scenario::Scope;
use meridian_types::{NodeName, RegionName};
use std::fmt::Write as _;

pub(super) fn write(report: &DrillReport) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_all(&mut text, report);
    text
}

fn write_all(text: &mut String, report: &DrillReport) -> std::fmt::Result {
    let verdict = if report.verdict == Verdict::Pass { "pass" } else { "fail" };
    writeln!(text, "# Drill {}: {verdict}\n", report.drill)?;
    writeln!(
        text,
        "{} was {} for {} s while clients used table `{}` (policy `{}`) through every region. Expected to serve \
         meanwhile: {}.\n",
        hit(report),
        report.scenario.fault.done(),
        report.scenario.timing.hold_s,
        report.table,
        report.policy,
        report.serving.iter().map(RegionName::as_str).collect::<Vec<_>>().join(", "),
    )?;
    for reason in &report.missed {
        writeln!(text, "- {reason}")?;
    }
    if !report.missed.is_empty() {
        text.push('\n');
    }
    text.push_str("![success and errors over time](timeline.svg)\n\n");
    figures(text, report)?;
    regions(text, report)?;
    if !report.examples.is_empty() {
        text.push_str("## Examples\n\n");
        for example in &report.examples {
            writeln!(text, "- {example}")?;
        }
        text.push('\n');
    }
    text.push_str("## Timeline\n\n| seconds from the fault | event |\n|---:|---|\n");
    for event in &report.timeline {
        writeln!(text, "| {:.3} | {} |", event.at_s, event.event)?;
    }
    load(text, report)
}

/// What the fault was in.
fn hit(report: &DrillReport) -> String {
    let nodes = report.nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ");
    match report.scenario.scope {
        Scope::Region => format!("Region **{}**", report.region),
        Scope::Zone => format!("A zone of region **{}** ({nodes})", report.region),
        Scope::Node => format!("Node **{nodes}** of region {}", report.region),
    }
}

fn figures(text: &mut String, report: &DrillReport) -> std::fmt::Result {
    text.push_str(
        "## Figures\n\n| figure | measured | objective | how it was taken |\n|---|---:|---:|---|\n",
    );
    for (name, measured, objective, how) in judged(report).into_iter().chain(counted(report)) {
        writeln!(text, "| {name} | {measured} | {objective} | {how} |")?;
    }
    text.push('\n');
    Ok(())
}

/// A figure's name, value and objective, and how it was taken.
type Row = (&'static str, String, String, &'static str);

fn time(figure: Option<f64>) -> String {
    figure.map_or("none".to_owned(), |seconds| format!("{seconds:.3} s"))
}

fn objective(figure: Option<f64>) -> String {
    figure.map_or(String::new(), |seconds| format!("at most {seconds} s"))
}

/// The recovery, and what must never happen.
fn judged(report: &DrillReport) -> Vec<Row> {
    let measured = &report.measured;
    vec![
        (
            "RTO",
            time(measured.rto_s),
            objective(report.objectives.rto_s),
            "from the moment before the fault was ordered to the first write, sent after it, from which on no lane of any surviving region was without a success for longer than 1 s; the slowest lane of the slowest region counts; one write's own latency is included",
        ),
        (
            "RPO",
            time(Some(measured.rpo_s)),
            objective(report.objectives.rpo_s),
            "the age of the oldest acknowledged write that was lost, at the fault (at the undoing when it was acknowledged later)",
        ),
        (
            "lost writes",
            measured.lost_writes.to_string(),
            String::new(),
            "acknowledged writes that no region's consistent read found whole after the cluster had settled; every write was read back through every region",
        ),
        (
            "duplicate effects",
            measured.duplicate_effects.to_string(),
            "0".to_owned(),
            "numbers that are in their list more often than once (exact), and what counters showed beyond all additions sent and not refused by then (a lower bound, since an unknown addition counts as possibly done)",
        ),
        (
            "stale reads",
            measured.stale_reads.to_string(),
            "0".to_owned(),
            "consistent reads, and reads with a token, that showed a counter lower than somebody had been told before they were sent; and items of which regions showed different states after the load",
        ),
        (
            "refused but present",
            measured.refused_but_present.to_string(),
            "0".to_owned(),
            "writes that were refused and were found all the same",
        ),
    ]
}

/// What is counted beside that.
fn counted(report: &DrillReport) -> Vec<Row> {
    let (measured, old) = (&report.measured, &report.measured.old_leader);
    vec![
        (
            "detection",
            time(measured.detect_s),
            String::new(),
            "from the fault until the status of a surviving region first called the region other than healthy, or showed one of its groups without it as leader; looked at every 50 ms",
        ),
        (
            "RTO of reads",
            time(measured.read_rto_s),
            objective(report.objectives.read_rto_s),
            "as RTO, of consistent reads",
        ),
        (
            "longest pause",
            time(Some(measured.longest_pause_s)),
            objective(report.objectives.pause_s),
            "the longest time without a successful write on a lane of a surviving region, between the fault and the undoing; the time between two writes of a lane is included",
        ),
        (
            "final refusals",
            measured.final_refusals.to_string(),
            String::new(),
            "requests that were refused in a way that does not tell the client to try again",
        ),
        (
            "requests",
            measured.requests.to_string(),
            String::new(),
            "all requests through all regions, those that were not expected to serve too",
        ),
        (
            "errors",
            format!("{} ({} unknown)", measured.errors, measured.unknown),
            String::new(),
            "refused or unknown; a request without an answer in time is unknown, never counted as failed",
        ),
        (
            "errors through surviving regions",
            format!("{} of {}", measured.surviving.errors, measured.surviving.requests),
            String::new(),
            "the same, without a region that was not expected to serve",
        ),
        (
            "eventual reads behind",
            format!("{} of {}", measured.eventual_reads_behind, measured.eventual_reads),
            String::new(),
            "eventually consistent reads that showed an older state, as they may",
        ),
        (
            "old leader after the undoing",
            format!("{} consistent reads, {} writes", old.consistent_reads, old.acknowledged_writes),
            format!("0 stale, 0 lost (found: {}, {})", old.stale_reads, old.lost_writes),
            "what the region answered once the fault was undone, requests that waited at its door included",
        ),
    ]
}

fn regions(text: &mut String, report: &DrillReport) -> std::fmt::Result {
    text.push_str(
        "## Regions\n\n| region | RTO | requests | errors | unknown | write p50 / p99 before | during | \
         longest gap after the undoing |\n|---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let ms = |figure: Option<f64>| figure.map_or("-".to_owned(), |ms| format!("{ms:.1}"));
    for (name, one) in &report.measured.by_region {
        let (before, during) = (one.write_latency_before, one.write_latency_during);
        writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} / {} ms | {} / {} ms | {:.3} s |",
            one.rto_s.map_or("-".to_owned(), |rto| format!("{rto:.3} s")),
            one.requests.requests,
            one.requests.errors,
            one.requests.unknown,
            ms(before.p50_ms),
            ms(before.p99_ms),
            ms(during.p50_ms),
            ms(during.p99_ms),
            one.longest_write_gap_after_undo_s,
        )?;
    }
    text.push('\n');
    Ok(())
}

fn load(text: &mut String, report: &DrillReport) -> std::fmt::Result {
    let load = &report.scenario.workload;
    writeln!(
        text,
        "\n## Load\n\nThrough each region: {} lanes that put new items of {} payload bytes, {} that append a number to \
         a list and {} that add 1 to a counter, each to one partition key, each starting a write every {} ms with at most {} under way; {} readers each \
         for consistent reads, eventually consistent reads and reads with a token. A request is given up after {} ms. \
         Nothing is retried by the clients.",
        load.put_lanes,
        load.payload_bytes,
        load.append_lanes,
        load.counter_lanes,
        load.interval_ms,
        load.depth(),
        load.readers,
        load.deadline_ms,
    )
}
