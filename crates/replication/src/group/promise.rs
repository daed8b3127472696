//! What this replica has promised to a group's leader: to vote for nobody else for a lease.
//!
//! Invariant 3, the granter's side. A lease is granted with each message of the leader that is accepted, and no vote
//! begins within it. While a vote is under way, and after one was given to a later term, nothing is granted: so a lease
//! and a vote against it never overlap, whatever openraft does with the messages meanwhile. openraft's own lease is not used;
//! its votes pass here first.

use crate::runtime::{self, Mistake, errs, mark};
use crate::system::LogPoint;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// One replica's promise.
#[derive(Debug)]
pub(crate) struct Promise {
    state: Mutex<State>,
    opened: Instant,
    /// How far the log was at least that this node once had here and gave up.
    floor: Option<LogPoint>,
}

#[derive(Debug)]
struct State {
    /// When a lease was last granted; `None` before the first.
    renewed: Option<Instant>,
    /// Votes under way.
    voting: usize,
    /// The highest term in which this replica may have voted since it was opened.
    voted: u64,
    /// When a candidate was last told that it would get the vote.
    favoured: Option<Instant>,
}

impl State {
    fn left(&self, lease: Duration) -> Duration {
        self.renewed.map_or(Duration::ZERO, |renewed| lease.saturating_sub(runtime::since(renewed)))
    }

    fn runs(&self, lease: Duration) -> bool {
        !self.left(lease).is_zero()
    }
}

impl Promise {
    /// The promise of a replica that opens now. One that `had_state` may have granted a lease before, so it counts as
    /// having done so now. One that this node gave up before votes as if it still had that log, up to its `floor`.
    pub(crate) fn new(had_state: bool, floor: Option<LogPoint>) -> Arc<Self> {
        let opened = runtime::now();
        let remembers = had_state && !errs(Mistake::VoteEarly);
        let state = State { renewed: remembers.then_some(opened), voting: 0, voted: 0, favoured: None };
        Arc::new(Self { state: Mutex::new(state), opened, floor })
    }

    /// A message of the leader of `term` was accepted: whether the lease that goes with it is granted. If not, the
    /// leader must not be told that its message arrived.
    pub(crate) fn renew(&self, term: u64) -> bool {
        let mut state = self.lock();
        let granted = state.voting == 0 && state.voted <= term;
        if granted {
            state.renewed = Some(runtime::now());
        }
        granted
    }

    /// This node leads: whoever takes over has a whole lease to be heard.
    pub(crate) fn lead(&self) {
        self.lock().renewed = Some(runtime::now());
    }

    /// How long ago the last lease was granted; since the replica was opened when none was.
    pub(crate) fn silence(&self) -> Duration {
        runtime::since(self.lock().renewed.unwrap_or(self.opened))
    }

    /// Whether a lease of length `lease` has been granted that still runs.
    pub(crate) fn runs(&self, lease: Duration) -> bool {
        self.lock().runs(lease)
    }

    /// What is left of a granted lease of length `lease`; nothing when none runs.
    pub(crate) fn left(&self, lease: Duration) -> Duration {
        self.lock().left(lease)
    }

    /// Whether a candidate whose log ends at `last` has all that a replica which this node gave up may have acknowledged.
    pub(crate) fn reaches(&self, last: Option<LogPoint>) -> bool {
        let reaches = self.floor <= last;
        if !reaches {
            mark("a vote was refused for what a replica had that was given up");
        }
        reaches
    }

    /// A candidate is told that it would get this replica's vote.
    pub(crate) fn favour(&self) {
        self.lock().favoured = Some(runtime::now());
    }

    /// Whether a candidate was told so within `span`: then it is about to ask for the vote, and to stand against it would split the votes.
    pub(crate) fn favours(&self, span: Duration) -> bool {
        self.lock().favoured.is_some_and(|favoured| runtime::since(favoured) < span)
    }

    /// Begins a vote in `term`, unless a lease of length `lease` runs. `None` for `lease`: the leader itself asks for it.
    pub(crate) fn begin_vote(self: &Arc<Self>, term: u64, lease: Option<Duration>) -> Option<Voting> {
        let mut state = self.lock();
        if lease.is_some_and(|lease| state.runs(lease)) {
            return None;
        }
        state.voting += 1;
        drop(state);
        Some(Voting { promise: Arc::clone(self), term })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment: a panic elsewhere leaves nothing half-done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A vote under way. When it is dropped the vote counts as given, unless it was [refused](Self::refused).
#[derive(Debug)]
pub(crate) struct Voting {
    promise: Arc<Promise>,
    term: u64,
}

impl Voting {
    /// The vote was not given.
    pub(crate) fn refused(mut self) {
        self.term = 0;
    }

    /// The vote was given in this term, which may be later than the one it began for.
    pub(crate) fn given(mut self, term: u64) {
        self.term = self.term.max(term);
    }
}

impl Drop for Voting {
    fn drop(&mut self) {
        let mut state = self.promise.lock();
        state.voting = state.voting.saturating_sub(1);
        state.voted = state.voted.max(self.term);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(60);

    #[test]
    fn no_vote_begins_within_a_lease_unless_the_leader_asks_for_it() {
        let promise = Promise::new(false, None);
        promise.begin_vote(1, Some(LEASE)).expect("nothing was granted yet").refused();
        assert!(promise.renew(1));
        assert!(promise.begin_vote(2, Some(LEASE)).is_none());
        assert!(promise.begin_vote(2, Some(Duration::ZERO)).is_some(), "the lease is over");
        assert!(promise.begin_vote(2, None).is_some());
        assert!(
            Promise::new(true, None).begin_vote(2, Some(LEASE)).is_none(),
            "it may have granted one before"
        );
    }

    #[test]
    fn nothing_is_granted_while_a_vote_is_under_way_or_after_it_was_given() {
        let promise = Promise::new(false, None);
        let voting = promise.begin_vote(5, Some(LEASE)).unwrap();
        assert!(!promise.renew(4) && !promise.renew(5));
        voting.refused();
        assert!(promise.renew(4), "the vote was not given");
        drop(promise.begin_vote(6, None).unwrap());
        assert!(!promise.renew(5), "voted for term 6");
        assert!(promise.renew(6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_candidate_is_favoured_for_a_while() {
        let promise = Promise::new(false, None);
        let while_it_asks = Duration::from_millis(600);
        assert!(!promise.favours(while_it_asks));
        promise.favour();
        tokio::time::advance(Duration::from_millis(599)).await;
        assert!(promise.favours(while_it_asks));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!promise.favours(while_it_asks), "it may have died meanwhile");
    }

    #[test]
    fn a_replica_that_came_back_votes_for_nobody_who_lacks_what_it_had() {
        let point = |term, index| Some(LogPoint { term, index });
        let promise = Promise::new(true, point(3, 10));
        assert!(!promise.reaches(None) && !promise.reaches(point(3, 9)) && !promise.reaches(point(2, 50)));
        assert!(promise.reaches(point(3, 10)) && promise.reaches(point(4, 1)));
        assert!(Promise::new(true, None).reaches(None));
    }

    #[test]
    fn the_term_that_was_really_voted_in_counts() {
        let promise = Promise::new(false, None);
        promise.begin_vote(5, None).unwrap().given(9);
        assert!(!promise.renew(8) && promise.renew(9));
    }
}
