//! The Raft log of a group: append, read, truncate, purge.

use crate::StoreError;
use crate::engine::{Engine, Row, Table};
use crate::group::GroupStore;
use crate::janitor::{STEP, Task};
use crate::keys;
use crate::locks::{lock, read, write};
use crate::sync::OnDurable;
use crate::tail::{Tail, TailBudget};
use bytes::Bytes;
use meridian_types::GroupId;
use std::ops::Range;
use std::sync::Arc;

/// Largest log entry, in bytes.
pub const MAX_ENTRY_BYTES: usize = 64 * 1024 * 1024;

/// How often a reader looks again when truncations or purges cross it.
const READ_ATTEMPTS: usize = 4;

/// What was cut from the front of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    /// The last index that is gone.
    pub index: u64,
    /// What the caller wants to remember about it.
    pub marker: Bytes,
}

/// Which entries a log has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// What was purged last, if anything.
    pub purged: Option<Purged>,
    /// Index of the oldest entry, when there is one.
    pub first: Option<u64>,
    /// Index of the newest entry, when there is one.
    pub last: Option<u64>,
}

pub(crate) struct LogState {
    purged: Option<Purged>,
    /// First and last index; first ≤ last.
    present: Option<(u64, u64)>,
    tail: Tail,
}

impl LogState {
    pub(crate) fn empty(budget: Arc<TailBudget>) -> Self {
        Self { purged: None, present: None, tail: Tail::new(budget) }
    }

    /// What the disk says, and what is still to be deleted of a purge.
    pub(crate) fn load(
        group: GroupId,
        space: u64,
        budget: Arc<TailBudget>,
        engine: &Engine,
    ) -> Result<(Self, Option<Task>), StoreError> {
        let reading = || StoreError::reading("read the log's bounds", Some(group), None);
        let corrupt =
            |detail: &str| StoreError::Corrupt { group: Some(group), index: None, detail: detail.to_owned() };
        let mut log = Self::empty(budget);
        if let Some(record) = engine.get(Table::Meta, keys::purged_key(group)).map_err(reading())? {
            let purged = decode_purged(&record).ok_or_else(|| corrupt("the purge marker is cut short"))?;
            log.purged = Some(purged);
        }
        let start = log.start();
        let mut present =
            engine.range(Table::Log, keys::log_key(space, start)..=keys::log_key(space, u64::MAX));
        let end = |row: Option<Row>| -> Result<Option<u64>, StoreError> {
            let Some(row) = row else { return Ok(None) };
            let (key, _) = row.map_err(reading())?;
            keys::log_index(&key).map(Some).ok_or_else(|| corrupt("a log key has a bad size"))
        };
        if let Some(first) = end(present.next())? {
            log.present = Some((first, end(present.next_back())?.unwrap_or(first)));
        }
        let mut before = engine.range(Table::Log, keys::log_key(space, 0)..keys::log_key(space, start));
        let leftovers = end(before.next())?.map(|index| Task::TrimLog { space, start: index, end: start });
        Ok((log, leftovers))
    }

    /// The lowest index that the log may have.
    fn start(&self) -> u64 {
        self.purged.as_ref().map_or(0, |purged| purged.index.saturating_add(1))
    }

    /// The index that the next entry must have; nothing when any will do.
    fn next(&self) -> Option<u64> {
        match (self.present, &self.purged) {
            (Some((_, last)), _) => Some(last.saturating_add(1)),
            (None, Some(purged)) => Some(purged.index.saturating_add(1)),
            (None, None) => None,
        }
    }

    fn bounds(&self) -> LogBounds {
        LogBounds {
            purged: self.purged.clone(),
            first: self.present.map(|(first, _)| first),
            last: self.present.map(|(_, last)| last),
        }
    }

    fn push(&mut self, index: u64, entry: Bytes) {
        self.present = Some((self.present.map_or(index, |(first, _)| first), index));
        self.tail.push(index, entry);
    }

    fn cut_from(&mut self, index: u64) {
        self.present = self
            .present
            .filter(|(first, _)| *first < index)
            .map(|(first, last)| (first, last.min(index.saturating_sub(1))));
        self.tail.truncate_from(index);
    }

    fn cut_upto(&mut self, purged: Purged) {
        self.present = self
            .present
            .filter(|(_, last)| *last > purged.index)
            .map(|(first, last)| (first.max(purged.index.saturating_add(1)), last));
        self.tail.purge_upto(purged.index);
        self.purged = Some(purged);
    }
}

