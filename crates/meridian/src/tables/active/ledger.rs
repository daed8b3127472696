//! The ledger of writes that have lost against concurrent ones, and the index of items that are in conflict: what last-write-wins loses
//! in silence elsewhere is counted and kept here, up to a bound.

use super::notes::{self, Note};
use super::origins::Origins;
use bytes::Bytes;
use meridian_dynamo::codec::encode_item;
use meridian_dynamo::value::Item;
use meridian_merge::{Conflict, Fragment, Resolved, Sibling, Stamp};
use meridian_replication::{Mutation, View};
use meridian_types::Hlc;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;

/// Lost writes that the group of an origin keeps; the oldest go first.
pub(super) const MAX_LOST: usize = 10_000;

/// A lost write as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::tables) struct LostWrite {
    /// The key of the item within its group.
    pub(in crate::tables) item: Vec<u8>,
    /// The key attributes, encoded.
    pub(in crate::tables) key: Vec<u8>,
    /// The attribute, and names of members of maps.
    pub(in crate::tables) path: Vec<String>,
    /// What the write left there, and who made it.
    pub(in crate::tables) lost: KeptSibling,
    /// What it lost against.
    pub(in crate::tables) winner: KeptSibling,
}

/// One of several writes as it is kept: an item of the one attribute `v` stands for a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::tables) struct KeptSibling {
    /// When: the bits of the stamp.
    pub(in crate::tables) hlc: u64,
    /// The number of the origin.
    pub(in crate::tables) origin: u16,
    /// The value, encoded; nothing for a removal.
    pub(in crate::tables) value: Option<Vec<u8>>,
}

impl KeptSibling {
    fn of(sibling: &Sibling) -> Self {
        let wrapped = |value: &meridian_dynamo::value::AttributeValue| {
            encode_item(&Item::from([(super::conflicts::VALUE.to_owned(), value.clone())]))
        };
        Self {
            hlc: sibling.stamp.hlc.to_bits(),
            origin: sibling.stamp.origin.0,
            value: sibling.value.as_ref().map(wrapped),
        }
    }
}

/// The notes that a write of an item makes: what it has overwritten without that having been seen by its writer, and that the item is in conflict no more.
pub(super) fn overwritten(
    origins: &Origins<'_>,
    item: &Bytes,
    (before, after): (&Fragment, &Fragment),
    view: &dyn View,
) -> io::Result<Vec<Mutation>> {
    let (was, is) = (before.resolve(origins.rules), after.resolve(origins.rules));
    let mut mutations = Vec::new();
    if !was.conflicts.is_empty() && is.conflicts.is_empty() {
        let note = notes::conflict(item);
        if view.get(&note)?.is_some() {
            mutations.push(Mutation { key: note, value: None });
        }
    }
    let stays: BTreeSet<Stamp> =
        is.lost.iter().flat_map(|conflict| &conflict.others).map(|lost| lost.stamp).collect();
    let gone =
        was.lost.iter().filter(|conflict| conflict.others.iter().any(|lost| !stays.contains(&lost.stamp)));
    mutations.extend(note_lost(gone, item, before, view)?);
    Ok(mutations)
}

/// The notes of what an item's view shows to be lost or in conflict; none that there are already.
pub(super) fn found(
    item: &Bytes,
    view_of_item: &Fragment,
    resolved: &Resolved,
    view: &dyn View,
) -> io::Result<Vec<Mutation>> {
    let mut mutations = note_lost(resolved.lost.iter(), item, view_of_item, view)?;
    let note = notes::conflict(item);
    let noted = view.get(&note)?.is_some();
    if resolved.conflicts.is_empty() == noted {
        mutations.push(Mutation { key: note, value: (!noted).then(Bytes::new) });
    }
    Ok(mutations)
}

fn note_lost<'a>(
    conflicts: impl Iterator<Item = &'a Conflict>,
    item: &Bytes,
    fragment: &Fragment,
    view: &dyn View,
) -> io::Result<Vec<Mutation>> {
    let mut mutations = Vec::new();
    for conflict in conflicts {
        for lost in &conflict.others {
            let key = notes::lost(lost.stamp, item, &conflict.path);
            if view.get(&key)?.is_some() {
                continue;
            }
            let kept = LostWrite {
                item: item.to_vec(),
                key: encode_item(fragment.key()),
                path: conflict.path.clone(),
                lost: KeptSibling::of(lost),
                winner: KeptSibling::of(&conflict.winner),
            };
            let value = crate::tables::evaluate::encode(&kept)?;
            mutations.push(Mutation { key, value: Some(value) });
        }
    }
    if !mutations.is_empty() {
        let count = notes::number(view, Note::LostCount)?.saturating_add(mutations.len() as u64);
        mutations.push(Mutation { key: notes::single(Note::LostCount), value: Some(notes::kept(count)) });
    }
    Ok(mutations)
}

/// The stamp of a kept sibling.
pub(super) fn stamp_of(kept: &KeptSibling) -> Hlc {
    Hlc::from_bits(kept.hlc)
}
