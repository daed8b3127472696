//! Damage: a group whose bytes on disk are not what was written, and how it is begun anew under the promises that it has made.

use crate::StoreError;
use crate::engine::{Batch, Table};
use crate::group::{Group, GroupStore};
use crate::janitor::Task;
use crate::keys::{self, SpaceKind, Spaces};
use crate::locks::{lock, write};
use crate::log::LogState;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl GroupStore {
    /// Whether a read of this group has met damage since the store was opened.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.group.damaged.load(Ordering::Relaxed)
    }

    /// Notes damage that a read has met.
    pub(crate) fn noting<T>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        self.group.note(&read);
        read
    }

    /// Removes everything of the group: log, vote, metadata, state. The removal is on disk when this returns; the space is
    /// freed in the background. Every handle of the group answers `Destroyed` from then on; [`Store::group`](crate::Store::group)
    /// starts anew.
    ///
    /// # Errors
    /// `Corrupt`, `Busy`, `Failed`, `Closed`, `Destroyed`.
    pub fn destroy(&self) -> Result<(), StoreError> {
        self.retire(None, |batch| {
            for row in self.engine().prefix(Table::Meta, keys::group_prefix(self.group.id)) {
                let (key, _) =
                    row.map_err(StoreError::reading("list metadata", Some(self.group.id), None))?;
                batch.remove(Table::Meta, key);
            }
            Ok(())
        })
    }

    /// Removes the group's log and state and keeps its metadata, with `vote` and `meta` instead of what they were: for a replica
    /// that is damaged and gets its entries anew. All of it takes effect at once, and is on disk when this returns. Handles from
    /// before answer `Destroyed`; [`Store::group`](crate::Store::group) gives those of the group as it goes on.
    ///
    /// # Errors
    /// `TooLarge`, `Busy`, `Failed`, `Closed`, `Destroyed`.
    pub fn discard(&self, vote: &[u8], meta: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        for (key, _) in meta {
            keys::check_key(key)?;
        }
        let (id, inner) = (self.group.id, self.inner());
        let spaces = Spaces { log: inner.allocate_space(), state: inner.allocate_space() };
        let next = Group::recorded(id, spaces, Arc::clone(&inner.tail_budget));
        self.retire(Some(next), |batch| {
            batch.remove(Table::Meta, keys::purged_key(id));
            batch.insert(Table::Meta, keys::record_key(id), spaces.encode());
            batch.insert(Table::Meta, keys::vote_key(id), vote);
            for (key, value) in meta {
                batch.insert(Table::Meta, keys::user_meta_key(id, key), *value);
            }
            Ok(())
        })
    }

    /// Ends this handle's group with what `change` puts into the batch, and has `next` stand in its place.
    fn retire(
        &self,
        next: Option<Group>,
        change: impl FnOnce(&mut Batch<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let inner = self.inner();
        let group = &self.group;
        let log_writer = lock(&group.log_writer);
        let state_writer = lock(&group.state_writer);
        self.ensure_recorded()?;
        let engine = self.engine();
        // Readers that hold the lock finish first; later ones see that the group is gone.
        let state_lock = write(&group.state_space);
        let state_space = *state_lock;
        let mut batch = engine.batch();
        change(&mut batch)?;
        let garbage = [(group.log_space, SpaceKind::Log), (state_space, SpaceKind::State)];
        for (space, kind) in garbage {
            batch.insert(Table::Meta, keys::garbage_key(space), kind.encode());
        }
        engine.commit(batch)?;
        group.destroyed.store(true, Ordering::Release);
        *write(&group.log) = LogState::empty(Arc::clone(&inner.tail_budget));
        {
            let mut groups = lock(&inner.groups);
            groups.remove(&group.id);
            groups.extend(next.map(|next| (group.id, Arc::new(next))));
        }
        drop((state_lock, state_writer, log_writer));
        for (space, kind) in garbage {
            inner.janitor.add(Task::DropSpace { space, kind });
        }
        inner.sync.wait_durable()
    }
}
