//! A table's way from the groups of one policy to those of another, online.
//!
//! The groups of the old policy are its *sources*. Each copies its items to the new groups while clients go on using it, and says so
//! when little is left. When all sources are ready the move *switches*: each source stops serving the table, copies the rest and seals
//! it. From the commit of the last seal on the table belongs to its new policy. Until then the move can be cancelled, and nothing has
//! changed for the table. How a source copies is the layer above's.

use super::command::{SystemError, SystemReply};
use super::state::{SystemState, TableEntry, TableStatus};
use meridian_types::{GroupId, Pattern, PolicyName, Position, TableId, TableName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A table on its way to another policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableMove {
    /// Tells this move from all others of the cluster; later moves have greater numbers.
    pub id: u64,
    /// The new policy.
    pub to: PolicyName,
    /// How far it is.
    pub phase: MovePhase,
    /// The groups that have the items now.
    pub sources: BTreeMap<GroupId, MoveSource>,
}

impl TableMove {
    /// Items copied so far, as the sources last said.
    #[must_use]
    pub fn copied(&self) -> u64 {
        self.sources.values().map(|source| source.copied).sum()
    }
}

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MovePhase {
    /// Items are copied while the sources serve them.
    Copying,
    /// The sources serve them no more; the rest is copied.
    Switching,
}

/// One source of a move.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveSource {
    /// Items copied so far.
    pub copied: u64,
    /// Whether little is left to copy.
    pub ready: bool,
    /// Once everything is copied and sealed: the states of the new groups that have it.
    pub sealed: Option<Vec<Position>>,
}

/// What a group has of a table that it does not own, or no longer copies, and is to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sweep {
    /// The items of a table that has moved away. That it has is remembered, for nodes that do not know yet.
    Moved,
    /// The items of a move that was cancelled.
    Arrived,
    /// The notes of a source whose move, the one of this number, was cancelled; it keeps its items, and serves them again.
    Stayed(u64),
}

impl SystemState {
    pub(super) fn move_table(
        &mut self,
        name: &TableName,
        to: PolicyName,
    ) -> Result<SystemReply, SystemError> {
        if !self.policies.contains_key(&to) {
            return Err(SystemError::NoSuchPolicy(to));
        }
        let policies = &self.policies;
        let table = self.tables.get_mut(name).ok_or_else(|| SystemError::NoSuchTable(name.clone()))?;
        if table.policy != to && table.residency().next().is_some() {
            return Err(SystemError::BadPolicy(format!(
                "table {name} keeps items under several policies by the beginning of their keys, and cannot be moved; make a \
                 new table and copy the items"
            )));
        }
        let from = policies.get(&table.policy);
        if table.policy != to && from.is_some_and(|from| from.policy.pattern == Pattern::ActiveActive) {
            return Err(SystemError::BadPolicy(format!(
                "policy {} is active-active: its tables keep what each region has written, and cannot be moved to \
                 another policy yet; make a new table and copy the items",
                table.policy
            )));
        }
        if table.moving.as_ref().is_some_and(|moving| moving.to == to)
            || table.moving.is_none() && table.policy == to && table.status == TableStatus::Active
        {
            return Ok(SystemReply::Table(Box::new(table.clone())));
        }
        if table.status != TableStatus::Active || table.moving.is_some() || !table.sweep.is_empty() {
            return Err(SystemError::TableBusy(name.clone()));
        }
        let sources = policies.get(&table.policy).map_or(&[][..], |entry| &entry.groups);
        self.next_move += 1;
        table.moving = Some(TableMove {
            id: self.next_move,
            to,
            phase: MovePhase::Copying,
            sources: sources.iter().map(|group| (*group, MoveSource::default())).collect(),
        });
        Ok(SystemReply::Table(Box::new(table.clone())))
    }

