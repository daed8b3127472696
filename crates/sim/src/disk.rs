//! A node's disk: the store's engine in memory, with syncs that take virtual time and may fail.

use crate::rng::Rng;
use crate::trace::Trace;
use meridian_replication::runtime::Mistake;
use meridian_store::{MemoryDisk, MemoryDriver, Store, StoreError, StoreOptions, SyncEnd};
use meridian_types::NodeId;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Free space that the store wants.
const MIN_FREE: u64 = 1 << 20;
/// How long a sync takes on a healthy disk, in microseconds.
const QUICK: Range<u64> = 100..3_000;
/// And on a sick one.
const SLOW: Range<u64> = 50_000..1_500_000;

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, Default)]
struct Health {
    slow: bool,
    fail_next: bool,
}

/// A disk, which outlives the processes that use it.
#[derive(Clone)]
pub struct Disk {
    node: NodeId,
    memory: MemoryDisk,
    health: Arc<Mutex<Health>>,
    trace: Trace,
    lies: bool,
}

impl Disk {
    /// An empty, healthy disk. With `lies` it reports syncs that it has not done.
    #[must_use]
    pub fn new(node: NodeId, trace: Trace, lies: bool) -> Self {
        Self { node, memory: MemoryDisk::new(), health: Arc::default(), trace, lies }
    }

    /// The store on it.
    ///
    /// # Errors
    /// When what is on the disk is damaged.
    pub fn open(&self, rng: Rng) -> Result<(Store, JoinHandle<()>), StoreError> {
        let options = StoreOptions { min_free: MIN_FREE, ballast_bytes: 0, ..StoreOptions::default() };
        let bell = Arc::new(Notify::new());
        let ring = Arc::clone(&bell);
        let (store, driver) = Store::open_in_memory(&self.memory, &options, move || ring.notify_one())?;
        let work = tokio::spawn(self.clone().work(driver, bell, rng));
        Ok((store, work))
    }

    /// Does what the store's threads would do. Runs outside of the node's process: a frozen process does not stop its disk.
    async fn work(self, driver: MemoryDriver, bell: Arc<Notify>, mut rng: Rng) {
        loop {
            bell.notified().await;
            while let Some(sync) = driver.begin_sync() {
                let health = *self.health();
                sleep(rng.us(if health.slow { SLOW } else { QUICK })).await;
                let end = if std::mem::take(&mut self.health().fail_next) {
                    SyncEnd::Failed("the disk reports an error".to_owned())
                } else if self.lies {
                    SyncEnd::Pretended
                } else {
                    SyncEnd::Durable
                };
                self.trace.event(format_args!("disk {} sync {end:?}", self.node));
                sync.end(end);
            }
            driver.tidy();
        }
    }

    /// Takes the power away from it.
    pub fn crash(&self, rng: &mut Rng) {
        let unsynced = self.memory.unsynced();
        let keep = rng.index(unsynced + 1);
        self.trace.event(format_args!("disk {} loses {} of {unsynced} batches", self.node, unsynced - keep));
        self.memory.crash(keep);
    }

    /// What is on it, to be asked.
    #[must_use]
    pub fn memory(&self) -> &MemoryDisk {
        &self.memory
    }

    /// Makes syncs slow, or quick again.
    pub fn set_slow(&self, slow: bool) {
        self.health().slow = slow;
    }

    /// Makes the next sync fail.
    pub fn fail_next_sync(&self) {
        self.health().fail_next = true;
    }

    /// Fills it up, or makes room again.
    pub fn set_full(&self, full: bool) {
        self.memory.set_free_bytes(if full { MIN_FREE / 2 } else { u64::MAX });
    }

    /// Ends every fault of it.
    pub fn heal(&self) {
        *self.health() = Health::default();
        self.set_full(false);
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        // One thread only; a panic ends the run.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a run is made to get wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// A mistake of the replication layer.
    pub mistake: Option<Mistake>,
    /// Disks that report syncs which they have not done.
    pub lying_disks: bool,
}
