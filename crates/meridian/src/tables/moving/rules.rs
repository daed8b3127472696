//! What a source and a new group take of a move, decided on their own notes alone: a mover that is late, or was replaced, changes
//! nothing.

use crate::tables::evaluate::encode;
use bytes::Bytes;
use meridian_replication::runtime::{Mistake, errs};
use meridian_replication::{Evaluation, MoveNote, Mutation, View, move_note};
use meridian_types::{GroupId, TableId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;

/// A key and its value now; `None`: it is not there.
pub(in crate::tables) type Row = (Bytes, Option<Bytes>);

/// Who sends a write of a move. A source counts its movers, and the newest one's writes are the only ones that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::tables) struct Sender {
    pub(in crate::tables) table: TableId,
    /// The move.
    pub(in crate::tables) id: u64,
    /// Which mover of the source, from 1.
    pub(in crate::tables) epoch: u64,
}

/// A write of a move.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::tables) enum MoveWrite {
    /// To a source: a mover begins, and from now on changes are noted. Its epoch is the answer.
    Start { table: TableId, id: u64 },
    /// To a source: forgets the notes of these items that are no newer than `upto`.
    Copied { from: Sender, items: Vec<Bytes>, upto: u64 },
    /// To a source: it serves the table no more.
    Freeze { from: Sender },
    /// To a source: the move is off, and it serves the table.
    Stay { table: TableId, id: u64 },
    /// To a new group: a mover begins to bring a source's items.
    Open { from: Sender, source: GroupId },
    /// To a new group: items as they are in the source.
    Import { from: Sender, source: GroupId, rows: Vec<Row> },
    /// To a new group: all of the source's items are there.
    Seal { from: Sender, source: GroupId },
}

/// What became of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::tables) enum MoveAnswer {
    /// Done.
    Done,
    /// A mover has begun.
    Started {
        /// Its epoch.
        epoch: u64,
    },
    /// All of the source's items are there already.
    Sealed,
    /// Another mover has begun, or the move is over.
    Stale,
}

/// What a source notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Source {
    id: u64,
    epoch: u64,
    state: SourceState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum SourceState {
    Copying,
    Frozen,
    /// The group owns the table and takes part in no move; kept so that no late mover of an old move begins again.
    Over,
}

/// What a new group notes of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Target {
    id: u64,
    epoch: u64,
    sealed: bool,
}

fn source_key(table: TableId) -> Bytes {
    move_note(table, MoveNote::Source, &[])
}

fn target_key(table: TableId, source: GroupId) -> Bytes {
    move_note(table, MoveNote::Target, &source.0.to_be_bytes())
}

fn changed_key(table: TableId, item: &[u8]) -> Bytes {
    move_note(table, MoveNote::Changed, item)
}

fn note<T: DeserializeOwned>(view: &dyn View, key: &[u8]) -> io::Result<Option<T>> {
    let stored = view.get(key)?;
    let decoded = stored.map(|bytes| postcard::from_bytes(&bytes)).transpose();
    decoded.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn put<T: Serialize>(key: Bytes, note: &T) -> io::Result<Mutation> {
    Ok(Mutation { key, value: Some(encode(note)?) })
}

/// Where a request was sent: to a group of a table that has come there by its move `home`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::tables) struct Place {
    pub(in crate::tables) table: TableId,
    /// 0 when the table has never moved.
    pub(in crate::tables) home: u64,
}

/// What the group does for a later move than that of the request. What it notes of earlier ones is over: the table has come back.
fn takes_part(view: &dyn View, place: Place) -> io::Result<SourceState> {
    let source = note::<Source>(view, &source_key(place.table))?.filter(|source| source.id > place.home);
    let state = source.map_or(SourceState::Over, |source| source.state);
    Ok(if state == SourceState::Frozen && errs(Mistake::ServeFrozen) { SourceState::Copying } else { state })
}

/// Whether a group serves a table no more, because its items are elsewhere or about to be.
pub(in crate::tables) fn has_moved(view: &dyn View, place: Place) -> io::Result<bool> {
    Ok(takes_part(view, place)? == SourceState::Frozen)
}

/// Adds to the writes of a table's items the notes that they have changed, if the group is a source; `None` when it serves the table
/// no more.
pub(in crate::tables) fn capture(
    view: &dyn View,
    place: Place,
    mut mutations: Vec<Mutation>,
) -> io::Result<Option<Vec<Mutation>>> {
    match takes_part(view, place)? {
        SourceState::Over => Ok(Some(mutations)),
        SourceState::Frozen => Ok(None),
        SourceState::Copying => {
            let noted = |write: &Mutation| Mutation {
                key: changed_key(place.table, &write.key),
                value: Some(Bytes::new()),
            };
            let notes: Vec<Mutation> = mutations.iter().map(noted).collect();
            mutations.extend(notes);
            Ok(Some(mutations))
        }
    }
}

