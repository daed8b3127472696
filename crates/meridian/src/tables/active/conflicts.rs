//! Conflicts as clients and operators see them.

use super::beside::{Beside, join};
use super::ledger::{KeptSibling, LostWrite};
use super::notes::{self, Note};
use super::origins::Origins;
use crate::tables::evaluate::decode;
use bytes::Bytes;
use meridian_dynamo::codec::{decode_item, encode_item};
use meridian_dynamo::expr::{Condition, Path, Step};
use meridian_dynamo::number::Number;
use meridian_dynamo::value::{AttributeValue, Item};
use meridian_merge::{Conflict, Sibling};
use meridian_replication::View;
use serde::{Deserialize, Serialize};
use std::io;

/// A projection that names this attribute is shown what is in conflict: for each place a list of what regions have written there, the
/// value that is shown first.
pub(super) const CONFLICTS: &str = "meridian:conflicts";
/// What a value is called in a map of its own.
pub(super) const VALUE: &str = "value";

/// Holds of an item whose attribute the regions agree on, and that none of them has deleted while another has changed it.
pub(in crate::tables) fn undisputed(attribute: &str) -> Condition {
    let agreed = |place: String| Path { root: CONFLICTS.to_owned(), steps: vec![Step::Name(place)] };
    let places = [place(&[attribute.to_owned()]), place(&[])];
    Condition::And(places.map(|place| Condition::NotExists(agreed(place))).into())
}

/// A place in words: names with dots between them; the item as a whole is `*`.
pub(super) fn place(path: &[String]) -> String {
    if path.is_empty() { "*".to_owned() } else { path.join(".") }
}

/// The places that are in conflict.
pub(super) fn names(conflicts: &[Conflict]) -> Vec<String> {
    conflicts.iter().map(|conflict| place(&conflict.path)).collect()
}

/// Conflicts as an attribute.
pub(super) fn as_attribute(conflicts: &[Conflict], origins: &Origins<'_>) -> AttributeValue {
    let sibling = |sibling: &Sibling| {
        let region = origins.region(sibling.stamp.origin).map_or_else(String::new, ToString::to_string);
        AttributeValue::M(Item::from([
            (VALUE.to_owned(), sibling.value.clone().unwrap_or(AttributeValue::Null)),
            ("region".to_owned(), AttributeValue::S(region)),
            ("written_ms".to_owned(), AttributeValue::N(Number::from(sibling.stamp.hlc.wall_ms()))),
        ]))
    };
    let all = conflicts.iter().map(|conflict| {
        let siblings = std::iter::once(&conflict.winner).chain(&conflict.others).map(sibling);
        (place(&conflict.path), AttributeValue::L(siblings.collect()))
    });
    AttributeValue::M(all.collect())
}

/// One of the writes that are in conflict, as it travels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::tables) struct Kept {
    /// The region that made it.
    pub(in crate::tables) region: String,
    /// When, in milliseconds since 1970 by that region's clock.
    pub(in crate::tables) written_ms: u64,
    /// What it left there, encoded as an item of the one attribute `value`; nothing for a removal.
    pub(in crate::tables) value: Option<Vec<u8>>,
}

/// A conflict that is open, or a write that has lost, as it travels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::tables) struct Found {
    /// The note that tells of it: where a list goes on, and what names it.
    pub(in crate::tables) note: Vec<u8>,
    /// The key of the item within its group.
    pub(in crate::tables) item: Vec<u8>,
    /// The key attributes, encoded.
    pub(in crate::tables) key: Vec<u8>,
    /// The place.
    pub(in crate::tables) path: Vec<String>,
    /// Whether it is over: the write has lost.
    pub(in crate::tables) lost: bool,
    /// What is shown there, or was when the write lost.
    pub(in crate::tables) winner: Kept,
    /// The others.
    pub(in crate::tables) others: Vec<Kept>,
}

fn kept(sibling: &Sibling, origins: &Origins<'_>) -> Kept {
    Kept {
        region: origins.region(sibling.stamp.origin).map_or_else(String::new, ToString::to_string),
        written_ms: sibling.stamp.hlc.wall_ms(),
        value: sibling
            .value
            .as_ref()
            .map(|value| encode_item(&Item::from([(VALUE.to_owned(), value.clone())]))),
    }
}

fn rekept(kept: KeptSibling, origins: &Origins<'_>) -> Kept {
    let origin = meridian_merge::Origin(kept.origin);
    Kept {
        region: origins.region(origin).map_or_else(String::new, ToString::to_string),
        written_ms: super::ledger::stamp_of(&kept).wall_ms(),
        value: kept.value,
    }
}

/// The value of a kept write.
pub(super) fn value_of(kept: &Kept) -> Option<AttributeValue> {
    decode_item(kept.value.as_deref()?).ok()?.remove(VALUE)
}

/// What this group has noted of a table's items: first conflicts that are still open, then writes that have lost, the oldest first; after
/// `after`, at most `limit` notes are looked at. Also says where to go on, if anywhere.
pub(super) fn list(
    origins: &Origins<'_>,
    table: &[u8],
    after: Option<&[u8]>,
    limit: usize,
    view: &dyn View,
) -> io::Result<(Vec<Found>, Option<Vec<u8>>)> {
    let beside = Beside::of(view, origins)?;
    let mut found = Vec::new();
    let mut looked = 0;
    let mut next = None;
    for kind in [Note::Conflict, Note::Lost] {
        let (first, end) = notes::all(kind);
        let start = match after {
            Some(after) if after >= &end[..] => continue,
            Some(after) if after >= &first[..] => [after, &[0]].concat().into(),
            _ => first,
        };
        let mut rows: Vec<(Bytes, Bytes)> = Vec::new();
        view.scan(&start, &end, false, &mut |key, value| {
            looked += 1;
            next = Some(key.to_vec());
            rows.push((Bytes::copy_from_slice(key), value.clone()));
            looked < limit
        })?;
        for (note, value) in rows {
            if kind == Note::Lost {
                let lost: LostWrite = decode(&value)?;
                if lost.item.starts_with(table) {
                    found.push(of_lost(lost, &note, origins));
                }
            } else if let Some(item) = notes::conflict_of(&note).filter(|item| item.starts_with(table)) {
                found.extend(open(&beside, origins, &item, &note)?);
            }
        }
        if looked >= limit {
            return Ok((found, next));
        }
    }
    Ok((found, None))
}

fn of_lost(lost: LostWrite, note: &Bytes, origins: &Origins<'_>) -> Found {
    Found {
        note: note.to_vec(),
        item: lost.item,
        key: lost.key,
        path: lost.path,
        lost: true,
        winner: rekept(lost.winner, origins),
        others: vec![rekept(lost.lost, origins)],
    }
}

/// The conflicts that an item has now.
fn open(beside: &Beside<'_>, origins: &Origins<'_>, item: &Bytes, note: &Bytes) -> io::Result<Vec<Found>> {
    let Some(joined) = join(beside.fragments(item)?) else { return Ok(Vec::new()) };
    let conflicts = joined.resolve(origins.rules).conflicts.into_iter();
    Ok(conflicts
        .map(|conflict| Found {
            note: note.to_vec(),
            item: item.to_vec(),
            key: encode_item(joined.key()),
            winner: kept(&conflict.winner, origins),
            others: conflict.others.iter().map(|other| kept(other, origins)).collect(),
            path: conflict.path,
            lost: false,
        })
        .collect())
}
