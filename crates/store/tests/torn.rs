//! Power loss and bad disks, as far as files can show them: journals cut, zeroed and flipped, tables flipped.
//!
//! A directory is copied while the store writes. Whatever was acknowledged before the copy began has to be there when the copy
//! opens; when damage reached what was durable, the copy must not open. In no case is garbage served.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Rng, assert_proves, open, options, proving_entry};
use meridian_store::{GroupStore, StateOp, Store, StoreError, StoreOptions};
use meridian_types::GroupId;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const GROUPS: u32 = 3;

/// No flush while the copy is made: files copied one after the other would not belong together.
fn unflushed() -> StoreOptions {
    StoreOptions { memtable_bytes: 256 << 20, ..options() }
}

fn write_until(
    stop: &AtomicBool,
    id: u32,
    group: &GroupStore,
    acknowledged: &'static AtomicU64,
    mut rng: Rng,
) {
    let mut next = group.bounds().last.map_or(1, |last| last + 1);
    while !stop.load(Ordering::Relaxed) {
        let end = next + rng.below(5);
        let entries = (next..=end).map(|index| (index, proving_entry(id, index, &mut rng))).collect();
        group
            .append(
                entries,
                Box::new(move |result| {
                    result.unwrap();
                    acknowledged.fetch_max(end, Ordering::SeqCst);
                }),
            )
            .unwrap();
        let value = end.to_le_bytes().to_vec();
        group.apply(&[StateOp::put("a", value.clone()), StateOp::put("b", value.clone())], &value).unwrap();
        next = end + 1;
        if rng.below(4) == 0 {
            std::thread::sleep(Duration::from_micros(rng.below(500)));
        }
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A copy of a store that was being written, and how far each group was acknowledged before the copy began.
struct LiveCopy {
    dir: tempfile::TempDir,
    acknowledged: Vec<u64>,
}

impl LiveCopy {
    fn make(rng: &mut Rng) -> Self {
        let origin = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(origin.path(), &unflushed()).unwrap();
        let stop = AtomicBool::new(false);
        let acknowledged: Vec<&'static AtomicU64> =
            (0..GROUPS).map(|_| &*Box::leak(Box::new(AtomicU64::new(0)))).collect();
        let mut before = Vec::new();
        std::thread::scope(|scope| {
            for (id, acknowledged) in (0..).zip(&acknowledged) {
                let (stop, group, rng) = (&stop, store.group(GroupId(id)), Rng(rng.next()));
                scope.spawn(move || write_until(stop, id, &group, acknowledged, rng));
            }
            std::thread::sleep(Duration::from_millis(20 + rng.below(150)));
            before = acknowledged.iter().map(|a| a.load(Ordering::SeqCst)).collect();
            // The mark first: it must not know of syncs that the journal's copy does not have.
            std::fs::copy(origin.path().join("synced"), dir.path().join("synced")).unwrap();
            std::fs::copy(origin.path().join("VERSION"), dir.path().join("VERSION")).unwrap();
            copy_dir(&origin.path().join("engine"), &dir.path().join("engine"));
            stop.store(true, Ordering::Relaxed);
        });
        Self { dir, acknowledged: before }
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("engine/0.jnl")
    }

    /// Opens another copy with this journal. Whatever opens has to be whole; true when it opened.
    fn try_journal(&self, journal: &[u8]) -> bool {
        let again = tempfile::tempdir().unwrap();
        copy_dir(self.dir.path(), again.path());
        std::fs::write(again.path().join("engine/0.jnl"), journal).unwrap();
        match Store::open(again.path(), &unflushed()) {
            Ok(store) => {
                self.verify(&store);
                drop(store);
                // What was repaired stays repaired.
                self.verify(&open(again.path()));
                true
            }
            Err(StoreError::Corrupt { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn verify(&self, store: &Store) {
        for (id, acknowledged) in (0..).zip(&self.acknowledged) {
            let group = store.group(GroupId(id));
            let entries = group.entries(0..u64::MAX).unwrap();
            let last = entries.last().map_or(0, |(index, _)| *index);
            assert!(last >= *acknowledged, "group {id} ends at {last}, acknowledged {acknowledged}");
            for (index, entry) in entries {
                assert_proves(id, index, &entry);
            }
            let applied = group.applied().unwrap();
            assert_eq!(group.get(b"a").unwrap(), applied);
            assert_eq!(group.get(b"b").unwrap(), applied);
            let applied = applied.map_or(0, |a| u64::from_le_bytes(a[..].try_into().unwrap()));
            assert!(applied <= last, "group {id} applied {applied}, its log ends at {last}");
        }
    }
}

/// Length of the journal without the zeros at its end.
fn used(journal: &[u8]) -> usize {
    journal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[test]
fn a_cut_journal_keeps_what_was_acknowledged_or_does_not_open() {
    let mut rng = Rng(11);
    let (mut opened, mut refused) = (0, 0);
    for _ in 0..4 {
        let copy = LiveCopy::make(&mut rng);
        let journal = std::fs::read(copy.journal()).unwrap();
        let used = used(&journal);
        assert!(copy.try_journal(&journal), "the copy as it is opens");
        let mut refused_before = false;
        let mut cut = 1;
        while cut < used {
            // As a shorter file, or with zeros where data was to come.
            let mut torn = journal[..used - cut].to_vec();
            if rng.below(2) == 0 {
                torn.resize(journal.len(), 0);
            }
            let opens = copy.try_journal(&torn);
            assert!(!(opens && refused_before), "cutting more must not help");
            refused_before = !opens;
            opened += u32::from(opens);
            refused += u32::from(!opens);
            cut = cut * 2 + usize::try_from(rng.below(100)).unwrap();
        }
    }
    assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused");
}

#[test]
fn missing_pages_and_flipped_bits_never_become_data() {
    let mut rng = Rng(12);
    let (mut opened, mut refused) = (0, 0);
    for _ in 0..3 {
        let copy = LiveCopy::make(&mut rng);
        let journal = std::fs::read(copy.journal()).unwrap();
        let used = used(&journal) as u64;
        for _ in 0..12 {
            let mut bad = journal.clone();
            // Mostly near the end, where a crash does its work.
            let span = if rng.below(3) == 0 { used } else { used.min(20_000) };
            let position = usize::try_from(used - 1 - rng.below(span)).unwrap();
            if rng.below(2) == 0 {
                let page = position & !4095;
                let end = (page + 4096).min(bad.len());
                bad[page..end].fill(0);
            } else {
                bad[position] ^= 1 << rng.below(8);
            }
            let opens = copy.try_journal(&bad);
            opened += u32::from(opens);
            refused += u32::from(!opens);
        }
    }
    assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused");
}

#[test]
fn damaged_tables_are_errors_not_data() {
    let mut rng = Rng(13);
    let origin = tempfile::tempdir().unwrap();
    let count = 3000;
    {
        let store = open(origin.path());
        let group = store.group(GroupId(1));
        for start in (1..=count).step_by(50) {
            let entries =
                (start..start + 50).map(|index| (index, proving_entry(1, index, &mut rng))).collect();
            group.append_durable(entries).unwrap();
            let ops: Vec<_> = (start..start + 50)
                .map(|index| {
                    let value = proving_entry(1, index, &mut rng);
                    StateOp::put(index.to_be_bytes().to_vec(), value)
                })
                .collect();
            group.apply(&ops, &start.to_le_bytes()).unwrap();
        }
    }
    // Opening once more flushes what the journal had.
    drop(open(origin.path()));
    let tables: Vec<_> = tables(&origin.path().join("engine/keyspaces"));
    assert!(tables.len() >= 3, "{tables:?}");
    let (mut errors, mut clean) = (0, 0);
    for _ in 0..30 {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(origin.path(), dir.path());
        let table = &tables[usize::try_from(rng.below(tables.len() as u64)).unwrap()];
        let path = dir.path().join(table.strip_prefix(origin.path()).unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        let position = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
        bytes[position] ^= 1 << rng.below(8);
        std::fs::write(&path, &bytes).unwrap();
        match read_all(dir.path(), count) {
            Ok(()) => clean += 1,
            Err(StoreError::Corrupt { .. } | StoreError::Hole { .. }) => errors += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(errors > 10, "{errors} errors, {clean} without effect");
}

fn tables(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tables(&path));
        } else if path.parent().is_some_and(|parent| parent.ends_with("tables")) {
            found.push(path);
        }
    }
    found
}

/// Reads everything; what is read without an error has to be right and complete.
fn read_all(dir: &Path, count: u64) -> Result<(), StoreError> {
    let store = Store::open(dir, &options())?;
    let group = store.group(GroupId(1));
    let entries = group.entries(0..u64::MAX)?;
    assert_eq!(entries.len() as u64, count);
    for (index, entry) in entries {
        assert_proves(1, index, &entry);
    }
    let mut next = 1_u64;
    for item in group.scan(Bound::Unbounded, Bound::Unbounded, false)? {
        let (key, value) = item?;
        assert_eq!(key[..], next.to_be_bytes());
        assert_proves(1, next, &value);
        next += 1;
    }
    assert_eq!(next, count + 1);
    Ok(())
}
