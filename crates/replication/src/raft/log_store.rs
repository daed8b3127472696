//! openraft's log storage over a group of the embedded engine.

use super::Hold;
use super::durable::durable;
use super::durable_end::{DurableEnd, Writing};
use super::types::{Command, RaftTypes, decode, encode};
use meridian_store::GroupStore;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::type_config::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::{EntryPayload, OptionalSend, RaftLogReader};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// The most bytes of entries read at once for a follower.
const READ_LIMIT: usize = 1 << 20;

/// One group's log and vote. Clones share the group.
#[derive(Clone)]
pub(crate) struct LogStore {
    group: GroupStore,
    hold: Option<Arc<Hold>>,
    durable: DurableEnd,
}

impl LogStore {
    /// The log of `group`.
    #[must_use]
    pub(crate) fn new(group: GroupStore) -> Self {
        let durable = DurableEnd::new(group.bounds().last);
        Self { group, hold: None, durable }
    }

    /// Follows how far the log is on the disk.
    pub(crate) fn durable(&self) -> DurableEnd {
        self.durable.clone()
    }

    /// Tells what may be waiting for the log not to be cut how it grows.
    pub(crate) fn held(self, hold: &Arc<Hold>) -> Self {
        Self { hold: Some(Arc::clone(hold)), ..self }
    }
}

fn decode_entries(raw: Vec<(u64, bytes::Bytes)>) -> io::Result<Vec<EntryOf<RaftTypes>>> {
    raw.into_iter().map(|(_, bytes)| decode(&bytes)).collect()
}

impl RaftLogReader<RaftTypes> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<EntryOf<RaftTypes>>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        decode_entries(self.group.entries(start..end).map_err(io::Error::other)?)
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<RaftTypes>>, io::Error> {
        self.group.vote().map_err(io::Error::other)?.map(|bytes| decode(&bytes)).transpose()
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<EntryOf<RaftTypes>>, io::Error> {
        decode_entries(self.group.entries_limited(start..end, READ_LIMIT).map_err(io::Error::other)?)
    }
}

impl RaftLogStorage<RaftTypes> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<RaftTypes>, io::Error> {
        let bounds = self.group.bounds();
        let last_purged_log_id: Option<LogIdOf<RaftTypes>> =
            bounds.purged.map(|purged| decode(&purged.marker)).transpose()?;
        let last_log_id = match bounds.last {
            Some(last) => self
                .try_get_log_entries(last..=last)
                .await?
                .pop()
                .map(|entry| openraft::entry::RaftEntry::log_id(&entry)),
            None => last_purged_log_id,
        };
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<RaftTypes>) -> Result<(), io::Error> {
        let vote = encode(vote)?;
        durable(|on_durable| self.group.put_vote(&vote, on_durable)).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<RaftTypes>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = EntryOf<RaftTypes>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut encoded = Vec::new();
        let mut write = None;
        for entry in entries {
            if let EntryPayload::Normal(Command::Write(batch)) = &entry.payload {
                write = Some((batch.session, batch.number));
            }
            encoded.push((openraft::entry::RaftEntry::index(&entry), encode(&entry)?));
        }
        if let Some(hold) = &self.hold {
            hold.appended(encoded.iter().map(|(_, entry)| entry.len() as u64).sum());
        }
        let writing = encoded.last().map(|(index, _)| self.durable.writing(*index, write));
        let on_durable = Box::new(move |result: Result<(), meridian_store::StoreError>| {
            if result.is_ok() {
                writing.into_iter().for_each(Writing::done);
            }
            callback.io_completed(result.map_err(io::Error::other));
        });
        // Writes and appends from leaders are refused before they come here when the disk is nearly full. What is left is
        // openraft's own, such as a new leader's first entry, and refusing that would end the group on this node.
        self.group.append_from_reserve(encoded, on_durable).map_err(io::Error::other)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogIdOf<RaftTypes>>) -> Result<(), io::Error> {
        let last = last_log_id.map(|id| id.index);
        self.durable.cut(last);
        self.group.truncate_after(last).map_err(io::Error::other)
    }

    async fn purge(&mut self, log_id: LogIdOf<RaftTypes>) -> Result<(), io::Error> {
        self.group.purge_upto(log_id.index, &encode(&log_id)?).map_err(io::Error::other)
    }
}
