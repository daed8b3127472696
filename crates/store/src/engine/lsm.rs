//! The engine on a real disk: three keyspaces of an LSM tree.
//!
//! Every batch goes into one journal in commit order, whatever keyspaces it touches. Tables reach the disk only after the
//! journal that describes them was synced.

use super::Table;
use super::reaper::Buffer;
use crate::{StoreError, StoreOptions};
use fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use std::path::Path;
use std::sync::Arc;
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

pub(crate) struct Lsm {
    db: Database,
    log: Keyspace,
    state: Keyspace,
    meta: Keyspace,
}

/// Why a writer cannot go on.
pub(super) enum Behind {
    /// Flushing and compaction will catch up.
    Busy,
    /// They never will.
    Broken(fjall::Error),
}

impl Lsm {
    pub(super) fn open(dir: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
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
        })
    }

    pub(super) fn keyspace(&self, table: Table) -> &Keyspace {
        match table {
            Table::Log => &self.log,
            Table::State => &self.state,
            Table::Meta => &self.meta,
        }
    }

    pub(super) fn batch(&self) -> OwnedWriteBatch {
        self.db.batch()
    }

    pub(super) fn snapshot(&self) -> fjall::Snapshot {
        self.db.snapshot()
    }

    pub(super) fn flush_buffer(&self) -> fjall::Result<()> {
        self.db.persist(PersistMode::Buffer)
    }

    pub(super) fn write_buffer_bytes(&self) -> u64 {
        [&self.log, &self.state, &self.meta].iter().map(|k| k.tree.version_memtable_size_sum()).sum()
    }

    pub(super) fn write_buffers(&self) -> Vec<Buffer> {
        [&self.log, &self.state, &self.meta].map(|k| k.tree.active_memtable() as Buffer).into()
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.db.disk_space().unwrap_or(0)
    }

    fn is_behind(&self) -> bool {
        [&self.log, &self.state, &self.meta]
            .iter()
            .any(|k| k.tree.sealed_memtable_count() >= MAX_SEALED || k.tree.l0_run_count() >= MAX_L0_RUNS)
    }

    pub(super) fn wait_for_room(&self) -> Result<(), Behind> {
        if !self.is_behind() {
            return Ok(());
        }
        let start = Instant::now();
        while self.is_behind() {
            if start.elapsed() > PATIENCE {
                // A worker that met a disk error has ended and will never catch up; persisting tells.
                return Err(match self.flush_buffer() {
                    Ok(()) => Behind::Busy,
                    Err(error) => Behind::Broken(error),
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
