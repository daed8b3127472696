//! The disk in memory keeps the promises of a real one, and breaks them when told to.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use meridian_store::{LogBounds, MemoryDisk, MemoryDriver, StateOp, Store, StoreError, SyncEnd};
use meridian_types::GroupId;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const GROUP: GroupId = GroupId(1);

fn open(disk: &MemoryDisk) -> (Store, MemoryDriver) {
    Store::open_in_memory(disk, &common::options(), || ()).unwrap()
}

/// Appends without waiting; what the sync said comes into the list.
fn append(store: &Store, index: u64, said: &Arc<Mutex<Vec<bool>>>) {
    let said = Arc::clone(said);
    let entry = vec![(index, Bytes::from(format!("entry {index}")))];
    store
        .group(GROUP)
        .append(entry, Box::new(move |result| said.lock().unwrap().push(result.is_ok())))
        .unwrap();
}

#[test]
fn nobody_hears_of_durability_before_the_sync_ends() {
    let disk = MemoryDisk::new();
    let bells = Arc::new(AtomicUsize::new(0));
    let rung = Arc::clone(&bells);
    let (store, driver) = Store::open_in_memory(&disk, &common::options(), move || {
        rung.fetch_add(1, Ordering::SeqCst);
    })
    .unwrap();
    assert!(driver.begin_sync().is_none());
    let said = Arc::default();
    append(&store, 1, &said);
    assert_eq!(bells.load(Ordering::SeqCst), 1);
    let sync = driver.begin_sync().unwrap();
    append(&store, 2, &said);
    assert!(said.lock().unwrap().is_empty());
    sync.end(SyncEnd::Durable);
    assert_eq!(*said.lock().unwrap(), [true]);
    driver.begin_sync().unwrap().end(SyncEnd::Durable);
    assert_eq!(*said.lock().unwrap(), [true, true]);
    assert_eq!(store.stats().syncs, 2);
}

#[test]
fn a_crash_keeps_a_prefix_that_has_all_that_was_synced() {
    for keep in 0..12 {
        let disk = MemoryDisk::new();
        let (store, driver) = open(&disk);
        let said = Arc::default();
        append(&store, 1, &said);
        driver.begin_sync().unwrap().end(SyncEnd::Durable);
        for index in 2..=5 {
            append(&store, index, &said);
            store.group(GROUP).apply(&[StateOp::put("key", index.to_string())], b"marker").unwrap();
        }
        disk.crash(keep);
        let refused = store.group(GROUP).append_durable(vec![(6, Bytes::new())]);
        assert!(matches!(refused, Err(StoreError::Failed { .. })), "the dead write nothing");
        let (store, _driver) = open(&disk);
        let last = store.group(GROUP).bounds().last.unwrap();
        let applied = store.group(GROUP).get(b"key").unwrap();
        assert_eq!(last, (2 + u64::try_from(keep).unwrap().div_ceil(2) - 1).min(5), "keep {keep}");
        let applied = applied.map_or(1, |value| String::from_utf8(value.to_vec()).unwrap().parse().unwrap());
        assert!(applied <= last, "what is applied was appended");
    }
}

#[test]
fn a_failed_sync_stops_the_store() {
    let disk = MemoryDisk::new();
    let (store, driver) = open(&disk);
    let said = Arc::default();
    append(&store, 1, &said);
    driver.begin_sync().unwrap().end(SyncEnd::Failed("no".to_owned()));
    assert_eq!(*said.lock().unwrap(), [false]);
    assert!(matches!(
        store.group(GROUP).append_durable(vec![(2, Bytes::new())]),
        Err(StoreError::Failed { .. })
    ));
}

#[test]
fn a_failed_write_stops_the_store() {
    let disk = MemoryDisk::new();
    let (store, _driver) = open(&disk);
    disk.fail_writes();
    assert!(matches!(
        store.group(GROUP).append_durable(vec![(1, Bytes::new())]),
        Err(StoreError::Failed { .. })
    ));
    disk.crash(0);
    let (store, _driver) = open(&disk);
    store.group(GROUP).append_durable(vec![(1, Bytes::new())]).unwrap();
}

