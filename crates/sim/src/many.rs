//! Many seeds in a row, and what they add up to.

use crate::run::{Report, Settings, run};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What came of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Seeds that ran.
    pub seeds: u64,
    /// Those with something wrong.
    pub failures: Vec<Report>,
    /// Operations of clients, by how they ended.
    pub ends: BTreeMap<&'static str, u64>,
    /// Rare paths taken, and how often.
    pub marks: BTreeMap<&'static str, u64>,
    /// Time that passed inside.
    pub inside: Duration,
    /// Time that passed outside.
    pub outside: Duration,
}

/// Runs the seeds on so many threads, and tells `each` of every one, in order.
pub fn run_many(
    seeds: Range<u64>,
    threads: usize,
    settings: &Settings,
    mut each: impl FnMut(&Report),
) -> Summary {
    let mut summary = Summary::default();
    let start = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let (send, next, end) = (send.clone(), &next, seeds.end);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || send.send(run(seed, settings)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut early: BTreeMap<u64, Report> = BTreeMap::new();
        let mut expected = seeds.start;
        for report in receive {
            early.insert(report.seed, report);
            while let Some(report) = early.remove(&expected) {
                each(&report);
                summary.add(report);
                expected += 1;
            }
        }
    });
    summary.outside = start.elapsed();
    summary
}

impl Summary {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        self.inside += Duration::from_millis(report.virtual_ms);
        for (total, part) in [(&mut self.ends, &report.ends), (&mut self.marks, &report.marks)] {
            for (what, count) in part {
                *total.entry(what).or_default() += count;
            }
        }
        if !report.wrong.is_empty() {
            self.failures.push(report);
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each =
            self.outside.checked_div(u32::try_from(self.seeds).unwrap_or(u32::MAX)).unwrap_or_default();
        writeln!(f, "{} seeds, {} failed", self.seeds, self.failures.len())?;
        writeln!(f, "{:.0?} simulated in {:.1?}, {each:.2?} a seed", self.inside, self.outside)?;
        let ends: Vec<String> = self.ends.iter().map(|(end, count)| format!("{count} {end}")).collect();
        writeln!(f, "operations: {}", ends.join(", "))?;
        for (path, count) in &self.marks {
            writeln!(f, "{count:>8}  {path}")?;
        }
        Ok(())
    }
}
