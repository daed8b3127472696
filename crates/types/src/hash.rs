//! The one stable hash that decides which group an item lives in. It is part of the disk format: never change it.

use crate::id::TableId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Hashes a table and an encoded partition key to 64 bits, evenly spread.
///
/// The high bits order items within a group (scan order), the value modulo the group count chooses the group.
#[must_use]
pub fn partition_hash(table: TableId, partition_key: &[u8]) -> u64 {
    xxh3_64_with_seed(partition_key, u64::from(table.0))
}

/// The ordinal (0-based, within the policy's groups) that holds an item of this hash.
///
/// # Panics
/// When `groups` is 0; policies are validated to have at least one group.
#[must_use]
pub fn group_ordinal(hash: u64, groups: u32) -> u32 {
    assert!(groups > 0, "a policy has at least one group");
    // The remainder of a u64 by a u32 fits u32.
    u32::try_from(hash % u64::from(groups)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_pinned_because_disks_depend_on_it() {
        assert_eq!(partition_hash(TableId(1), b"S:a"), 17_366_378_817_804_865_463);
        assert_eq!(group_ordinal(10, 4), 2);
    }
}
