//! Random numbers: the operating system's, or a simulated process's.

use super::process::Process;
use rand::SeedableRng;
use rand::rngs::{SmallRng, ThreadRng};
use std::convert::Infallible;

/// How far the state of splitmix64 moves with each number.
pub const SPLITMIX64_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The number that splitmix64 draws from a state (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[must_use]
pub fn splitmix64(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A generator for the task that asks for it.
#[derive(Debug)]
pub struct Dice(Source);

#[derive(Debug)]
enum Source {
    System(ThreadRng),
    Seeded(SmallRng),
}

impl Dice {
    /// The generator of the process that runs here.
    #[must_use]
    pub fn here() -> Self {
        Self(match Process::current() {
            None => Source::System(rand::rng()),
            Some(process) => Source::Seeded(SmallRng::seed_from_u64(process.draw())),
        })
    }
}

impl rand::TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        match &mut self.0 {
            Source::System(source) => source.try_next_u32(),
            Source::Seeded(source) => source.try_next_u32(),
        }
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        match &mut self.0 {
            Source::System(source) => source.try_next_u64(),
            Source::Seeded(source) => source.try_next_u64(),
        }
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        match &mut self.0 {
            Source::System(source) => source.try_fill_bytes(dst),
            Source::Seeded(source) => source.try_fill_bytes(dst),
        }
    }
}