/// Evaluates a write of a move; `arrived_as` tells how this group keeps what another has stored.
pub(in crate::tables) fn evaluate(
    write: &MoveWrite,
    view: &dyn View,
    arrived_as: impl Fn(TableId, &Bytes) -> io::Result<Bytes>,
) -> io::Result<Evaluation> {
    let (answer, mutations) = match write {
        MoveWrite::Start { table, id } => start(*table, *id, view)?,
        MoveWrite::Stay { table, id } => stay(*table, *id, view)?,
        MoveWrite::Copied { from, items, upto } => copied(*from, items, *upto, view)?,
        MoveWrite::Freeze { from } => freeze(*from, view)?,
        MoveWrite::Open { from, source } => open(*from, *source, view)?,
        MoveWrite::Import { from, source, rows } => {
            let taken = target(*from, *source, view)?
                == Some(Target { id: from.id, epoch: from.epoch, sealed: false });
            let mutation = |(key, value): &Row| {
                let value = value.as_ref().map(|value| arrived_as(from.table, value)).transpose()?;
                Ok(Mutation { key: key.clone(), value })
            };
            match taken {
                true => (MoveAnswer::Done, rows.iter().map(mutation).collect::<io::Result<_>>()?),
                false => stale(),
            }
        }
        MoveWrite::Seal { from, source } => seal(*from, *source, view)?,
    };
    Ok(Evaluation { mutations, response: encode(&answer)? })
}

type Decided = (MoveAnswer, Vec<Mutation>);

fn stale() -> Decided {
    (MoveAnswer::Stale, Vec::new())
}

fn start(table: TableId, id: u64, view: &dyn View) -> io::Result<Decided> {
    let key = source_key(table);
    let next = match note::<Source>(view, &key)? {
        Some(source) if source.id > id || (source.id == id && source.state == SourceState::Over) => {
            return Ok(stale());
        }
        Some(source) if source.id == id => Source { epoch: source.epoch + 1, ..source },
        _ => Source { id, epoch: 1, state: SourceState::Copying },
    };
    Ok((MoveAnswer::Started { epoch: next.epoch }, vec![put(key, &next)?]))
}

/// The source's note, if its newest mover sends.
fn source(from: Sender, view: &dyn View) -> io::Result<Option<Source>> {
    let source = note::<Source>(view, &source_key(from.table))?;
    Ok(source.filter(|source| (source.id, source.epoch) == (from.id, from.epoch)))
}

fn copied(from: Sender, items: &[Bytes], upto: u64, view: &dyn View) -> io::Result<Decided> {
    if source(from, view)?.is_none() {
        return Ok(stale());
    }
    let mut mutations = Vec::new();
    for item in items {
        let key = changed_key(from.table, item);
        if view.get(&key)?.is_some() && view.changed_at(&key)? <= upto {
            mutations.push(Mutation { key, value: None });
        }
    }
    Ok((MoveAnswer::Done, mutations))
}

fn freeze(from: Sender, view: &dyn View) -> io::Result<Decided> {
    match source(from, view)? {
        Some(source) if source.state != SourceState::Over => {
            let frozen = Source { state: SourceState::Frozen, ..source };
            Ok((MoveAnswer::Done, vec![put(source_key(from.table), &frozen)?]))
        }
        _ => Ok(stale()),
    }
}

fn stay(table: TableId, id: u64, view: &dyn View) -> io::Result<Decided> {
    let key = source_key(table);
    let source = note::<Source>(view, &key)?;
    if source.is_some_and(|source| source.id > id) {
        return Ok(stale());
    }
    // Written even where there is no note: a mover may still be about to begin.
    Ok((MoveAnswer::Done, vec![put(key, &Source { id, epoch: 0, state: SourceState::Over })?]))
}

fn target(from: Sender, source: GroupId, view: &dyn View) -> io::Result<Option<Target>> {
    note(view, &target_key(from.table, source))
}

fn open(from: Sender, source: GroupId, view: &dyn View) -> io::Result<Decided> {
    match target(from, source, view)? {
        Some(target) if target.id == from.id && target.sealed => return Ok((MoveAnswer::Sealed, Vec::new())),
        Some(target) if (target.id, target.epoch) > (from.id, from.epoch) => return Ok(stale()),
        _ => {}
    }
    let opened = Target { id: from.id, epoch: from.epoch, sealed: false };
    Ok((MoveAnswer::Done, vec![put(target_key(from.table, source), &opened)?]))
}

fn seal(from: Sender, source: GroupId, view: &dyn View) -> io::Result<Decided> {
    match target(from, source, view)? {
        // Written again, so that the answer's position has it.
        Some(target) if target.id == from.id && (target.sealed || target.epoch == from.epoch) => {
            let sealed = Target { sealed: true, ..target };
            Ok((MoveAnswer::Done, vec![put(target_key(from.table, source), &sealed)?]))
        }
        _ => Ok(stale()),
    }
}
