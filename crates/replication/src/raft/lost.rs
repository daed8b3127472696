//! What a replica of an old incarnation has beyond the cut: the writes that the new incarnation lacks.

use super::machine::{Machine, StoredValue, stored_item, stored_items};
use super::refound::{applied_log_id, entries};
use super::types::{Command, RaftTypes};
use crate::keys::is_note;
use crate::system::LogPoint;
use bytes::Bytes;
use meridian_store::GroupStore;
use meridian_types::Incarnation;
use openraft::EntryPayload;
use openraft::type_config::alias::EntryOf;
use std::collections::BTreeMap;
use std::io;

/// One item that has writes beyond the cut. They count as one: the last of them says what the item was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LostItem {
    /// The item's key.
    pub(crate) key: Bytes,
    /// The index of the last entry that wrote it.
    pub(crate) index: u64,
    /// Which of that entry's writes it was.
    pub(crate) part: u32,
    /// How many writes beyond the cut it had.
    pub(crate) writes: u64,
    /// Milliseconds since 1970 at the leader when it took the last of them; 0 when that is not known.
    pub(crate) stamp_ms: u64,
}

/// A write beyond the cut, as the log has it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    index: u64,
    part: u32,
    stamp_ms: u64,
    deleted: bool,
}

/// The writes beyond the cut by key, in order.
type Writes = BTreeMap<Bytes, Vec<Seen>>;

/// Collects what a closed replica has beyond the cut, in the order of their last writes. First applies all that is in its log, so that its
/// state tells what each item was. `newer` is this node's replica of the present incarnation, which has all up to the cut. Blocks; done
/// again, it gives the same.
///
/// # Errors
/// When the store fails.
pub(crate) fn lost_items(
    store: &GroupStore,
    incarnation: Incarnation,
    cut: LogPoint,
    newer: &GroupStore,
) -> io::Result<Vec<LostItem>> {
    apply_rest(store, incarnation)?;
    let mut seen = Writes::new();
    let bounds = store.bounds();
    let mut next = bounds.first.unwrap_or(0);
    let end = bounds.last.map_or(0, |last| last.saturating_add(1));
    while next < end {
        let step = entries(store, next, end)?;
        let Some(last) = step.last().map(|entry| entry.log_id.index) else { break };
        step.into_iter().filter(|entry| !cut.includes(point(entry))).for_each(|entry| note(entry, &mut seen));
        next = last.saturating_add(1);
    }
    // A log that was cut short beyond the cut no longer tells; the states do.
    if let Some(purged) = bounds.purged.filter(|purged| purged.index > cut.index) {
        let mut parts = note_state(store, cut.index..purged.index, &mut seen)?;
        note_deleted(store, newer, cut.index..purged.index, &mut parts, &mut seen)?;
    }
    let mut lost = Vec::new();
    for (key, seen) in seen {
        // The state says which of them took effect last: what it skipped was never answered for.
        let last = match stored_item(store, &key)? {
            Some(stored) => seen.iter().rfind(|write| write.index == stored.index),
            None => seen.iter().rfind(|write| write.deleted),
        };
        if let Some(&Seen { index, part, stamp_ms, .. }) = last
            && !is_note(&key)
        {
            lost.push(LostItem { key, index, part, writes: seen.len() as u64, stamp_ms });
        }
    }
    lost.sort_by_key(|item| (item.index, item.part));
    Ok(lost)
}

/// What an item was at the end of the old incarnation; `None`: deleted.
pub(crate) fn last_value(store: &GroupStore, key: &[u8]) -> io::Result<Option<Bytes>> {
    Ok(stored_item(store, key)?.map(|stored| stored.bytes))
}

fn point(entry: &EntryOf<RaftTypes>) -> LogPoint {
    LogPoint { term: entry.log_id.leader_id.term, index: entry.log_id.index }
}

fn apply_rest(store: &GroupStore, incarnation: Incarnation) -> io::Result<()> {
    let end = store.bounds().last.map_or(0, |last| last.saturating_add(1));
    let (mut machine, _) = Machine::open(store.clone(), incarnation)?;
    let mut next = applied_log_id(store)?.map_or(0, |applied| applied.index.saturating_add(1));
    while next < end {
        let step = entries(store, next, end)?;
        let Some(last) = step.last().map(|entry| entry.log_id.index) else { break };
        machine.replay(step)?;
        next = last.saturating_add(1);
    }
    Ok(())
}

