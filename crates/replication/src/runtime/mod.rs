//! Where replication meets chance, the wall clock and the scheduler, so that a simulation can stand in for all three.
//!
//! Monotonic time is tokio's, which a simulation pauses and advances, and is read here ([`now`], `sleep`), so that a simulated clock may
//! run at a rate of its own. The rest comes from here too: `spawn`, `random`, `wall_ms` and the watch channel. A task that belongs to a simulated [`Process`] gets that process's; every other
//! task, and so all of production, gets the operating system's.
//!
//! tokio's `select!` without `biased` and its watch channel draw from a generator that cannot be seeded, so neither is used in
//! this crate.

mod clock;
mod dice;
mod openraft;
mod process;
pub mod watch;

pub use self::openraft::Runtime;
pub use clock::{interval, now, since, sleep, sleep_until, timeout, timeout_at};
pub use dice::{Dice, SPLITMIX64_STEP, splitmix64};
pub use process::{Mistake, Process};

use rand::RngExt;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

/// Spawns a task that belongs to the same process as the one that spawns it.
pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match Process::current() {
        None => tokio::spawn(future),
        Some(process) => process.spawn(future),
    }
}

/// Spawns a task into a set, that belongs to the same process as the one that spawns it; answers what ends it.
pub fn spawn_into<F>(set: &mut JoinSet<()>, future: F) -> AbortHandle
where
    F: Future<Output = ()> + Send + 'static,
{
    let Some(process) = Process::current() else { return set.spawn(future) };
    let task = set.spawn(process.scope(future));
    process.adopt(task.clone());
    task
}

/// Does work that waits for the disk on a thread that runs no tasks; a simulation has no such thread and does it at once.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    if Process::current().is_some() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// A random value.
pub(crate) fn random<T>() -> T
where
    rand::distr::StandardUniform: rand::distr::Distribution<T>,
{
    Dice::here().random()
}

/// A random index below `len`, if there is any.
pub(crate) fn random_index(len: usize) -> Option<usize> {
    (len > 0).then(|| Dice::here().random_range(0..len))
}

/// Milliseconds since 1970 by this node's wall clock, which may jump.
#[must_use]
pub fn wall_ms() -> u64 {
    if let Some(process) = Process::current() {
        return process.wall_ms();
    }
    let since = wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How far the wall clock of this operating-system process is shifted, in milliseconds.
static SHIFT_MS: AtomicI64 = AtomicI64::new(0);

/// The wall clock, shifted by [`shift_wall_clock`].
#[must_use]
pub fn wall_clock() -> SystemTime {
    let shift_ms = SHIFT_MS.load(Ordering::Relaxed);
    let shift = Duration::from_millis(shift_ms.unsigned_abs());
    let now = SystemTime::now();
    let shifted = if shift_ms < 0 { now.checked_sub(shift) } else { now.checked_add(shift) };
    shifted.unwrap_or(now)
}

/// Shifts what this operating-system process takes for the time of day. For drills of clocks that are wrong; nothing in
/// a configuration leads here.
pub fn shift_wall_clock(shift_ms: i64) {
    SHIFT_MS.store(shift_ms, Ordering::Relaxed);
}

/// Counts that a rare path was taken, so that a simulation can tell which ones its runs reached.
pub fn mark(path: &'static str) {
    if let Some(process) = Process::current() {
        process.mark(path);
    }
}

/// Whether the simulation wants this mistake to be made here. Never in a build without the feature `mistakes`.
#[must_use]
pub fn errs(mistake: Mistake) -> bool {
    cfg!(feature = "mistakes") && Process::current().is_some_and(|process| process.makes(mistake))
}
