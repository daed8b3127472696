//! What a node does to its origins' groups besides serving clients: notes what is lost or in conflict, and collects what nobody needs.
//!
//! A fragment of a deleted item is a tombstone, and has its grave noted. It may go once every replica has applied it, and everything that was evaluated
//! without knowing it: up to the *horizon* (see [`collect`](super::collect)). Whatever origin still keeps a live fragment that the tombstone
//! covers first takes the tombstone over. Then each drops its own, in any order: whoever writes the item anew does so above the horizon.

use super::beside::{Beside, encode, join};
use super::conflicts::{self, Found};
use super::fence;
use super::ledger::{self, MAX_LOST};
use super::notes::{self, Note};
use super::origins::Origins;
use crate::tables::evaluate;
use bytes::Bytes;
use meridian_merge::Stamp;
use meridian_replication::{Evaluation, Mutation, View};
use meridian_types::{Hlc, HlcClock, Position, TableId};
use serde::{Deserialize, Serialize};
use std::io;

/// Items in conflict are counted up to this.
const MAX_COUNTED: u64 = 100_000;

/// A write of that kind, to the group of one origin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::tables) enum ActiveWrite {
    /// Promises that every later write has a later stamp than any so far; answers the bits of the newest. From then on nobody looks at the group who has
    /// not applied these positions of the origins' groups.
    Promise(Vec<Position>),
    /// Raises the horizon; with positions as for a promise.
    Horizon(Hlc, Vec<Position>),
    /// Drops fragments by their graves: those at (stamp, item) of one table, as far as the horizon lets them go. Answers the items of which another
    /// origin still has a live fragment.
    Bury(TableId, Vec<(Hlc, Bytes)>),
    /// Takes over the tombstones of other origins, of items of one table.
    Absorb(TableId, Vec<Bytes>),
    /// Looks at items of one table, and notes what is lost or in conflict.
    Check(TableId, Vec<Bytes>),
    /// Forgets notes: of lost writes, or graves of tables that are gone.
    Forget(Vec<Bytes>),
}

/// A read of that kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::tables) enum ActiveRead {
    /// Nothing: it only tells that the positions that it was sent with are there.
    Applied,
    /// Graves up to a stamp, after a key, at most so many: (key, stamp, item).
    Graves(Hlc, Option<Bytes>, u32),
    /// Notes of lost writes beyond the bound, the oldest, at most so many.
    Surplus(u32),
    /// How many writes have been noted as lost, and how many items as in conflict.
    Counts,
    /// What is noted of a table.
    Conflicts(TableId, Option<Vec<u8>>, u32),
    /// Those of a table's items, from a key up to but without another, at most so many, that show something lost or in conflict; and the
    /// last key looked at, unless it was the last.
    Suspects(TableId, Bytes, Bytes, u32),
    /// Those of these items of a table of which something is to be noted.
    Unnoted(TableId, Vec<Bytes>),
    /// A checksum of what a table's items are, from a key up to but without another, over at most so many: the sum, how many items, how many keys,
    /// and the last key looked at unless it was the last.
    Checksum(TableId, Bytes, Bytes, u32),
}

/// What [`ActiveRead::Conflicts`] answers.
pub(in crate::tables) type ConflictsAnswer = (Vec<Found>, Option<Vec<u8>>);

/// The table that a request looks at, if it looks at one.
impl ActiveWrite {
    pub(in crate::tables) fn table(&self) -> Option<TableId> {
        match self {
            Self::Bury(table, _) | Self::Absorb(table, _) | Self::Check(table, _) => Some(*table),
            Self::Promise(_) | Self::Horizon(..) | Self::Forget(_) => None,
        }
    }

    /// Whether it takes the time from the leader's clock.
    pub(in crate::tables) fn stamps(&self) -> bool {
        matches!(self, Self::Promise(_) | Self::Absorb(..))
    }
}

impl ActiveRead {
    pub(in crate::tables) fn table(&self) -> Option<TableId> {
        match self {
            Self::Conflicts(table, ..)
            | Self::Suspects(table, ..)
            | Self::Unnoted(table, _)
            | Self::Checksum(table, ..) => Some(*table),
            Self::Applied | Self::Graves(..) | Self::Surplus(_) | Self::Counts => None,
        }
    }
}

