//! The store of a node: opening, closing, its groups, its one fsync.

use crate::engine::{Engine, Table};
use crate::format::StoreDir;
use crate::group::{Group, GroupStore};
use crate::janitor::{Janitor, Task};
use crate::journal::{JournalFile, SyncMark};
use crate::keys::{self, SpaceKind, Spaces};
use crate::locks::lock;
use crate::memory::{MemoryDisk, MemoryDriver};
use crate::old_journals::OldJournals;
use crate::recovery::prepare_journals;
use crate::space::{Space, SpaceWatch};
use crate::sync::{Bell, FailFn, OnDurable, SyncFn, Syncer};
use crate::tail::TailBudget;
use crate::{StoreError, StoreOptions};
use meridian_types::GroupId;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// One embedded engine for the Raft logs, votes and item states of all groups of a node.
///
/// Cloning is cheap and shares the engine. The directory is freed when the last clone and the last
/// [`GroupStore`] are gone; that also makes everything written durable. Calls block on locks and, where they say so,
/// on the disk: do not make them on an async executor's thread when they do.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

/// Figures for metrics and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Fsyncs since the store was created.
    pub syncs: u64,
    /// Bytes in the engine's write buffers, those included that are kept for a snapshot only.
    pub write_buffer_bytes: u64,
    /// Bytes of log entries kept in memory for replication.
    pub tail_cache_bytes: u64,
    /// Bytes on disk, journals included.
    pub disk_bytes: u64,
    /// Deletions in the background that wait or run.
    pub pending_deletions: u64,
}

pub(crate) struct Inner {
    pub(crate) engine: Arc<Engine>,
    pub(crate) sync: Syncer,
    pub(crate) janitor: Janitor,
    pub(crate) space: SpaceWatch,
    pub(crate) tail_budget: Arc<TailBudget>,
    pub(crate) groups: Mutex<BTreeMap<GroupId, Arc<Group>>>,
    next_space: AtomicU64,
    syncs: Arc<AtomicU64>,
    /// Last, so that the directory is free only once the engine is gone. A disk in memory has none.
    dir: Option<StoreDir>,
}

/// What a store is put together from.
struct Parts {
    engine: Arc<Engine>,
    sync: Syncer,
    janitor: Janitor,
    space: SpaceWatch,
    syncs: Arc<AtomicU64>,
    dir: Option<StoreDir>,
}

fn check_recovered(recovered: u64, synced: u64) -> Result<(), StoreError> {
    if recovered >= synced {
        return Ok(());
    }
    Err(StoreError::Corrupt {
        group: None,
        index: None,
        detail: format!(
            "the journal ends at sync {recovered}, but sync {synced} had succeeded: durable data is missing"
        ),
    })
}

impl Store {
    /// Opens the store in `dir`, creating it when it is not there. Replays what a crash left in the journal.
    ///
    /// # Errors
    /// `Locked`, `UnknownFormat`, `Corrupt` when data that was durable is missing or damaged, `Io`.
    pub fn open(dir: impl AsRef<Path>, options: &StoreOptions) -> Result<Self, StoreError> {
        Self::open_with(dir.as_ref(), options, |sync| sync)
    }

    /// As [`Store::open`]; `wrap` may put something around what makes data durable.
    pub(crate) fn open_with(
        dir: &Path,
        options: &StoreOptions,
        wrap: impl FnOnce(SyncFn) -> SyncFn,
    ) -> Result<Self, StoreError> {
        let dir = StoreDir::acquire(dir)?;
        let engine_dir = dir.ensure_engine(|draft| Engine::open(draft, options).map(drop))?;
        let mark = SyncMark::open(dir.path())?;
        let synced = mark.load();
        prepare_journals(&engine_dir, synced)?;
        let engine = Arc::new(Engine::open(&engine_dir, options)?);
        let recovered = engine.sync_number()?;
        check_recovered(recovered, synced)?;
        let syncs = Arc::new(AtomicU64::new(recovered));
        let old_journals = Arc::<OldJournals>::default();
        let mut journal = JournalFile::new(engine_dir, Arc::clone(&old_journals));
        let sync_fn = sync_fn(&engine, &syncs, move |number| {
            journal.sync()?;
            mark.store(number)
        });
        let starting = StoreError::io("start a thread for", dir.path());
        let sync = Syncer::start(wrap(sync_fn), fail_fn(Arc::clone(&engine))).map_err(starting)?;
        let starting = StoreError::io("start a thread for", dir.path());
        let janitor = Janitor::start(Arc::clone(&engine), old_journals).map_err(starting)?;
        let space = SpaceWatch::new(dir.path(), options.min_free, options.ballast_bytes);
        Self::assemble(Parts { engine, sync, janitor, space, syncs, dir: Some(dir) }, options)
    }

