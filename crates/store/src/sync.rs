//! Group commit: one thread makes everything written so far durable with one fsync, then tells all who waited.
//!
//! While an fsync runs, new waiters gather; they share the next one. An idle store answers a lone writer at once.
//! What "make durable" means is passed in; this module knows neither files nor the engine. Without a thread, whoever
//! owns the store's disk takes the waiters and settles with them.

use crate::StoreError;
use crate::locks::{lock, wait};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// Called once, on the store's sync thread, when what it was given for is on disk or never will be known to be.
///
/// It must be quick and must not call back into the store's blocking functions.
pub type OnDurable = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Makes everything written before the call durable. After an error it is never called again.
pub(crate) type SyncFn = Box<dyn FnMut() -> Result<(), StoreError> + Send>;

/// Told of the error that ended the thread, before any waiter is; says what the waiters are told.
pub(crate) type FailFn = Box<dyn Fn(StoreError) -> StoreError + Send + Sync>;

#[derive(Default)]
struct Queue {
    waiting: Vec<OnDurable>,
    /// Set once: new waiters get this answer at once.
    ended: Option<StoreError>,
    stop: bool,
    /// Whether an fsync is under way.
    busy: bool,
}

impl Queue {
    /// Begins an fsync for those who wait.
    fn begin(&mut self) -> Vec<OnDurable> {
        self.busy = true;
        std::mem::take(&mut self.waiting)
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

/// Called when a waiter has come, where no thread is there to notice.
pub(crate) type Bell = Box<dyn Fn() + Send + Sync>;

enum Runner {
    Thread(Mutex<Option<JoinHandle<()>>>),
    Owner { bell: Bell, sync: Mutex<SyncFn>, fail: FailFn },
}

/// Waiters and what became of their fsync.
pub(crate) struct Turn {
    pub(crate) waiting: Vec<OnDurable>,
    pub(crate) result: Result<(), StoreError>,
}

/// The door to whoever syncs. Dropping it does not stop the thread; [`Syncer::stop`] does.
pub(crate) struct Syncer {
    shared: Arc<Shared>,
    runner: Runner,
}

impl Syncer {
    /// Syncs on a thread of its own.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub(crate) fn start(sync: SyncFn, fail: FailFn) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let handle = std::thread::Builder::new().name("meridian-sync".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || run(&shared, sync, &fail)
        })?;
        Ok(Self { shared, runner: Runner::Thread(Mutex::new(Some(handle))) })
    }

    /// Leaves the syncing to the disk's owner, whom `bell` tells of waiters. A caller that blocks syncs by itself.
    pub(crate) fn by_owner(bell: Bell, sync: SyncFn, fail: FailFn) -> Self {
        Self { shared: Arc::default(), runner: Runner::Owner { bell, sync: Mutex::new(sync), fail } }
    }

    /// For the owner: those who wait now, if anyone does.
    pub(crate) fn take_waiting(&self) -> Option<Vec<OnDurable>> {
        let mut queue = lock(&self.shared.queue);
        (!queue.waiting.is_empty()).then(|| queue.begin())
    }

    /// For the owner: answers those taken. After an error nothing is ever synced again.
    pub(crate) fn settle(&self, turn: Turn) {
        let result = match &self.runner {
            Runner::Owner { fail, .. } => turn.result.map_err(fail),
            Runner::Thread(_) => turn.result,
        };
        self.shared.settle(turn.waiting, &result);
    }

    /// Whether an fsync is under way.
    pub(crate) fn busy(&self) -> bool {
        lock(&self.shared.queue).busy
    }

    /// Queues a waiter for the next fsync. Once there will be none, the waiter is answered on this thread.
    pub(crate) fn when_durable(&self, waiter: OnDurable) {
        let mut queue = lock(&self.shared.queue);
        match &queue.ended {
            None => {
                queue.waiting.push(waiter);
                drop(queue);
                match &self.runner {
                    Runner::Thread(_) => self.shared.wake.notify_one(),
                    Runner::Owner { bell, .. } => bell(),
                }
            }
            Some(answer) => {
                let answer = answer.clone();
                drop(queue);
                waiter(Err(answer));
            }
        }
    }

    /// Waits until everything written before the call is on disk.
    pub(crate) fn wait_durable(&self) -> Result<(), StoreError> {
        if let Runner::Owner { sync, .. } = &self.runner {
            if let Some(answer) = lock(&self.shared.queue).ended.clone() {
                return Err(answer);
            }
            let waiting = self.take_waiting().unwrap_or_default();
            let result = lock(sync)();
            self.settle(Turn { waiting, result: result.clone() });
            return result;
        }
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.when_durable(Box::new(move |result| {
            // The receiver waits below for as long as the sender lives.
            let _ = sender.send(result);
        }));
        receiver.recv().unwrap_or(Err(StoreError::Closed))
    }

    /// Serves the waiters that are queued, then ends the thread. Safe to call from the thread itself and twice.
    pub(crate) fn stop(&self) {
        lock(&self.shared.queue).stop = true;
        self.shared.wake.notify_one();
        let handle = match &self.runner {
            Runner::Thread(handle) => lock(handle).take(),
            Runner::Owner { .. } => {
                self.shared.settle(Vec::new(), &Err(StoreError::Closed));
                None
            }
        };
        if let Some(handle) = handle
            && handle.thread().id() != std::thread::current().id()
            && handle.join().is_err()
        {
            tracing::error!("the sync thread of the store panicked");
        }
    }
}

