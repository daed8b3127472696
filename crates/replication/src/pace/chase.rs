//! Whether a member that is far behind comes closer: it arrives, however fast others write and however little is left for it.

use std::time::Duration;

/// Between looks whether a member comes closer.
const LOOK: Duration = Duration::from_secs(30);
/// It comes closer when it has made up for this part of what it lacked since the last look: it then arrives within the hour wherever it
/// began.
const CLOSER: u64 = 16;
/// How often the charge is halved at most: it is as good as nothing then.
const MOST_HALVINGS: u32 = 20;

/// One member that is far behind, and whether it comes closer.
#[derive(Debug, Default)]
pub(super) struct Chase {
    looked: Option<(Duration, u64)>,
    pub(super) halvings: u32,
    snapshots: u32,
}

impl Chase {
    pub(super) fn look(&mut self, lag: u64, now: Duration) {
        match self.looked {
            Some((at, _)) if now.saturating_sub(at) < LOOK => {}
            Some((_, before)) if lag > before - before / CLOSER => {
                self.halve(1);
                self.looked = Some((now, lag));
            }
            _ => self.looked = Some((now, lag)),
        }
    }

    /// One that needs another snapshot, because the log did not wait for it, was too slow by far.
    pub(super) fn snapshot(&mut self) {
        if self.snapshots > 0 {
            self.halve(2);
        }
        self.snapshots += 1;
    }

    fn halve(&mut self, times: u32) {
        self.halvings = (self.halvings + times).min(MOST_HALVINGS);
    }
}
