//! A simulated process: tasks that stop, die and draw their luck together.
//!
//! Everything a process does happens in polls of its tasks. So a frozen process is one whose tasks are not polled: time goes on,
//! timers expire and frames pile up without it, and it finds all that when it thaws, as after SIGSTOP. A killed process is
//! one whose tasks are never polled again.

use super::dice::{SPLITMIX64_STEP, splitmix64};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

thread_local! {
    static CURRENT: RefCell<Option<Process>> = const { RefCell::new(None) };
}

/// Wall-clock time at which simulated processes believe to start, in milliseconds since 1970.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// Milliseconds that a true clock shows after a second.
const TRUE_RATE: u32 = 1_000;

/// A mistake that a simulation has a process make, to see that its checkers notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Answers consistent reads without looking at the lease.
    ReadWithoutLease,
    /// Acknowledges writes as soon as they are applied, whatever the commit rule says.
    AcknowledgeBeforeGate,
    /// Forgets request ids, so that a write that is sent again takes effect again.
    ForgetRequests,
    /// Votes at once after a restart, whatever lease was granted before.
    VoteEarly,
    /// Goes on under a leadership that was offered to another node.
    KeepOfferedLease,
    /// Takes openraft's word for when a majority last answered.
    TrustOpenraftLease,
    /// Answers a read with a token before the token's position is applied.
    IgnoreTokens,
    /// Leaves the last change of every seventh entry out, on every second node.
    ApplyDifferently,
    /// Serves a group that stands and falls with a region without a lease of that region.
    IgnoreRegionLease,
    /// Takes part in old incarnations of a group although it has heard of a newer one, and takes messages of one for another's.
    DropIncarnationFence,
    /// Founds groups anew at once, without waiting for the leases of the region that is given up.
    RefoundEarly,
    /// Counts the whole of a lease as its holder, as if all clocks ran at one rate.
    IgnoreDrift,
    /// Votes and stands although it lacks entries that it has acknowledged.
    VoteDespiteLoss,
    /// Ends a table's move without copying what has changed since the first copy.
    SkipCatchUp,
    /// Goes on serving a table whose source was frozen for the end of its move.
    ServeFrozen,
}

/// A handle to a simulated process; clones are the same process.
#[derive(Clone, Debug)]
pub struct Process(Arc<State>);

#[derive(Debug)]
struct State {
    number: u64,
    started: Instant,
    frozen: AtomicBool,
    dead: AtomicBool,
    luck: AtomicU64,
    wall_offset_ms: AtomicI64,
    /// Milliseconds of the process's monotonic clock in a second of tokio's.
    clock_rate: AtomicU32,
    mistake: Option<Mistake>,
    parked: Mutex<Vec<Waker>>,
    tasks: Mutex<Vec<AbortHandle>>,
    marks: Mutex<BTreeMap<&'static str, u64>>,
}

impl Process {
    /// A process that draws its luck from `seed`. `started` is the moment of the simulation at which wall clocks begin.
    #[must_use]
    pub fn new(number: u64, seed: u64, started: Instant) -> Self {
        Self::with_mistake(number, seed, started, None)
    }

    /// As [`Process::new`], making a mistake. It is made only where the feature `mistakes` is on.
    #[must_use]
    pub fn with_mistake(number: u64, seed: u64, started: Instant, mistake: Option<Mistake>) -> Self {
        Self(Arc::new(State {
            number,
            started,
            frozen: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            luck: AtomicU64::new(seed),
            wall_offset_ms: AtomicI64::new(0),
            clock_rate: AtomicU32::new(TRUE_RATE),
            mistake,
            parked: Mutex::default(),
            tasks: Mutex::default(),
            marks: Mutex::default(),
        }))
    }

    /// The process whose task is being polled on this thread.
    #[must_use]
    pub fn current() -> Option<Process> {
        CURRENT.with(|current| current.borrow().clone())
    }

    /// Makes a future part of the process.
    pub fn scope<F: Future>(&self, future: F) -> Scoped<F> {
        Scoped { process: self.clone(), future: Some(Box::pin(future)) }
    }

