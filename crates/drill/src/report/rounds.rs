//! The report of a drill that was carried out several times: each round in a line, the recovery's percentiles over all, and the worst round in full.

use super::{DrillReport, Verdict};
use crate::error::DrillError;
use crate::measure::nearest_rank;
use meridian_types::RegionName;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;

/// The fields of the worst round, as of a single drill, and all rounds. A failed round is worse than a passed one, then a longer recovery is.
#[derive(Clone, Debug, Serialize)]
pub struct RepeatedReport {
    /// The worst round. Its verdict is that of them all.
    #[serde(flatten)]
    pub worst: DrillReport,
    /// All rounds.
    pub rounds: Rounds,
}

/// What the rounds add up to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rounds {
    /// How many were asked for.
    pub asked: u32,
    /// How many met every objective.
    pub passed: usize,
    /// Recovery over all rounds in which writes succeeded again.
    pub rto_s: Percentiles,
    /// Recovery over those in which what was hit led: the others hardly notice.
    pub rto_of_leaders_s: Percentiles,
    /// Rounds in which writes did not succeed again before the fault was undone.
    pub without_recovery: usize,
    /// Acknowledged writes of all rounds.
    pub acknowledged_writes: u64,
    /// Those that are gone.
    pub lost_writes: u64,
    /// Effects that took place too often.
    pub duplicate_effects: u64,
    /// Reads that broke their promise.
    pub stale_reads: u64,
    /// Why there are fewer than were asked for.
    pub stopped: Option<String>,
    /// Each, in order.
    pub each: Vec<Round>,
}

/// One round.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Round {
    /// The region that the fault was in.
    pub region: RegionName,
    /// Groups of the policy that the nodes hit led when the fault came.
    pub led_groups: usize,
    /// Its verdict.
    pub verdict: Verdict,
    /// Until writes succeeded again through every surviving region.
    #[serde(serialize_with = "super::maybe_milliseconds")]
    pub rto_s: Option<f64>,
    /// The age of the oldest lost acknowledged write.
    #[serde(serialize_with = "super::milliseconds")]
    pub rpo_s: f64,
    /// Acknowledged writes that are gone.
    pub lost_writes: u64,
    /// When it began, in seconds since 1970.
    pub started_unix_s: u64,
    /// Why it is not a pass.
    pub missed: Vec<String>,
}

/// Percentiles by nearest rank, in seconds; `None` without a figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    #[serde(serialize_with = "super::maybe_milliseconds")]
    pub p50: Option<f64>,
    /// The 99th percentile; of fewer than a hundred figures the greatest.
    #[serde(serialize_with = "super::maybe_milliseconds")]
    pub p99: Option<f64>,
    /// The greatest.
    #[serde(serialize_with = "super::maybe_milliseconds")]
    pub max: Option<f64>,
}

impl Percentiles {
    /// Sorts and picks.
    #[must_use]
    pub fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut all: Vec<f64> = figures.collect();
        all.sort_unstable_by(f64::total_cmp);
        Self { p50: nearest_rank(&all, 50), p99: nearest_rank(&all, 99), max: all.last().copied() }
    }
}

impl RepeatedReport {
    /// Adds the rounds up; `None` without one. `stopped` is why there are fewer than were `asked` for.
    #[must_use]
    pub fn new(asked: u32, reports: &[DrillReport], stopped: Option<String>) -> Option<Self> {
        let recovery = |report: &DrillReport| report.measured.rto_s.unwrap_or(f64::INFINITY);
        let failed = |report: &DrillReport| report.verdict == Verdict::Fail;
        let mut worst = reports
            .iter()
            .max_by(|a, b| failed(a).cmp(&failed(b)).then(recovery(a).total_cmp(&recovery(b))))?
            .clone();
        if let Some(stopped) = &stopped {
            worst.verdict = Verdict::Fail;
            worst.missed.push(format!("the rounds ended early: {stopped}"));
        }
        let sum = |figure: fn(&DrillReport) -> u64| reports.iter().map(figure).sum();
        let recovered = || reports.iter().filter(|report| report.measured.rto_s.is_some());
        let rounds = Rounds {
            asked,
            passed: reports.iter().filter(|report| !failed(report)).count(),
            rto_s: Percentiles::of(recovered().map(recovery)),
            rto_of_leaders_s: Percentiles::of(
                recovered().filter(|report| report.led_groups > 0).map(recovery),
            ),
            without_recovery: reports.len() - recovered().count(),
            acknowledged_writes: sum(|report| report.measured.acknowledged_writes),
            lost_writes: sum(|report| report.measured.lost_writes),
            duplicate_effects: sum(|report| report.measured.duplicate_effects),
            stale_reads: sum(|report| report.measured.stale_reads),
            stopped,
            each: reports.iter().map(Round::of).collect(),
        };
        Some(Self { worst, rounds })
    }

