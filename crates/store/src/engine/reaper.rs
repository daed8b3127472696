//! Frees write buffers outside of the engine's locks.
//!
//! The engine lets go of a flushed buffer while it holds the lock that every read and write of that table takes. If nobody else
//! has the buffer, its tens of thousands of entries are freed right there, and everything waits for tens of milliseconds. So each buffer
//! is held here too, until nobody else has it.

use super::Engine;
use std::any::Any;
use std::sync::Arc;

/// A write buffer of the engine; what it is does not matter here.
pub(super) type Buffer = Arc<dyn Any + Send + Sync>;

/// Holds buffers from when they are written to until nobody else has them.
#[derive(Default)]
pub(crate) struct Reaper {
    active: Vec<Buffer>,
    flushed: Vec<Buffer>,
}

impl Reaper {
    /// Takes hold of new buffers, and frees those that only this still has. To be called more often than buffers become full.
    pub(crate) fn look(&mut self, engine: &Engine) {
        let now = engine.write_buffers();
        let was = std::mem::replace(&mut self.active, now);
        let is_active = |buffer: &Buffer| self.active.iter().any(|active| Arc::ptr_eq(active, buffer));
        self.flushed.extend(was.into_iter().filter(|buffer| !is_active(buffer)));
        self.flushed.retain(|buffer| Arc::strong_count(buffer) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Table;
    use super::*;
    use crate::StoreOptions;
    use std::time::{Duration, Instant};

    #[test]
    fn a_buffer_is_freed_here_once_the_engine_lets_go_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { memtable_bytes: 64 << 10, ..StoreOptions::default() };
        let engine = Engine::open(&dir.path().join("engine"), &options).unwrap();
        let mut reaper = Reaper::default();
        let (mut number, mut freed, end) = (0_u32, 0, Instant::now() + Duration::from_secs(60));
        // The engine's own thread makes the tables, when it comes to it.
        while freed < 3 {
            assert!(Instant::now() < end, "{freed} buffers were freed, {} are held", reaper.flushed.len());
            for _ in 0..200 {
                let mut batch = engine.batch();
                batch.insert(Table::State, number.to_be_bytes(), [0; 512]);
                engine.commit(batch).unwrap();
                number += 1;
            }
            std::thread::sleep(Duration::from_millis(5));
            let before = reaper.flushed.len();
            reaper.look(&engine);
            freed += before.saturating_sub(reaper.flushed.len());
        }
    }
}
