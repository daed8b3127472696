//! What a node asks of its store.

use crate::config::NodeConfig;
use meridian_store::StoreOptions;
use meridian_types::NodeId;

/// The options of a node's store.
pub(super) fn options(config: &NodeConfig) -> StoreOptions {
    let default = StoreOptions::default();
    let write_buffer = config.store.write_buffer.0;
    StoreOptions {
        min_free: config.store.min_free.0,
        block_cache_bytes: config.store.cache_size.0,
        memtable_bytes: staggered(write_buffer, config.node.number),
        // Room for what both buffers hold and wait with, or they are flushed before they are full.
        journal_bytes: (write_buffer * 8).max(default.journal_bytes),
        ..default
    }
}

/// Three quarters of a size or more, by the node. All replicas of a group take the same writes: with buffers of one size all would write their tables in the
/// same moment, and a quorum would wait for busy disks.
fn staggered(bytes: u64, NodeId(node): NodeId) -> u64 {
    // Multiples of the golden ratio are spread evenly, however many there are.
    let part = node.wrapping_mul(618) % 1_000;
    bytes / 4_000 * (3_000 + part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_fill_their_buffers_at_different_times() {
        for first in 1..50 {
            let mut sizes: Vec<u64> =
                (first..first + 5).map(|node| staggered(16 << 20, NodeId(node))).collect();
            sizes.sort_unstable();
            assert!(sizes.iter().all(|size| ((12 << 20) - 16_000..=16 << 20).contains(size)), "{sizes:?}");
            let apart = sizes.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
            assert!(apart > 256 << 10, "{sizes:?}");
        }
    }
}
