//! The leader's lease, counted from answers that this node has seen with its own eyes.
//!
//! Invariant 3: the lease runs from the moment a message was *sent* that a majority then answered under this leadership.
//! Followers count the whole lease from the moment they received it, so theirs ends later even if their clocks run faster
//! by the allowed drift.
//!
//! openraft keeps such a clock too, but takes a message for answered when an answer to an earlier one with the same
//! position arrives. A leader that was paused between the two would believe in a lease that it does not have.

use super::LeaderId;
use meridian_types::NodeId;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// When each member last answered a message of a leadership, by the time at which the message was sent.
#[derive(Debug, Default)]
pub(crate) struct AckClock {
    acked: Mutex<BTreeMap<NodeId, (LeaderId, Instant)>>,
}

impl AckClock {
    /// A member took a message that was sent at `sent` under `leader`: it votes for nobody else until a lease after it.
    pub(crate) fn acked(&self, member: NodeId, leader: LeaderId, sent: Instant) {
        let mut acked = self.lock();
        let newest = acked.entry(member).or_insert((leader, sent));
        if (leader, sent) > *newest {
            *newest = (leader, sent);
        }
    }

    /// When the newest message that a member has answered under `leader` was sent.
    pub(crate) fn last(&self, member: NodeId, leader: LeaderId) -> Option<Instant> {
        self.lock().get(&member).and_then(|(of, sent)| (*of == leader).then_some(*sent))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, (LeaderId, Instant)>> {
        // Entries are replaced whole: a panic elsewhere leaves none half-written.
        self.acked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::RaftTypes;
    use openraft::type_config::alias::LeaderIdOf;
    use openraft::vote::RaftLeaderId;
    use std::time::Duration;

    fn leader(term: u64) -> LeaderId {
        LeaderIdOf::<RaftTypes>::new(term, NodeId(1)).to_committed()
    }

    #[test]
    fn only_answers_to_this_leadership_count_and_time_never_goes_back() {
        let clock = AckClock::default();
        let (early, late) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        clock.acked(NodeId(2), leader(1), late);
        clock.acked(NodeId(2), leader(1), early);
        assert_eq!(clock.last(NodeId(2), leader(1)), Some(late));
        assert_eq!(clock.last(NodeId(2), leader(2)), None);
        clock.acked(NodeId(2), leader(2), early);
        assert_eq!(clock.last(NodeId(2), leader(2)), Some(early));
        assert_eq!(clock.last(NodeId(2), leader(1)), None, "an older leadership is over");
        assert_eq!(clock.last(NodeId(3), leader(2)), None);
    }
}
