//! What the store's calls promise, one by one, across reopening.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::{entries, open, options};
use meridian_store::{Purged, StateOp, Store, StoreError};
use meridian_types::GroupId;
use std::ops::Bound::{Excluded, Included, Unbounded};

fn key(key: &'static str) -> Bytes {
    Bytes::from_static(key.as_bytes())
}

#[test]
fn a_new_store_is_empty_and_reads_do_not_create_groups() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let group = store.group(GroupId(4));
    assert_eq!(group.vote().unwrap(), None);
    assert_eq!(group.applied().unwrap(), None);
    assert_eq!(group.bounds(), Default::default());
    assert!(group.entries(0..100).unwrap().is_empty());
    assert!(store.groups().is_empty());
}

#[test]
fn everything_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path());
        for id in [1, 7] {
            let group = store.group(GroupId(id));
            group.save_vote(format!("vote {id}").as_bytes()).unwrap();
            group.put_meta(b"k", b"v").unwrap();
            group.append_durable(entries(1..=20)).unwrap();
            group.purge_upto(5, b"marker").unwrap();
            group.truncate_after(Some(15)).unwrap();
            group.apply(&[StateOp::put("a", "1"), StateOp::put("b", "2")], b"applied 9").unwrap();
            group.apply(&[StateOp::delete("a")], b"applied 10").unwrap();
        }
    }
    let store = open(dir.path());
    assert_eq!(store.groups(), [GroupId(1), GroupId(7)]);
    for id in [1, 7] {
        let group = store.group(GroupId(id));
        assert_eq!(group.vote().unwrap().unwrap(), format!("vote {id}"));
        assert_eq!(group.meta(b"k").unwrap().unwrap(), "v");
        let bounds = group.bounds();
        assert_eq!(bounds.purged, Some(Purged { index: 5, marker: Bytes::from_static(b"marker") }));
        assert_eq!((bounds.first, bounds.last), (Some(6), Some(15)));
        assert_eq!(group.entries(0..100).unwrap(), entries(6..=15));
        assert_eq!(group.get(b"a").unwrap(), None);
        assert_eq!(group.get(b"b").unwrap().unwrap(), "2");
        assert_eq!(group.applied().unwrap().unwrap(), "applied 10");
    }
}

#[test]
fn entries_that_do_not_follow_are_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let group = store.group(GroupId(1));
    group.append_durable(entries(1..=3)).unwrap();
    let mut gap = entries(4..=5);
    gap.extend(entries(7..=7));
    for bad in [entries(5..=5), entries(3..=3), gap] {
        let called = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = called.clone();
        let result =
            group.append(bad, Box::new(move |_| seen.store(true, std::sync::atomic::Ordering::SeqCst)));
        assert!(matches!(result, Err(StoreError::NotContiguous { .. })));
        assert!(!called.load(std::sync::atomic::Ordering::SeqCst));
    }
    assert_eq!(group.bounds().last, Some(3));
    group.purge_upto(10, b"").unwrap();
    assert_eq!(group.bounds().last, None);
    assert!(group.append_durable(entries(10..=10)).is_err());
    group.append_durable(entries(11..=11)).unwrap();
}

#[test]
fn a_byte_limit_returns_at_least_one_entry() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).group(GroupId(1)).append_durable(entries(1..=9)).unwrap();
    let reopened = open(dir.path()).group(GroupId(1));
    let cached_dir = tempfile::tempdir().unwrap();
    let cached = open(cached_dir.path()).group(GroupId(1));
    cached.append_durable(entries(1..=9)).unwrap();
    for group in [reopened, cached] {
        assert_eq!(group.entries_limited(2..9, 0).unwrap(), entries(2..=2));
        assert_eq!(group.entries_limited(2..9, 7 * 3).unwrap(), entries(2..=4));
    }
}

#[test]
fn the_last_of_two_changes_to_a_key_counts() {
    let dir = tempfile::tempdir().unwrap();
    let group = open(dir.path()).group(GroupId(1));
    group.apply(&[StateOp::put("a", "1"), StateOp::delete("a"), StateOp::put("a", "2")], b"").unwrap();
    assert_eq!(group.get(b"a").unwrap().unwrap(), "2");
    group.apply(&[StateOp::put("a", "3"), StateOp::delete("a")], b"").unwrap();
    assert_eq!(group.get(b"a").unwrap(), None);
}

