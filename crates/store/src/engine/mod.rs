//! The engine behind the store's logic, with one rule: after a failed write nothing is written or read any more.
//!
//! Two engines stand behind the same door. [`lsm`] keeps tables on a real disk. [`memory`] keeps maps in memory, over a disk
//! whose every answer a simulation decides. Of both it is true that batches take effect whole, in commit order, whatever
//! tables they touch, and that what survives a crash is a prefix of what was committed.

mod lsm;
mod memory;
mod reaper;

pub(crate) use memory::{Change, MemoryRows, MemoryTables, Tables};
pub(crate) use reaper::Reaper;

use crate::StoreError;
use crate::StoreOptions;
use crate::keys;
use fjall::{AbstractTree, UserKey, UserValue};
use lsm_tree::Guard as _;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// What the engine's keys are sorted into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// Log records.
    Log,
    /// Items and applied markers.
    State,
    /// Records about groups, votes, sync numbers.
    Meta,
}

enum Backend {
    Lsm(lsm::Lsm),
    Memory(MemoryTables),
}

pub(crate) struct Engine {
    backend: Backend,
    failed: OnceLock<Arc<str>>,
    closed: AtomicBool,
}

impl Engine {
    /// Opens the engine in `dir`, creating it when it is not there.
    pub(crate) fn open(dir: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        lsm::Lsm::open(dir, options).map(|lsm| Self::over(Backend::Lsm(lsm)))
    }

    /// An engine over tables in memory.
    pub(crate) fn in_memory(tables: MemoryTables) -> Self {
        Self::over(Backend::Memory(tables))
    }

    fn over(backend: Backend) -> Self {
        Self { backend, failed: OnceLock::new(), closed: AtomicBool::new(false) }
    }