fn encode_purged(index: u64, marker: &[u8]) -> Vec<u8> {
    let mut record = index.to_be_bytes().to_vec();
    record.extend_from_slice(marker);
    record
}

fn decode_purged(record: &[u8]) -> Option<Purged> {
    let (index, marker) = record.split_first_chunk::<8>()?;
    Some(Purged { index: u64::from_be_bytes(*index), marker: Bytes::copy_from_slice(marker) })
}

impl GroupStore {
    /// Appends entries, which must follow the last one. They can be read when this returns; `on_durable` is called
    /// once they are on disk, or with an error when that will never be known. It is not called when this returns an error,
    /// and then nothing was written.
    ///
    /// The first entry of an empty log that was never purged may have any index. The entries' buffers are kept in memory for
    /// replication: pass buffers that are not part of something larger.
    ///
    /// # Errors
    /// `NotContiguous`, `DiskFull`, `TooLarge`, `Busy`, `Failed`, `Closed`, `Destroyed`.
    pub fn append(&self, entries: Vec<(u64, Bytes)>, on_durable: OnDurable) -> Result<(), StoreError> {
        self.inner().space.check_room()?;
        self.append_from_reserve(entries, on_durable)
    }

    /// As [`GroupStore::append`], also when the disk is nearly full: for callers that refuse their clients by
    /// [`Store::space`](crate::Store::space) themselves, and have little to append that cannot be refused.
    ///
    /// # Errors
    /// `NotContiguous`, `TooLarge`, `Busy`, `Failed`, `Closed`, `Destroyed`.
    pub fn append_from_reserve(
        &self,
        entries: Vec<(u64, Bytes)>,
        on_durable: OnDurable,
    ) -> Result<(), StoreError> {
        {
            let _writer = lock(&self.group.log_writer);
            self.ensure_recorded()?;
            self.check_append(&entries)?;
            let engine = self.engine();
            let mut batch = engine.batch();
            for (index, entry) in &entries {
                let record = keys::encode_log_record(self.group.id, *index, entry);
                batch.insert(Table::Log, keys::log_key(self.group.log_space, *index), record);
            }
            engine.commit(batch)?;
            let mut log = write(&self.group.log);
            for (index, entry) in entries {
                log.push(index, entry);
            }
        }
        self.inner().sync.when_durable(on_durable);
        Ok(())
    }

    /// As [`GroupStore::append`], and returns once the entries are on disk.
    ///
    /// # Errors
    /// As [`GroupStore::append`]; after `Failed` the entries may or may not be on disk.
    pub fn append_durable(&self, entries: Vec<(u64, Bytes)>) -> Result<(), StoreError> {
        // What is waited for below covers the entries, and fails when their sync does.
        self.append(entries, Box::new(|_| ()))?;
        self.inner().sync.wait_durable()
    }

    fn check_append(&self, entries: &[(u64, Bytes)]) -> Result<(), StoreError> {
        let mut next = read(&self.group.log).next();
        for (index, entry) in entries {
            let expected = next.unwrap_or(*index);
            if *index != expected {
                return Err(StoreError::NotContiguous { group: self.group.id, expected, found: *index });
            }
            if entry.len() > MAX_ENTRY_BYTES {
                return Err(StoreError::TooLarge {
                    what: "a log entry",
                    size: entry.len(),
                    limit: MAX_ENTRY_BYTES,
                });
            }
            next = Some(index.saturating_add(1));
        }
        Ok(())
    }

    /// Which entries the log has.
    #[must_use]
    pub fn bounds(&self) -> LogBounds {
        read(&self.group.log).bounds()
    }

    /// The entries of the range that the log has, in order. Indexes before the first and after the last entry are
    /// not an error, missing ones between are.
    ///
    /// # Errors
    /// `Hole`, `Corrupt`, `Engine`, `Failed`, `Closed`, `Destroyed`.
    pub fn entries(&self, range: Range<u64>) -> Result<Vec<(u64, Bytes)>, StoreError> {
        self.entries_limited(range, usize::MAX)
    }

