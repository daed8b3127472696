//! The luck of a simulation: one seed, many independent streams.

use meridian_replication::runtime::{SPLITMIX64_STEP, splitmix64};
use std::ops::Range;
use std::time::Duration;

/// A small generator (splitmix64).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own, for something that must not disturb the others.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.draw() ^ 0x6a09_e667_f3bc_c908)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(SPLITMIX64_STEP);
        splitmix64(self.0)
    }

    /// A number in the range, which is not empty.
    pub fn range(&mut self, range: Range<u64>) -> u64 {
        range.start + self.draw() % (range.end - range.start).max(1)
    }

    /// An index below `len`, which is not zero.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.range(0..len as u64)).unwrap_or(0)
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.index(items.len())) }
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.range(0..100) < percent
    }

    /// A duration of so many milliseconds.
    pub fn ms(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.range(range))
    }

    /// A duration of so many microseconds.
    pub fn us(&mut self, range: Range<u64>) -> Duration {
        Duration::from_micros(self.range(range))
    }
}