    /// # Errors
    /// When the store has failed or was closed.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if let Some(reason) = self.failed.get() {
            return Err(StoreError::Failed { reason: Arc::clone(reason) });
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        Ok(())
    }

    /// Stops the store for good; the first reason stays.
    pub(crate) fn fail(&self, reason: &str) -> StoreError {
        let reason = self.failed.get_or_init(|| {
            tracing::error!(reason, "the store stops");
            reason.into()
        });
        StoreError::Failed { reason: Arc::clone(reason) }
    }

    pub(crate) fn mark_closed(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn batch(&self) -> Batch<'_> {
        match &self.backend {
            Backend::Lsm(lsm) => Batch::Lsm(lsm.batch(), lsm),
            Backend::Memory(_) => Batch::Memory(Vec::new()),
        }
    }

    pub(crate) fn get(&self, table: Table, key: impl AsRef<[u8]>) -> fjall::Result<Option<UserValue>> {
        match &self.backend {
            Backend::Lsm(lsm) => lsm.keyspace(table).get(key),
            Backend::Memory(tables) => Ok(tables.read().get(table, key.as_ref())),
        }
    }

    /// The rows of a range as they are now.
    pub(crate) fn range<K: AsRef<[u8]>>(&self, table: Table, range: impl RangeBounds<K>) -> Rows {
        match &self.backend {
            Backend::Lsm(lsm) => Rows::Lsm(lsm.keyspace(table).range(range)),
            Backend::Memory(tables) => Rows::Memory(tables.read().range(table, &range)),
        }
    }

    /// The rows whose keys begin with `prefix`, which is not empty.
    pub(crate) fn prefix(&self, table: Table, prefix: impl AsRef<[u8]>) -> Rows {
        match &self.backend {
            Backend::Lsm(lsm) => Rows::Lsm(lsm.keyspace(table).prefix(prefix)),
            Backend::Memory(tables) => Rows::Memory(tables.read().prefix(table, prefix.as_ref())),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        match &self.backend {
            Backend::Lsm(lsm) => Snapshot::Lsm(lsm.snapshot()),
            Backend::Memory(tables) => Snapshot::Memory(tables.read().clone()),
        }
    }

    /// Writes a batch: whole or not at all, readable at once, durable after the next sync.
    pub(crate) fn commit(&self, batch: Batch<'_>) -> Result<(), StoreError> {
        self.check()?;
        if let Backend::Lsm(lsm) = &self.backend {
            lsm.wait_for_room().map_err(|failure| self.failed_with(failure))?;
        }
        self.write(batch).map_err(|error| self.fail(&format!("a write to the journal failed: {error}")))
    }

    fn write(&self, batch: Batch<'_>) -> Result<(), String> {
        match (&self.backend, batch) {
            (Backend::Lsm(_), Batch::Lsm(batch, _)) => batch.commit().map_err(|error| error.to_string()),
            (Backend::Memory(tables), Batch::Memory(changes)) => tables.commit(changes),
            (Backend::Lsm(_), Batch::Memory(_)) | (Backend::Memory(_), Batch::Lsm(..)) => {
                Err("the batch belongs to another engine".to_owned())
            }
        }
    }

    fn failed_with(&self, failure: lsm::Behind) -> StoreError {
        match failure {
            lsm::Behind::Busy => StoreError::Busy,
            lsm::Behind::Broken(error) => self.fail(&format!("flushing or compaction failed: {error}")),
        }
    }

    /// Writes the engine's buffer to the operating system, with the number of this sync behind everything before it.
    pub(crate) fn hand_over(&self, sync_number: u64) -> Result<(), StoreError> {
        self.check()?;
        let mut batch = self.batch();
        batch.insert(Table::Meta, keys::SYNC_KEY, sync_number.to_be_bytes());
        let written = self.write(batch).and_then(|()| match &self.backend {
            Backend::Lsm(lsm) => lsm.flush_buffer().map_err(|error| error.to_string()),
            Backend::Memory(_) => Ok(()),
        });
        written.map_err(|error| {
            self.fail(&format!("handing the journal to the operating system failed: {error}"))
        })
    }

    /// The number of the last sync that is in the journal.
    pub(crate) fn sync_number(&self) -> Result<u64, StoreError> {
        let bytes = self.get(Table::Meta, keys::SYNC_KEY);
        let Some(bytes) = bytes.map_err(StoreError::reading("read the sync number", None, None))? else {
            return Ok(0);
        };
        let bytes = <[u8; 8]>::try_from(&*bytes).map_err(|_| StoreError::Corrupt {
            group: None,
            index: None,
            detail: "the sync number has the wrong size".to_owned(),
        })?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// The buffers that are written to now; none of tables in memory.
    fn write_buffers(&self) -> Vec<reaper::Buffer> {
        match &self.backend {
            Backend::Lsm(lsm) => lsm.write_buffers(),
            Backend::Memory(_) => Vec::new(),
        }
    }

    /// Bytes in memtables: active, waiting for their flush, or kept for a snapshot.
    pub(crate) fn write_buffer_bytes(&self) -> u64 {
        match &self.backend {
            Backend::Lsm(lsm) => lsm.write_buffer_bytes(),
            Backend::Memory(_) => 0,
        }
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        match &self.backend {
            Backend::Lsm(lsm) => lsm.disk_bytes(),
            Backend::Memory(_) => 0,
        }
    }
}

/// Changes that take effect together.
pub(crate) enum Batch<'a> {
    Lsm(fjall::OwnedWriteBatch, &'a lsm::Lsm),
    Memory(Vec<Change>),
}

impl Batch<'_> {
    pub(crate) fn insert(&mut self, table: Table, key: impl Into<UserKey>, value: impl Into<UserValue>) {
        match self {
            Self::Lsm(batch, lsm) => batch.insert(lsm.keyspace(table), key, value),
            Self::Memory(changes) => changes.push((table, key.into(), Some(value.into()))),
        }
    }

    pub(crate) fn remove(&mut self, table: Table, key: impl Into<UserKey>) {
        match self {
            Self::Lsm(batch, lsm) => batch.remove(lsm.keyspace(table), key),
            Self::Memory(changes) => changes.push((table, key.into(), None)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Lsm(batch, _) => batch.len(),
            Self::Memory(changes) => changes.len(),
        }
    }
}

/// Two bounds of keys.
pub(crate) type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// All tables at one moment.
pub(crate) enum Snapshot {
    Lsm(fjall::Snapshot),
    Memory(Tables),
}

impl Snapshot {
    pub(crate) fn get(&self, engine: &Engine, table: Table, key: &[u8]) -> fjall::Result<Option<UserValue>> {
        match (self, &engine.backend) {
            (Self::Lsm(snapshot), Backend::Lsm(lsm)) => {
                fjall::Readable::get(snapshot, lsm.keyspace(table), key)
            }
            (Self::Memory(tables), _) => Ok(tables.get(table, key)),
            (Self::Lsm(_), Backend::Memory(_)) => Ok(None),
        }
    }

    /// The rows of a range, for a reader that takes its time: they keep what they are read from, and need the snapshot no more. A snapshot,
    /// and the engine's own iterators, keep every write buffer since their beginning in memory as well.
    pub(crate) fn range(&self, engine: &Engine, table: Table, range: KeyRange) -> Rows {
        match (self, &engine.backend) {
            (Self::Lsm(snapshot), Backend::Lsm(lsm)) => {
                let rows = lsm.keyspace(table).tree.range(range, snapshot.seqno(), None);
                Rows::Detached(Box::new(rows.map(|row| row.into_inner().map_err(fjall::Error::from))))
            }
            (Self::Memory(tables), _) => Rows::Memory(tables.range(table, &range)),
            (Self::Lsm(_), Backend::Memory(_)) => Rows::Memory(Tables::default().range(table, &range)),
        }
    }
}

/// Rows in key order from the front, in reverse from the back.
pub(crate) enum Rows {
    Lsm(fjall::Iter),
    Detached(Box<dyn DoubleEndedIterator<Item = Row> + Send>),
    Memory(memory::MemoryRows),
}

/// A key and its value.
pub(crate) type Row = fjall::Result<(UserKey, UserValue)>;

impl Iterator for Rows {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        match self {
            Self::Lsm(rows) => rows.next().map(fjall::Guard::into_inner),
            Self::Detached(rows) => rows.next(),
            Self::Memory(rows) => rows.next().map(Ok),
        }
    }
}

impl DoubleEndedIterator for Rows {
    fn next_back(&mut self) -> Option<Row> {
        match self {
            Self::Lsm(rows) => rows.next_back().map(fjall::Guard::into_inner),
            Self::Detached(rows) => rows.next_back(),
            Self::Memory(rows) => rows.next_back().map(Ok),
        }
    }
}