    /// As [`GroupStore::entries`], but stops before the entry that would go over `max_bytes`. Returns at least one
    /// entry when there is one.
    ///
    /// # Errors
    /// As [`GroupStore::entries`].
    pub fn entries_limited(
        &self,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let mut attempt = 1;
        loop {
            self.check()?;
            let (wanted, seen) = {
                let log = read(&self.group.log);
                let Some((first, last)) = log.present else { return Ok(Vec::new()) };
                let wanted = range.start.max(first)..range.end.min(last.saturating_add(1));
                if wanted.is_empty() {
                    return Ok(Vec::new());
                }
                if let Some(found) = log.tail.get(wanted.clone(), max_bytes) {
                    return Ok(found);
                }
                (wanted, log.bounds())
            };
            match self.noting(self.read_tables(wanted, max_bytes)) {
                // A purge or truncation that crossed the read looks like a hole; a real one stays.
                Err(StoreError::Hole { .. }) if attempt < READ_ATTEMPTS && seen != self.bounds() => {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn read_tables(&self, wanted: Range<u64>, max_bytes: usize) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let group = self.group.id;
        let space = self.group.log_space;
        let mut next = wanted.start;
        let mut bytes = 0_usize;
        let mut out = Vec::new();
        let keys = keys::log_key(space, wanted.start)..keys::log_key(space, wanted.end);
        for row in self.engine().range(Table::Log, keys) {
            let (key, record) = row.map_err(StoreError::reading("read the log", Some(group), Some(next)))?;
            if keys::log_index(&key) != Some(next) {
                return Err(StoreError::Hole { group, index: next });
            }
            let entry = keys::decode_log_record(group, next, &record)?;
            bytes = bytes.saturating_add(entry.len());
            if bytes > max_bytes && !out.is_empty() {
                return Ok(out);
            }
            out.push((next, Bytes::copy_from_slice(entry)));
            next += 1;
        }
        if next < wanted.end {
            return Err(StoreError::Hole { group, index: next });
        }
        Ok(out)
    }

    /// Removes every entry after `index`, or all of them. Durable no later than anything written after it.
    ///
    /// # Errors
    /// `Busy` (then a part at the end may be gone already), `Failed`, `Closed`, `Destroyed`.
    pub fn truncate_after(&self, index: Option<u64>) -> Result<(), StoreError> {
        let _writer = lock(&self.group.log_writer);
        self.check()?;
        let from = index.map_or(0, |index| index.saturating_add(1));
        let engine = self.engine();
        loop {
            let Some((first, last)) = read(&self.group.log).present.filter(|(_, last)| *last >= from) else {
                return Ok(());
            };
            // From the end, so that a crash between two batches leaves no hole.
            let start = last.saturating_sub(STEP as u64 - 1).max(from).max(first);
            let mut batch = engine.batch();
            for gone in start..=last {
                batch.remove(Table::Log, keys::log_key(self.group.log_space, gone));
            }
            engine.commit(batch)?;
            write(&self.group.log).cut_from(start);
        }
    }

    /// Removes every entry up to and including `index` and remembers `marker` for it. An index beyond the last entry empties
    /// the log, which then goes on behind it. An index that was purged before changes nothing.
    ///
    /// # Errors
    /// `Busy`, `Failed`, `Closed`, `Destroyed`.
    pub fn purge_upto(&self, index: u64, marker: &[u8]) -> Result<(), StoreError> {
        let _writer = lock(&self.group.log_writer);
        self.ensure_recorded()?;
        let (start, present) = {
            let log = read(&self.group.log);
            (log.start(), log.present)
        };
        if index < start {
            return Ok(());
        }
        let engine = self.engine();
        let space = self.group.log_space;
        let mut batch = engine.batch();
        batch.insert(Table::Meta, keys::purged_key(self.group.id), encode_purged(index, marker));
        let mut rest = None;
        if let Some((first, last)) = present.filter(|(first, _)| *first <= index) {
            let end = last.min(index);
            let now = end.min(first.saturating_add(STEP as u64 - 1));
            for gone in first..=now {
                batch.remove(Table::Log, keys::log_key(space, gone));
            }
            rest = (now < end).then(|| Task::TrimLog { space, start: now + 1, end: end + 1 });
        }
        engine.commit(batch)?;
        write(&self.group.log).cut_upto(Purged { index, marker: Bytes::copy_from_slice(marker) });
        if let Some(task) = rest {
            self.inner().janitor.add(task);
        }
        Ok(())
    }
}