#[test]
fn a_pretended_sync_loses_what_it_acknowledged() {
    let disk = MemoryDisk::new();
    let (store, driver) = open(&disk);
    let said = Arc::default();
    append(&store, 1, &said);
    driver.begin_sync().unwrap().end(SyncEnd::Pretended);
    assert_eq!(*said.lock().unwrap(), [true]);
    disk.crash(0);
    assert_eq!(open(&disk).0.group(GROUP).bounds().last, None);
}

#[test]
fn a_flipped_bit_is_an_error_and_never_data() {
    let disk = MemoryDisk::new();
    let (store, _driver) = open(&disk);
    for index in 1..=3 {
        store.group(GROUP).append_durable(vec![(index, Bytes::from_static(b"entry"))]).unwrap();
    }
    drop(store);
    assert!(disk.damage_log(GROUP, 1));
    let (store, _driver) = open(&disk);
    assert!(store.group(GROUP).entries(1..2).is_ok());
    assert!(matches!(store.group(GROUP).entries(2..3), Err(StoreError::Corrupt { index: Some(2), .. })));
}

#[test]
fn a_damaged_group_goes_on_without_its_entries_and_with_its_promises() {
    let disk = MemoryDisk::new();
    let (store, _driver) = open(&disk);
    let group = store.group(GROUP);
    group.save_vote(b"before").unwrap();
    group.put_meta_durable(b"kept", b"1").unwrap();
    group.append_durable(vec![(1, Bytes::from_static(b"entry")), (2, Bytes::from_static(b"entry"))]).unwrap();
    group.purge_upto(1, b"marker").unwrap();
    group.apply(&[StateOp::put(&b"key"[..], &b"value"[..])], b"applied").unwrap();
    store.sync().unwrap();
    assert!(disk.damage_log(GROUP, 0));
    drop((group, store));

    let (store, _driver) = open(&disk);
    let group = store.group(GROUP);
    assert!(!group.is_damaged());
    assert!(group.entries(2..3).is_err());
    assert!(group.is_damaged() && disk.was_damaged());
    group.discard(b"after", &[(b"owed", b"2")]).unwrap();
    assert!(matches!(group.vote(), Err(StoreError::Destroyed { .. })));
    let check = |store: &Store| {
        let group = store.group(GROUP);
        assert_eq!(group.bounds(), LogBounds::default());
        assert_eq!(group.vote().unwrap().unwrap(), "after");
        assert_eq!(group.meta(b"kept").unwrap().unwrap(), "1");
        assert_eq!(group.meta(b"owed").unwrap().unwrap(), "2");
        assert_eq!((group.applied().unwrap(), group.get(b"key").unwrap()), (None, None));
        assert!(!group.is_damaged());
    };
    check(&store);
    disk.crash(0);
    let (store, _driver) = open(&disk);
    check(&store);
    store.group(GROUP).append_durable(vec![(1, Bytes::from_static(b"again"))]).unwrap();
    assert_eq!(store.group(GROUP).bounds().last, Some(1));
}

#[test]
fn a_full_disk_refuses_entries_and_recovers() {
    let disk = MemoryDisk::new();
    let options = meridian_store::StoreOptions { min_free: 1000, ..common::options() };
    let (store, _driver) = Store::open_in_memory(&disk, &options, || ()).unwrap();
    let group = store.group(GROUP);
    disk.set_free_bytes(999);
    assert!(matches!(group.append_durable(vec![(1, Bytes::new())]), Err(StoreError::DiskFull { .. })));
    group.append_from_reserve(vec![(1, Bytes::new())], Box::new(|_| ())).unwrap();
    disk.set_free_bytes(10_000);
    group.append_durable(vec![(2, Bytes::new())]).unwrap();
}

#[test]
fn deletions_are_done_when_the_owner_says_so() {
    let disk = MemoryDisk::new();
    let (store, driver) = open(&disk);
    let group = store.group(GROUP);
    let mut install = group.begin_install().unwrap();
    install.put_chunk(&[(Bytes::from_static(b"a"), Bytes::from_static(b"1"))]).unwrap();
    install.commit(b"marker", &[]).unwrap();
    assert_eq!(store.stats().pending_deletions, 1);
    while driver.tidy() {}
    assert_eq!(store.stats().pending_deletions, 0);
    assert_eq!(group.get(b"a").unwrap(), Some(Bytes::from_static(b"1")));
}
