//! What happened, as a hash over every event and, when asked for, as text.
//!
//! Two runs of one seed are the same run when their hashes agree: every frame with its bytes and its time is in it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

/// The trace of one run. Clones are the same trace.
#[derive(Clone)]
pub struct Trace {
    started: Instant,
    state: Arc<Mutex<State>>,
}

struct State {
    hash: Xxh3,
    events: u64,
    print: bool,
}

impl Trace {
    /// A trace that begins now; `print` writes it to the standard error as well.
    #[must_use]
    pub fn new(print: bool) -> Self {
        let state = State { hash: Xxh3::new(), events: 0, print };
        Self { started: Instant::now(), state: Arc::new(Mutex::new(state)) }
    }

    /// Nanoseconds since the run began.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// When the run began.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Notes an event.
    pub fn event(&self, what: fmt::Arguments<'_>) {
        self.bytes(what, &[]);
    }

    /// Notes an event with bytes that are too many to print.
    pub fn bytes(&self, what: fmt::Arguments<'_>, bytes: &[u8]) {
        let now = self.now();
        let text = what.to_string();
        let mut state = self.lock();
        state.events += 1;
        state.hash.update(&now.to_le_bytes());
        state.hash.update(text.as_bytes());
        state.hash.update(bytes);
        if state.print {
            eprintln!("{:>12.6} {text}", now as f64 / 1e9);
        }
    }

    /// The hash and the number of events so far.
    #[must_use]
    pub fn digest(&self) -> (u64, u64) {
        let state = self.lock();
        (state.hash.digest(), state.events)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // One thread only; a panic ends the run.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
