//! Keys and records as they are on disk. Nothing else knows the byte layout.
//!
//! Three keyspaces of the engine hold everything:
//! - `log`: `space(8) index(8)` to `crc32(4) entry`.
//! - `state`: `space(8) 0x00` to the applied marker, `space(8) 0x01 key` to the item.
//! - `meta`: see the `*_key` functions.
//!
//! A **space** is a number that no other log or state of the store has. Replacing a whole state means writing a new space
//! and pointing the group at it. Integers in keys are big-endian, so that byte order is numeric order.

use crate::StoreError;
use meridian_types::GroupId;

/// Longest key of an item, in bytes. The engine's own limit is 65 535, and the space comes before the key.
pub const MAX_KEY_BYTES: usize = 60_000;

const SPACE_BYTES: usize = 8;
const CRC_BYTES: usize = 4;
const APPLIED: u8 = 0;
const ITEM: u8 = 1;

const META_SYNC: u8 = 0;
const META_GARBAGE: u8 = 1;
const META_GROUP: u8 = 2;
const GROUP_RECORD: u8 = 0;
const GROUP_VOTE: u8 = 1;
const GROUP_PURGED: u8 = 2;
const GROUP_USER: u8 = 3;

/// Where a group keeps its log and its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spaces {
    pub(crate) log: u64,
    pub(crate) state: u64,
}

impl Spaces {
    pub(crate) fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.log.to_be_bytes());
        bytes[8..].copy_from_slice(&self.state.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (log, state) = bytes.split_first_chunk::<8>()?;
        Some(Self { log: u64::from_be_bytes(*log), state: u64::from_be_bytes(state.try_into().ok()?) })
    }
}

pub(crate) fn log_key(space: u64, index: u64) -> [u8; 16] {
    Spaces { log: space, state: index }.encode()
}

pub(crate) fn log_index(key: &[u8]) -> Option<u64> {
    Spaces::decode(key).map(|pair| pair.state)
}

/// The crc covers group and index, so that a record that strayed to another place is noticed too.
fn log_crc(group: GroupId, index: u64, entry: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&group.0.to_le_bytes());
    hasher.update(&index.to_le_bytes());
    hasher.update(entry);
    hasher.finalize()
}

pub(crate) fn encode_log_record(group: GroupId, index: u64, entry: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(CRC_BYTES + entry.len());
    record.extend_from_slice(&log_crc(group, index, entry).to_le_bytes());
    record.extend_from_slice(entry);
    record
}

/// The entry inside a record.
///
/// # Errors
/// `Corrupt` when the record is not what was written for this group and index.
pub(crate) fn decode_log_record(group: GroupId, index: u64, record: &[u8]) -> Result<&[u8], StoreError> {
    let corrupt = |detail: &str| StoreError::Corrupt {
        group: Some(group),
        index: Some(index),
        detail: detail.to_owned(),
    };
    let (crc, entry) =
        record.split_first_chunk::<CRC_BYTES>().ok_or_else(|| corrupt("the log record is cut short"))?;
    if u32::from_le_bytes(*crc) != log_crc(group, index, entry) {
        return Err(corrupt("the log record does not match its checksum"));
    }
    Ok(entry)
}

pub(crate) fn applied_key(space: u64) -> [u8; SPACE_BYTES + 1] {
    let mut key = [APPLIED; SPACE_BYTES + 1];
    key[..SPACE_BYTES].copy_from_slice(&space.to_be_bytes());
    key
}

pub(crate) fn item_key(space: u64, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(SPACE_BYTES + 1 + key.len());
    full.extend_from_slice(&space.to_be_bytes());
    full.push(ITEM);
    full.extend_from_slice(key);
    full
}

/// The caller's part of a key made by [`item_key`].
pub(crate) fn item_of(full: &[u8]) -> Option<&[u8]> {
    full.get(SPACE_BYTES + 1..)
}

/// The smallest key after every item of a space.
pub(crate) fn items_end(space: u64) -> Vec<u8> {
    let mut end = space.to_be_bytes().to_vec();
    end.push(ITEM + 1);
    end
}

pub(crate) fn check_key(key: &[u8]) -> Result<(), StoreError> {
    if key.len() > MAX_KEY_BYTES {
        return Err(StoreError::TooLarge { what: "a key", size: key.len(), limit: MAX_KEY_BYTES });
    }
    Ok(())
}