fn run(shared: &Shared, mut sync: SyncFn, fail: &FailFn) {
    loop {
        let mut queue = lock(&shared.queue);
        while queue.waiting.is_empty() {
            if queue.stop {
                queue.ended.get_or_insert(StoreError::Closed);
                return;
            }
            queue = wait(&shared.wake, queue);
        }
        let waiting = queue.begin();
        drop(queue);

        let result = catch_unwind(AssertUnwindSafe(&mut sync))
            .unwrap_or_else(|_| Err(StoreError::Failed { reason: "the sync thread panicked".into() }))
            .map_err(fail);
        shared.settle(waiting, &result);
        if result.is_err() {
            return;
        }
    }
}

impl Shared {
    /// Answers `waiting`, and after an error everyone who waits or will wait.
    fn settle(&self, waiting: Vec<OnDurable>, result: &Result<(), StoreError>) {
        lock(&self.queue).busy = false;
        answer(waiting, result);
        if let Err(error) = result {
            let mut queue = lock(&self.queue);
            let error = queue.ended.get_or_insert_with(|| error.clone()).clone();
            let late = std::mem::take(&mut queue.waiting);
            drop(queue);
            answer(late, &Err(error));
        }
    }
}

fn answer(waiting: Vec<OnDurable>, result: &Result<(), StoreError>) {
    for waiter in waiting {
        // A waiter that panics must not take the others' answers with it.
        if catch_unwind(AssertUnwindSafe(|| waiter(result.clone()))).is_err() {
            tracing::error!("a waiter of the store panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    fn failed() -> StoreError {
        StoreError::Failed { reason: "fsync".into() }
    }

    fn start(sync: SyncFn) -> Syncer {
        Syncer::start(sync, Box::new(|error| error)).unwrap()
    }

    #[test]
    fn waiters_that_come_during_an_fsync_share_the_next_one() {
        let syncs = Arc::new(AtomicUsize::new(0));
        let (entered_tx, entered) = mpsc::channel();
        let (go, gate) = mpsc::channel::<()>();
        let thread = start(Box::new({
            let syncs = Arc::clone(&syncs);
            move || {
                syncs.fetch_add(1, Ordering::SeqCst);
                entered_tx.send(()).unwrap();
                gate.recv().unwrap();
                Ok(())
            }
        }));
        let (done_tx, done) = mpsc::channel();
        let waiter = || {
            let done_tx = done_tx.clone();
            Box::new(move |result: Result<(), StoreError>| done_tx.send(result.is_ok()).unwrap()) as OnDurable
        };
        thread.when_durable(waiter());
        entered.recv().unwrap();
        for _ in 0..50 {
            thread.when_durable(waiter());
        }
        go.send(()).unwrap();
        entered.recv().unwrap();
        go.send(()).unwrap();
        for _ in 0..51 {
            assert!(done.recv().unwrap());
        }
        assert_eq!(syncs.load(Ordering::SeqCst), 2);
        thread.stop();
    }

    #[test]
    fn a_failed_fsync_is_final_and_never_tried_again() {
        let syncs = Arc::new(AtomicUsize::new(0));
        let thread = start(Box::new({
            let syncs = Arc::clone(&syncs);
            move || {
                syncs.fetch_add(1, Ordering::SeqCst);
                Err(failed())
            }
        }));
        for _ in 0..3 {
            assert!(matches!(thread.wait_durable(), Err(StoreError::Failed { .. })));
        }
        assert_eq!(syncs.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_panicking_waiter_does_not_silence_the_others() {
        let thread = start(Box::new(|| Ok(())));
        thread.when_durable(Box::new(|_| panic!("waiter")));
        assert!(thread.wait_durable().is_ok());
    }

    #[test]
    fn stopping_serves_the_queue_and_refuses_what_comes_later() {
        let thread = start(Box::new(|| Ok(())));
        let (done_tx, done) = mpsc::channel();
        thread.when_durable(Box::new(move |result| done_tx.send(result).unwrap()));
        thread.stop();
        assert!(done.recv().unwrap().is_ok());
        assert!(matches!(thread.wait_durable(), Err(StoreError::Closed)));
        thread.stop();
    }
}