    /// Spawns a task of the process.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = tokio::spawn(self.scope(future));
        self.adopt(task.abort_handle());
        task
    }

    /// Counts a task of the process, so that it ends with it; at once, if that has ended.
    pub(super) fn adopt(&self, task: AbortHandle) {
        if self.0.dead.load(Ordering::Relaxed) {
            task.abort();
            return;
        }
        let mut tasks = lock(&self.0.tasks);
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| !task.is_finished());
            let room = tasks.len().max(64);
            tasks.reserve(room);
        }
        tasks.push(task);
    }

    /// Stops every task until [`Process::thaw`].
    pub fn freeze(&self) {
        self.0.frozen.store(true, Ordering::Relaxed);
    }

    /// Lets the tasks go on.
    pub fn thaw(&self) {
        self.0.frozen.store(false, Ordering::Relaxed);
        let parked = std::mem::take(&mut *lock(&self.0.parked));
        parked.into_iter().for_each(Waker::wake);
    }

    /// Ends every task where it stands.
    pub fn kill(&self) {
        self.0.dead.store(true, Ordering::Relaxed);
        let tasks = std::mem::take(&mut *lock(&self.0.tasks));
        tasks.iter().for_each(AbortHandle::abort);
        lock(&self.0.parked).clear();
    }

    /// Calls `f` as if a task of the process did.
    pub fn within<T>(&self, f: impl FnOnce() -> T) -> T {
        let _here = Here::enter(self);
        f()
    }

    /// Moves the wall clock, without a word to anyone.
    pub fn jump_wall_clock(&self, ms: i64) {
        self.0.wall_offset_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Sets the wall clock right again.
    pub fn mend_wall_clock(&self) {
        self.0.wall_offset_ms.store(0, Ordering::Relaxed);
    }

    /// Makes the monotonic clock show so many milliseconds for a second of tokio's. To be called before the process does anything.
    pub fn set_clock_rate(&self, ms_per_second: u32) {
        self.0.clock_rate.store(ms_per_second.max(1), Ordering::Relaxed);
    }

    /// A moment of tokio's clock as the process's shows it.
    pub(super) fn local(&self, at: Instant) -> Instant {
        let Some(elapsed) = at.checked_duration_since(self.0.started) else { return at };
        self.0.started + elapsed * self.rate() / TRUE_RATE
    }

    /// A moment of the process's clock as tokio's shows it.
    pub(super) fn true_instant(&self, at: Instant) -> Instant {
        let Some(elapsed) = at.checked_duration_since(self.0.started) else { return at };
        self.0.started + self.true_duration(elapsed)
    }

    /// What tokio's clock shows for a duration of the process's; not less, so that nobody wakes too early.
    pub(super) fn true_duration(&self, duration: Duration) -> Duration {
        let rate = self.rate();
        if rate == TRUE_RATE {
            return duration;
        }
        duration.saturating_mul(TRUE_RATE).checked_div(rate).map_or(duration, |d| d + Duration::from_nanos(1))
    }

    fn rate(&self) -> u32 {
        self.0.clock_rate.load(Ordering::Relaxed)
    }

    /// The rare paths that the process has taken since the last call, and how often.
    #[must_use]
    pub fn take_marks(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut *lock(&self.0.marks))
    }

    /// Counts that a rare path was taken.
    pub fn mark(&self, path: &'static str) {
        *lock(&self.0.marks).entry(path).or_default() += 1;
    }

    pub(super) fn makes(&self, mistake: Mistake) -> bool {
        // A replica that differs from the others is a mistake of every second one.
        let here = mistake != Mistake::ApplyDifferently || self.0.number.is_multiple_of(2);
        here && self.0.mistake == Some(mistake)
    }

    pub(super) fn wall_ms(&self) -> u64 {
        let since = u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let offset = self.0.wall_offset_ms.load(Ordering::Relaxed);
        EPOCH_MS.saturating_add(since).saturating_add_signed(offset)
    }

    /// The next seed of the process's luck.
    pub(super) fn draw(&self) -> u64 {
        splitmix64(self.0.luck.fetch_add(SPLITMIX64_STEP, Ordering::Relaxed))
    }
}

/// A future of a process.
pub struct Scoped<F> {
    process: Process,
    /// Taken when the process dies. Boxed, so that it can be dropped where it stands.
    future: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let state = &self.process.0;
        if state.dead.load(Ordering::Relaxed) {
            self.future = None;
            return Poll::Pending;
        }
        if state.frozen.load(Ordering::Relaxed) {
            lock(&state.parked).push(cx.waker().clone());
            return Poll::Pending;
        }
        let _here = Here::enter(&self.process);
        match &mut self.future {
            Some(future) => future.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

/// Names the current process for as long as it lives.
struct Here(Option<Process>);

impl Here {
    fn enter(process: &Process) -> Self {
        Self(CURRENT.with(|current| current.borrow_mut().replace(process.clone())))
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let before = self.0.take();
        CURRENT.with(|current| *current.borrow_mut() = before);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks guard is never left half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_frozen_process_stands_still_and_finds_its_timers_expired() {
        let process = Process::new(1, 7, Instant::now());
        let task = process.spawn(async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Instant::now()
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        process.freeze();
        let start = Instant::now();
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert!(!task.is_finished());
        process.thaw();
        assert_eq!(task.await.unwrap() - start, Duration::from_secs(9));
    }

    #[tokio::test(start_paused = true)]
    async fn a_killed_process_does_nothing_more_and_its_children_die_with_it() {
        let process = Process::new(1, 7, Instant::now());
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        process.spawn(async move {
            super::super::spawn(async move {
                for n in 0.. {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    tell.send(n).unwrap();
                }
            });
        });
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        process.kill();
        assert_eq!(told.recv().await, Some(0));
        assert_eq!(told.recv().await, Some(1));
        assert_eq!(told.recv().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_task_of_a_killed_process_is_told_that_it_never_ran() {
        let process = Process::new(1, 7, Instant::now());
        process.kill();
        let told = tokio::time::timeout(Duration::from_secs(1), process.spawn(async {})).await;
        assert!(told.expect("it waits no longer").unwrap_err().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn luck_and_wall_clock_are_the_process_s() {
        let draws = |seed| async move {
            let process = Process::new(1, seed, Instant::now());
            process.jump_wall_clock(-500);
            let task = process.spawn(async {
                (super::super::random::<u128>(), super::super::random::<u64>(), super::super::wall_ms())
            });
            task.await.unwrap()
        };
        let (first, again, other) = (draws(1).await, draws(1).await, draws(2).await);
        assert_eq!(first, again);
        assert_ne!(first.0, other.0);
        assert_eq!(first.2, EPOCH_MS - 500);
        assert!(Process::current().is_none());
    }
}
