//! A drill's report: JSON for programs, Markdown for people, and a picture of the timeline.

mod examples;
mod judge;
mod markdown;
mod picture;
mod rounds;

pub use rounds::{Percentiles, RepeatedReport, Round, Rounds};

use crate::error::DrillError;
use crate::measure::{Latency, Marks, Measured, OldLeader, Tally};
use crate::sample::Sample;
use crate::scenario::{Objectives, Scenario};
use crate::service::ServiceFigures;
use crate::target::Target;
use crate::verify::Verification;
use meridian_types::{NodeName, PolicyName, RegionName, TableName};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::path::Path;

/// What the drill was about.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The scenario with the objectives that it is judged by.
    pub scenario: Scenario,
    /// What was hit.
    pub target: Target,
    /// What was good enough.
    pub objectives: Objectives,
    /// The table.
    pub table: TableName,
    /// Its policy.
    pub policy: PolicyName,
    /// All regions, in the order of the samples' paths.
    pub regions: Vec<RegionName>,
    /// When the drill began, in seconds since 1970.
    pub started_unix_s: u64,
    /// Whether every region served again in the end.
    pub settled: bool,
    /// Whether leadership was where a planned move ordered it, in time. Always so without one.
    pub moved: bool,
    /// How many requests were refused in a way that does not say "retry".
    pub final_refusals: u64,
    /// What could not be cleaned up, in words.
    pub leftover: Option<String>,
    /// What the users of a service saw, if there was one.
    pub service: Option<ServiceFigures>,
}

impl Subject {
    /// The regions that are expected to serve while the fault lasts.
    fn serving(&self) -> Vec<RegionName> {
        let serves = |region: &&RegionName| self.target.leaves(region, self.scenario.fault);
        self.regions.iter().filter(serves).cloned().collect()
    }
}

/// Whether every objective was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All were met.
    Pass,
    /// At least one was missed, or something happened that must never happen.
    Fail,
}

/// One line of the timeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Seconds from the fault; negative before it.
    #[serde(serialize_with = "milliseconds")]
    pub at_s: f64,
    /// What happened.
    pub event: String,
}

/// The report. Its serialised form is stable: fields are added, never renamed.
#[derive(Clone, Debug, Serialize)]
pub struct DrillReport {
    /// The scenario's name.
    pub drill: String,
    /// The region that the fault was in.
    pub region: RegionName,
    /// The table.
    pub table: TableName,
    /// Its policy.
    pub policy: PolicyName,
    /// What was asked for.
    pub objectives: Objectives,
    /// What was measured.
    pub measured: Figures,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is not a pass.
    pub missed: Vec<String>,
    /// Some of the requests behind the bad figures.
    pub examples: Vec<String>,
    /// What happened when.
    pub timeline: Vec<Event>,
    /// When the drill began, in seconds since 1970.
    pub started_unix_s: u64,
    /// The scenario as it was carried out.
    pub scenario: Scenario,
    /// The nodes that were hit.
    pub nodes: Vec<NodeName>,
    /// How many groups of the policy they led when the fault came.
    pub led_groups: usize,
    /// The regions that were expected to serve while the fault lasted.
    pub serving: Vec<RegionName>,
    /// The timeline as an SVG picture.
    #[serde(skip)]
    pub picture: String,
}

/// The figures; [`crate::measure`] says how each is taken.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Until the cluster noticed.
    #[serde(serialize_with = "maybe_milliseconds")]
    pub detect_s: Option<f64>,
    /// Until writes succeeded again through every surviving region.
    #[serde(serialize_with = "maybe_milliseconds")]
    pub rto_s: Option<f64>,
    /// The age of the oldest lost acknowledged write.
    #[serde(serialize_with = "milliseconds")]
    pub rpo_s: f64,
    /// All requests.
    pub requests: u64,
    /// Those that were refused or are unknown.
    pub errors: u64,
    /// Those that are unknown.
    pub unknown: u64,
    /// Acknowledged writes.
    pub acknowledged_writes: u64,
    /// Those that are gone.
    pub lost_writes: u64,
    /// Effects that took place too often.
    pub duplicate_effects: u64,
    /// Reads that broke their promise.
    pub stale_reads: u64,
    /// The recovery by the way that a client takes; `null` for a way that this drill does not drive.
    pub rto_by_path: RtoByPath,
    /// What the users of the service saw, if the drill had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceFigures>,
    /// Until consistent reads succeeded again.
    #[serde(serialize_with = "maybe_milliseconds")]
    pub read_rto_s: Option<f64>,
    /// Stale consistent reads.
    pub stale_consistent_reads: u64,
    /// Stale reads with a token.
    pub stale_token_reads: u64,
    /// Appends that took effect too often; the rest of `duplicate_effects` are adds.
    pub duplicate_appends: u64,
    /// Items of which regions showed different states after the load.
    pub regions_disagree_on: u64,
    /// Eventually consistent reads that were answered.
    pub eventual_reads: u64,
    /// Those that showed an older state, as they may.
    pub eventual_reads_behind: u64,
    /// Writes that were refused and are there all the same.
    pub refused_but_present: u64,
    /// Requests that were refused in a way that does not say "retry".
    pub final_refusals: u64,
    /// The longest time without a successful write through a surviving region until the undoing, in its worst lane.
    #[serde(serialize_with = "milliseconds")]
    pub longest_pause_s: f64,
    /// Requests through the surviving regions alone.
    pub surviving: Tally,
    /// What the target region answered after the undoing.
    pub old_leader: OldLeader,
    /// Each region's own figures.
    pub by_region: BTreeMap<RegionName, RegionFigures>,
}

