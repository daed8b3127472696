//! One heartbeat a node and peer for all groups: leases and freshness of idle groups cost nothing but a few bytes.
//!
//! openraft's own heartbeats remain for what only they can do (a follower that lost entries, a leader that must step down):
//! rarely on their own, and at once for a group whose beat was refused.

mod hear;
mod send;

pub(crate) use hear::hear;
pub(crate) use send::run;

use crate::replica_id::ReplicaId;
use meridian_types::{GroupId, Incarnation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A leader's word on one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Beat {
    group: GroupId,
    incarnation: Incarnation,
    /// The term in which the sender leads.
    term: u64,
    /// Up to where the group is committed.
    committed: u64,
}

impl Beat {
    fn replica(&self) -> ReplicaId {
        ReplicaId { group: self.group, incarnation: self.incarnation }
    }
}

/// The groups whose beats were not taken: the receiver does not follow the sender there, or is voting.
type Refused = BTreeSet<GroupId>;
