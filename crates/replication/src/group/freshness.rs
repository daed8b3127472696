//! How stale a follower's own state can be, without any agreement between clocks.

use crate::runtime;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Messages remembered; older ones only say that the state is staler still.
const REMEMBERED: usize = 64;

/// What the leader's messages said, and when they came.
#[derive(Debug, Default)]
pub(crate) struct Freshness {
    heard: Mutex<VecDeque<(Instant, u64)>>,
}

impl Freshness {
    /// A message from the leader arrived, saying that all up to `committed` is committed.
    pub(crate) fn heard(&self, committed: u64) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.back().is_some_and(|&(_, index)| index > committed) {
            // A new leader that knows less: earlier messages no longer bound anything.
            heard.clear();
        }
        if heard.len() >= REMEMBERED {
            heard.pop_front();
        }
        heard.push_back((runtime::now(), committed));
    }

    /// An upper bound on how stale state that has applied `applied` is: the age of the newest message whose commits
    /// are all applied, plus the round trip (a message is never older than that when it arrives). `None`: unknown.
    pub(crate) fn staleness(&self, applied: u64, round_trip: Duration) -> Option<Duration> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = heard.iter().rev().find(|&&(_, committed)| committed <= applied);
        newest.map(|&(at, _)| runtime::since(at) + round_trip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_whose_commits_are_applied_bound_the_staleness() {
        let freshness = Freshness::default();
        assert_eq!(freshness.staleness(10, Duration::ZERO), None);
        freshness.heard(5);
        assert!(freshness.staleness(4, Duration::ZERO).is_none());
        let rtt = Duration::from_millis(80);
        assert!(freshness.staleness(5, rtt).is_some_and(|bound| bound >= rtt));
    }

    #[test]
    fn a_leader_that_knows_less_forgets_what_was_said_before() {
        let freshness = Freshness::default();
        freshness.heard(9);
        freshness.heard(3);
        assert!(freshness.staleness(2, Duration::ZERO).is_none());
        assert!(freshness.staleness(3, Duration::ZERO).is_some());
    }
}
