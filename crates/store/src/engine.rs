//! The engine and its three keyspaces, behind one rule: after a failed write nothing is written or read any more.
//!
//! Every batch goes into one journal in commit order, whatever keyspaces it touches, so what survives a crash is a prefix of
//! what was committed. Tables reach the disk only after the journal that describes them was synced.

use crate::StoreError;
use crate::StoreOptions;
use crate::keys;
use fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The engine spins or sleeps without end when it is this far behind; the store refuses before that.
const MAX_L0_RUNS: usize = 18;
const MAX_SEALED: usize = 3;
/// How long a writer waits for the engine to catch up.
const PATIENCE: Duration = Duration::from_secs(5);

/// The memtable of `meta` holds votes and markers only.
const META_MEMTABLE_BYTES: u64 = 4 * 1024 * 1024;
/// Smaller tables than the engine's default: compactions are shorter and need less room.
const TABLE_BYTES: u64 = 32 * 1024 * 1024;

pub(crate) struct Engine {
    db: Database,
    pub(crate) log: Keyspace,
    pub(crate) state: Keyspace,
    pub(crate) meta: Keyspace,
    failed: OnceLock<Arc<str>>,
    closed: AtomicBool,
}

impl Engine {
    /// Opens the engine in `dir`, creating it when it is not there.
    pub(crate) fn open(dir: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let opening = |error| match error {
            fjall::Error::Locked => StoreError::Locked { dir: dir.to_owned() },
            error => StoreError::reading("open the storage engine", None, None)(error),
        };
        let db = Database::builder(dir)
            .cache_size(options.block_cache_bytes)
            .max_cached_files(Some(options.open_files.max(16)))
            .max_journaling_size(options.journal_bytes.max(64 * 1024 * 1024))
            .worker_threads(options.worker_threads.max(1))
            .journal_compression(fjall::CompressionType::None)
            .manual_journal_persist(true)
            .open()
            .map_err(opening)?;
        let keyspace = |name, memtable| db.keyspace(name, || keyspace_options(memtable)).map_err(opening);
        Ok(Self {
            log: keyspace("log", options.memtable_bytes)?,
            state: keyspace("state", options.memtable_bytes)?,
            meta: keyspace("meta", META_MEMTABLE_BYTES)?,
            db,
            failed: OnceLock::new(),
            closed: AtomicBool::new(false),
        })
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

    pub(crate) fn batch(&self) -> OwnedWriteBatch {
        self.db.batch()
    }

    pub(crate) fn snapshot(&self) -> fjall::Snapshot {
        self.db.snapshot()
    }

    /// Writes a batch: whole or not at all, readable at once, durable after the next sync.
    pub(crate) fn commit(&self, batch: OwnedWriteBatch) -> Result<(), StoreError> {
        self.check()?;
        self.wait_for_room()?;
        batch.commit().map_err(|error| self.fail(&format!("a write to the journal failed: {error}")))
    }

    /// Writes the engine's buffer to the operating system, with the number of this sync behind everything before it.
    pub(crate) fn hand_over(&self, sync_number: u64) -> Result<(), StoreError> {
        self.check()?;
        let mut batch = self.db.batch();
        batch.insert(&self.meta, keys::SYNC_KEY, sync_number.to_be_bytes());
        batch.commit().and_then(|()| self.db.persist(PersistMode::Buffer)).map_err(|error| {
            self.fail(&format!("handing the journal to the operating system failed: {error}"))
        })
    }

    /// The number of the last sync that is in the journal.
    pub(crate) fn sync_number(&self) -> Result<u64, StoreError> {
        let bytes =
            self.meta.get(keys::SYNC_KEY).map_err(StoreError::reading("read the sync number", None, None))?;
        let Some(bytes) = bytes else { return Ok(0) };
        let bytes = <[u8; 8]>::try_from(&*bytes).map_err(|_| StoreError::Corrupt {
            group: None,
            index: None,
            detail: "the sync number has the wrong size".to_owned(),
        })?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// Bytes in memtables, active and waiting for their flush.
    pub(crate) fn write_buffer_bytes(&self) -> u64 {
        self.db.write_buffer_size()
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.db.disk_space().unwrap_or(0)
    }

    fn is_behind(&self) -> bool {
        [&self.log, &self.state, &self.meta]
            .iter()
            .any(|k| k.tree.sealed_memtable_count() >= MAX_SEALED || k.tree.l0_run_count() >= MAX_L0_RUNS)
    }

    fn wait_for_room(&self) -> Result<(), StoreError> {
        if !self.is_behind() {
            return Ok(());
        }
        let start = Instant::now();
        while self.is_behind() {
            if start.elapsed() > PATIENCE {
                // A worker that met a disk error has ended and will never catch up; persisting tells.
                return Err(match self.db.persist(PersistMode::Buffer) {
                    Ok(()) => StoreError::Busy,
                    Err(error) => self.fail(&format!("flushing or compaction failed: {error}")),
                });
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

fn keyspace_options(memtable_bytes: u64) -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(memtable_bytes)
        .manual_journal_persist(true)
        .compaction_strategy(Arc::new(
            fjall::compaction::Leveled::default().with_table_target_size(TABLE_BYTES),
        ))
}