/// Counts the fsyncs of the store's life.
pub(crate) const SYNC_KEY: [u8; 1] = [META_SYNC];

/// What a space that is to be deleted holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpaceKind {
    Log,
    State,
}

impl SpaceKind {
    pub(crate) fn encode(self) -> [u8; 1] {
        match self {
            Self::Log => [0],
            Self::State => [1],
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0] => Some(Self::Log),
            [1] => Some(Self::State),
            _ => None,
        }
    }
}

pub(crate) const GARBAGE_PREFIX: [u8; 1] = [META_GARBAGE];

pub(crate) fn garbage_key(space: u64) -> [u8; 9] {
    let mut key = [META_GARBAGE; 9];
    key[1..].copy_from_slice(&space.to_be_bytes());
    key
}

pub(crate) fn garbage_space(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(1..)?.try_into().ok()?))
}

pub(crate) const GROUPS_PREFIX: [u8; 1] = [META_GROUP];

pub(crate) fn group_prefix(group: GroupId) -> [u8; 5] {
    let mut key = [META_GROUP; 5];
    key[1..].copy_from_slice(&group.0.to_be_bytes());
    key
}

fn group_key(group: GroupId, tag: u8) -> [u8; 6] {
    let mut key = [tag; 6];
    key[..5].copy_from_slice(&group_prefix(group));
    key
}

pub(crate) fn record_key(group: GroupId) -> [u8; 6] {
    group_key(group, GROUP_RECORD)
}

/// The group whose record this is, when it is a group's record at all.
pub(crate) fn group_of_record(key: &[u8]) -> Option<GroupId> {
    let (tag, rest) = key.split_last()?;
    if *tag != GROUP_RECORD {
        return None;
    }
    Some(GroupId(u32::from_be_bytes(rest.get(1..)?.try_into().ok()?)))
}

pub(crate) fn vote_key(group: GroupId) -> [u8; 6] {
    group_key(group, GROUP_VOTE)
}

pub(crate) fn purged_key(group: GroupId) -> [u8; 6] {
    group_key(group, GROUP_PURGED)
}

pub(crate) fn user_meta_key(group: GroupId, key: &[u8]) -> Vec<u8> {
    let mut full = group_key(group, GROUP_USER).to_vec();
    full.extend_from_slice(key);
    full
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_keys_sort_by_space_then_index() {
        assert!(log_key(1, u64::MAX) < log_key(2, 0));
        assert!(log_key(1, 255) < log_key(1, 256));
        assert_eq!(log_index(&log_key(7, 9)), Some(9));
        assert_eq!(log_index(b"short"), None);
    }

    #[test]
    fn a_record_is_bound_to_its_group_and_index() {
        let record = encode_log_record(GroupId(1), 5, b"entry");
        assert_eq!(decode_log_record(GroupId(1), 5, &record).unwrap(), b"entry");
        for (group, index) in [(2, 5), (1, 6)] {
            let error = decode_log_record(GroupId(group), index, &record).unwrap_err();
            assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        }
        assert!(decode_log_record(GroupId(1), 5, &record[..3]).is_err());
    }

    #[test]
    fn every_bit_of_a_record_is_covered() {
        let record = encode_log_record(GroupId(1), 5, b"entry");
        for bit in 0..record.len() * 8 {
            let mut bad = record.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_log_record(GroupId(1), 5, &bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn group_records_are_told_from_user_meta() {
        assert_eq!(group_of_record(&record_key(GroupId(77))), Some(GroupId(77)));
        assert_eq!(group_of_record(&vote_key(GroupId(77))), None);
        // A user key that ends like a record's tag must not pass for one.
        assert_eq!(group_of_record(&user_meta_key(GroupId(77), &[0])), None);
    }

    #[test]
    fn items_lie_between_marker_and_end() {
        let space = 3;
        assert!(applied_key(space).as_slice() < item_key(space, b"").as_slice());
        assert!(item_key(space, &[0xff; 64]) < items_end(space));
        assert!(items_end(space).as_slice() < applied_key(space + 1).as_slice());
        assert_eq!(item_of(&item_key(space, b"k")), Some(b"k".as_slice()));
    }
}