#[test]
fn scans_keep_to_their_bounds_and_group() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for id in 0..3 {
        let ops: Vec<_> = ["", "a", "b", "c", "\u{ff}"]
            .iter()
            .map(|key| StateOp::put(key.as_bytes().to_vec(), format!("{key}{id}").into_bytes()))
            .collect();
        store.group(GroupId(id)).apply(&ops, b"m").unwrap();
    }
    let group = store.group(GroupId(1));
    let scan = |from, to, reverse| -> Vec<String> {
        group
            .scan(from, to, reverse)
            .unwrap()
            .map(|item| String::from_utf8(item.unwrap().1.to_vec()).unwrap())
            .collect()
    };
    assert_eq!(scan(Unbounded, Unbounded, false), ["1", "a1", "b1", "c1", "\u{ff}1"]);
    assert_eq!(scan(Unbounded, Unbounded, true), ["\u{ff}1", "c1", "b1", "a1", "1"]);
    assert_eq!(scan(Included(b"a"), Excluded(b"c"), false), ["a1", "b1"]);
    assert_eq!(scan(Excluded(b"a"), Included(b"c"), true), ["c1", "b1"]);
    assert_eq!(scan(Included(b"b"), Included(b"b"), false), ["b1"]);
    for (from, to) in
        [(Included(b"c"), Excluded(b"a")), (Excluded(b"b"), Included(b"b")), (Included(b"b"), Excluded(b"b"))]
    {
        assert!(scan(from.map(<[u8; 1]>::as_slice), to.map(<[u8; 1]>::as_slice), false).is_empty());
    }
}

#[test]
fn a_snapshot_stays_as_it_was_and_comes_in_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let group = open(dir.path()).group(GroupId(1));
    let ops: Vec<_> = (0..100).map(|i| StateOp::put(format!("k{i:03}"), format!("v{i}"))).collect();
    group.apply(&ops, b"before").unwrap();
    let snapshot = group.snapshot().unwrap();
    group.apply(&[StateOp::delete("k000"), StateOp::put("k001", "changed")], b"after").unwrap();
    let mut install = group.begin_install().unwrap();
    install.put_chunk(&[(key("new"), key("state"))]).unwrap();
    install.commit(b"installed", &[]).unwrap();

    assert_eq!(snapshot.applied().unwrap().unwrap(), "before");
    assert_eq!(snapshot.get(b"k001").unwrap().unwrap(), "v1");
    let mut stream = snapshot.into_stream().unwrap();
    let (mut all, mut chunks) = (Vec::new(), 0);
    loop {
        let chunk = stream.chunk(64).unwrap();
        chunks += 1;
        all.extend(chunk.items);
        if chunk.done {
            break;
        }
    }
    assert!(chunks > 5);
    let expected: Vec<_> = ops.iter().map(|op| (op.key.clone(), op.value.clone().unwrap())).collect();
    assert_eq!(all, expected);
    assert_eq!(group.scan(Unbounded, Unbounded, false).unwrap().count(), 1);
}

#[test]
fn a_stream_of_the_state_keeps_no_write_buffers_while_it_is_read() {
    const VALUE: usize = 16 << 10;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let group = store.group(GroupId(1));
    let put = |round: u8| {
        let ops: Vec<_> = (0..50).map(|i| StateOp::put(format!("k{i:03}"), vec![round; VALUE])).collect();
        group.apply(&ops, &round.to_be_bytes()).unwrap();
    };
    put(0);
    let mut stream = group.snapshot().unwrap().into_stream().unwrap();
    let mut seen = stream.chunk(VALUE).unwrap().items;
    let mut most = 0;
    // 80 MB, through buffers of 1 MiB.
    for round in 1..=100 {
        put(round);
        std::thread::sleep(std::time::Duration::from_millis(10));
        most = most.max(store.stats().write_buffer_bytes);
    }
    assert!(most < 20 << 20, "{most} bytes of buffers were in memory");
    loop {
        let chunk = stream.chunk(VALUE).unwrap();
        seen.extend(chunk.items);
        if chunk.done {
            break;
        }
    }
    assert_eq!(seen.len(), 50);
    assert!(
        seen.iter().all(|(_, value)| value.iter().all(|byte| *byte == 0)),
        "it shows the state as it was"
    );
}

