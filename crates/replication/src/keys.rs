//! What this crate must know of the keys of items: which table they belong to.

use bytes::{BufMut, Bytes, BytesMut};
use meridian_types::{Incarnation, TableId};

/// The first bytes of the key of every item of a table.
#[must_use]
pub fn table_prefix(table: TableId) -> [u8; 4] {
    table.0.to_be_bytes()
}

/// The table of an item's key.
#[must_use]
pub fn table_of(key: &[u8]) -> Option<TableId> {
    key.first_chunk::<4>().map(|id| TableId(u32::from_be_bytes(*id)))
}

/// Where a group remembers that the salvage of an item is done: that of an old incarnation. Under the number of no table, so that no
/// read of items meets it.
#[must_use]
pub fn salvage_mark(incarnation: Incarnation, item: &[u8]) -> Bytes {
    let mut key = BytesMut::with_capacity(9 + item.len());
    key.put_slice(&table_prefix(TableId(0)));
    key.put_u8(b'S');
    key.put_u32(incarnation.0);
    key.put_slice(item);
    key.freeze()
}

/// Whether a key is a note of the group's own, and no item's.
#[must_use]
pub(crate) fn is_note(key: &[u8]) -> bool {
    key.starts_with(&table_prefix(TableId(0)))
}

/// What is kept there: up to which index of the old incarnation's log it is done.
#[must_use]
pub fn salvage_done(upto: u64) -> Bytes {
    Bytes::copy_from_slice(&upto.to_be_bytes())
}

/// Whether the salvage of an item that was last written at `index` is done, by what is kept at its [`salvage_mark`].
#[must_use]
pub fn is_salvaged(mark: Option<&Bytes>, index: u64) -> bool {
    let upto = mark.and_then(|mark| mark.first_chunk::<8>());
    upto.is_some_and(|upto| u64::from_be_bytes(*upto) >= index)
}

/// What a group notes of a table on its way to another policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MoveNote {
    /// In a source: that it is one. Stays when the table has gone.
    Source = 1,
    /// In a source: that an item was written since it was copied; one an item.
    Changed = 2,
    /// In a new group: how far a source has brought its items; one a source.
    Target = 3,
}

/// Where a group keeps a note of a table's move; `of` tells the notes of one kind apart. Under the number of no table, as
/// [`salvage_mark`].
#[must_use]
pub fn move_note(table: TableId, note: MoveNote, of: &[u8]) -> Bytes {
    let mut key = BytesMut::with_capacity(10 + of.len());
    key.put_slice(&table_prefix(TableId(0)));
    key.put_u8(b'M');
    key.put_slice(&table_prefix(table));
    key.put_u8(note as u8);
    key.put_slice(of);
    key.freeze()
}

/// The range of a table's notes of one kind: from the first, up to but without the second.
#[must_use]
pub fn move_notes(table: TableId, note: MoveNote) -> (Bytes, Bytes) {
    let start = move_note(table, note, &[]);
    let mut end = BytesMut::from(&start[..]);
    if let Some(kind) = end.last_mut() {
        *kind += 1;
    }
    (start, end.freeze())
}

/// The range of all keys of a table: from the first, up to but without the second.
#[must_use]
pub fn table_range(table: TableId) -> (Bytes, Bytes) {
    let end = match table.0.checked_add(1) {
        Some(next) => Bytes::copy_from_slice(&next.to_be_bytes()),
        None => Bytes::from_static(&[0xff; 5]),
    };
    (Bytes::copy_from_slice(&table_prefix(table)), end)
}
