//! A region that is severed, expelled while it writes, and taken back: nobody waits for it, and its log goes on elsewhere without its last writes.

use super::{Replica, World};

/// What is decided of one region.
#[derive(Clone, Debug)]
pub(super) struct Exile {
    /// Its origin, and its replica.
    pub(super) origin: usize,
    pub(super) state: Standing,
    /// Whether anybody minds the fences; a world without them shows what they are for.
    fenced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Home,
    /// Cut off, and still waited for.
    Severed,
    /// Cut off, and no longer waited for: another replica stands in for its origin.
    Expelled,
    /// Reachable again.
    Returned,
}

/// A note in a log that whoever has applied what follows it has applied so much of all logs.
#[derive(Clone, Debug)]
pub(super) struct Fence {
    behind: usize,
    have: Vec<usize>,
}

impl World {
    /// From now on the last region goes through all that.
    pub(crate) fn exiles(&mut self, fenced: bool) {
        self.exile = Some(Exile { origin: self.origins() - 1, state: Standing::Home, fenced });
    }

    fn standing(&self) -> Option<(usize, Standing)> {
        self.exile.as_ref().map(|exile| (exile.origin, exile.state))
    }

    /// Whose replica evaluates the writes of an origin.
    pub(super) fn evaluator(&self, origin: usize) -> usize {
        match self.standing() {
            Some((exiled, Standing::Expelled | Standing::Returned)) if exiled == origin => 0,
            _ => origin,
        }
    }

    /// Whether the entries of an origin's log can reach a replica.
    pub(super) fn reaches(&self, origin: usize, replica: usize) -> bool {
        match self.standing() {
            Some((exiled, Standing::Severed)) => (origin == exiled) == (replica == exiled),
            Some((exiled, Standing::Expelled)) => replica != exiled,
            _ => true,
        }
    }

    /// Whether the horizon waits for a replica.
    pub(super) fn is_waited_for(&self, replica: usize) -> bool {
        self.evaluator(replica) == replica || replica >= self.origins()
    }

    /// Whether no horizon can be found, since an origin cannot be asked for a promise.
    pub(super) fn is_stuck(&self) -> bool {
        matches!(self.standing(), Some((_, Standing::Severed)))
    }

    /// Whether a replica may be looked at, by the fences in the logs that it has. One that was always waited for always may.
    pub(super) fn may_be_read(&self, replica: usize) -> bool {
        let Some(exile) = &self.exile else { return true };
        let positions = &self.replicas[replica].positions;
        let own = |log: usize| log == exile.origin && replica == exile.origin;
        let passed = self.fences.iter().enumerate().all(|(log, fences)| {
            // A leader has all of its log, and so a fence at its end.
            let met = |fence: &&Fence| positions[log] + usize::from(own(log)) > fence.behind;
            fences
                .iter()
                .filter(met)
                .all(|fence| positions.iter().zip(&fence.have).all(|(at, have)| at >= have))
        });
        assert!(passed || replica == exile.origin, "a fence holds up who was waited for");
        passed || !exile.fenced
    }

    /// Every log notes what whoever reads on must have.
    pub(super) fn fence(&mut self, have: &[usize]) {
        for (log, fences) in self.fences.iter_mut().enumerate() {
            fences.push(Fence { behind: self.logs[log].len(), have: have.to_vec() });
        }
    }

    /// What all that are waited for have of each log.
    pub(super) fn common(&self) -> Vec<usize> {
        let waited = (0..self.replicas.len()).filter(|replica| self.is_waited_for(*replica));
        let positions: Vec<&Vec<usize>> = waited.map(|replica| &self.replicas[replica].positions).collect();
        let least = |log: usize| positions.iter().map(|at| at[log]).min().unwrap_or(0);
        (0..self.origins()).map(least).collect()
    }

    /// The next step of the exile, sometimes.
    pub(super) fn turn(&mut self) {
        if self.exile.is_some() && self.rng.one_in(6) {
            self.next_turn();
        }
    }

    fn next_turn(&mut self) {
        let Some((origin, state)) = self.standing() else { return };
        let next = match state {
            Standing::Home => Standing::Severed,
            // It may come back in time.
            Standing::Severed if self.rng.one_in(4) => Standing::Home,
            Standing::Severed => {
                self.go_on_without(origin);
                Standing::Expelled
            }
            Standing::Expelled => {
                self.fill_again(origin);
                Standing::Returned
            }
            Standing::Returned => {
                // It leads its origin again once it has all of the log.
                let all = self.logs[origin].len();
                while self.replicas[origin].positions[origin] < all {
                    self.deliver(origin, origin);
                }
                Standing::Home
            }
        };
        if let Some(exile) = &mut self.exile {
            exile.state = next;
        }
    }

    /// The log goes on behind what the furthest of the others has, and one of them stands in. A horizon that was to be is looked for anew.
    fn go_on_without(&mut self, origin: usize) {
        let others = self.replicas.iter().enumerate().filter(|(replica, _)| *replica != origin);
        let cut = others.map(|(_, replica)| replica.positions[origin]).max().unwrap_or(0);
        self.logs[origin].truncate(cut);
        self.fences[origin].retain(|fence| fence.behind <= cut);
        while self.replicas[0].positions[origin] < cut {
            let there = &mut self.replicas[0];
            let entry = &self.logs[origin][there.positions[origin]];
            there.positions[origin] += 1;
            there.fragments[origin].clone_from(&entry.fragment);
            there.seen |= entry.seen;
            let (stamp, horizon) = (entry.stamp.hlc, entry.horizon);
            self.clocks[0].observe(stamp, 0, super::NEVER_TOO_FAR).unwrap();
            self.horizons[0] = self.horizons[0].max(horizon);
        }
        self.coming = None;
    }

    /// The replica of its own log is another log's by now; what it has of the others is old, and right as far as it goes.
    fn fill_again(&mut self, origin: usize) {
        let Replica { mut positions, mut fragments, .. } = self.replicas[origin].clone();
        positions[origin] = 0;
        fragments[origin] = None;
        let applied = self.logs.iter().zip(&positions).flat_map(|(log, at)| &log[..*at]);
        let seen = applied.fold(0, |seen, entry| seen | entry.seen);
        self.replicas[origin] = Replica { positions, fragments, seen };
        // The state comes as a whole.
        let all = self.logs[origin].len();
        while self.replicas[origin].positions[origin] < all {
            self.take(origin, origin);
        }
    }

    /// Whoever is away comes back.
    pub(super) fn come_home(&mut self) {
        while self.standing().is_some_and(|(_, state)| state != Standing::Home) {
            self.next_turn();
        }
    }
}