    /// Notes how far a source is; once all are ready the move switches.
    pub(super) fn move_progressed(
        &mut self,
        table: TableId,
        id: u64,
        source: GroupId,
        copied: u64,
        ready: bool,
    ) {
        let Some(moving) = self.moving(table, id).and_then(|table| table.moving.as_mut()) else { return };
        let Some(source) = moving.sources.get_mut(&source) else { return };
        source.copied = copied;
        source.ready |= ready;
        if moving.sources.values().all(|source| source.ready) {
            moving.phase = MovePhase::Switching;
        }
    }

    /// Notes that a source has copied and sealed everything; once all have, the table belongs to its new policy.
    pub(super) fn move_sealed(&mut self, table: TableId, id: u64, source: GroupId, arrived: Vec<Position>) {
        let Some(table) = self.moving(table, id) else { return };
        let Some(moving) = table.moving.as_mut().filter(|moving| moving.phase == MovePhase::Switching) else {
            return;
        };
        let Some(source) = moving.sources.get_mut(&source) else { return };
        source.sealed = Some(arrived);
        if moving.sources.values().any(|source| source.sealed.is_none()) {
            return;
        }
        let Some(moving) = table.moving.take() else { return };
        table.home = moving.id;
        table.arrived.clear();
        for position in moving.sources.values().filter_map(|source| source.sealed.as_ref()).flatten() {
            let latest = table.arrived.entry(position.group).or_insert(*position);
            *latest = (*latest).max(*position);
        }
        table.sweep = moving.sources.into_keys().map(|group| (group, Sweep::Moved)).collect();
        table.policy = moving.to;
    }

    /// Ends a move before it has switched.
    pub(super) fn cancel_move(
        &mut self,
        name: &TableName,
        id: Option<u64>,
    ) -> Result<SystemReply, SystemError> {
        let table = self.tables.get_mut(name).ok_or_else(|| SystemError::NoSuchTable(name.clone()))?;
        let moves = |moving: &TableMove| id.is_none_or(|id| moving.id == id);
        if !table.moving.as_ref().is_some_and(moves) {
            return Err(SystemError::NotMoving(name.clone()));
        }
        cancel(table, |policy| self.policies.get(policy).map_or(&[], |entry| &entry.groups));
        Ok(SystemReply::Done)
    }

    /// Cancels the moves that a group takes part in: one that is founded anew may have lost a part of what it had.
    pub(super) fn cancel_moves_through(&mut self, group: GroupId) {
        let policies = &self.policies;
        let groups_of = |policy: &PolicyName| policies.get(policy).map_or(&[][..], |entry| &entry.groups);
        for table in self.tables.values_mut() {
            let Some(moving) = &table.moving else { continue };
            if moving.sources.contains_key(&group) || groups_of(&moving.to).contains(&group) {
                cancel(table, groups_of);
            }
        }
    }

    /// Notes that a group has deleted what it was to delete of a table that lives on.
    pub(super) fn swept(&mut self, id: TableId, group: GroupId) {
        let lives = |table: &&mut TableEntry| table.id == id && table.status != TableStatus::Deleting;
        if let Some(table) = self.tables.values_mut().find(lives) {
            table.sweep.remove(&group);
        }
    }

    fn moving(&mut self, table: TableId, id: u64) -> Option<&mut TableEntry> {
        let moves = |entry: &TableEntry| {
            entry.id == table && entry.moving.as_ref().is_some_and(|moving| moving.id == id)
        };
        self.tables.values_mut().find(|entry| moves(entry))
    }
}

fn cancel<'a>(table: &mut TableEntry, groups_of: impl Fn(&PolicyName) -> &'a [GroupId]) {
    let Some(moving) = table.moving.take() else { return };
    let arrived = groups_of(&moving.to).iter().map(|group| (*group, Sweep::Arrived));
    let stayed = moving.sources.keys().copied().map(|group| (group, Sweep::Stayed(moving.id)));
    table.sweep = arrived.chain(stayed).collect();
}