fn note(entry: EntryOf<RaftTypes>, seen: &mut Writes) {
    let index = entry.log_id.index;
    let EntryPayload::Normal(Command::Write(batch)) = entry.payload else { return };
    let mutations = batch.writes.into_iter().flat_map(|record| record.mutations);
    for (part, mutation) in (0u32..).zip(mutations) {
        let deleted = mutation.value.is_none();
        seen.entry(mutation.key).or_default().push(Seen { index, part, stamp_ms: batch.stamp_ms, deleted });
    }
}

/// How many writes of each entry are noted.
type Parts = BTreeMap<u64, u32>;

/// What the state has of entries that the log no longer has.
fn note_state(store: &GroupStore, beyond: std::ops::Range<u64>, seen: &mut Writes) -> io::Result<Parts> {
    let mut parts = Parts::new();
    for row in stored_items(store)? {
        let (key, StoredValue { index, .. }) = row?;
        if index > beyond.start && index <= beyond.end && !seen.contains_key(&key) {
            let part = parts.entry(index).or_default();
            seen.insert(key, vec![Seen { index, part: *part, stamp_ms: 0, deleted: false }]);
            *part += 1;
        }
    }
    Ok(parts)
}

/// Items that the newer replica still has from before the cut, and the old state has no more: they were deleted in between. One that was
/// written since the cut is not told from one that never was there; its new value stays either way.
fn note_deleted(
    store: &GroupStore,
    newer: &GroupStore,
    beyond: std::ops::Range<u64>,
    parts: &mut Parts,
    seen: &mut Writes,
) -> io::Result<()> {
    for row in stored_items(newer)? {
        let (key, StoredValue { index, .. }) = row?;
        if index <= beyond.start && !seen.contains_key(&key) && stored_item(store, &key)?.is_none() {
            let part = parts.entry(beyond.end).or_default();
            let write = Seen { index: beyond.end, part: *part, stamp_ms: 0, deleted: true };
            seen.insert(key, vec![write]);
            *part += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::types::{Mutation, WriteBatch, WriteRecord, encode};
    use meridian_store::{Store, StoreOptions};
    use meridian_types::{GroupId, NodeId};
    use openraft::type_config::alias::{LeaderIdOf, LogIdOf};
    use openraft::vote::RaftLeaderId;

    fn entry(term: u64, index: u64, command: Command) -> EntryOf<RaftTypes> {
        let leader = LeaderIdOf::<RaftTypes>::new(term, NodeId(1)).to_committed();
        let log_id = LogIdOf::<RaftTypes>::new(leader, index);
        EntryOf::<RaftTypes> { log_id, payload: EntryPayload::Normal(command) }
    }

    fn batch(session: u64, number: u64, writes: &[(&'static str, Option<&'static str>)]) -> Command {
        let record = |(key, value): &(&'static str, Option<&'static str>)| WriteRecord {
            remember: None,
            mutations: vec![Mutation { key: (*key).into(), value: value.map(Bytes::from) }],
        };
        let writes = writes.iter().map(record).collect();
        Command::Write(WriteBatch { session, number, stamp_ms: 7, writes })
    }

    fn replica(entries: &[EntryOf<RaftTypes>]) -> (tempfile::TempDir, GroupStore) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(dir.path(), &StoreOptions::default()).expect("a new store opens");
        let group = store.group(GroupId(4));
        let raw = entries.iter().map(|entry| (entry.log_id.index, encode(entry).expect("it encodes")));
        group.append_durable(raw.collect()).expect("it appends");
        (dir, group)
    }

    fn lost(group: &GroupStore, term: u64, index: u64) -> Vec<(String, u64, u32, u64)> {
        lost_beside(group, group, term, index)
    }

    fn lost_beside(
        group: &GroupStore,
        newer: &GroupStore,
        term: u64,
        index: u64,
    ) -> Vec<(String, u64, u32, u64)> {
        let items = lost_items(group, Incarnation(0), LogPoint { term, index }, newer).expect("it collects");
        let name = |key: &Bytes| String::from_utf8_lossy(key).into_owned();
        items.iter().map(|item| (name(&item.key), item.index, item.part, item.writes)).collect()
    }

    #[test]
    fn only_what_lies_beyond_the_cut_and_took_effect_is_lost() {
        let (_dir, group) = replica(&[
            entry(1, 0, Command::Barrier),
            entry(1, 1, batch(0, 1, &[("before", Some("1")), ("both", Some("1"))])),
            entry(1, 2, batch(0, 2, &[("both", Some("2")), ("gone", Some("2"))])),
            entry(1, 3, batch(0, 3, &[("both", Some("3")), ("gone", None)])),
            entry(1, 4, batch(0, 5, &[("skipped", Some("4"))])),
        ]);
        let expected = [("both".to_owned(), 3, 0, 2), ("gone".to_owned(), 3, 1, 2)];
        assert_eq!(lost(&group, 1, 1), expected);
        assert_eq!(lost(&group, 1, 1), expected, "and again");
        assert_eq!(last_value(&group, b"both").expect("it reads"), Some(Bytes::from_static(b"3")));
        assert_eq!(last_value(&group, b"gone").expect("it reads"), None);
        assert_eq!(lost(&group, 1, 4), []);
    }

    #[test]
    fn an_entry_of_a_later_term_is_lost_although_its_index_is_below_the_cut() {
        let (_dir, group) = replica(&[
            entry(1, 0, Command::Barrier),
            entry(1, 1, batch(0, 1, &[("a", Some("1"))])),
            entry(2, 2, Command::Barrier),
            entry(2, 3, batch(2, 1, &[("b", Some("1"))])),
        ]);
        assert_eq!(lost(&group, 1, 5), [("b".to_owned(), 3, 0, 1)]);
    }

    #[test]
    fn a_log_that_was_cut_short_is_made_up_for_by_the_state() {
        let (_dir, group) = replica(&[
            entry(1, 0, Command::Barrier),
            entry(1, 1, batch(0, 1, &[("before", Some("1"))])),
            entry(1, 2, batch(0, 2, &[("a", Some("2")), ("b", Some("2"))])),
            entry(1, 3, batch(0, 3, &[("c", Some("3"))])),
        ]);
        assert_eq!(lost(&group, 1, 1).len(), 3);
        let purged = encode(&entry(1, 2, Command::Barrier).log_id).expect("it encodes");
        group.purge_upto(2, &purged).expect("it purges");
        let names: Vec<_> = lost(&group, 1, 1).into_iter().map(|(key, index, ..)| (key, index)).collect();
        assert_eq!(names, [("a".to_owned(), 2), ("b".to_owned(), 2), ("c".to_owned(), 3)]);
    }

    #[test]
    fn a_deletion_that_the_log_no_longer_has_shows_in_the_newer_state() {
        let before = batch(0, 1, &[("gone", Some("1")), ("kept", Some("1")), ("newer", Some("1"))]);
        let (_dir, group) = replica(&[
            entry(1, 0, Command::Barrier),
            entry(1, 1, before.clone()),
            entry(1, 2, batch(0, 2, &[("gone", None), ("newer", None), ("a", Some("2"))])),
            entry(1, 3, batch(0, 3, &[("b", Some("3"))])),
        ]);
        let (_other, newer) = replica(&[
            entry(1, 0, Command::Barrier),
            entry(1, 1, before),
            entry(2, 2, batch(0, 2, &[("newer", Some("2"))])),
        ]);
        apply_rest(&newer, Incarnation(1)).expect("it applies");
        assert_eq!(lost(&group, 1, 1).len(), 4, "the log tells of all");
        let purged = encode(&entry(1, 2, Command::Barrier).log_id).expect("it encodes");
        group.purge_upto(2, &purged).expect("it purges");
        let expected = [("a".to_owned(), 2, 0, 1), ("gone".to_owned(), 2, 1, 1), ("b".to_owned(), 3, 0, 1)];
        assert_eq!(lost_beside(&group, &newer, 1, 1), expected);
    }
}