/// The recovery by the way that a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RtoByPath {
    /// Straight to the DynamoDB API.
    #[serde(serialize_with = "maybe_milliseconds")]
    pub api: Option<f64>,
    /// Through the HTTP edge.
    pub edge: Option<f64>,
    /// Through the DNS name.
    pub dns: Option<f64>,
}

/// One region's own figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegionFigures {
    /// Until writes through it succeeded again; for the target region seldom a figure.
    #[serde(serialize_with = "maybe_milliseconds")]
    pub rto_s: Option<f64>,
    /// Its requests.
    pub requests: Tally,
    /// Write latency before the fault.
    pub write_latency_before: Latency,
    /// Write latency between the fault and the undoing.
    pub write_latency_during: Latency,
    /// The longest time without a successful write after the undoing, in its worst lane.
    #[serde(serialize_with = "milliseconds")]
    pub longest_write_gap_after_undo_s: f64,
}

impl DrillReport {
    /// Judges the figures and draws the picture. Pure.
    #[must_use]
    pub fn new(
        subject: &Subject,
        measured: &Measured,
        verification: &Verification,
        mut timeline: Vec<Event>,
        samples: &[Sample],
        marks: &Marks,
    ) -> Self {
        let objectives = subject.objectives;
        if let Some(rto) = measured.rto_s {
            timeline
                .push(Event { at_s: rto, event: "writes succeed through every surviving region".to_owned() });
            timeline.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        }
        let missed = judge::missed(subject, measured, verification);
        Self {
            drill: subject.scenario.name.clone(),
            region: subject.target.region.clone(),
            table: subject.table.clone(),
            policy: subject.policy.clone(),
            objectives,
            measured: Figures::new(measured, subject),
            verdict: if missed.is_empty() { Verdict::Pass } else { Verdict::Fail },
            missed,
            examples: examples::examples(&subject.regions, samples, measured, verification, marks),
            timeline,
            started_unix_s: subject.started_unix_s,
            scenario: subject.scenario.clone(),
            nodes: subject.target.nodes.clone(),
            led_groups: subject.target.led_groups,
            serving: subject.serving(),
            picture: picture::draw(&subject.regions, samples, marks, measured.rto_s),
        }
    }

    /// The report as indented JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Plain structs with string keys: this cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The report for people; it shows `timeline.svg` beside it.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        markdown::write(self)
    }

    /// Writes `report.json`, `report.md` and `timeline.svg` into a folder, which is made if need be.
    ///
    /// # Errors
    /// [`DrillError::Report`] with the file and the system's words.
    pub fn write_to(&self, folder: &Path) -> Result<(), DrillError> {
        write_files(folder, &self.to_json(), &self.to_markdown(), &self.picture)
    }
}

fn write_files(folder: &Path, json: &str, markdown: &str, picture: &str) -> Result<(), DrillError> {
    let error = |path: &Path, cause: std::io::Error| DrillError::Report {
        path: path.to_owned(),
        reason: cause.to_string(),
    };
    std::fs::create_dir_all(folder).map_err(|cause| error(folder, cause))?;
    let files = [("report.json", json), ("report.md", markdown), ("timeline.svg", picture)];
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|cause| error(&path, cause))?;
    }
    Ok(())
}

impl Figures {
    fn new(measured: &Measured, subject: &Subject) -> Self {
        let by_region = subject.regions.iter().zip(&measured.by_path).map(|(name, path)| {
            let figures = RegionFigures {
                rto_s: path.write_recovery_s,
                requests: path.tally,
                write_latency_before: path.write_latency_before,
                write_latency_during: path.write_latency_during,
                longest_write_gap_after_undo_s: path.longest_write_gap_after_undo_s,
            };
            (name.clone(), figures)
        });
        Self {
            detect_s: measured.detect_s,
            rto_s: measured.rto_s,
            rpo_s: measured.rpo_s,
            requests: measured.all.requests,
            errors: measured.all.errors,
            unknown: measured.all.unknown,
            acknowledged_writes: measured.acknowledged_writes,
            lost_writes: measured.lost_writes,
            duplicate_effects: measured.duplicate_effects,
            stale_reads: measured.stale_reads,
            rto_by_path: RtoByPath {
                api: measured.rto_s,
                edge: subject.service.and_then(|service| service.edge.rto_s),
                dns: subject.service.and_then(|service| service.dns.rto_s),
            },
            service: subject.service,
            read_rto_s: measured.read_rto_s,
            stale_consistent_reads: measured.stale_consistent_reads,
            stale_token_reads: measured.stale_token_reads,
            duplicate_appends: measured.duplicate_appends,
            regions_disagree_on: measured.regions_disagree_on,
            eventual_reads: measured.eventual_reads,
            eventual_reads_behind: measured.eventual_reads_behind,
            refused_but_present: measured.refused_but_present,
            final_refusals: subject.final_refusals,
            longest_pause_s: measured.longest_pause_s,
            surviving: measured.surviving,
            old_leader: measured.old_leader,
            by_region: by_region.collect(),
        }
    }
}

/// Seconds with three decimals: no figure here is known more exactly.
fn milliseconds<S: Serializer>(seconds: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((seconds * 1e3).round() / 1e3)
}

// The signature is what serde's `serialize_with` calls.
#[allow(clippy::ref_option)]
fn maybe_milliseconds<S: Serializer>(seconds: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match seconds {
        Some(seconds) => milliseconds(seconds, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests;
