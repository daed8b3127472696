//! The keys of items within a group. Part of the disk format.
//!
//! `table id (4 bytes) | partition hash (8) | length of the partition key (2) | partition key | sort key`, numbers big-endian:
//! the items of a partition key lie together in the order of their sort keys, and a scan goes by hash.

use bytes::{BufMut, Bytes, BytesMut};
use core::ops::Bound;
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::key::ItemKey;
use meridian_dynamo::read::{QueryOp, ScanPosition, Segment};
use meridian_dynamo::table::TableDescription;
use meridian_replication::table_prefix;
use meridian_types::TableId;
use meridian_types::hash::partition_hash;

fn collection(table: TableId, hash: u64, partition: &[u8], room: usize) -> BytesMut {
    let mut key = BytesMut::with_capacity(14 + partition.len() + room);
    key.put_slice(&table_prefix(table));
    key.put_u64(hash);
    // Partition keys are at most 2048 bytes.
    key.put_u16(u16::try_from(partition.len()).unwrap_or(u16::MAX));
    key.put_slice(partition);
    key
}

/// The key of an item whose partition key has this hash.
pub(super) fn item(table: TableId, hash: u64, key: &ItemKey) -> Bytes {
    let mut out = collection(table, hash, &key.partition, key.sort.len());
    out.put_slice(&key.sort);
    out.freeze()
}

/// The smallest key after `key`.
fn after(mut key: BytesMut) -> Bytes {
    key.put_u8(0);
    key.freeze()
}

/// The smallest key that does not begin with `prefix`.
fn behind(mut prefix: BytesMut) -> Bytes {
    while let Some(last) = prefix.last_mut() {
        if let Some(next) = last.checked_add(1) {
            *last = next;
            return prefix.freeze();
        }
        prefix.truncate(prefix.len() - 1);
    }
    // Only for a prefix of 0xff alone; ours begins with a table id, which does not come that far.
    Bytes::from_static(&[0xff; 16])
}

/// Where a query reads: from the first key up to but without the second.
///
/// # Errors
/// `ValidationException` when the starting key does not match the schema.
pub(super) fn query_range(table: &TableDescription, op: &QueryOp) -> Result<(Bytes, Bytes), DynamoError> {
    let partition = &op.range.partition;
    let hash = partition_hash(table.id, partition);
    let at = |sort: &[u8]| {
        let mut key = collection(table.id, hash, partition, sort.len() + 1);
        key.put_slice(sort);
        key
    };
    let mut start = match &op.range.lower {
        Bound::Unbounded => at(&[]).freeze(),
        Bound::Included(sort) => at(sort).freeze(),
        Bound::Excluded(sort) => after(at(sort)),
    };
    let mut end = match &op.range.upper {
        Bound::Unbounded => behind(at(&[])),
        Bound::Included(sort) => after(at(sort)),
        Bound::Excluded(sort) => at(sort).freeze(),
    };
    if let Some(sort) = op.start(&table.definition.schema)? {
        if op.forward {
            start = start.max(after(at(&sort)));
        } else {
            end = end.min(at(&sort).freeze());
        }
    }
    // A range that ends before it starts holds nothing.
    let end = end.max(start.clone());
    Ok((start, end))
}

/// Where a scan reads within a group: after `position` when it has begun, up to the end of its segment.
pub(super) fn scan_range(
    table: TableId,
    segment: Option<Segment>,
    position: Option<&ScanPosition>,
) -> (Bytes, Bytes) {
    let edge = |hash: u64| {
        let mut key = BytesMut::with_capacity(12);
        key.put_slice(&table_prefix(table));
        key.put_u64(hash);
        key.freeze()
    };
    let start = match position {
        Some(position) => {
            let mut key =
                collection(table, position.hash, &position.key.partition, position.key.sort.len() + 1);
            key.put_slice(&position.key.sort);
            after(key)
        }
        None => edge(segment.map_or(0, Segment::first_hash)),
    };
    let next = segment.and_then(|segment| {
        let next = segment.index + 1;
        (next < segment.total).then(|| Segment { index: next, total: segment.total }.first_hash())
    });
    let end = next.map_or_else(|| meridian_replication::table_range(table).1, edge);
    (start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_table_lie_together_in_scan_order() {
        let table = TableId(7);
        let key = |partition: &[u8], sort: &[u8]| {
            let key = ItemKey { partition: partition.to_vec(), sort: sort.to_vec() };
            item(table, partition_hash(table, partition), &key)
        };
        let (first, last) = meridian_replication::table_range(table);
        for (partition, sort) in [(&b"a"[..], &b""[..]), (b"a", b"\xff\xff"), (b"\xff", b"x"), (b"zz", b"")] {
            let key = key(partition, sort);
            assert!(first <= key && key < last);
        }
        assert!(key(b"a", b"1") < key(b"a", b"2"));
        assert!(key(b"a", b"") < key(b"a", b"\0"));
    }

    #[test]
    fn segments_share_the_keys_without_gap_or_overlap() {
        let table = TableId(3);
        let total = 7;
        let ranges: Vec<_> =
            (0..total).map(|index| scan_range(table, Some(Segment { index, total }), None)).collect();
        assert_eq!(ranges[0].0, scan_range(table, None, None).0);
        assert_eq!(ranges[6].1, scan_range(table, None, None).1);
        for pair in ranges.windows(2) {
            assert_eq!(pair[0].1, pair[1].0);
        }
    }

    #[test]
    fn a_scan_goes_on_behind_its_position() {
        let table = TableId(3);
        let key = ItemKey { partition: b"p".to_vec(), sort: b"s".to_vec() };
        let position = ScanPosition::new(table, key.clone());
        let (start, _) = scan_range(table, None, Some(&position));
        let stored = item(table, position.hash, &key);
        assert!(start > stored);
        assert!(start[..].starts_with(&stored[..]), "nothing fits between");
    }
}
