//! What all parts of a load share: the clock, the stop signal, what clients have been told, and live counts.

use crate::client::{Client, Refusal};
use crate::cluster::ClusterFile;
use crate::sample::{End, Micros, Sample};
use crate::scenario::Workload;
use crate::workload::item::Items;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The state of a running load.
#[derive(Debug)]
pub struct Shared {
    pub(super) cluster: ClusterFile,
    pub(super) items: Items,
    pub(super) load: Workload,
    pub(super) counters: Vec<Counter>,
    paths: Vec<Path>,
    start: Instant,
    stop: watch::Receiver<bool>,
}

/// What clients have been told of one counter.
#[derive(Debug, Default)]
pub(super) struct Counter {
    /// The highest value in any answer so far: no later consistent read may show less.
    highest: AtomicU64,
    /// The token of a write to it, with the value that the write answered.
    token: Mutex<Option<(String, u64)>>,
}

impl Counter {
    pub(super) fn highest(&self) -> u64 {
        self.highest.load(Relaxed)
    }

    /// Takes note of an answer that was received.
    pub(super) fn told(&self, value: u64) {
        self.highest.fetch_max(value, Relaxed);
    }

    pub(super) fn token(&self) -> Option<(String, u64)> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_token(&self, token: String, value: u64) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some((token, value));
    }
}

/// Live counts of one region, for progress and for judging whether it serves.
#[derive(Debug, Default)]
struct Path {
    done: AtomicU64,
    errors: AtomicU64,
    last_done: AtomicU64,
    last_error: AtomicU64,
    hurried: AtomicBool,
    /// Refusals that do not say "retry".
    final_refusals: AtomicU64,
    /// Why the latest request failed, in words.
    reason: Mutex<Option<String>>,
}

/// A region's counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Requests that were answered.
    pub done: u64,
    /// Requests that were refused or are unknown.
    pub errors: u64,
}

impl Shared {
    /// A load that runs until `stop` says so. Its clock starts now.
    #[must_use]
    pub fn new(cluster: ClusterFile, items: Items, load: Workload, stop: watch::Receiver<bool>) -> Self {
        let paths = cluster.regions.len();
        let counters = paths * usize::from(load.counter_lanes);
        Self {
            cluster,
            items,
            load,
            counters: std::iter::repeat_with(Counter::default).take(counters).collect(),
            paths: std::iter::repeat_with(Path::default).take(paths).collect(),
            start: Instant::now(),
            stop,
        }
    }

    /// Microseconds since the load began.
    #[must_use]
    pub fn now(&self) -> Micros {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The counts of a region.
    #[must_use]
    pub fn live(&self, path: u8) -> Live {
        self.paths.get(usize::from(path)).map_or(Live::default(), |path| Live {
            done: path.done.load(Relaxed),
            errors: path.errors.load(Relaxed),
        })
    }

    /// Whether the region has answered within the last second and had no error for `calm`.
    #[must_use]
    pub fn serves(&self, path: u8, calm: Duration) -> bool {
        let now = self.now();
        let calm = u64::try_from(calm.as_micros()).unwrap_or(u64::MAX);
        self.paths.get(usize::from(path)).is_some_and(|path| {
            let answered = path.last_done.load(Relaxed);
            answered > 0 && answered + 1_000_000 > now && path.last_error.load(Relaxed) + calm < now
        })
    }

    /// Why the region's latest failed request failed.
    #[must_use]
    pub fn latest_reason(&self, path: u8) -> Option<String> {
        let path = self.paths.get(usize::from(path))?;
        path.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests were refused in a way that does not say "retry", through all regions.
    #[must_use]
    pub fn final_refusals(&self) -> u64 {
        self.paths.iter().map(|path| path.final_refusals.load(Relaxed)).sum()
    }

    /// Makes the readers of a region read without pause, or at their usual pace again.
    pub fn hurry(&self, path: u8, hurried: bool) {
        if let Some(path) = self.paths.get(usize::from(path)) {
            path.hurried.store(hurried, Relaxed);
        }
    }

    pub(super) fn is_hurried(&self, path: u8) -> bool {
        self.paths.get(usize::from(path)).is_some_and(|path| path.hurried.load(Relaxed))
    }

    pub(super) fn client(&self, path: u8, worker: usize) -> Option<Client> {
        self.cluster.target(usize::from(path), worker).map(|target| Client::new(&target))
    }

    /// Waits until `at`; `false` when the load is to stop instead.
    pub(super) async fn wait_until(&self, at: Instant) -> bool {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            // A sender that is gone means the same as one that says stop.
            _ = stop.wait_for(|stop| *stop) => false,
            () = tokio::time::sleep_until(at) => true,
        }
    }

    /// Takes note of a refusal, in words.
    pub(super) fn refused(&self, path: u8, operation: &str, refusal: &Refusal) -> String {
        if let Some(path) = self.paths.get(usize::from(path))
            && !refusal.is_retryable()
        {
            path.final_refusals.fetch_add(1, Relaxed);
        }
        format!("{operation} was refused: {refusal}")
    }

    /// Takes note of a request that has ended, with the reason if it failed.
    pub(super) fn note(&self, sample: &Sample, reason: Option<String>) {
        let Some(path) = self.paths.get(usize::from(sample.path)) else { return };
        if reason.is_some() {
            *path.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        }
        let (count, last) = match sample.end {
            End::Done => (&path.done, &path.last_done),
            End::Refused | End::Unknown => (&path.errors, &path.last_error),
        };
        count.fetch_add(1, Relaxed);
        last.store(sample.returned, Relaxed);
    }
}
