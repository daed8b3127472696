//! Where the logs of a new leader's voters end: they said so with their votes.
//!
//! openraft looks for that place by halving, with a message and a round trip for each step: seconds, over a long log and a long link, in which the
//! new leader commits nothing. An append that such a log has already is answered here instead, and the first that is sent is the one that is missing.
//!
//! A log holds what another holds up to any entry that both have (log matching, section 5.3 of the Raft paper), so one look at the own log tells whether the
//! voter's is a part of it. A voter tells the end only when all of it is on its disk: like any answer to an append, this one counts for what is on disks.
//! A voter whose disk loses some of it after all refuses what is sent, and the leader looks for the place as it always did.

use super::types::{RaftTypes, decode};
use meridian_store::GroupStore;
use meridian_types::NodeId;
use openraft::type_config::alias::{EntryOf, LogIdOf};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type LogId = LogIdOf<RaftTypes>;

/// The ends of voters' logs, by the term of their vote.
pub(crate) struct Ends {
    log: GroupStore,
    known: Mutex<BTreeMap<NodeId, (u64, LogId)>>,
}

impl Ends {
    pub(crate) fn new(log: GroupStore) -> Arc<Self> {
        Arc::new(Self { log, known: Mutex::default() })
    }

    /// A voter has voted for this node in `term`, with a log that ends so.
    pub(super) fn voted(&self, voter: NodeId, term: u64, last: LogId) {
        if self.has(last) {
            self.lock().insert(voter, (term, last));
        }
    }

    /// Whether the leader of `term` need not send a member what ends at `last`.
    pub(super) fn cover(&self, member: NodeId, term: u64, last: LogId) -> bool {
        self.lock().get(&member).is_some_and(|(of, end)| *of == term && last.index <= end.index)
    }

    /// A member has refused what should have followed on its log.
    pub(super) fn forget(&self, member: NodeId) {
        self.lock().remove(&member);
    }

    /// Whether the own log has this very entry. What was cut from its front cannot be told.
    fn has(&self, id: LogId) -> bool {
        let found = self.log.entries(id.index..id.index.saturating_add(1)).ok();
        let entry = found.and_then(|entries| decode::<EntryOf<RaftTypes>>(&entries.first()?.1).ok());
        entry.is_some_and(|entry| entry.log_id == id)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, (u64, LogId)>> {
        // Entries are replaced whole: a panic elsewhere leaves none half-written.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{Command, encode};
    use meridian_store::{Store, StoreOptions};
    use meridian_types::GroupId;
    use openraft::EntryPayload;
    use openraft::type_config::alias::LeaderIdOf;
    use openraft::vote::RaftLeaderId;

    const VOTER: NodeId = NodeId(2);

    fn id(term: u64, index: u64) -> LogId {
        LogId::new(LeaderIdOf::<RaftTypes>::new(term, NodeId(1)).to_committed(), index)
    }

    #[test]
    fn a_voter_s_log_counts_only_where_it_is_a_part_of_the_own_one() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(dir.path(), &StoreOptions::default()).expect("a new store opens");
        let group = store.group(GroupId(4));
        let entry = |at| EntryOf::<RaftTypes> { log_id: at, payload: EntryPayload::Normal(Command::Barrier) };
        let raw = (0..10).map(|index| (index, encode(&entry(id(3, index))).expect("it encodes")));
        group.append_durable(raw.collect()).expect("it appends");
        let ends = Ends::new(group.clone());

        ends.voted(VOTER, 5, id(2, 6));
        assert!(!ends.cover(VOTER, 5, id(3, 0)), "another entry is there");
        ends.voted(VOTER, 5, id(3, 12));
        assert!(!ends.cover(VOTER, 5, id(3, 0)), "it has more");
        ends.voted(VOTER, 5, id(3, 6));
        assert!(ends.cover(VOTER, 5, id(3, 6)) && !ends.cover(VOTER, 5, id(3, 7)));
        assert!(!ends.cover(VOTER, 6, id(3, 6)), "said in another election");
        assert!(!ends.cover(NodeId(3), 5, id(3, 6)), "said by another voter");
        ends.forget(VOTER);
        assert!(!ends.cover(VOTER, 5, id(3, 6)));

        group.purge_upto(6, b"").expect("it purges");
        ends.voted(VOTER, 5, id(3, 6));
        assert!(!ends.cover(VOTER, 5, id(3, 6)), "what was cut cannot be told");
    }
}
