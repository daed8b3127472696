//! What a mover reads of a group: a table's rows in order, and the items that have changed since they were copied.

use super::rules::Row;
use crate::tables::evaluate::encode;
use bytes::Bytes;
use meridian_replication::{MoveNote, View, move_notes, table_range};
use meridian_types::TableId;
use meridian_types::hash::group_ordinal;
use serde::{Deserialize, Serialize};
use std::io;

/// Rows in one answer at most.
const ROWS: usize = 500;
/// Bytes in one answer, until which rows are added.
const BYTES: usize = 1 << 20;
/// Rows that one read looks at, at most.
const LOOKED_AT: usize = 20_000;
/// Where the hash of the partition key is in an item's key.
const HASH_AT: std::ops::Range<usize> = 4..12;

/// Asks for a table's rows behind a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::tables) struct RowsRead {
    pub(in crate::tables) table: TableId,
    pub(in crate::tables) after: Option<Bytes>,
    /// Only those of one of so many groups: (its ordinal, how many).
    pub(in crate::tables) of: Option<(u32, u32)>,
}

/// Rows of a table, and where to go on; `None` when there are no more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::tables) struct RowsPage {
    pub(in crate::tables) rows: Vec<Row>,
    pub(in crate::tables) next: Option<Bytes>,
}

/// Asks for items that have changed since they were copied, as they are now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::tables) struct ChangedRead {
    pub(in crate::tables) table: TableId,
}

/// Those items, and whether there are more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::tables) struct ChangedPage {
    pub(in crate::tables) rows: Vec<Row>,
    pub(in crate::tables) more: bool,
}

/// The group, of `count`, that an item's key belongs to.
pub(super) fn ordinal(key: &[u8], count: u32) -> io::Result<u32> {
    let hash = key.get(HASH_AT).and_then(|hash| hash.first_chunk::<8>());
    let hash =
        hash.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an item's key is cut short"))?;
    Ok(group_ordinal(u64::from_be_bytes(*hash), count))
}

/// Reads rows.
pub(in crate::tables) fn rows(read: &RowsRead, view: &dyn View) -> io::Result<Bytes> {
    let (mut start, end) = table_range(read.table);
    if let Some(after) = &read.after {
        start = [after, &[0][..]].concat().into();
    }
    let mut page = RowsPage { rows: Vec::new(), next: None };
    let (mut looked_at, mut bytes) = (0, 0);
    let mut damaged = None;
    view.scan(&start, &end, false, &mut |key, value| {
        let key = Bytes::copy_from_slice(key);
        looked_at += 1;
        match read.of.map(|(of, count)| Ok::<_, io::Error>(ordinal(&key, count)? == of)).transpose() {
            Ok(Some(false)) => {}
            Ok(_) => {
                bytes += key.len() + value.len();
                page.rows.push((key.clone(), Some(value.clone())));
            }
            Err(error) => damaged = Some(error),
        }
        if page.rows.len() == ROWS || bytes >= BYTES || looked_at == LOOKED_AT {
            page.next = Some(key);
        }
        page.next.is_none() && damaged.is_none()
    })?;
    damaged.map_or_else(|| encode(&page), Err)
}

/// Reads changed items.
pub(in crate::tables) fn changed(read: &ChangedRead, view: &dyn View) -> io::Result<Bytes> {
    let (start, end) = move_notes(read.table, MoveNote::Changed);
    let mut keys = Vec::new();
    view.scan(&start, &end, false, &mut |key, _| {
        keys.push(Bytes::copy_from_slice(&key[start.len()..]));
        keys.len() <= ROWS
    })?;
    let mut page = ChangedPage { rows: Vec::new(), more: false };
    let mut bytes = 0;
    for key in keys {
        if page.rows.len() == ROWS || bytes >= BYTES {
            page.more = true;
            break;
        }
        let value = view.get(&key)?;
        bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        page.rows.push((key, value));
    }
    encode(&page)
}
