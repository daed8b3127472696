//! The engine in memory: three maps, and a journal on a [`MemoryDisk`] that decides what survives.

use super::Table;
use crate::locks::{read, write};
use crate::memory::MemoryDisk;
use fjall::{UserKey, UserValue};
use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, RwLock, RwLockReadGuard};

/// A new value, or a removal.
pub(crate) type Change = (Table, UserKey, Option<UserValue>);

type Rows = BTreeMap<UserKey, UserValue>;

/// The three tables. Clones share their rows until one of them changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    log: Arc<Rows>,
    state: Arc<Rows>,
    meta: Arc<Rows>,
}

impl Tables {
    fn rows(&self, table: Table) -> &Arc<Rows> {
        match table {
            Table::Log => &self.log,
            Table::State => &self.state,
            Table::Meta => &self.meta,
        }
    }

    pub(crate) fn rows_mut(&mut self, table: Table) -> &mut Rows {
        Arc::make_mut(match table {
            Table::Log => &mut self.log,
            Table::State => &mut self.state,
            Table::Meta => &mut self.meta,
        })
    }

    pub(crate) fn change(&mut self, changes: &[Change]) {
        for (table, key, value) in changes {
            let rows = self.rows_mut(*table);
            match value {
                Some(value) => drop(rows.insert(key.clone(), value.clone())),
                None => drop(rows.remove(key)),
            }
        }
    }

    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Option<UserValue> {
        self.rows(table).get(key).cloned()
    }

    pub(crate) fn range<K: AsRef<[u8]>>(&self, table: Table, range: &impl RangeBounds<K>) -> MemoryRows {
        let owned = |bound: Bound<&K>| bound.map(|key| UserKey::from(key.as_ref()));
        let (from, to) = (owned(range.start_bound()), owned(range.end_bound()));
        MemoryRows { rows: Arc::clone(self.rows(table)), from, to }
    }

    pub(crate) fn prefix(&self, table: Table, prefix: &[u8]) -> MemoryRows {
        // The prefixes in use end in bytes that can be counted up, or are followed by nothing else.
        let mut end = prefix.to_vec();
        while end.pop_if(|last| *last == u8::MAX).is_some() {}
        let to = match end.last_mut() {
            Some(last) => {
                *last += 1;
                Bound::Excluded(UserKey::from(end))
            }
            None => Bound::Unbounded,
        };
        MemoryRows { rows: Arc::clone(self.rows(table)), from: Bound::Included(UserKey::from(prefix)), to }
    }
}

/// The rows of a range, as they were when it was taken.
pub(crate) struct MemoryRows {
    rows: Arc<Rows>,
    from: Bound<UserKey>,
    to: Bound<UserKey>,
}

impl MemoryRows {
    fn left(&self) -> Option<std::collections::btree_map::Range<'_, UserKey, UserValue>> {
        let empty = match (&self.from, &self.to) {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
                from >= to
            }
            _ => false,
        };
        (!empty).then(|| self.rows.range::<UserKey, _>((self.from.as_ref(), self.to.as_ref())))
    }
}

impl Iterator for MemoryRows {
    type Item = (UserKey, UserValue);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, value) = self.left()?.next()?;
        let row = (key.clone(), value.clone());
        self.from = Bound::Excluded(row.0.clone());
        Some(row)
    }
}

impl DoubleEndedIterator for MemoryRows {
    fn next_back(&mut self) -> Option<Self::Item> {
        let (key, value) = self.left()?.next_back()?;
        let row = (key.clone(), value.clone());
        self.to = Bound::Excluded(row.0.clone());
        Some(row)
    }
}

/// What one opened store sees of its disk.
pub(crate) struct MemoryTables {
    tables: RwLock<Tables>,
    disk: MemoryDisk,
    /// Which opening of the disk this is: a store that outlives a crash writes nothing more.
    opening: u64,
}

impl MemoryTables {
    pub(crate) fn new(tables: Tables, disk: MemoryDisk, opening: u64) -> Self {
        Self { tables: RwLock::new(tables), disk, opening }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Tables> {
        read(&self.tables)
    }

    pub(crate) fn commit(&self, changes: Vec<Change>) -> Result<(), String> {
        let mut tables = write(&self.tables);
        tables.change(&changes);
        self.disk.write(self.opening, changes)
    }
}