    /// Opens the store on a disk in memory, for simulations. It has no thread: `bell` is called when someone waits for a sync,
    /// and the driver does it. A call that blocks syncs at once by itself.
    ///
    /// # Errors
    /// `Corrupt` when data that was durable is missing or damaged.
    pub fn open_in_memory(
        disk: &MemoryDisk,
        options: &StoreOptions,
        bell: impl Fn() + Send + Sync + 'static,
    ) -> Result<(Self, MemoryDriver), StoreError> {
        let (engine, synced) = disk.open();
        let engine = Arc::new(engine);
        let recovered = engine.sync_number()?;
        check_recovered(recovered, synced)?;
        let syncs = Arc::new(AtomicU64::new(recovered));
        let own = disk.clone();
        let sync_fn = sync_fn(&engine, &syncs, move |number| own.sync_now(number));
        let bell: Bell = Box::new(bell);
        let sync = Syncer::by_owner(bell, sync_fn, fail_fn(Arc::clone(&engine)));
        let janitor = Janitor::by_owner(Arc::clone(&engine));
        let space = SpaceWatch::of_memory(disk.clone(), options.min_free);
        let store = Self::assemble(Parts { engine, sync, janitor, space, syncs, dir: None }, options)?;
        let driver = MemoryDriver::new(&store.inner, disk.clone());
        Ok((store, driver))
    }

    fn assemble(parts: Parts, options: &StoreOptions) -> Result<Self, StoreError> {
        let Parts { engine, sync, janitor, space, syncs, dir } = parts;
        let inner = Inner {
            space,
            tail_budget: TailBudget::new(options.tail_cache_bytes),
            groups: Mutex::default(),
            next_space: AtomicU64::new(1),
            engine,
            sync,
            janitor,
            syncs,
            dir,
        };
        inner.load()?;
        inner.space.current();
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The store of one group. A group comes into being with its first write.
    #[must_use]
    pub fn group(&self, id: GroupId) -> GroupStore {
        let mut groups = lock(&self.inner.groups);
        let group = groups.entry(id).or_insert_with(|| Arc::new(self.inner.new_group(id)));
        GroupStore { store: self.clone(), group: Arc::clone(group) }
    }

    /// The groups that have anything written, in order.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupId> {
        lock(&self.inner.groups).iter().filter(|(_, group)| group.exists()).map(|(id, _)| *id).collect()
    }

    /// The room on the disk, measured at most 200 ms ago.
    #[must_use]
    pub fn space(&self) -> Space {
        self.inner.space.current()
    }

    /// Has the store take its disk for a full one, within 200 ms, until told otherwise: new entries are refused as when
    /// free space runs low. For drills; nothing in a configuration leads here.
    pub fn pretend_full(&self, full: bool) {
        self.inner.space.pretend_full(full);
    }

    /// Waits until everything written before the call is on disk.
    ///
    /// # Errors
    /// `Failed` when that cannot be known, `Closed`.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.inner.sync.wait_durable()
    }

    /// Calls back once everything written before the call is on disk.
    pub fn when_durable(&self, on_durable: OnDurable) {
        self.inner.sync.when_durable(on_durable);
    }

    /// The number of the sync that is under way. One that stays is a disk that hangs.
    #[must_use]
    pub fn sync_under_way(&self) -> Option<u64> {
        self.inner.sync.busy().then(|| self.inner.next_sync())
    }

    /// Whether the store still works.
    ///
    /// # Errors
    /// `Failed` with the reason, or `Closed`.
    pub fn health(&self) -> Result<(), StoreError> {
        self.inner.engine.check()
    }

    /// Stops the store for good: every later call answers `Failed` with this reason, as after a failed fsync.
    pub fn condemn(&self, reason: &str) {
        self.inner.engine.fail(reason);
    }

    /// Has only versions that know `format` open the directory from now on, when it is above the present one. On disk when this
    /// returns. Blocks on the disk, once in a store's life for each format.
    ///
    /// # Errors
    /// `Io`.
    pub fn raise_format(&self, format: u32) -> Result<(), StoreError> {
        self.inner.dir.as_ref().map_or(Ok(()), |dir| dir.raise_format(format))
    }

    /// Figures for metrics.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        StoreStats {
            syncs: self.inner.syncs.load(Ordering::Relaxed),
            write_buffer_bytes: self.inner.engine.write_buffer_bytes(),
            tail_cache_bytes: self.inner.tail_budget.used() as u64,
            disk_bytes: self.inner.engine.disk_bytes(),
            pending_deletions: self.inner.janitor.pending() as u64,
        }
    }

    /// Makes everything written durable and refuses every later call on any clone. The directory stays locked until
    /// the last clone is dropped.
    ///
    /// # Errors
    /// `Failed` when the last sync fails or an earlier one did.
    pub fn close(&self) -> Result<(), StoreError> {
        match self.inner.close() {
            Err(StoreError::Closed) => Ok(()),
            result => result,
        }
    }
}

impl Inner {
    pub(crate) fn allocate_space(&self) -> u64 {
        self.next_space.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of the sync that comes after those that succeeded.
    pub(crate) fn next_sync(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed) + 1
    }

