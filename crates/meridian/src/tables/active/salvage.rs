//! Salvage of active-active items: what an expelled region wrote alone is a fragment of a group that goes on without it. It is never joined with
//! what there is now, since what it builds on may have been collected; what it shows is written anew.

use super::beside::{Beside, decode, encode, join};
use super::origins::Origins;
use super::write::Guard;
use bytes::Bytes;
use meridian_dynamo::key::TableSchema;
use meridian_dynamo::value::Item;
use meridian_dynamo::write::{ReturnValues, WriteKind, WriteOp};
use meridian_merge::{Fragment, Rules};
use meridian_replication::{Mutation, View};
use meridian_types::{Hlc, TableName};
use std::io;

/// What there is of an item now: all origins' fragments together, and the horizon up to which deletes may have been forgotten.
pub(in crate::tables) fn current(
    origins: &Origins<'_>,
    key: &[u8],
    view: &dyn View,
) -> io::Result<(Option<Bytes>, Hlc)> {
    let beside = Beside::of(view, origins)?;
    Ok((join(beside.fragments(key)?).map(|joined| encode(&joined)), beside.horizon()?))
}

/// An item that a region wrote alone, beside what there is now.
#[derive(Clone, Debug, Default)]
pub(in crate::tables) struct SalvagedItem {
    /// What it was there.
    pub(in crate::tables) lost: Option<Item>,
    /// What it is now.
    pub(in crate::tables) now: Option<Item>,
    /// Its key attributes, where they are known.
    pub(in crate::tables) key: Option<Item>,
    /// Whether others have changed it since, or may have: of one that is not there now and may have been deleted, nobody knows.
    pub(in crate::tables) changed: bool,
}

impl SalvagedItem {
    /// Compares what a region had stored with what [`current`] tells.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(in crate::tables) fn of(
        rules: &Rules,
        lost: Option<&Bytes>,
        current: Option<&Bytes>,
        horizon: Hlc,
    ) -> io::Result<Self> {
        let lost = lost.map(|stored| decode(stored)).transpose()?;
        let current = current.map(|stored| decode(stored)).transpose()?;
        let shown = |fragment: &Fragment| fragment.item(rules);
        let (was, now) = (lost.as_ref().and_then(shown), current.as_ref().and_then(shown));
        let changed = match (&lost, &current) {
            (Some(lost), Some(current)) => lost.clone().join(current.clone()).item(rules) != was,
            (Some(lost), None) => was.is_some() && horizon > lost.floor(),
            (None, _) => now.is_some(),
        };
        let key = lost.as_ref().or(current.as_ref()).map(|fragment| fragment.key().clone());
        Ok(Self { lost: was, now, key, changed })
    }
}

/// Writes what a region wrote alone, as a write of today; `None` when others have changed the item, unless `force`.
///
/// # Errors
/// When the view fails, or the write is refused.
pub(in crate::tables) fn restore(
    (origins, schema, table): (&Origins<'_>, &TableSchema, &TableName),
    (key, lost): (&Bytes, Option<&Bytes>),
    force: bool,
    view: &dyn View,
    guard: Guard,
) -> io::Result<Option<Vec<Mutation>>> {
    let (current, horizon) = current(origins, key, view)?;
    let item = SalvagedItem::of(origins.rules, lost, current.as_ref(), horizon)?;
    if item.changed && !force {
        return Ok(None);
    }
    let kind = match (item.lost, item.key) {
        (Some(item), _) => WriteKind::Put { item },
        (None, Some(key)) => WriteKind::Delete { key },
        (None, None) => return Ok(Some(Vec::new())),
    };
    let op = WriteOp {
        table: table.clone(),
        kind,
        condition: None,
        return_values: ReturnValues::None,
        return_on_failure: false,
    };
    let (mutations, _, done) = super::write::write(origins, schema, &op, key.clone(), view, guard)?;
    done.map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Some(mutations))
}
