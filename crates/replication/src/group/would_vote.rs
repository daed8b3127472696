//! The pre-vote (Raft dissertation, section 9.6): asked before an election, so that a node that cannot win disturbs nobody.

use super::Group;
use crate::raft::RaftTypes;
use crate::raft::refound::log_point;
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
