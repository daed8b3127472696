//! The item state of a group: apply, read, scan, snapshot.

use crate::StoreError;
use crate::engine::{KeyRange, Rows, Snapshot, Table};
use crate::group::{Group, GroupStore};
use crate::keys;
use crate::locks::{lock, read};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// One change of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateOp {
    /// The key, at most [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES) long.
    pub key: Bytes,
    /// The new value, or nothing to delete the key.
    pub value: Option<Bytes>,
}

impl StateOp {
    /// Stores a value.
    #[must_use]
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), value: Some(value.into()) }
    }

    /// Deletes a key.
    #[must_use]
    pub fn delete(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), value: None }
    }
}

/// The range of full keys between two bounds on a caller's keys; nothing when it is empty.
fn full_range(space: u64, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Option<KeyRange> {
    let full = |key| keys::item_key(space, key);
    let from = match from {
        Bound::Unbounded => Bound::Included(full(b"")),
        bound => bound.map(full),
    };
    let to = match to {
        Bound::Unbounded => Bound::Excluded(keys::items_end(space)),
        bound => bound.map(full),
    };
    let empty = match (&from, &to) {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Excluded(high) | Bound::Included(high)) => {
            low >= high
        }
        _ => false,
    };
    (!empty).then_some((from, to))
}

/// Items in key order, or in reverse. Shows the state as it was when the iterator was made.
pub struct StateIter {
    group: Arc<Group>,
    iter: Option<Rows>,
    reverse: bool,
}

impl Iterator for StateIter {
    type Item = Result<(Bytes, Bytes), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let iter = self.iter.as_mut()?;
        let item = if self.reverse { iter.next_back() } else { iter.next() }?;
        let result = item.map_err(StoreError::reading("scan the state", Some(self.group.id), None)).and_then(
            |(key, value)| {
                let key = keys::item_of(&key).ok_or_else(|| StoreError::Corrupt {
                    group: Some(self.group.id),
                    index: None,
                    detail: "an item's key is cut short".to_owned(),
                })?;
                Ok((Bytes::copy_from_slice(key), Bytes::copy_from_slice(&value)))
            },
        );
        self.group.note(&result);
        if result.is_err() {
            // Never go on behind damage as if nothing were missing.
            self.iter = None;
        }
        Some(result)
    }
}

/// Some items of a [`StateStream`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateChunk {
    /// Keys and values.
    pub items: Vec<(Bytes, Bytes)>,
    /// Whether no item follows.
    pub done: bool,
}

/// The state and its applied marker at one moment, whatever is written or installed afterwards.
///
/// Holds back the engine's garbage collection while it lives, and everything written since stays in memory: for long reads there
/// is [`StateSnapshot::into_stream`].
pub struct StateSnapshot {
    group: GroupStore,
    snapshot: Snapshot,
    space: u64,
}

impl StateSnapshot {
    /// The marker of the last apply or install in the snapshot.
    ///
    /// # Errors
    /// `Corrupt`, `Engine`, `Failed`, `Closed`.
    pub fn applied(&self) -> Result<Option<Bytes>, StoreError> {
        self.read(&keys::applied_key(self.space))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// `Corrupt`, `Engine`, `Failed`, `Closed`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.read(&keys::item_key(self.space, key))
    }

