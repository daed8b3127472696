//! Random sequences of calls give what a plain map gives, across reopening, on a real disk and on one in memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use meridian_store::{GroupStore, MemoryDisk, StateOp, Store, StoreError, StoreOptions};
use meridian_types::GroupId;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::{Bound, Range};

const GROUPS: u32 = 3;

#[derive(Clone, Debug)]
enum Call {
    Append { group: u32, count: u64, size: usize },
    AppendAt { group: u32, index: u64 },
    Truncate { group: u32, back: u64 },
    Purge { group: u32, ahead: u64 },
    Read { group: u32, start: u64, len: u64, max_bytes: usize },
    Vote { group: u32, vote: u8 },
    Meta { group: u32, key: u8, value: u8 },
    Apply { group: u32, ops: Vec<(u8, Option<u8>)> },
    Scan { group: u32, from: u8, to: u8, reverse: bool },
    Install { group: u32, items: Vec<(u8, u8)>, commit: bool },
    Destroy { group: u32 },
    Reopen,
}

fn call() -> impl Strategy<Value = Call> {
    let group = 0..GROUPS;
    prop_oneof![
        6 => (group.clone(), 1..30_u64, 0..300_usize)
            .prop_map(|(group, count, size)| Call::Append { group, count, size }),
        1 => (group.clone(), 0..60_u64).prop_map(|(group, index)| Call::AppendAt { group, index }),
        2 => (group.clone(), 0..40_u64).prop_map(|(group, back)| Call::Truncate { group, back }),
        2 => (group.clone(), 0..40_u64).prop_map(|(group, ahead)| Call::Purge { group, ahead }),
        4 => (group.clone(), 0..120_u64, 0..80_u64, 0..2000_usize)
            .prop_map(|(group, start, len, max_bytes)| Call::Read { group, start, len, max_bytes }),
        1 => (group.clone(), any::<u8>()).prop_map(|(group, vote)| Call::Vote { group, vote }),
        1 => (group.clone(), 0..4_u8, any::<u8>())
            .prop_map(|(group, key, value)| Call::Meta { group, key, value }),
        4 => (group.clone(), proptest::collection::vec((any::<u8>(), any::<Option<u8>>()), 0..8))
            .prop_map(|(group, ops)| Call::Apply { group, ops }),
        2 => (group.clone(), any::<u8>(), any::<u8>(), any::<bool>())
            .prop_map(|(group, from, to, reverse)| Call::Scan { group, from, to, reverse }),
        1 => (group.clone(), proptest::collection::vec(any::<(u8, u8)>(), 0..8), any::<bool>())
            .prop_map(|(group, items, commit)| Call::Install { group, items, commit }),
        1 => group.prop_map(|group| Call::Destroy { group }),
        2 => Just(Call::Reopen),
    ]
}

#[derive(Clone, Debug, Default)]
struct Model {
    log: BTreeMap<u64, Bytes>,
    purged: Option<u64>,
    vote: Option<u8>,
    meta: BTreeMap<u8, u8>,
    state: BTreeMap<u8, u8>,
    applied: Option<u8>,
    applies: u8,
}

impl Model {
    fn next(&self) -> Option<u64> {
        self.log.keys().next_back().or(self.purged.as_ref()).map(|index| index + 1)
    }

    fn check(&self, group: &GroupStore) {
        let bounds = group.bounds();
        assert_eq!(bounds.purged.map(|purged| purged.index), self.purged);
        assert_eq!(bounds.first, self.log.keys().next().copied());
        assert_eq!(bounds.last, self.log.keys().next_back().copied());
        let log: Vec<_> = self.log.clone().into_iter().collect();
        assert_eq!(group.entries(0..u64::MAX).unwrap(), log);
        let byte = |value: Option<Bytes>| value.map(|value| value[0]);
        assert_eq!(byte(group.vote().unwrap()), self.vote);
        for key in 0..4 {
            assert_eq!(byte(group.meta(&[key]).unwrap()), self.meta.get(&key).copied());
        }
        assert_eq!(byte(group.applied().unwrap()), self.applied);
        let state: Vec<_> =
            group.scan(Bound::Unbounded, Bound::Unbounded, false).unwrap().map(Result::unwrap).collect();
        let expected: Vec<_> =
            self.state.iter().map(|(k, v)| (Bytes::from(vec![*k]), Bytes::from(vec![*v]))).collect();
        assert_eq!(state, expected);
    }
}

fn options() -> StoreOptions {
    // A tail so small that reads come from memory and from tables.
    StoreOptions { tail_cache_bytes: 4000, ..common::options() }
}

/// Where a store keeps its data across reopening.
enum Disk {
    Real(tempfile::TempDir),
    Memory(MemoryDisk),
}

impl Disk {
    fn open(&self) -> Store {
        match self {
            Self::Real(dir) => Store::open(dir.path(), &options()).unwrap(),
            Self::Memory(disk) => Store::open_in_memory(disk, &options(), || ()).unwrap().0,
        }
    }
}