    /// The report as indented JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Plain structs with string keys: this cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The report for people.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_markdown(&mut text);
        text
    }

    fn write_markdown(&self, text: &mut String) -> std::fmt::Result {
        let rounds = &self.rounds;
        let verdict = if self.worst.verdict == Verdict::Pass { "pass" } else { "fail" };
        writeln!(text, "# {} rounds of drill {}: {verdict}\n", rounds.each.len(), self.worst.drill)?;
        writeln!(
            text,
            "{} of {} passed. {} writes were acknowledged, {} are lost; {} effects took place twice, {} reads were stale.\n",
            rounds.passed,
            rounds.asked,
            rounds.acknowledged_writes,
            rounds.lost_writes,
            rounds.duplicate_effects,
            rounds.stale_reads,
        )?;
        text.push_str("| RTO | p50 | p99 | greatest |\n|---|---:|---:|---:|\n");
        for (what, of) in [("all rounds", rounds.rto_s), ("what was hit led", rounds.rto_of_leaders_s)] {
            let [p50, p99, max] = [of.p50, of.p99, of.max].map(shown);
            writeln!(text, "| {what} | {p50} | {p99} | {max} |")?;
        }
        text.push_str("\n| round | region | groups led | verdict | RTO | lost writes |\n|---:|---|---:|---|---:|---:|\n");
        for (number, round) in rounds.each.iter().enumerate() {
            let Round { region, led_groups, rto_s, lost_writes, .. } = round;
            let verdict = if round.verdict == Verdict::Pass { "pass" } else { "fail" };
            let rto = shown(*rto_s);
            writeln!(
                text,
                "| {} | {region} | {led_groups} | {verdict} | {rto} | {lost_writes} |",
                number + 1
            )?;
        }
        writeln!(text, "\nThe worst round in full:\n")?;
        text.push_str(&self.worst.to_markdown());
        Ok(())
    }

    /// Writes `report.json`, `report.md` and the worst round's `timeline.svg` into a folder.
    ///
    /// # Errors
    /// [`DrillError::Report`] with the file and the system's words.
    pub fn write_to(&self, folder: &Path) -> Result<(), DrillError> {
        super::write_files(folder, &self.to_json(), &self.to_markdown(), &self.worst.picture)
    }
}

impl Round {
    fn of(report: &DrillReport) -> Self {
        Self {
            region: report.region.clone(),
            led_groups: report.led_groups,
            verdict: report.verdict,
            rto_s: report.measured.rto_s,
            rpo_s: report.measured.rpo_s,
            lost_writes: report.measured.lost_writes,
            started_unix_s: report.started_unix_s,
            missed: report.missed.clone(),
        }
    }
}

fn shown(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "none".to_owned(), |seconds| format!("{seconds:.3} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let of = |figures: &[f64]| Percentiles::of(figures.iter().copied());
        assert_eq!(of(&[]), Percentiles::default());
        assert_eq!(of(&[3.0, 1.0, 2.0]), Percentiles { p50: Some(2.0), p99: Some(3.0), max: Some(3.0) });
        let hundred: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(of(&hundred), Percentiles { p50: Some(100.0), p99: Some(198.0), max: Some(200.0) });
    }
}
