//! The pre-vote (Raft dissertation, section 9.6): asked before an election, so that a node that cannot win disturbs nobody.

use super::Group;
use crate::raft::RaftTypes;
use crate::raft::refound::log_point;
use crate::runtime::{self, mark};
use openraft::async_runtime::WatchReceiver;
use openraft::type_config::alias::LogIdOf;
use serde::{Deserialize, Serialize};

/// What a node says that wants to stand.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// The end of its log.
    pub(crate) last: Option<LogIdOf<RaftTypes>>,
}

impl Group {
    /// How this node would stand now.
    pub(crate) fn standing(&self) -> Standing {
        Standing { last: self.raft.data_metrics().borrow_watched().last_log }
    }

    /// Answers [`Self::would_vote`], and waits for a lease that is about to end: a leader's last message comes later to a voter that is further
    /// from it than the candidate is, and a refusal would cost the candidate its turn.
    pub(crate) async fn would_vote_soon(&self, candidate: Standing) -> bool {
        let left = self.promise.left(self.timing.lease);
        if !left.is_zero() && left <= self.timing.heartbeat {
            mark("a pre-vote waited for the end of a lease");
            runtime::sleep(left).await;
        }
        self.would_vote(candidate)
    }

    /// Whether this replica would vote for a node that stands so: no lease of another runs, its log is no shorter, and
    /// this replica has all that it ever acknowledged. If so, it does not stand itself for a while.
    pub(crate) fn would_vote(&self, candidate: Standing) -> bool {
        let leads = self.held_leadership().is_some() && self.lease().is_some();
        let last = candidate.last.as_ref().map(log_point);
        let free = !leads && !self.owes() && !self.promise.runs(self.timing.lease);
        let would = free && candidate.last >= self.standing().last && self.promise.reaches(last);
        if would {
            self.promise.favour();
        }
        would
    }
}
