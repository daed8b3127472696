//! The life of tables: usable once every reachable node knows them, forgotten once their items are gone, cleared away where they no
//! longer live.

use crate::group::{Group, Session};
use crate::keys::{MoveNote, move_notes, table_range};
use crate::node::Replication;
use crate::raft::Command;
use crate::runtime;
use crate::system::{Sweep, SystemCommand, SystemState, TableEntry, TableStatus};
use bytes::Bytes;
use meridian_types::{GroupId, TableId};
use openraft::async_runtime::WatchReceiver;
use openraft::impls::ProgressResponder;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Keys deleted in one entry.
const PURGE_AT_ONCE: usize = 500;
/// A node silent for this long is not waited for when a table becomes usable.
const PATIENCE: Duration = Duration::from_secs(1);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// Tables that are being created, each with an index of the system group by which it is known.
#[derive(Debug, Default)]
pub(super) struct Tables {
    known_at: BTreeMap<TableId, u64>,
}

impl Tables {
    pub(super) async fn round(&mut self, node: &Arc<Replication>) {
        let state = node.system();
        self.activate(node, &state).await;
        let untidy = |table: &&TableEntry| table.status == TableStatus::Deleting || !table.sweep.is_empty();
        for table in state.tables.values().filter(untidy) {
            for group in node.groups() {
                let ranges = leftovers(&state, table, group.id);
                if let Some(session) = group.session().filter(|_| !ranges.is_empty()) {
                    purge(node, &group, session, table.id, &ranges).await;
                }
            }
        }
    }

    /// On the system leader: marks tables usable that every reachable node knows.
    async fn activate(&mut self, node: &Arc<Replication>, state: &SystemState) {
        let creating = state.tables.values().filter(|table| table.status == TableStatus::Creating);
        let creating: BTreeSet<TableId> = creating.map(|table| table.id).collect();
        self.known_at.retain(|table, _| creating.contains(table));
        let Some(group) = node.group(GroupId::SYSTEM).filter(|group| group.session().is_some()) else {
            return;
        };
        if creating.is_empty() {
            return;
        }
        // The state was read before this index, so a member that has it knows the tables. Later ones do not count: the group may be written
        // faster than anybody keeps up with.
        let index = group.view.applied();
        for table in creating {
            self.known_at.entry(table).or_insert(index);
        }
        let replication = group.raft.data_metrics().borrow_watched().replication.clone().unwrap_or_default();
        let reached = replication.iter().filter(|(member, _)| {
            // One that is not there is not waited for.
            node.shared.peers.healthy_for(**member, PATIENCE).is_some()
        });
        let reached = reached.map(|(_, matched)| matched.as_ref().map_or(0, |matched| matched.index)).min();
        let known =
            self.known_at.iter().filter(|(_, index)| reached.is_none_or(|reached| reached >= **index));
        let known: Vec<TableId> = known.map(|(table, _)| *table).collect();
        if !known.is_empty() {
            let _ = node.system_write_here(SystemCommand::ActivateTables(known)).await;
        }
    }
}

/// What a group is to delete of a table, in this order: a table that is deleted, or what a move has left behind.
fn leftovers(state: &SystemState, table: &TableEntry, group: GroupId) -> Vec<(Bytes, Bytes)> {
    let notes = |note| move_notes(table.id, note);
    let sweep = table.sweep.get(&group);
    if table.status == TableStatus::Deleting {
        let owned = state.groups_of(table).contains(&group);
        if (!owned && sweep.is_none()) || table.purged.contains(&group) {
            return Vec::new();
        }
        let kinds = [MoveNote::Source, MoveNote::Changed, MoveNote::Target].map(notes);
        return kinds.into_iter().chain([table_range(table.id)]).collect();
    }
    match sweep {
        // Those who began a move end it.
        None | Some(Sweep::Stayed(_)) => Vec::new(),
        Some(Sweep::Moved) => vec![notes(MoveNote::Changed), table_range(table.id)],
        Some(Sweep::Arrived) => vec![notes(MoveNote::Target), table_range(table.id)],
    }
}

/// On a group's leader: deletes some of what lies in the ranges, or reports that nothing is left.
async fn purge(
    node: &Arc<Replication>,
    group: &Arc<Group>,
    session: Session,
    table: TableId,
    ranges: &[(Bytes, Bytes)],
) {
    let result = match next_keys(group, ranges) {
        Ok(keys) if keys.is_empty() => {
            let command = SystemCommand::TablePurged { table, group: group.id };
            let deadline = runtime::now() + COMMAND_TIMEOUT;
            node.system_write(command, deadline).await.map(drop).map_err(io::Error::other)
        }
        Ok(keys) => delete(group, session, keys).await,
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        tracing::debug!(group = %group.id, %table, %error, "clearing the table away goes on later");
    }
}

fn next_keys(group: &Group, ranges: &[(Bytes, Bytes)]) -> io::Result<Vec<Bytes>> {
    for (start, end) in ranges {
        let rows = group.view.scan(start, end, false)?.take(PURGE_AT_ONCE);
        let keys = rows.map(|row| row.map(|(key, _)| key)).collect::<io::Result<Vec<Bytes>>>()?;
        if !keys.is_empty() {
            return Ok(keys);
        }
    }
    Ok(Vec::new())
}

async fn delete(group: &Group, session: Session, keys: Vec<Bytes>) -> io::Result<()> {
    let (responder, done) = ProgressResponder::complete_only();
    let write = group.raft.write(Command::Purge(keys)).with_leader(session.leader);
    write.responder(responder).await.map_err(io::Error::other)?;
    runtime::timeout(COMMAND_TIMEOUT, done)
        .await
        .map_err(io::Error::other)?
        .map_err(io::Error::other)?
        .map_err(io::Error::other)?;
    Ok(())
}
