//! A benchmark's results: a table for people, JSON for programs.

use super::{BenchOptions, Operation};
use serde::Serialize;
use std::fmt::Write as _;

/// All results of one run.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// Connections to each system.
    pub connections: usize,
    /// Requests a second that were sent to each system; null when each connection waited for its last answer only.
    pub rate: Option<u32>,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Keys, all put before, chosen evenly.
    pub keys: u32,
    /// Seconds measured for each row.
    pub duration_s: f64,
    /// Processors of the machine, which the systems and the load share.
    pub processors: usize,
    /// One row a system and operation.
    pub rows: Vec<Row>,
    /// Peers that were left out, with the reason.
    pub skipped: Vec<String>,
}

/// One system doing one operation.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The system.
    pub system: String,
    /// The operation.
    pub operation: Operation,
    /// Answered requests a second.
    pub throughput_per_s: f64,
    /// The median latency.
    pub p50_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// Answered requests.
    pub requests: u64,
    /// Requests that were not answered as they should be.
    pub errors: u64,
    /// One of the errors.
    pub first_error: Option<String>,
    /// The throughput of the first system at the same operation, divided by this one's.
    pub first_system_ratio: Option<f64>,
    /// What an acknowledged write means there.
    pub durability: String,
}

impl BenchReport {
    pub(super) fn new(options: &BenchOptions, mut rows: Vec<Row>, skipped: Vec<String>) -> Self {
        let first = rows.first().map(|row| row.system.clone());
        let base: Vec<(Operation, f64)> = rows
            .iter()
            .filter(|row| Some(&row.system) == first.as_ref())
            .map(|row| (row.operation, row.throughput_per_s))
            .collect();
        for row in &mut rows {
            let base = base.iter().find(|(operation, _)| *operation == row.operation);
            row.first_system_ratio =
                base.map(|(_, base)| base / row.throughput_per_s).filter(|ratio| ratio.is_finite());
        }
        Self {
            connections: options.connections,
            rate: options.rate,
            value_bytes: options.value_bytes,
            keys: options.keys,
            duration_s: options.duration.as_secs_f64(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            rows,
            skipped,
        }
    }

    /// The results as indented JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Plain structs with string keys: this cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The results as an aligned table with what stands behind it.
    #[must_use]
    pub fn to_table(&self) -> String {
        let width = self.rows.iter().map(|row| row.system.len()).max().unwrap_or(0).max(6);
        let mut text = format!(
            "{:width$}  {:5}  {:>10}  {:>9}  {:>9}  {:>6}  {:>6}\n",
            "system", "op", "req/s", "p50 ms", "p99 ms", "errors", "ratio"
        );
        for row in &self.rows {
            let ratio = row.first_system_ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:width$}  {:5}  {:>10.0}  {:>9.2}  {:>9.2}  {:>6}  {ratio:>6}",
                row.system,
                row.operation.to_string(),
                row.throughput_per_s,
                row.p50_ms,
                row.p99_ms,
                row.errors
            );
        }
        let pace = match self.rate {
            Some(rate) => format!("{rate} requests a second, each timed from when it was due"),
            None => "each sending its next request when the last was answered".to_owned(),
        };
        let _ = write!(
            text,
            "\nratio: the first system's throughput over this one's. {} connections, {pace}; values of {} bytes; {} keys; {} s a row \
             after a warm-up; reads are linearizable; mixed is half \
             reads. The load and all systems share this machine's {} processors.\n\nAn acknowledged write is:\n",
            self.connections, self.value_bytes, self.keys, self.duration_s, self.processors
        );
        let mut said: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !said.contains(&row.system.as_str()) {
                said.push(&row.system);
                let _ = writeln!(text, "  {:width$}  {}", row.system, row.durability);
            }
        }
        for row in self.rows.iter().filter(|row| row.first_error.is_some()) {
            let error = row.first_error.as_deref().unwrap_or_default();
            let _ = writeln!(text, "\n{} {}: one of its errors: {error}", row.system, row.operation);
        }
        for reason in &self.skipped {
            let _ = writeln!(text, "\nleft out: {reason}");
        }
        text
    }
}
