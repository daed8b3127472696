//! Founding an incarnation from this node's replica of an older one: the same rows, cut from the rest of the cluster's history.
//!
//! The new Raft group begins as if restored from a snapshot that was taken at the cut, with this node as its only voter. Its log goes
//! on behind the cut, so indexes only grow along a group's life. The old replica is only read: what it had stays as it was.

use super::machine::Machine;
use super::snapshot::copy;
use super::types::{RaftTypes, decode, encode};
use crate::replica_id::ReplicaId;
use crate::system::LogPoint;
use meridian_store::{GroupStore, Store};
use meridian_types::{Incarnation, NodeId};
use openraft::type_config::alias::{EntryOf, LogIdOf, StoredMembershipOf, VoteOf};
use openraft::{Membership, StoredMembership};
use std::io;

/// Set in an incarnation's metadata once it is founded: the cut.
const FOUNDED: &[u8] = b"founded";
/// Bytes of log entries applied at once.
const REPLAY_AT_ONCE: usize = 4 << 20;

type Marker = (Option<LogIdOf<RaftTypes>>, StoredMembershipOf<RaftTypes>);

pub(crate) fn log_point(id: &LogIdOf<RaftTypes>) -> LogPoint {
    LogPoint { term: id.leader_id.term, index: id.index }
}

/// The end of a replica's log, as far as it is in the store; `None` for one that has nothing.
pub(crate) fn end_of_log(store: &GroupStore) -> io::Result<Option<LogPoint>> {
    last_log_id(store).map(|id| id.as_ref().map(log_point))
}

fn last_log_id(store: &GroupStore) -> io::Result<Option<LogIdOf<RaftTypes>>> {
    let bounds = store.bounds();
    let applied = applied_log_id(store)?;
    let last = match bounds.last {
        Some(last) => entries(store, last, last.saturating_add(1))?.pop().map(|entry| entry.log_id),
        None => bounds.purged.map(|purged| decode(&purged.marker)).transpose()?,
    };
    Ok(last.max(applied))
}

pub(super) fn applied_log_id(store: &GroupStore) -> io::Result<Option<LogIdOf<RaftTypes>>> {
    let marker = store.applied().map_err(io::Error::other)?;
    Ok(marker.map(|marker| decode::<Marker>(&marker)).transpose()?.and_then(|(applied, _)| applied))
}

/// Entries from `from` up to but without `end`, as many as fit into one step.
pub(crate) fn entries(store: &GroupStore, from: u64, end: u64) -> io::Result<Vec<EntryOf<RaftTypes>>> {
    let raw = store.entries_limited(from..end, REPLAY_AT_ONCE).map_err(io::Error::other)?;
    raw.into_iter().map(|(_, bytes)| decode(&bytes)).collect()
}

/// Whether this incarnation was founded on this node, and where it cut the old log.
pub(crate) fn founded_at(store: &Store, id: ReplicaId) -> io::Result<Option<LogPoint>> {
    let stored = id.store(store)?.meta(FOUNDED).map_err(io::Error::other)?;
    stored.map(|bytes| decode(&bytes)).transpose()
}

/// Founds `new` from this node's replica of incarnation `base`, whose Raft must have ended. Done again after a crash, it begins anew;
/// done a second time, it changes nothing. Blocks.
///
/// # Errors
/// When there is nothing to found it from, or the store fails.
pub(crate) fn found(store: &Store, new: ReplicaId, base: Incarnation, own: NodeId) -> io::Result<LogPoint> {
    if let Some(cut) = founded_at(store, new)? {
        return Ok(cut);
    }
    let old = ReplicaId { incarnation: base, ..new }.store(store)?;
    let target = new.store(store)?;
    let nothing = || io::Error::new(io::ErrorKind::NotFound, "there is no older replica to found it from");
    let cut = last_log_id(&old)?.ok_or_else(nothing)?;
    copy_state(&old, &target)?;
    replay(&old, &target, new.incarnation, cut.index)?;
    let membership = Membership::new_with_defaults(vec![[own].into()], [own]);
    let marker: Marker = (Some(cut), StoredMembership::new(Some(cut), membership));
    target.apply(&[], &encode(&marker)?).map_err(io::Error::other)?;
    target.purge_upto(cut.index, &encode(&cut)?).map_err(io::Error::other)?;
    // The first election is then for a later term than any that the log speaks of.
    let vote = VoteOf::<RaftTypes>::new(cut.leader_id.term, own);
    target.save_vote(&encode(&vote)?).map_err(io::Error::other)?;
    let cut = log_point(&cut);
    target.put_meta_durable(FOUNDED, &encode(&cut)?).map_err(io::Error::other)?;
    Ok(cut)
}

/// Every row: items, remembered request ids, the session under way.
fn copy_state(old: &GroupStore, target: &GroupStore) -> io::Result<()> {
    let view = old.snapshot().map_err(io::Error::other)?;
    let Some(marker) = view.applied().map_err(io::Error::other)? else { return Ok(()) };
    copy(target, view)?.commit(&marker, &[]).map_err(io::Error::other)
}

/// Applies what the old log has beyond the copied state, committed or not: as whoever is elected does with the log that it has.
fn replay(old: &GroupStore, target: &GroupStore, incarnation: Incarnation, last: u64) -> io::Result<()> {
    let mut next = applied_log_id(target)?.map_or(0, |applied| applied.index.saturating_add(1));
    let (mut machine, _) = Machine::open(target.clone(), incarnation)?;
    while next <= last {
        let step = entries(old, next, last.saturating_add(1))?;
        let Some(newest) = step.last().map(|entry| entry.log_id.index) else {
            return Err(io::Error::other(format!("the old log lacks entry {next} of {last}")));
        };
        machine.replay(step)?;
        next = newest.saturating_add(1);
    }
    Ok(())
}