#[test]
fn an_install_replaces_everything_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path());
        let group = store.group(GroupId(1));
        group.apply(&[StateOp::put("old", "1")], b"old").unwrap();
        let mut given_up = group.begin_install().unwrap();
        assert!(matches!(group.begin_install(), Err(StoreError::InstallRunning { .. })));
        given_up.put_chunk(&[(key("x"), key("y"))]).unwrap();
        drop(given_up);
        assert_eq!(group.get(b"x").unwrap(), None);
        assert_eq!(group.applied().unwrap().unwrap(), "old");

        let mut install = group.begin_install().unwrap();
        install.put_chunk(&[(key("a"), key("1")), (key("b"), key("2"))]).unwrap();
        install.put_chunk(&[(key("b"), key("3"))]).unwrap();
        assert_eq!(group.get(b"old").unwrap().unwrap(), "1", "the old state serves until the commit");
        group.apply(&[StateOp::put("late", "1")], b"late").unwrap();
        install.commit(b"new", &[(b"membership", b"m")]).unwrap();
    }
    let store = open(dir.path());
    let group = store.group(GroupId(1));
    let items: Vec<_> = group.scan(Unbounded, Unbounded, false).unwrap().map(Result::unwrap).collect();
    assert_eq!(items, [(key("a"), key("1")), (key("b"), key("3"))]);
    assert_eq!(group.applied().unwrap().unwrap(), "new");
    assert_eq!(group.meta(b"membership").unwrap().unwrap(), "m");
}

#[test]
fn a_destroyed_group_is_gone_and_can_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path());
        let group = store.group(GroupId(1));
        let other = store.group(GroupId(2));
        for group in [&group, &other] {
            group.append_durable(entries(1..=2000)).unwrap();
            group.apply(&[StateOp::put("a", "1")], b"m").unwrap();
            group.save_vote(b"v").unwrap();
        }
        group.destroy().unwrap();
        assert!(matches!(group.get(b"a"), Err(StoreError::Destroyed { .. })));
        assert!(matches!(group.append_durable(entries(1..=1)), Err(StoreError::Destroyed { .. })));
        assert!(matches!(group.entries(1..5), Err(StoreError::Destroyed { .. })));
        assert!(matches!(group.destroy(), Err(StoreError::Destroyed { .. })));
        assert_eq!(store.groups(), [GroupId(2)]);
        let anew = store.group(GroupId(1));
        assert_eq!(anew.vote().unwrap(), None);
        anew.append_durable(entries(1..=1)).unwrap();
    }
    let store = open(dir.path());
    let anew = store.group(GroupId(1));
    assert_eq!(anew.entries(0..100).unwrap(), entries(1..=1));
    assert_eq!(anew.get(b"a").unwrap(), None);
    let other = store.group(GroupId(2));
    assert_eq!(other.bounds().last, Some(2000));
    assert_eq!(other.get(b"a").unwrap().unwrap(), "1");
}

#[test]
fn a_second_opener_and_a_closed_store_get_clear_errors() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = Store::open(dir.path(), &options()).err().unwrap();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    let group = store.group(GroupId(1));
    group.append_durable(entries(1..=1)).unwrap();
    store.close().unwrap();
    store.close().unwrap();
    assert!(matches!(group.append_durable(entries(2..=2)), Err(StoreError::Closed)));
    assert!(matches!(group.entries(1..2), Err(StoreError::Closed)));
    assert!(matches!(store.sync(), Err(StoreError::Closed)));
    drop((store, group));
    assert_eq!(open(dir.path()).group(GroupId(1)).entries(0..9).unwrap(), entries(1..=1));
}

#[test]
fn oversized_arguments_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let group = open(dir.path()).group(GroupId(1));
    let long = vec![0; meridian_store::MAX_KEY_BYTES + 1];
    assert!(matches!(group.apply(&[StateOp::put(long.clone(), "")], b""), Err(StoreError::TooLarge { .. })));
    assert!(matches!(group.put_meta(&long, b""), Err(StoreError::TooLarge { .. })));
    let longest = long[1..].to_vec();
    group.apply(&[StateOp::put(longest.clone(), "v")], b"").unwrap();
    assert_eq!(group.get(&longest).unwrap().unwrap(), "v");
}

#[test]
fn large_purges_and_truncations_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path());
        let group = store.group(GroupId(1));
        group.append_durable(entries(0..=4999)).unwrap();
        group.truncate_after(Some(3000)).unwrap();
        group.purge_upto(2500, b"m").unwrap();
        assert_eq!(group.entries(0..9999).unwrap(), entries(2501..=3000));
    }
    let store = open(dir.path());
    let group = store.group(GroupId(1));
    assert_eq!(group.entries(0..9999).unwrap(), entries(2501..=3000));
    group.truncate_after(None).unwrap();
    assert_eq!((group.bounds().first, group.bounds().last), (None, None));
    group.append_durable(entries(2501..=2501)).unwrap();
}