    /// A sync has succeeded.
    pub(crate) fn synced(&self, number: u64) {
        self.syncs.store(number, Ordering::Relaxed);
    }

    fn reserve_space(&self, space: u64) {
        self.next_space.fetch_max(space.saturating_add(1), Ordering::Relaxed);
    }

    fn new_group(&self, id: GroupId) -> Group {
        let spaces = Spaces { log: self.allocate_space(), state: self.allocate_space() };
        Group::new(id, spaces, Arc::clone(&self.tail_budget))
    }

    /// Reads which groups exist and what deletions were under way.
    fn load(&self) -> Result<(), StoreError> {
        let reading = || StoreError::reading("read the list of groups", None, None);
        let damaged =
            |detail: &str| StoreError::Corrupt { group: None, index: None, detail: detail.to_owned() };
        for row in self.engine.prefix(Table::Meta, keys::GARBAGE_PREFIX) {
            let (key, value) = row.map_err(reading())?;
            let space =
                keys::garbage_space(&key).ok_or_else(|| damaged("a deletion record has a bad key"))?;
            let kind =
                SpaceKind::decode(&value).ok_or_else(|| damaged("a deletion record has a bad value"))?;
            self.reserve_space(space);
            self.janitor.add(Task::DropSpace { space, kind });
        }
        let mut groups = lock(&self.groups);
        for row in self.engine.prefix(Table::Meta, keys::GROUPS_PREFIX) {
            let (key, value) = row.map_err(reading())?;
            let Some(id) = keys::group_of_record(&key) else { continue };
            let spaces = Spaces::decode(&value).ok_or_else(|| StoreError::Corrupt {
                group: Some(id),
                index: None,
                detail: "the group's record has a bad value".to_owned(),
            })?;
            self.reserve_space(spaces.log);
            self.reserve_space(spaces.state);
            let budget = Arc::clone(&self.tail_budget);
            let (group, leftovers) = Group::load(id, spaces, budget, &self.engine)?;
            if let Some(task) = leftovers {
                self.janitor.add(task);
            }
            groups.insert(id, Arc::new(group));
        }
        Ok(())
    }

    fn close(&self) -> Result<(), StoreError> {
        self.janitor.stop();
        let result = self.sync.wait_durable();
        self.engine.mark_closed();
        self.sync.stop();
        result
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        match self.close() {
            Ok(()) | Err(StoreError::Closed) => {}
            Err(error) => tracing::error!(%error, "the store could not make its last writes durable"),
        }
    }
}

/// Numbers syncs, and has `make_durable` do the one whose number the engine has written behind everything before it.
fn sync_fn(
    engine: &Arc<Engine>,
    syncs: &Arc<AtomicU64>,
    mut make_durable: impl FnMut(u64) -> Result<(), StoreError> + Send + 'static,
) -> SyncFn {
    let (engine, syncs) = (Arc::clone(engine), Arc::clone(syncs));
    Box::new(move || {
        let number = syncs.load(Ordering::Relaxed) + 1;
        engine.hand_over(number)?;
        make_durable(number)?;
        syncs.store(number, Ordering::Relaxed);
        Ok(())
    })
}

/// Whatever ends the sync thread stops the store, closing it aside.
fn fail_fn(engine: Arc<Engine>) -> FailFn {
    Box::new(move |error| match error {
        StoreError::Closed => StoreError::Closed,
        StoreError::Failed { reason } => engine.fail(&reason),
        error => engine.fail(&error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn a_failed_fsync_stops_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { min_free: 0, ballast_bytes: 0, ..StoreOptions::default() };
        let broken = Arc::new(AtomicBool::new(false));
        let entry = |index| vec![(index, Bytes::from_static(b"entry"))];
        {
            let switch = Arc::clone(&broken);
            let store = Store::open_with(dir.path(), &options, |mut sync| {
                Box::new(move || {
                    if switch.load(Ordering::SeqCst) {
                        return Err(StoreError::Failed { reason: "the disk says no".into() });
                    }
                    sync()
                })
            })
            .unwrap();
            let group = store.group(GroupId(1));
            group.append_durable(entry(1)).unwrap();
            broken.store(true, Ordering::SeqCst);
            let error = group.append_durable(entry(2)).unwrap_err();
            assert!(error.to_string().contains("the disk says no"), "{error}");
            broken.store(false, Ordering::SeqCst);
            // Although the disk would work again, nothing is known about what it has.
            assert!(matches!(group.append_durable(entry(3)), Err(StoreError::Failed { .. })));
            assert!(matches!(group.save_vote(b"v"), Err(StoreError::Failed { .. })));
            assert!(matches!(group.entries(1..2), Err(StoreError::Failed { .. })));
            assert!(matches!(store.close(), Err(StoreError::Failed { .. })));
        }
        let store = Store::open(dir.path(), &options).unwrap();
        assert_eq!(store.group(GroupId(1)).entries(1..2).unwrap(), entry(1));
    }
}
