//! What this crate must know of the keys of items: which table they belong to.

use bytes::Bytes;
use meridian_types::TableId;

/// The first bytes of the key of every item of a table.
#[must_use]
pub fn table_prefix(table: TableId) -> [u8; 4] {
    table.0.to_be_bytes()
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
