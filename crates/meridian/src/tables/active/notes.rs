//! What the group of an origin notes beside its items, under the number of no table. Part of the disk format.

use bytes::{BufMut, Bytes, BytesMut};
use meridian_merge::Stamp;
use meridian_replication::{View, table_prefix};
use meridian_types::{Hlc, TableId};
use std::io;

/// The kinds of notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Every later write of the origin has a later stamp than this.
    Promise = 1,
    /// Every replica has applied every write up to this, and every write that was evaluated before its origin had applied those.
    Horizon = 2,
    /// The origin's fragment of an item is a tombstone; one an item and stamp, the oldest first.
    Grave = 3,
    /// A write that has lost against a concurrent one; the oldest first.
    Lost = 4,
    /// An item has concurrent writes that the application is to resolve.
    Conflict = 5,
    /// How many writes have been noted as lost.
    LostCount = 6,
    /// What whoever looks at the group must have applied of the others, see [`fence`](super::fence).
    Fence = 7,
}

fn note(note: Note, room: usize) -> BytesMut {
    let mut key = BytesMut::with_capacity(6 + room);
    key.put_slice(&table_prefix(TableId(0)));
    key.put_u8(b'A');
    key.put_u8(note as u8);
    key
}

/// The key of a note of which there is one.
pub(super) fn single(kind: Note) -> Bytes {
    note(kind, 0).freeze()
}

/// The key of a grave.
pub(super) fn grave(at: Hlc, item: &[u8]) -> Bytes {
    let mut key = note(Note::Grave, 8 + item.len());
    key.put_u64(at.to_bits());
    key.put_slice(item);
    key.freeze()
}

/// When, and which item, a grave tells of.
pub(super) fn grave_of(key: &[u8]) -> Option<(Hlc, Bytes)> {
    let (at, item) = key.strip_prefix(&single(Note::Grave)[..])?.split_first_chunk::<8>()?;
    Some((Hlc::from_bits(u64::from_be_bytes(*at)), Bytes::copy_from_slice(item)))
}

/// The key of a lost write.
pub(super) fn lost(stamp: Stamp, item: &[u8], path: &[String]) -> Bytes {
    let mut key = note(Note::Lost, 16 + item.len());
    key.put_u64(stamp.hlc.to_bits());
    key.put_u16(stamp.origin.0);
    // Keys of items are at most a few kilobytes.
    key.put_u16(u16::try_from(item.len()).unwrap_or(u16::MAX));
    key.put_slice(item);
    for name in path {
        key.put_slice(name.as_bytes());
        key.put_u8(0);
    }
    key.freeze()
}

/// The key of an item in conflict.
pub(super) fn conflict(item: &[u8]) -> Bytes {
    let mut key = note(Note::Conflict, item.len());
    key.put_slice(item);
    key.freeze()
}

/// The item that a conflict's key tells of.
pub(super) fn conflict_of(key: &[u8]) -> Option<Bytes> {
    key.strip_prefix(&single(Note::Conflict)[..]).map(Bytes::copy_from_slice)
}

/// All keys of a kind: from the first, up to but without the second.
pub(super) fn all(kind: Note) -> (Bytes, Bytes) {
    let start = note(kind, 0);
    let mut end = start.clone();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    (start.freeze(), end.freeze())
}

/// The number that is kept under a note; 0 when there is none.
pub(super) fn number(view: &dyn View, kind: Note) -> io::Result<u64> {
    let stored = view.get(&single(kind))?;
    Ok(stored.and_then(|bytes| Some(u64::from_be_bytes(*bytes.first_chunk::<8>()?))).unwrap_or(0))
}

/// How a number is kept.
pub(super) fn kept(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}