fn run(disk: &Disk, calls: Vec<Call>) {
    let mut store = disk.open();
    let mut models = vec![Model::default(); GROUPS as usize];
    for call in calls {
        let (Call::Append { group, .. }
        | Call::AppendAt { group, .. }
        | Call::Truncate { group, .. }
        | Call::Purge { group, .. }
        | Call::Read { group, .. }
        | Call::Vote { group, .. }
        | Call::Meta { group, .. }
        | Call::Apply { group, .. }
        | Call::Scan { group, .. }
        | Call::Install { group, .. }
        | Call::Destroy { group }) = call
        else {
            drop(store);
            store = disk.open();
            continue;
        };
        let model = &mut models[group as usize];
        step(&store.group(GroupId(group)), model, call);
        for (id, model) in (0..).zip(&models) {
            model.check(&store.group(GroupId(id)));
        }
    }
    drop(store);
    let store = disk.open();
    for (id, model) in (0..).zip(&models) {
        model.check(&store.group(GroupId(id)));
    }
}

fn read_and_compare(group: &GroupStore, model: &Model, range: Range<u64>, max_bytes: usize) {
    let got = group.entries_limited(range.clone(), max_bytes).unwrap();
    let mut bytes = 0;
    let expected: Vec<_> = model
        .log
        .range(range.clone())
        .take_while(|(_, entry)| {
            let first = bytes == 0;
            bytes += entry.len();
            // An empty first entry does not count as the one that is always returned.
            first || bytes <= max_bytes
        })
        .map(|(index, entry)| (*index, entry.clone()))
        .collect();
    if model.log.values().all(|entry| !entry.is_empty()) {
        assert_eq!(got, expected);
    }
}

fn step(group: &GroupStore, model: &mut Model, call: Call) {
    match call {
        Call::Append { count, size, .. } => {
            let start = model.next().unwrap_or(1);
            let entries: Vec<_> = (start..start + count)
                .map(|index| (index, Bytes::from(vec![u8::try_from(index % 251).unwrap(); size])))
                .collect();
            model.log.extend(entries.iter().cloned());
            group.append_durable(entries).unwrap();
        }
        Call::AppendAt { index, .. } => {
            let result = group.append_durable(vec![(index, Bytes::from_static(b"x"))]);
            if model.next().is_none_or(|next| next == index) {
                result.unwrap();
                model.log.insert(index, Bytes::from_static(b"x"));
            } else {
                assert!(matches!(result, Err(StoreError::NotContiguous { .. })), "{result:?}");
            }
        }
        Call::Truncate { back, .. } => {
            let after = model.log.keys().next_back().and_then(|last| last.checked_sub(back));
            group.truncate_after(after).unwrap();
            model.log.retain(|index, _| after.is_some_and(|after| *index <= after));
        }
        Call::Purge { ahead, .. } => {
            let index = model.log.keys().next().copied().or(model.purged).unwrap_or(0) + ahead;
            group.purge_upto(index, b"marker").unwrap();
            if model.purged.is_none_or(|purged| purged < index) {
                model.purged = Some(index);
                model.log.retain(|kept, _| *kept > index);
            }
        }
        Call::Read { start, len, max_bytes, .. } => {
            read_and_compare(group, model, start..start + len, max_bytes);
        }
        Call::Vote { vote, .. } => {
            group.save_vote(&[vote]).unwrap();
            model.vote = Some(vote);
        }
        Call::Meta { key, value, .. } => {
            group.put_meta(&[key], &[value]).unwrap();
            model.meta.insert(key, value);
        }
        Call::Apply { ops, .. } => {
            let changes: Vec<_> = ops
                .iter()
                .map(|(key, value)| StateOp {
                    key: Bytes::from(vec![*key]),
                    value: value.map(|v| Bytes::from(vec![v])),
                })
                .collect();
            model.applies = model.applies.wrapping_add(1);
            model.applied = Some(model.applies);
            group.apply(&changes, &[model.applies]).unwrap();
            for (key, value) in ops {
                match value {
                    Some(value) => model.state.insert(key, value),
                    None => model.state.remove(&key),
                };
            }
        }
        Call::Scan { from, to, reverse, .. } => {
            let got: Vec<_> = group
                .scan(Bound::Included(&[from]), Bound::Excluded(&[to]), reverse)
                .unwrap()
                .map(|item| item.unwrap().0[0])
                .collect();
            let mut expected: Vec<_> =
                model.state.keys().copied().filter(|key| (from..to).contains(key)).collect();
            if reverse {
                expected.reverse();
            }
            assert_eq!(got, expected);
        }
        Call::Install { items, commit, .. } => {
            let mut install = group.begin_install().unwrap();
            for (key, value) in &items {
                install.put_chunk(&[(Bytes::from(vec![*key]), Bytes::from(vec![*value]))]).unwrap();
            }
            if commit {
                model.applies = model.applies.wrapping_add(1);
                install.commit(&[model.applies], &[(&[0], &[model.applies])]).unwrap();
                model.meta.insert(0, model.applies);
                model.applied = Some(model.applies);
                model.state = items.into_iter().collect();
            }
        }
        Call::Destroy { .. } => {
            group.destroy().unwrap();
            *model = Model::default();
        }
        Call::Reopen => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_store_behaves_like_a_map(calls in proptest::collection::vec(call(), 1..50)) {
        run(&Disk::Real(tempfile::tempdir().unwrap()), calls);
    }

    #[test]
    fn the_store_in_memory_behaves_like_a_map(calls in proptest::collection::vec(call(), 1..50)) {
        run(&Disk::Memory(MemoryDisk::new()), calls);
    }
}