/// Evaluates a write of that kind; `origins` of the table that it looks at.
pub(in crate::tables) fn tend(
    write: &ActiveWrite,
    origins: Option<&Origins<'_>>,
    view: &dyn View,
) -> io::Result<Evaluation> {
    let put = |key, value| Mutation { key, value: Some(value) };
    match (write, origins) {
        (ActiveWrite::Promise(fence), _) => {
            let newest = notes::number(view, Note::Promise)?.max(Hlc::new(view.clock().wall_ms, 0).to_bits());
            let mut mutations = vec![put(notes::single(Note::Promise), notes::kept(newest))];
            mutations.extend(fence::raise(view, fence)?);
            Ok(Evaluation { mutations, response: evaluate::encode(&Hlc::from_bits(newest))? })
        }
        (ActiveWrite::Horizon(horizon, fence), _) => {
            let horizon = notes::number(view, Note::Horizon)?.max(horizon.to_bits());
            let mut mutations = vec![put(notes::single(Note::Horizon), notes::kept(horizon))];
            mutations.extend(fence::raise(view, fence)?);
            Ok(Evaluation { mutations, response: Bytes::new() })
        }
        (ActiveWrite::Forget(keys), _) => {
            let gone = keys.iter().map(|key| Mutation { key: key.clone(), value: None }).collect();
            Ok(Evaluation { mutations: gone, response: Bytes::new() })
        }
        (ActiveWrite::Bury(_, graves), Some(origins)) => bury(graves, origins, view),
        (ActiveWrite::Absorb(_, items), Some(origins)) => absorb(items, origins, view),
        (ActiveWrite::Check(_, items), Some(origins)) => check(items, origins, view),
        (ActiveWrite::Bury(..) | ActiveWrite::Absorb(..) | ActiveWrite::Check(..), None) => Err(no_table()),
    }
}

fn no_table() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the table is gone")
}

fn bury(graves: &[(Hlc, Bytes)], origins: &Origins<'_>, view: &dyn View) -> io::Result<Evaluation> {
    let beside = Beside::of(view, origins)?;
    let horizon = Hlc::from_bits(notes::number(view, Note::Horizon)?);
    let mut mutations = Vec::new();
    let mut alive = Vec::new();
    for (at, item) in graves {
        let own = view.get(item)?.map(|stored| super::beside::decode(&stored)).transpose()?;
        let grave = Mutation { key: notes::grave(*at, item), value: None };
        match own {
            // Written since, or dropped already: the grave tells of nothing.
            None => mutations.push(grave),
            Some(own) if !own.is_tombstone() || own.newest() != *at => mutations.push(grave),
            Some(_) => {
                let all = beside.fragments(item)?;
                if all.iter().all(|fragment| fragment.can_drop(horizon)) {
                    mutations.push(grave);
                    mutations.push(Mutation { key: item.clone(), value: None });
                } else if *at <= horizon && all.iter().any(|fragment| !fragment.is_tombstone()) {
                    alive.push(item.clone());
                }
            }
        }
    }
    Ok(Evaluation { mutations, response: evaluate::encode(&alive)? })
}

fn absorb(items: &[Bytes], origins: &Origins<'_>, view: &dyn View) -> io::Result<Evaluation> {
    let beside = Beside::of(view, origins)?;
    let floor = beside.horizon()?;
    let promised = Hlc::from_bits(notes::number(view, Note::Promise)?);
    let mut mutations = Vec::new();
    for item in items {
        let alive = match view.get(item)? {
            Some(stored) => !super::beside::decode(&stored)?.is_tombstone(),
            None => false,
        };
        if let Some(joined) = join(beside.fragments(item)?).filter(|joined| alive && joined.is_tombstone()) {
            // Under a stamp of its own: a horizon that was found before must not cover it, since a replica may still show what it takes away.
            let seen = joined.newest().max(promised).max(floor);
            let mut clock = HlcClock::default();
            clock.observe(seen, seen.wall_ms(), 0).map_err(io::Error::other)?;
            let stamp = Stamp { hlc: clock.tick(view.clock().wall_ms), origin: origins.own };
            let taken = joined.absorb(origins.rules, stamp, floor).map_err(io::Error::other)?;
            mutations.push(Mutation { key: notes::grave(taken.newest(), item), value: Some(Bytes::new()) });
            mutations.push(Mutation { key: item.clone(), value: Some(encode(&taken)) });
        }
    }
    Ok(Evaluation { mutations, response: Bytes::new() })
}

