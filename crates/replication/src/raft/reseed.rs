//! A replica that its disk has damaged is thrown away and filled again by the leader (invariant 8).
//!
//! What it had promised is kept: the vote, so that it votes once a term; the lease that it may have granted; and what it **owes**,
//! the entries that it has acknowledged and no longer has. A leader may have counted them, so until it has them again it neither votes nor
//! stands: whoever is elected meanwhile is elected by a majority without it, and so has every entry that was committed.
//!
//! It has them again when its log reaches as far as it ever did, under a leader of the term of its vote or a later one; or has an entry of a
//! later term, whose leader was elected while this replica did not vote. See `docs/decisions/0010-damaged-replicas.md`.

use super::types::{RaftTypes, decode, encode};
use crate::replica_id::ReplicaId;
use crate::wire::ReplicaStatus;
use meridian_placement::Placement;
use meridian_store::GroupStore;
use meridian_types::NodeId;
use openraft::type_config::alias::{LogIdOf, StoredMembershipOf, VoteOf};
use serde::{Deserialize, Serialize};
use std::io;

/// Where a replica's metadata says what it owes.
const OWED: &[u8] = b"owed";
/// Voters from which on a group has a majority without one of them.
const SPARES_ONE: usize = 3;

/// What a replica has acknowledged and lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owed {
    /// The last index that it may have acknowledged.
    index: u64,
    /// No leader of a later term had acknowledgements from it.
    term: u64,
}

impl Owed {
    /// What the replica in this store owes, if it was ever thrown away.
    pub(crate) fn load(store: &GroupStore) -> io::Result<Option<Self>> {
        store.meta(OWED).map_err(io::Error::other)?.map(|bytes| decode(&bytes)).transpose()
    }

    /// Whether a replica whose log ends here still owes it.
    pub(crate) fn is_open(self, last: Option<&LogIdOf<RaftTypes>>) -> bool {
        last.is_none_or(|last| last.index < self.index && last.leader_id.term <= self.term)
    }
}

/// Throws the replica's log and state away, keeping its promises. Blocks.
///
/// # Errors
/// When the group cannot do without this voter meanwhile, or the promises themselves cannot be read.
pub(crate) fn discard(store: &GroupStore, own: NodeId) -> io::Result<Owed> {
    let vote = store.vote().map_err(io::Error::other)?;
    let vote: Option<VoteOf<RaftTypes>> = vote.map(|bytes| decode(&bytes)).transpose()?;
    // Nothing is appended before a leader's vote is saved.
    let Some(vote) = vote else { return Err(io::Error::other("the replica is damaged and has no vote")) };
    // Damaged as well, it says nothing: then placement alone has told that the group can do without this voter.
    let marker = store.applied().ok().flatten();
    let applied = marker.and_then(|marker| {
        decode::<(Option<LogIdOf<RaftTypes>>, StoredMembershipOf<RaftTypes>)>(&marker).ok()
    });
    if let Some((_, membership)) = &applied {
        let mut each = membership.membership().get_joint_config().iter();
        if each.any(|voters| voters.contains(&own) && voters.len() < SPARES_ONE) {
            return Err(needed());
        }
    }
    let bounds = store.bounds();
    let ends = [
        bounds.last,
        bounds.purged.map(|purged| purged.index),
        applied.and_then(|(last, _)| last).map(|last| last.index),
    ];
    let before = Owed::load(store)?.unwrap_or_default();
    let last = ends.into_iter().flatten().max().unwrap_or(0);
    let owed = Owed { index: before.index.max(last), term: before.term.max(vote.leader_id.term) };
    // A leadership of before is over: it would go on with an empty log.
    let vote = VoteOf::<RaftTypes> { committed: false, ..vote };
    store.discard(&encode(&vote)?, &[(OWED, &encode(&owed)?)]).map_err(io::Error::other)?;
    Ok(owed)
}

/// Whether a group can do without a node's replica: always without one that does not vote; else two other voters must hold data. What was
/// committed is then on one of them that can lead, even if this replica and a witness were all that had it.
#[must_use]
pub fn spares(placement: &Placement, node: NodeId) -> bool {
    let others =
        placement.voters.iter().filter(|voter| **voter != node && placement.data.contains_key(voter));
    !placement.voters.contains(&node) || others.count() >= 2
}

/// Whether another replica of the group, by its own word, has everything that this one has acknowledged and that was committed: it leads, in
/// the term of this one's vote or a later one. As a leader it has what was committed before its term; what was committed in its term
/// it has proposed itself; and there was no leader of a later term that this replica has acknowledged anything to.
#[must_use]
pub(crate) fn has_all(said: &ReplicaStatus, id: ReplicaId, vote_term: u64) -> bool {
    let same = (said.group, said.incarnation) == (id.group, id.incarnation);
    same && said.lease_ms.is_some() && said.term >= vote_term
}

/// The term of the vote in a store; above all others when there is none to tell.
pub(crate) fn vote_term(store: &GroupStore) -> io::Result<u64> {
    let vote = store.vote().map_err(io::Error::other)?;
    let vote: Option<VoteOf<RaftTypes>> = vote.map(|bytes| decode(&bytes)).transpose()?;
    Ok(vote.map_or(u64::MAX, |vote| vote.leader_id.term))
}

/// Why a damaged replica stays as it is.
pub(crate) fn needed() -> io::Error {
    io::Error::other(
        "the replica is damaged, and it is not sure that another has all that was committed: if this node leads the group, move it away with \
         `meridian switchover`; else restore the node's disk, or give its region up with `meridian failover`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_types::{GroupId, Incarnation};
    use openraft::type_config::alias::LeaderIdOf;
    use openraft::vote::RaftLeaderId;

    fn at(term: u64, index: u64) -> LogIdOf<RaftTypes> {
        LogIdOf::<RaftTypes>::new(LeaderIdOf::<RaftTypes>::new(term, NodeId(1)).to_committed(), index)
    }

    #[test]
    fn only_a_leader_of_the_group_and_of_no_older_term_has_all() {
        let id = ReplicaId { group: GroupId(3), incarnation: Incarnation(1) };
        let leader = ReplicaStatus {
            group: id.group,
            incarnation: id.incarnation,
            term: 5,
            leader: Some(NodeId(2)),
            lease_ms: Some(100),
            committed: 9,
            applied: 9,
            answerable: 9,
            members: None,
            matched: [].into(),
            stale_ms: None,
        };
        assert!(has_all(&leader, id, 5) && has_all(&leader, id, 4));
        assert!(!has_all(&leader, id, 6), "this replica has acknowledged entries of a later leader");
        assert!(!has_all(&ReplicaStatus { lease_ms: None, ..leader.clone() }, id, 5));
        assert!(!has_all(&ReplicaStatus { incarnation: Incarnation(0), ..leader.clone() }, id, 5));
        assert!(!has_all(&ReplicaStatus { group: GroupId(4), ..leader }, id, 5));
    }

    #[test]
    fn a_debt_is_open_until_the_log_is_as_long_again_or_of_a_later_term() {
        let owed = Owed { index: 10, term: 3 };
        assert!(owed.is_open(None));
        assert!(owed.is_open(Some(&at(1, 9))) && owed.is_open(Some(&at(3, 9))));
        assert!(!owed.is_open(Some(&at(3, 10))));
        assert!(!owed.is_open(Some(&at(4, 2))));
    }
}
