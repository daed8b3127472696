//! A disk in memory for simulations: the store's own logic runs on it, and whoever holds the disk decides what it does.
//!
//! Nothing here has a thread or a clock. A store over a [`MemoryDisk`] queues its syncs and deletions, and the [`MemoryDriver`]
//! does them when its owner says so: at once, after a delay, with an error, or never.

use crate::StoreError;
use crate::engine::{Change, Engine, MemoryRows, MemoryTables, Table, Tables};
use crate::keys;
use crate::locks::lock;
use crate::store::Inner;
use crate::sync::{OnDurable, Turn};
use bytes::Bytes;
use meridian_types::GroupId;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

/// A disk that outlives the stores opened on it, as a disk outlives a process. Clones are the same disk.
#[derive(Clone)]
pub struct MemoryDisk {
    content: Arc<Mutex<Content>>,
}

struct Content {
    durable: Tables,
    /// Batches written and not synced, oldest first.
    unsynced: VecDeque<Vec<Change>>,
    /// How many batches became durable since the disk was made.
    synced_batches: u64,
    /// The number of the last sync that succeeded, kept apart as the real store keeps it.
    sync_number: u64,
    opening: u64,
    free_bytes: u64,
    writes_fail: bool,
    damaged: bool,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryDisk {
    /// An empty disk with more space than anyone needs.
    #[must_use]
    pub fn new() -> Self {
        Self {
            content: Arc::new(Mutex::new(Content {
                durable: Tables::default(),
                unsynced: VecDeque::new(),
                synced_batches: 0,
                sync_number: 0,
                opening: 0,
                free_bytes: u64::MAX,
                writes_fail: false,
                damaged: false,
            })),
        }
    }

    /// Takes the power away: of what was not synced only the first `keep` batches survive. A batch that was being written when
    /// it happened is torn, and recovery cuts a torn batch off, so it is among those that do not survive.
    ///
    /// Whoever still has a store open on this disk can write nothing more.
    pub fn crash(&self, keep: usize) {
        let mut content = lock(&self.content);
        content.opening += 1;
        let keep = keep.min(content.unsynced.len());
        content.unsynced.truncate(keep);
        content.settle(keep);
        content.writes_fail = false;
    }

    /// How many batches a crash now could lose.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        lock(&self.content).unsynced.len()
    }

    /// Sets the free space that the store measures.
    pub fn set_free_bytes(&self, free: u64) {
        lock(&self.content).free_bytes = free;
    }

    /// Makes every write fail from now on, until the next crash.
    pub fn fail_writes(&self) {
        lock(&self.content).writes_fail = true;
    }

    /// The applied marker of `group`'s state as it would survive a crash now.
    #[must_use]
    pub fn durable_applied(&self, group: GroupId) -> Option<Bytes> {
        let content = lock(&self.content);
        let marker = content.durable.get(Table::State, &keys::applied_key(content.spaces(group)?.state))?;
        Some(Bytes::copy_from_slice(&marker))
    }

    /// The last index of `group` whose record would survive a crash now; 0 when there is none.
    #[must_use]
    pub fn durable_index(&self, group: GroupId) -> u64 {
        let content = lock(&self.content);
        let Some(last) = content.log(group).map(|mut log| log.next_back()) else { return 0 };
        let purged = content.durable.get(Table::Meta, &keys::purged_key(group));
        let purged = purged.and_then(|record| record.first_chunk().copied().map(u64::from_be_bytes));
        last.and_then(|(key, _)| keys::log_index(&key)).max(purged).unwrap_or(0)
    }

    /// Flips one bit of the durable log record of `group` that is `back` records before the newest; whether there was one.
    /// The store that has the disk open does not see it before it reads the disk again.
    pub fn damage_log(&self, group: GroupId, back: usize) -> bool {
        let mut content = lock(&self.content);
        let Some((key, value)) = content.log(group).and_then(|log| log.rev().nth(back)) else {
            return false;
        };
        let mut bytes = value.to_vec();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        content.durable.change(&[(Table::Log, key, Some(bytes.into()))]);
        content.damaged = true;
        true
    }

    /// Whether a bit was ever flipped on it.
    #[must_use]
    pub fn was_damaged(&self) -> bool {
        lock(&self.content).damaged
    }

