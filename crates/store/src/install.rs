//! Replacing a group's whole state by one that arrives in pieces.
//!
//! The pieces go into a new space, which the journal names as garbage from the start. One batch then points the group at the
//! new space and names the old one as garbage instead. A crash at any point leaves the old state or the new one, whole.

use crate::StoreError;
use crate::engine::Table;
use crate::group::GroupStore;
use crate::janitor::Task;
use crate::keys::{self, SpaceKind, Spaces};
use crate::locks::{lock, write};
use crate::sync::OnDurable;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// A state being installed. Dropped without [`Install::commit`], it leaves the group as it was.
pub struct Install {
    group: GroupStore,
    space: u64,
    committed: bool,
}

impl GroupStore {
    /// Begins to replace the whole state. Reads and applies go on with the old state until the commit.
    ///
    /// # Errors
    /// `InstallRunning`, `DiskFull`, `Busy`, `Failed`, `Closed`, `Destroyed`.
    pub fn begin_install(&self) -> Result<Install, StoreError> {
        self.inner().space.check_room()?;
        let _writer = lock(&self.group.state_writer);
        self.ensure_recorded()?;
        if self.group.installing.swap(true, Ordering::AcqRel) {
            return Err(StoreError::InstallRunning { group: self.group.id });
        }
        let space = self.inner().allocate_space();
        // From here on, dropping it cleans up.
        let install = Install { group: self.clone(), space, committed: false };
        let engine = self.engine();
        let mut batch = engine.batch();
        batch.insert(Table::Meta, keys::garbage_key(space), SpaceKind::State.encode());
        engine.commit(batch)?;
        Ok(install)
    }
}

impl Install {
    /// Adds items of the new state. An item given again replaces the earlier one.
    ///
    /// # Errors
    /// `TooLarge`, `DiskFull`, `Busy`, `Failed`, `Closed`, `Destroyed`.
    pub fn put_chunk(&mut self, items: &[(Bytes, Bytes)]) -> Result<(), StoreError> {
        let mut last = BTreeMap::new();
        for (key, value) in items {
            keys::check_key(key)?;
            last.insert(key, value);
        }
        self.group.check()?;
        self.group.inner().space.check_room()?;
        let engine = self.group.engine();
        let mut batch = engine.batch();
        for (key, value) in last {
            batch.insert(Table::State, keys::item_key(self.space, key), &**value);
        }
        engine.commit(batch)
    }

    /// Makes the new state the group's state, with its applied marker and further metadata (as of
    /// [`GroupStore::put_meta`]). On disk when it returns; the old state is deleted in the background.
    ///
    /// # Errors
    /// `TooLarge`, `Busy` (the old state stays), `Failed`, `Closed`, `Destroyed`.
    pub fn commit(self, applied_marker: &[u8], meta: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        let group = self.group.clone();
        self.switch(applied_marker, meta)?;
        group.inner().sync.wait_durable()
    }

    /// As [`Install::commit`], without waiting: `on_durable` is called when the new state is on disk, or with an error when that
    /// will never be known. It is not called when this returns an error.
    ///
    /// # Errors
    /// As [`Install::commit`].
    pub fn commit_then(
        self,
        applied_marker: &[u8],
        meta: &[(&[u8], &[u8])],
        on_durable: OnDurable,
    ) -> Result<(), StoreError> {
        let group = self.group.clone();
        self.switch(applied_marker, meta)?;
        group.inner().sync.when_durable(on_durable);
        Ok(())
    }

    fn switch(mut self, applied_marker: &[u8], meta: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        let meta: BTreeMap<_, _> = meta.iter().copied().collect();
        for key in meta.keys() {
            keys::check_key(key)?;
        }
        let store = self.group.clone();
        let (group, engine) = (&store.group, store.engine());
        {
            let _writer = lock(&group.state_writer);
            store.check()?;
            let mut space = write(&group.state_space);
            let mut batch = engine.batch();
            let spaces = Spaces { log: group.log_space, state: self.space };
            batch.insert(Table::Meta, keys::record_key(group.id), spaces.encode());
            batch.insert(Table::State, keys::applied_key(self.space), applied_marker);
            for (key, value) in meta {
                batch.insert(Table::Meta, keys::user_meta_key(group.id, key), value);
            }
            batch.remove(Table::Meta, keys::garbage_key(self.space));
            batch.insert(Table::Meta, keys::garbage_key(*space), SpaceKind::State.encode());
            engine.commit(batch)?;
            self.committed = true;
            // From here on the field names what is to be deleted.
            std::mem::swap(&mut self.space, &mut *space);
        }
        Ok(())
    }
}

impl Drop for Install {
    fn drop(&mut self) {
        self.group.group.installing.store(false, Ordering::Release);
        self.group.inner().janitor.add(Task::DropSpace { space: self.space, kind: SpaceKind::State });
        if !self.committed {
            tracing::debug!(group = %self.group.id(), "an installation was given up");
        }
    }
}
