//! The knobs of a store. Defaults are small, so that many nodes fit on one machine.

const MIB: u64 = 1024 * 1024;

/// How a [`Store`](crate::Store) uses memory, disk and threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Cache for blocks of the tables on disk, shared by all groups, in bytes.
    pub block_cache_bytes: u64,
    /// Size in bytes at which a write buffer is flushed to a table. There are two large ones (log and state), and
    /// up to four sealed ones of each may wait for their flush. Fixed when the store is created.
    pub memtable_bytes: u64,
    /// Total size in bytes of the engine's journals at which old write buffers are flushed early. At least 64 MiB.
    pub journal_bytes: u64,
    /// Threads that flush and compact.
    pub worker_threads: usize,
    /// Recent log entries of all groups kept in memory, in bytes. A group may use what others leave unused.
    pub tail_cache_bytes: usize,
    /// Free space in bytes below which new entries are refused with
    /// [`StoreError::DiskFull`](crate::StoreError::DiskFull). Should cover one flush of every write buffer and a
    /// compaction.
    pub min_free: u64,
    /// Size in bytes of the file that is given up when free space runs low. Zero for none.
    pub ballast_bytes: u64,
    /// Files of the engine held open at most.
    pub open_files: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: 32 * MIB,
            memtable_bytes: 16 * MIB,
            journal_bytes: 128 * MIB,
            worker_threads: 1,
            tail_cache_bytes: 16 * 1024 * 1024,
            min_free: 256 * MIB,
            ballast_bytes: 32 * MIB,
            open_files: 256,
        }
    }
}