fn check(items: &[Bytes], origins: &Origins<'_>, view: &dyn View) -> io::Result<Evaluation> {
    let beside = Beside::of(view, origins)?;
    let mut mutations: Vec<Mutation> = Vec::new();
    for item in items {
        let Some(joined) = join(beside.fragments(item)?) else { continue };
        let resolved = joined.resolve(origins.rules);
        for mutation in ledger::found(item, &joined, &resolved, view)? {
            // Several items count together.
            match mutations.iter_mut().find(|known| known.key == mutation.key) {
                Some(known) => *known = add_up(known, &mutation, view)?,
                None => mutations.push(mutation),
            }
        }
    }
    Ok(Evaluation { mutations, response: Bytes::new() })
}

/// Two counts on top of the same one.
fn add_up(a: &Mutation, b: &Mutation, view: &dyn View) -> io::Result<Mutation> {
    let count = |mutation: &Mutation| {
        let bytes = mutation.value.as_ref().and_then(|value| value.first_chunk::<8>());
        bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes))
    };
    let before = notes::number(view, Note::LostCount)?;
    let sum = (count(a) + count(b)).saturating_sub(before);
    Ok(Mutation { key: a.key.clone(), value: Some(notes::kept(sum)) })
}

/// Evaluates a read of that kind.
pub(in crate::tables) fn tend_read(
    read: &ActiveRead,
    origins: Option<&Origins<'_>>,
    view: &dyn View,
) -> io::Result<Bytes> {
    match (read, origins) {
        (ActiveRead::Applied, _) => Ok(Bytes::new()),
        (ActiveRead::Graves(upto, after, limit), _) => {
            let (mut start, end) = notes::all(Note::Grave);
            if let Some(after) = after {
                start = [&after[..], &[0]].concat().into();
            }
            let mut graves = Vec::new();
            view.scan(&start, &end, false, &mut |key, _| {
                let Some((at, item)) = notes::grave_of(key).filter(|(at, _)| at <= upto) else {
                    return false;
                };
                graves.push((Bytes::copy_from_slice(key), at, item));
                graves.len() < *limit as usize
            })?;
            evaluate::encode(&graves)
        }
        (ActiveRead::Surplus(limit), _) => {
            let (start, end) = notes::all(Note::Lost);
            let (mut count, mut oldest) = (0usize, Vec::new());
            view.scan(&start, &end, false, &mut |key, _| {
                count += 1;
                if oldest.len() < *limit as usize {
                    oldest.push(Bytes::copy_from_slice(key));
                }
                true
            })?;
            oldest.truncate(count.saturating_sub(MAX_LOST));
            evaluate::encode(&oldest)
        }
        (ActiveRead::Counts, _) => {
            let (start, end) = notes::all(Note::Conflict);
            let mut open = 0u64;
            view.scan(&start, &end, false, &mut |_, _| {
                open += 1;
                open < MAX_COUNTED
            })?;
            evaluate::encode(&(notes::number(view, Note::LostCount)?, open))
        }
        (ActiveRead::Conflicts(table, after, limit), Some(origins)) => {
            let prefix = meridian_replication::table_prefix(*table);
            let answer: ConflictsAnswer =
                conflicts::list(origins, &prefix, after.as_deref(), *limit as usize, view)?;
            evaluate::encode(&answer)
        }
        (ActiveRead::Suspects(_, start, end, limit), Some(origins)) => {
            evaluate::encode(&super::read::suspects(origins, (start, end), *limit as usize, view)?)
        }
        (ActiveRead::Unnoted(_, items), Some(origins)) => {
            let beside = Beside::of(view, origins)?;
            let mut unnoted = Vec::new();
            for item in items {
                let Some(joined) = join(beside.fragments(item)?) else { continue };
                let resolved = joined.resolve(origins.rules);
                if !ledger::found(item, &joined, &resolved, view)?.is_empty() {
                    unnoted.push(item.clone());
                }
            }
            evaluate::encode(&unnoted)
        }
        (ActiveRead::Checksum(_, start, end, limit), Some(origins)) => {
            evaluate::encode(&super::read::checksum(origins, (start, end), *limit as usize, view)?)
        }
        (ActiveRead::Checksum(_, start, end, limit), None) => {
            evaluate::encode(&super::read::plain_checksum((start, end), *limit as usize, view)?)
        }
        (_, None) => Err(no_table()),
    }
}
