//! Shared by the tests of the store.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use meridian_store::{Store, StoreOptions};
use std::ops::RangeInclusive;
use std::path::Path;

/// No limit on free space, and a memtable so small that flushes and compactions happen.
pub(crate) fn options() -> StoreOptions {
    StoreOptions { min_free: 0, ballast_bytes: 0, memtable_bytes: 1 << 20, ..StoreOptions::default() }
}

pub(crate) fn open(dir: &Path) -> Store {
    Store::open(dir, &options()).unwrap()
}

pub(crate) fn entries(range: RangeInclusive<u64>) -> Vec<(u64, Bytes)> {
    range.map(|index| (index, Bytes::from(format!("entry {index}")))).collect()
}

/// A small generator for tests that must be repeatable (splitmix64).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// An entry that proves its own place: anything else found there is garbage.
pub(crate) fn proving_entry(group: u32, index: u64, rng: &mut Rng) -> Bytes {
    let mut bytes = Vec::new();
    bytes.extend(group.to_le_bytes());
    bytes.extend(index.to_le_bytes());
    let filler = if rng.below(50) == 0 { 20_000 } else { rng.below(600) };
    while bytes.len() < 12 + usize::try_from(filler).unwrap() {
        bytes.extend(rng.next().to_le_bytes());
    }
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    Bytes::from(bytes)
}

pub(crate) fn assert_proves(group: u32, index: u64, entry: &[u8]) {
    let (body, crc) = entry.split_at(entry.len() - 4);
    assert_eq!(crc, crc32fast::hash(body).to_le_bytes(), "garbage in group {group} at {index}");
    assert_eq!(body[..4], group.to_le_bytes(), "entry of another group at {index}");
    assert_eq!(body[4..12], index.to_le_bytes(), "entry of another index at {index}");
}
