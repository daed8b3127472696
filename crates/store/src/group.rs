//! One group's part of the store: what its log, its votes and its state share.

use crate::StoreError;
use crate::engine::{Engine, Table};
use crate::janitor::Task;
use crate::keys::{self, Spaces};
use crate::locks::{lock, read};
use crate::log::LogState;
use crate::store::{Inner, Store};
use crate::sync::OnDurable;
use crate::tail::TailBudget;
use bytes::Bytes;
use meridian_types::GroupId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// The Raft log, vote and item state of one group. Clones share them.
///
/// Writers of the log wait for each other, and so do writers of the state; log and state do not wait for each other.
#[derive(Clone)]
pub struct GroupStore {
    pub(crate) store: Store,
    pub(crate) group: Arc<Group>,
}

pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) log_space: u64,
    /// Held by writers of log and vote while they write. Taken before `state_writer`.
    pub(crate) log_writer: Mutex<()>,
    pub(crate) log: RwLock<LogState>,
    /// Held by writers of the state while they write.
    pub(crate) state_writer: Mutex<()>,
    /// The space that holds the state. Readers keep the lock until they have read or have a snapshot.
    pub(crate) state_space: RwLock<u64>,
    pub(crate) installing: AtomicBool,
    recorded: AtomicBool,
    recording: Mutex<()>,
    pub(crate) destroyed: AtomicBool,
    /// Whether a read has met damage.
    pub(crate) damaged: AtomicBool,
}

impl Group {
    /// A group of which nothing is on disk yet.
    pub(crate) fn new(id: GroupId, spaces: Spaces, budget: Arc<TailBudget>) -> Self {
        Self {
            id,
            log_space: spaces.log,
            log_writer: Mutex::default(),
            log: RwLock::new(LogState::empty(budget)),
            state_writer: Mutex::default(),
            state_space: RwLock::new(spaces.state),
            installing: AtomicBool::new(false),
            recorded: AtomicBool::new(false),
            recording: Mutex::default(),
            destroyed: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
        }
    }

    /// A group whose record is on disk, and nothing else.
    pub(crate) fn recorded(id: GroupId, spaces: Spaces, budget: Arc<TailBudget>) -> Self {
        Self { recorded: AtomicBool::new(true), ..Self::new(id, spaces, budget) }
    }

    /// A group found on disk, and what a purge left of its log.
    pub(crate) fn load(
        id: GroupId,
        spaces: Spaces,
        budget: Arc<TailBudget>,
        engine: &Engine,
    ) -> Result<(Self, Option<Task>), StoreError> {
        let (log, leftovers) = LogState::load(id, spaces.log, Arc::clone(&budget), engine)?;
        Ok((Self { log: RwLock::new(log), ..Self::recorded(id, spaces, budget) }, leftovers))
    }

    /// Notes damage that a read has met.
    pub(crate) fn note<T>(&self, read: &Result<T, StoreError>) {
        if matches!(read, Err(StoreError::Corrupt { .. })) {
            self.damaged.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn exists(&self) -> bool {
        self.recorded.load(Ordering::Acquire) && !self.destroyed.load(Ordering::Acquire)
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.destroyed.load(Ordering::Acquire) {
            return Err(StoreError::Destroyed { group: self.id });
        }
        Ok(())
    }
}

impl GroupStore {
    /// Which group this is.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.group.id
    }

    /// The store that holds the group.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.store.inner
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.store.inner.engine
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.engine().check()?;
        self.group.check()
    }

    /// Makes sure that the group's record is in the journal before anything that needs it. To be called with a writer's lock.
    pub(crate) fn ensure_recorded(&self) -> Result<(), StoreError> {
        self.check()?;
        if self.group.recorded.load(Ordering::Acquire) {
            return Ok(());
        }
        let _recording = lock(&self.group.recording);
        if self.group.recorded.load(Ordering::Acquire) {
            return Ok(());
        }
        let engine = self.engine();
        let spaces = Spaces { log: self.group.log_space, state: *read(&self.group.state_space) };
        let mut batch = engine.batch();
        batch.insert(Table::Meta, keys::record_key(self.group.id), spaces.encode());
        engine.commit(batch)?;
        self.group.recorded.store(true, Ordering::Release);
        Ok(())
    }

    /// Stores the vote. It is on disk when this returns.
    ///
    /// # Errors
    /// `Failed` (then nobody knows whether the vote is on disk), `Busy`, `Closed`, `Destroyed`.
    pub fn save_vote(&self, vote: &[u8]) -> Result<(), StoreError> {
        self.put(&keys::vote_key(self.group.id), vote)?;
        self.inner().sync.wait_durable()
    }

    /// As [`GroupStore::save_vote`], without waiting: `on_durable` is called when it is on disk, or with an error when that will
    /// never be known. It is not called when this returns an error, and then nothing was written.
    ///
    /// # Errors
    /// `Failed`, `Busy`, `Closed`, `Destroyed`.
    pub fn put_vote(&self, vote: &[u8], on_durable: OnDurable) -> Result<(), StoreError> {
        self.put(&keys::vote_key(self.group.id), vote)?;
        self.inner().sync.when_durable(on_durable);
        Ok(())
    }

    /// The last vote stored.
    ///
    /// # Errors
    /// `Corrupt`, `Engine`, `Failed`, `Closed`, `Destroyed`.
    pub fn vote(&self) -> Result<Option<Bytes>, StoreError> {
        self.read_meta(&keys::vote_key(self.group.id))
    }

    /// Stores a small value under a key of the caller's. Durable with the next sync of the store.
    ///
    /// # Errors
    /// `TooLarge`, `Busy`, `Failed`, `Closed`, `Destroyed`.
    pub fn put_meta(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        keys::check_key(key)?;
        self.put(&keys::user_meta_key(self.group.id, key), value)
    }

    /// As [`GroupStore::put_meta`], and on disk when it returns.
    ///
    /// # Errors
    /// As [`GroupStore::put_meta`].
    pub fn put_meta_durable(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.put_meta(key, value)?;
        self.inner().sync.wait_durable()
    }

    /// The value last stored under the key.
    ///
    /// # Errors
    /// `Corrupt`, `Engine`, `Failed`, `Closed`, `Destroyed`.
    pub fn meta(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.read_meta(&keys::user_meta_key(self.group.id, key))
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let _writer = lock(&self.group.log_writer);
        self.ensure_recorded()?;
        let engine = self.engine();
        let mut batch = engine.batch();
        batch.insert(Table::Meta, key, value);
        engine.commit(batch)
    }

    fn read_meta(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.check()?;
        let reading = StoreError::reading("read metadata", Some(self.group.id), None);
        let value = self.noting(self.engine().get(Table::Meta, key).map_err(reading))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }
}
