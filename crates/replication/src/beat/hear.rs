//! A follower's side: grants the leases that the leader asks for.

use super::{Beat, Refused};
use crate::group::Group;
use crate::node::Replication;
use crate::raft::{decode, encode};
use bytes::Bytes;
use meridian_types::NodeId;
use openraft::async_runtime::WatchReceiver;
use openraft::vote::RaftLeaderId;
use std::io;

/// Takes the beats of a peer, and answers those that are refused.
///
/// # Errors
/// When the request cannot be decoded.
pub(crate) fn hear(node: &Replication, from: NodeId, payload: &[u8]) -> io::Result<Bytes> {
    let beats: Vec<Beat> = decode(payload)?;
    let taken = |beat: &Beat| node.addressed(beat.replica()).is_some_and(|group| take(&group, from, beat));
    let refused: Refused = beats.iter().filter(|beat| !taken(beat)).map(|beat| beat.group).collect();
    encode(&refused)
}

fn take(group: &Group, from: NodeId, beat: &Beat) -> bool {
    let follows = {
        let metrics = group.metrics.borrow_watched();
        let leader = metrics.vote.leader_id();
        metrics.vote.is_committed() && leader.node_id() == &from && leader.term == beat.term
    };
    // What openraft has heard since then, the promise knows.
    let taken = follows && group.promise.renew(beat.term);
    if taken {
        group.freshness.heard(beat.committed);
    }
    taken
}