    fn read(&self, full: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let engine = self.group.engine();
        engine.check()?;
        let reading = StoreError::reading("read the state", Some(self.group.id()), None);
        let value = self.group.noting(self.snapshot.get(engine, Table::State, full).map_err(reading))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// All items, to be read once and at leisure.
    ///
    /// # Errors
    /// `Failed`, `Closed`.
    pub fn into_stream(self) -> Result<StateStream, StoreError> {
        let engine = self.group.engine();
        engine.check()?;
        let range = full_range(self.space, Bound::Unbounded, Bound::Unbounded);
        let iter = range.map(|range| self.snapshot.range(engine, Table::State, range));
        let items = StateIter { group: Arc::clone(&self.group.group), iter, reverse: false };
        Ok(StateStream { group: self.group, items, next: None })
    }
}

/// The items of a [`StateSnapshot`] in key order, in parts. It may be read for long: it keeps the tables that it reads, and
/// one write buffer.
pub struct StateStream {
    group: GroupStore,
    items: StateIter,
    /// What did not fit into the last part.
    next: Option<(Bytes, Bytes)>,
}

impl StateStream {
    /// The next items, up to `max_bytes` of keys and values, at least one.
    ///
    /// # Errors
    /// `Corrupt`, `Engine`, `Failed`, `Closed`; from then on there are no items.
    pub fn chunk(&mut self, max_bytes: usize) -> Result<StateChunk, StoreError> {
        self.group.engine().check()?;
        let mut chunk = StateChunk { items: Vec::new(), done: true };
        let mut bytes = 0_usize;
        let next = self.next.take().map(Ok);
        for item in next.into_iter().chain(&mut self.items) {
            let (key, value) = item?;
            bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
            if bytes > max_bytes && !chunk.items.is_empty() {
                self.next = Some((key, value));
                chunk.done = false;
                break;
            }
            chunk.items.push((key, value));
        }
        Ok(chunk)
    }
}

impl GroupStore {
    /// Writes the changes and the marker of the last applied entry as one. When a key occurs twice, the last change counts.
    ///
    /// Not synced: after a crash the state is as it was after some earlier apply, and applying the log again from
    /// [`GroupStore::applied`] brings it back. Because log and state go through one journal in order, a state that survives
    /// never holds an entry that was appended before it was applied and did not survive.
    ///
    /// # Errors
    /// `TooLarge`, `Busy`, `Failed`, `Closed`, `Destroyed`.
    pub fn apply(&self, ops: &[StateOp], applied_marker: &[u8]) -> Result<(), StoreError> {
        // The engine does not order two writes to one key in a batch.
        let mut last = BTreeMap::new();
        for op in ops {
            keys::check_key(&op.key)?;
            last.insert(&op.key, &op.value);
        }
        let _writer = lock(&self.group.state_writer);
        self.ensure_recorded()?;
        let space = *read(&self.group.state_space);
        let engine = self.engine();
        let mut batch = engine.batch();
        for (key, value) in last {
            let full = keys::item_key(space, key);
            match value {
                Some(value) => batch.insert(Table::State, full, &**value),
                None => batch.remove(Table::State, full),
            }
        }
        batch.insert(Table::State, keys::applied_key(space), applied_marker);
        engine.commit(batch)
    }

    /// The marker of the last apply or install.
    ///
    /// # Errors
    /// `Corrupt`, `Engine`, `Failed`, `Closed`, `Destroyed`.
    pub fn applied(&self) -> Result<Option<Bytes>, StoreError> {
        self.read_state(|space| keys::applied_key(space).to_vec())
    }

    /// The value of a key.
    ///
    /// # Errors
    /// `Corrupt`, `Engine`, `Failed`, `Closed`, `Destroyed`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.read_state(|space| keys::item_key(space, key))
    }

    fn read_state(&self, key: impl FnOnce(u64) -> Vec<u8>) -> Result<Option<Bytes>, StoreError> {
        let space = read(&self.group.state_space);
        self.check()?;
        let reading = StoreError::reading("read the state", Some(self.group.id), None);
        let value = self.noting(self.engine().get(Table::State, key(*space)).map_err(reading))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Items between two bounds, in key order or in reverse, as they are now.
    ///
    /// # Errors
    /// `Failed`, `Closed`, `Destroyed`; the iterator yields `Corrupt` and `Engine`.
    pub fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, reverse: bool) -> Result<StateIter, StoreError> {
        let space = read(&self.group.state_space);
        self.check()?;
        let iter =
            full_range(*space, from, to).map(|range| self.engine().range::<Vec<u8>>(Table::State, range));
        Ok(StateIter { group: Arc::clone(&self.group), iter, reverse })
    }

    /// The state as it is now, to be read at leisure.
    ///
    /// # Errors
    /// `Failed`, `Closed`, `Destroyed`.
    pub fn snapshot(&self) -> Result<StateSnapshot, StoreError> {
        let space = read(&self.group.state_space);
        self.check()?;
        Ok(StateSnapshot { group: self.clone(), snapshot: self.engine().snapshot(), space: *space })
    }
}
