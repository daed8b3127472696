//! How far a log is on the disk, as far as this process knows.

use super::types::WritePlace;
use crate::runtime::watch;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
struct State {
    /// The first index that is not on the disk.
    end: u64,
    /// How often the log was cut from behind: what was written before a cut says nothing after it.
    cuts: u64,
}

/// The end of the part of a log that is on the disk; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct DurableEnd {
    state: Arc<Mutex<State>>,
    writes: watch::Sender<WritePlace>,
}

/// Entries that are on their way to the disk.
pub(super) struct Writing {
    of: DurableEnd,
    last: u64,
    write: Option<WritePlace>,
    cuts: u64,
}

impl DurableEnd {
    /// That of a log which was found on the disk with this last index.
    pub(super) fn new(last: Option<u64>) -> Self {
        let (writes, _) = watch::channel(WritePlace::default());
        Self { state: Arc::new(Mutex::new(State { end: behind(last), cuts: 0 })), writes }
    }

    /// Follows the newest batch of writes that has come onto the disk since this process started.
    pub(crate) fn follow_writes(&self) -> watch::Receiver<WritePlace> {
        self.writes.subscribe()
    }

    /// Whether the disk has the log up to an index.
    pub(crate) fn covers(&self, index: u64) -> bool {
        index < self.lock().end
    }

    /// Entries up to `last` are being written; the newest batch of writes among them is `write`.
    pub(super) fn writing(&self, last: u64, write: Option<WritePlace>) -> Writing {
        Writing { of: self.clone(), last, write, cuts: self.lock().cuts }
    }

    /// All after an index is gone.
    pub(super) fn cut(&self, after: Option<u64>) {
        let mut state = self.lock();
        state.end = state.end.min(behind(after));
        state.cuts += 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Two numbers: a panic elsewhere leaves them at most too careful.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing {
    /// They are on the disk.
    pub(super) fn done(self) {
        let mut state = self.of.lock();
        if state.cuts == self.cuts {
            state.end = state.end.max(behind(Some(self.last)));
        }
        drop(state);
        if let Some(write) = self.write {
            self.of.writes.send_replace(write);
        }
    }
}

fn behind(index: Option<u64>) -> u64 {
    index.map_or(0, |index| index.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_being_written_when_the_log_was_cut_does_not_count() {
        let end = DurableEnd::new(Some(5));
        let (first, second) = (end.writing(8, None), end.writing(9, None));
        assert!(end.covers(5) && !end.covers(6));
        first.done();
        assert!(end.covers(8) && !end.covers(9));
        end.cut(Some(6));
        let third = end.writing(7, None);
        second.done();
        assert!(end.covers(6) && !end.covers(7));
        third.done();
        assert!(end.covers(7));
        end.cut(None);
        assert!(!end.covers(0) && !DurableEnd::new(None).covers(0));
    }
}
