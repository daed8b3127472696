//! Reads what is at rest, so that damage is found while the other copies are still whole.

use crate::StoreError;
use crate::engine::Table;
use crate::group::GroupStore;
use crate::keys;
use crate::locks::read;
use std::ops::Bound;

/// How far a look through one group's log and state has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrub {
    at: Option<(Part, Vec<u8>)>,
    done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Log,
    State,
}

impl Scrub {
    /// Whether everything has been read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }
}

impl GroupStore {
    /// Goes on reading the group's log records and items, for about `budget` bytes, and hands back how many were read. What was written
    /// meanwhile behind the place reached is left for the next time. Blocks on the disk.
    ///
    /// # Errors
    /// `Corrupt` for damage, which the group remembers; `Engine`, `Failed`, `Closed`, `Destroyed`.
    pub fn scrub(&self, scrub: &mut Scrub, budget: u64) -> Result<u64, StoreError> {
        self.check()?;
        let (part, from) = match scrub.at.take() {
            Some((part, last)) => (part, Bound::Excluded(last)),
            None => (Part::Log, Bound::Included(keys::log_key(self.group.log_space, 0).to_vec())),
        };
        let (table, end) = match part {
            Part::Log => {
                (Table::Log, Bound::Included(keys::log_key(self.group.log_space, u64::MAX).to_vec()))
            }
            Part::State => (Table::State, Bound::Excluded(keys::items_end(*read(&self.group.state_space)))),
        };
        let (mut seen, mut last) = (0, None);
        for row in self.engine().range(table, (from, end)) {
            let row = row.map_err(StoreError::reading("scrub", Some(self.group.id), None));
            let (key, value) = self.noting(row)?;
            if part == Part::Log {
                let index = keys::log_index(&key).unwrap_or_default();
                self.noting(keys::decode_log_record(self.group.id, index, &value))?;
            }
            seen += (key.len() + value.len()) as u64;
            if seen >= budget {
                last = Some(key.to_vec());
                break;
            }
        }
        scrub.at = match (part, last) {
            (part, Some(last)) => Some((part, last)),
            (Part::Log, None) => {
                // Just before the first key of the state, which is longer.
                Some((Part::State, read(&self.group.state_space).to_be_bytes().to_vec()))
            }
            (Part::State, None) => {
                scrub.done = true;
                None
            }
        };
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{StateOp, Store, StoreOptions};
    use bytes::Bytes;
    use meridian_types::GroupId;

    fn options() -> StoreOptions {
        StoreOptions { min_free: 0, ballast_bytes: 0, memtable_bytes: 64 << 10, ..StoreOptions::default() }
    }

    fn scrubbed(group: &GroupStore) -> Result<u64, StoreError> {
        let (mut scrub, mut seen) = (Scrub::default(), 0);
        while !scrub.is_done() {
            seen += group.scrub(&mut scrub, 1_000)?;
        }
        Ok(seen)
    }

    fn filled(dir: &std::path::Path) -> u64 {
        let store = Store::open(dir, &options()).unwrap();
        let group = store.group(GroupId(1));
        for byte in 1..=200_u8 {
            let (index, entry) = (u64::from(byte), Bytes::from(vec![byte; 2_000]));
            group.append_durable(vec![(index, entry.clone())]).unwrap();
            group.apply(&[StateOp::put(index.to_be_bytes().to_vec(), entry)], b"marker").unwrap();
        }
        let other = store.group(GroupId(2));
        other.append_durable(vec![(1, Bytes::from_static(b"entry"))]).unwrap();
        let seen = scrubbed(&group).unwrap();
        assert!(scrubbed(&other).unwrap() < 100, "only what is its own");
        store.close().unwrap();
        seen
    }

    #[test]
    fn everything_of_a_group_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert!(filled(dir.path()) > 2 * 200 * 2_000);
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_table_is_found_before_anybody_needs_it() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        // Those of logs and states; the rest is small, and read as the store opens.
        let tables: Vec<_> = walk(&dir.path().join("engine"))
            .into_iter()
            .filter(|path| path.parent().is_some_and(|dir| dir.ends_with("tables")))
            .filter(|path| std::fs::metadata(path).unwrap().len() > 20_000)
            .collect();
        assert!(!tables.is_empty(), "something was flushed");
        for path in &tables {
            let whole = std::fs::read(path).unwrap();
            let mut bytes = whole.clone();
            bytes[whole.len() / 3] ^= 4;
            std::fs::write(path, &bytes).unwrap();
            let store = Store::open(dir.path(), &options()).unwrap();
            let group = store.group(GroupId(1));
            let error = scrubbed(&group).unwrap_err();
            assert!(matches!(error, StoreError::Corrupt { group: Some(GroupId(1)), .. }), "{error}");
            assert!(group.is_damaged());
            drop((group, store));
            std::fs::write(path, &whole).unwrap();
        }
    }

    fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
    }
}