    /// Takes the disk for a new store.
    pub(crate) fn open(&self) -> (Engine, u64) {
        let mut content = lock(&self.content);
        content.opening += 1;
        // What is written and was not lost in a crash is there when it is read.
        let mut tables = content.durable.clone();
        for changes in &content.unsynced {
            tables.change(changes);
        }
        let engine = Engine::in_memory(MemoryTables::new(tables, self.clone(), content.opening));
        (engine, content.sync_number)
    }

    pub(crate) fn write(&self, opening: u64, changes: Vec<Change>) -> Result<(), String> {
        let mut content = lock(&self.content);
        if content.opening != opening {
            return Err("the process that wrote is no more".to_owned());
        }
        if content.writes_fail {
            return Err("the disk reports an error".to_owned());
        }
        content.unsynced.push_back(changes);
        Ok(())
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        lock(&self.content).free_bytes
    }

    fn written(&self) -> (u64, u64) {
        let content = lock(&self.content);
        (content.opening, content.synced_batches + content.unsynced.len() as u64)
    }

    /// Makes durable all that was written, at once, for callers that wait.
    pub(crate) fn sync_now(&self, number: u64) -> Result<(), StoreError> {
        self.sync(self.written(), number)
    }

    /// Makes durable what was written up to `batches`, for the store that took the disk as `opening`.
    fn sync(&self, (opening, batches): (u64, u64), number: u64) -> Result<(), StoreError> {
        let mut content = lock(&self.content);
        if content.opening != opening {
            return Err(StoreError::Closed);
        }
        let more = batches.saturating_sub(content.synced_batches);
        content.settle(usize::try_from(more).unwrap_or(usize::MAX));
        content.sync_number = number;
        Ok(())
    }
}

impl Content {
    /// Where a group's durable records are, if it has any.
    fn spaces(&self, group: GroupId) -> Option<keys::Spaces> {
        keys::Spaces::decode(&self.durable.get(Table::Meta, &keys::record_key(group))?)
    }

    /// The durable log of a group that has any record.
    fn log(&self, group: GroupId) -> Option<MemoryRows> {
        let space = self.spaces(group)?.log;
        Some(self.durable.range(Table::Log, &(keys::log_key(space, 0)..=keys::log_key(space, u64::MAX))))
    }

    fn settle(&mut self, batches: usize) {
        for _ in 0..batches {
            let Some(changes) = self.unsynced.pop_front() else { return };
            self.durable.change(&changes);
            self.synced_batches += 1;
        }
    }
}

/// How a sync ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncEnd {
    /// What was written before it began is on disk.
    Durable,
    /// It fails, and the store stops.
    Failed(String),
    /// The disk says that it is done, and has done nothing.
    Pretended,
}

/// Does what a store's threads would do, when told to.
pub struct MemoryDriver {
    store: Weak<Inner>,
    disk: MemoryDisk,
}

impl MemoryDriver {
    pub(crate) fn new(store: &Arc<Inner>, disk: MemoryDisk) -> Self {
        Self { store: Arc::downgrade(store), disk }
    }

    /// Begins a sync for all that wait; nothing when nobody does. One at a time: end it before the next.
    #[must_use]
    pub fn begin_sync(&self) -> Option<MemorySync> {
        let store = self.store.upgrade()?;
        let waiting = store.sync.take_waiting()?;
        let number = store.next_sync();
        let begun = store.engine.hand_over(number);
        Some(MemorySync {
            written: self.disk.written(),
            disk: self.disk.clone(),
            store,
            waiting,
            number,
            begun,
        })
    }

    /// Deletes a little of what nobody needs any more; whether there was anything to delete.
    pub fn tidy(&self) -> bool {
        self.store.upgrade().is_some_and(|store| store.janitor.step())
    }
}

/// A sync that is under way.
pub struct MemorySync {
    store: Arc<Inner>,
    disk: MemoryDisk,
    waiting: Vec<OnDurable>,
    written: (u64, u64),
    number: u64,
    begun: Result<(), StoreError>,
}

impl MemorySync {
    /// Ends it and answers all that waited for it.
    pub fn end(self, end: SyncEnd) {
        let Self { store, disk, waiting, written, number, begun } = self;
        let result = begun.and_then(|()| match end {
            SyncEnd::Durable => {
                disk.sync(written, number)?;
                store.synced(number);
                Ok(())
            }
            SyncEnd::Failed(reason) => Err(StoreError::Failed { reason: reason.into() }),
            SyncEnd::Pretended => Ok(()),
        });
        store.sync.settle(Turn { waiting, result });
    }
}
