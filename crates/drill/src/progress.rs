//! How a long run tells what it is doing. The command line shows it; tests and services may not care.

use crate::workload::Live;
use std::time::Duration;

/// Is told what a drill or a benchmark is doing.
pub trait Progress: Send + Sync {
    /// Something happened, `at` seconds after the fault (negative before it; in a benchmark, after its start).
    fn event(&self, at_s: f64, text: &str);

    /// About twice a second while the load runs: each region's name and counts so far.
    fn tick(&self, elapsed: Duration, regions: &[(&str, Live)]);
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: f64, _: &str) {}

    fn tick(&self, _: Duration, _: &[(&str, Live)]) {}
}
