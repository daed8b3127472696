//! Founding anew, on a store without a cluster.

use super::refound::{end_of_log, found, founded_at};
use super::types::{Command, Mutation, RaftTypes, WriteBatch, WriteRecord, encode};
use super::{LogStore, Machine, MachineView};
use crate::replica_id::ReplicaId;
use crate::system::LogPoint;
use bytes::Bytes;
use meridian_store::{GroupStore, Store, StoreOptions};
use meridian_types::{GroupId, Incarnation, NodeId, RequestId};
use openraft::EntryPayload;
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use openraft::type_config::alias::{EntryOf, LeaderIdOf, LogIdOf};
use openraft::vote::RaftLeaderId;

const GROUP: GroupId = GroupId(4);

fn id(incarnation: u32) -> ReplicaId {
    ReplicaId { group: GROUP, incarnation: Incarnation(incarnation) }
}

fn log_id(term: u64, index: u64) -> LogIdOf<RaftTypes> {
    LogIdOf::<RaftTypes>::new(LeaderIdOf::<RaftTypes>::new(term, NodeId(1)).to_committed(), index)
}

fn entry(index: u64, command: Command) -> EntryOf<RaftTypes> {
    EntryOf::<RaftTypes> { log_id: log_id(3, index), payload: EntryPayload::Normal(command) }
}

fn write(index: u64, number: u64, key: &'static str) -> EntryOf<RaftTypes> {
    let mutations = vec![Mutation { key: key.into(), value: Some(Bytes::from(index.to_string())) }];
    let remember = Some((RequestId(index.into()), Bytes::from_static(b"done")));
    let writes = vec![WriteRecord { remember, mutations }];
    entry(index, Command::Write(WriteBatch { session: 1, number, stamp_ms: 1, writes }))
}

/// A replica of the old incarnation: entries 0 to 4 in its log, of which 0 to 2 are applied.
fn old_replica(store: &Store) -> GroupStore {
    let group = id(0).store(store).expect("it fits");
    let entries = vec![
        entry(0, Command::Barrier),
        entry(1, Command::Barrier),
        write(2, 1, "a"),
        write(3, 2, "b"),
        write(4, 4, "skipped, since the third is missing"),
    ];
    let raw = entries.iter().map(|entry| (entry.log_id.index, encode(entry).expect("it encodes"))).collect();
    group.append_durable(raw).expect("it appends");
    let (mut machine, _) = Machine::open(group.clone(), Incarnation(0)).expect("it opens");
    machine.replay(entries.into_iter().take(3).collect()).expect("it applies");
    group
}

fn value(view: &MachineView, key: &str) -> Option<(u64, Bytes)> {
    view.get(key.as_bytes()).expect("it reads").map(|stored| (stored.index, stored.bytes))
}

fn open() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(dir.path(), &StoreOptions::default()).expect("a new store opens");
    (dir, store)
}

#[tokio::test]
async fn the_new_incarnation_begins_where_the_old_log_ended() {
    let (_dir, store) = open();
    let old = old_replica(&store);
    assert_eq!(end_of_log(&old).expect("it reads"), Some(LogPoint { term: 3, index: 4 }));
    assert_eq!(founded_at(&store, id(1)).expect("it reads"), None);
    let cut = found(&store, id(1), Incarnation(0), NodeId(2)).expect("it is founded");
    assert_eq!(cut, LogPoint { term: 3, index: 4 });
    assert_eq!(founded_at(&store, id(1)).expect("it reads"), Some(cut));
    assert_eq!(found(&store, id(1), Incarnation(0), NodeId(2)).expect("again"), cut);

    let group = id(1).store(&store).expect("it fits");
    let (mut machine, view) = Machine::open(group.clone(), Incarnation(1)).expect("it opens");
    assert_eq!(value(&view, "a"), Some((2, Bytes::from_static(b"2"))));
    assert_eq!(value(&view, "b"), Some((3, Bytes::from_static(b"3"))), "appended and not yet applied");
    assert_eq!(value(&view, "skipped, since the third is missing"), None);
    assert_eq!(view.remembered(RequestId(3)).expect("it reads"), Some(Bytes::from_static(b"done")));
    assert_eq!(view.applied(), 4);
    let (applied, membership) = machine.applied_state().await.expect("it reads");
    assert_eq!(applied, Some(log_id(3, 4)));
    assert_eq!(membership.membership().voter_ids().collect::<Vec<_>>(), [NodeId(2)]);
    let mut log = LogStore::new(group);
    let state = log.get_log_state().await.expect("it reads");
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(3, 4)), Some(log_id(3, 4))));
    let vote = openraft::RaftLogReader::read_vote(&mut log).await.expect("it reads").expect("there is one");
    assert_eq!((RaftLeaderId::term(vote.leader_id()), vote.is_committed()), (3, false));
    assert_eq!(old.bounds().last, Some(4), "the old log is as it was");
}

#[tokio::test]
async fn nothing_is_founded_from_nothing() {
    let (_dir, store) = open();
    let error = found(&store, id(1), Incarnation(0), NodeId(2)).expect_err("there is no old replica");
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

#[tokio::test]
async fn deletions_are_remembered_once_the_group_was_founded_anew() {
    let (_dir, store) = open();
    old_replica(&store);
    let cut = found(&store, id(1), Incarnation(0), NodeId(2)).expect("it is founded");
    let group = id(1).store(&store).expect("it fits");
    let (mut machine, view) = Machine::open(group, Incarnation(1)).expect("it opens");
    let changed = |key: &str| view.changed_at(key.as_bytes()).expect("it reads");
    assert_eq!((changed("a"), changed("b"), changed("never there")), (2, 3, 0));
    let mutations = vec![Mutation { key: "a".into(), value: None }];
    let batch = WriteBatch {
        session: 5,
        number: 1,
        stamp_ms: 1,
        writes: vec![WriteRecord { remember: None, mutations }],
    };
    let after = vec![entry(5, Command::Barrier), entry(6, Command::Write(batch))];
    machine.replay(after).expect("it applies");
    assert_eq!((value(&view, "a"), changed("a")), (None, 6));
    assert!(changed("a") > cut.index && changed("b") <= cut.index);
}
