//! What has changed in a group since a node last looked: the keys that its log tells of.

use super::Replication;
use crate::raft::{Command, decode};
use crate::runtime;
use bytes::Bytes;
use meridian_store::GroupStore;
use meridian_types::GroupId;
use openraft::EntryPayload;
use openraft::type_config::alias::EntryOf;
use std::collections::BTreeSet;
use std::io;

/// The most bytes of entries that are read at once.
const READ_LIMIT: usize = 256 << 10;

/// Keys that entries have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The keys, each once; those of the group's own notes are left out.
    pub keys: BTreeSet<Bytes>,
    /// The entry up to which they are all.
    pub upto: u64,
}

impl Replication {
    /// The index up to which this node's replica of a group has applied; `None` without one that may be read.
    #[must_use]
    pub fn applied(&self, group: GroupId) -> Option<u64> {
        self.readable(group).map(|replica| replica.view.applied())
    }

    /// How far this node's wall clock is behind most of the cluster's, in milliseconds; negative when it is ahead.
    #[must_use]
    pub fn clock_behind_ms(&self) -> i64 {
        self.shared.peers.clock_behind_ms()
    }

    /// What applied entries behind `after` have written, as many as fit; `None` when the log no longer goes back that far.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn changes(&self, group: GroupId, after: u64) -> io::Result<Option<Changes>> {
        let Some(replica) = self.readable(group) else { return Ok(None) };
        let (store, applied) = (replica.store.clone(), replica.view.applied());
        if store.bounds().first.is_some_and(|first| first > after + 1) {
            return Ok(None);
        }
        runtime::aside(move || read(&store, after, applied)).await?.map(Some)
    }
}

fn read(store: &GroupStore, after: u64, applied: u64) -> io::Result<Changes> {
    let raw = store.entries_limited(after + 1..applied + 1, READ_LIMIT).map_err(io::Error::other)?;
    // Entries that are gone meanwhile leave a gap, and so nothing that could be missed in silence.
    let mut changes = Changes { keys: BTreeSet::new(), upto: after };
    for (index, bytes) in raw {
        let entry: EntryOf<crate::raft::RaftTypes> = decode(&bytes)?;
        if let EntryPayload::Normal(Command::Write(batch)) = entry.payload {
            let mutations = batch.writes.into_iter().flat_map(|write| write.mutations);
            changes
                .keys
                .extend(mutations.map(|mutation| mutation.key).filter(|key| !crate::keys::is_note(key)));
        }
        changes.upto = index;
    }
    Ok(changes)
}
