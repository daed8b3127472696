//! Deletes what nobody needs any more, in small steps, on one thread of its own or when the disk's owner says so. The thread frees
//! flushed write buffers and removed journals as well.

use crate::StoreError;
use crate::engine::{Engine, Reaper, Table};
use crate::keys::{self, SpaceKind};
use crate::locks::{lock, wait_timeout};
use crate::old_journals::OldJournals;
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Keys deleted in one batch.
pub(crate) const STEP: usize = 512;
/// Pause between batches, so that deleting a large state leaves room for everything else.
const PAUSE: Duration = Duration::from_millis(2);
/// Between looks at the write buffers, each of which takes longer than this to become full.
const REAP_EVERY: Duration = Duration::from_millis(100);
/// Between the steps in which a journal is given back, each of which takes a millisecond or so.
const SHRINK_EVERY: Duration = Duration::from_millis(5);

/// Something to delete. Each is safe to repeat, and is found again after a crash.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    /// A whole space, and then the record that says so.
    DropSpace { space: u64, kind: SpaceKind },
    /// The entries of a log from `start` up to but not including `end`, which a purge left.
    TrimLog { space: u64, start: u64, end: u64 },
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    running: bool,
    stop: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

pub(crate) struct Janitor {
    shared: Arc<Shared>,
    engine: Arc<Engine>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl Janitor {
    pub(crate) fn start(engine: Arc<Engine>, journals: Arc<OldJournals>) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let handle = std::thread::Builder::new().name("meridian-janitor".to_owned()).spawn({
            let (shared, engine) = (Arc::clone(&shared), Arc::clone(&engine));
            move || run(&shared, &engine, journals)
        })?;
        Ok(Self { shared, engine, handle: Mutex::new(Some(handle)) })
    }

    /// Deletes only in [`Janitor::step`].
    pub(crate) fn by_owner(engine: Arc<Engine>) -> Self {
        Self { shared: Arc::default(), engine, handle: Mutex::default() }
    }

    /// Deletes one batch of the oldest task; whether there was a task.
    pub(crate) fn step(&self) -> bool {
        let Some(task) = lock(&self.shared.queue).tasks.pop_front() else { return false };
        match step(&self.engine, task, None) {
            Ok(None) => {}
            Ok(Some(_)) => lock(&self.shared.queue).tasks.push_front(task),
            Err(error) => tracing::debug!(%error, ?task, "deletion stopped"),
        }
        true
    }

    pub(crate) fn add(&self, task: Task) {
        lock(&self.shared.queue).tasks.push_back(task);
        self.shared.wake.notify_one();
    }

    /// Deletions waiting or under way.
    pub(crate) fn pending(&self) -> usize {
        let queue = lock(&self.shared.queue);
        queue.tasks.len() + usize::from(queue.running)
    }

    /// Ends the thread after its current step. What is left to do is found again when the store opens.
    pub(crate) fn stop(&self) {
        lock(&self.shared.queue).stop = true;
        self.shared.wake.notify_one();
        let handle = lock(&self.handle).take();
        if let Some(handle) = handle
            && handle.thread().id() != std::thread::current().id()
            && handle.join().is_err()
        {
            tracing::error!("the janitor thread of the store panicked");
        }
    }
}

/// What the engine has let go of, and when it is to be looked at again.
struct Reaping {
    reaper: Reaper,
    journals: Arc<OldJournals>,
    due: Instant,
}

impl Reaping {
    fn look(&mut self, engine: &Engine) {
        if Instant::now() >= self.due {
            self.reaper.look(engine);
            let every = if self.journals.shrink() { SHRINK_EVERY } else { REAP_EVERY };
            self.due = Instant::now() + every;
        }
    }
}

fn run(shared: &Shared, engine: &Engine, journals: Arc<OldJournals>) {
    let mut reaping = Reaping { reaper: Reaper::default(), journals, due: Instant::now() };
    loop {
        let mut queue = lock(&shared.queue);
        queue.running = false;
        let task = loop {
            if queue.stop {
                return;
            }
            match queue.tasks.pop_front() {
                Some(task) => break task,
                None => {
                    drop(queue);
                    reaping.look(engine);
                    let rest = reaping.due.saturating_duration_since(Instant::now());
                    queue = wait_timeout(&shared.wake, lock(&shared.queue), rest).0;
                }
            }
        };
        queue.running = true;
        drop(queue);
        if !work(shared, engine, task, &mut reaping) {
            return;
        }
    }
}

/// Does a task to its end; false when the thread is to stop.
fn work(shared: &Shared, engine: &Engine, task: Task, reaping: &mut Reaping) -> bool {
    // Where the last step ended: looking again from the start would read all the tombstones left there.
    let mut after = None;
    loop {
        match step(engine, task, after.as_deref()) {
            Ok(None) => return true,
            Ok(Some(last)) => after = Some(last),
            Err(StoreError::Busy) => {}
            Err(error) => {
                tracing::warn!(%error, ?task, "deletion stopped; it goes on when the store is opened again");
                return true;
            }
        }
        reaping.look(engine);
        let queue = lock(&shared.queue);
        if queue.stop || wait_timeout(&shared.wake, queue, PAUSE).0.stop {
            return false;
        }
    }
}

/// Deletes up to [`STEP`] keys behind `after`; returns the last one, or nothing when the task is done.
fn step(engine: &Engine, task: Task, after: Option<&[u8]>) -> Result<Option<Vec<u8>>, StoreError> {
    let (table, from, to) = match task {
        Task::DropSpace { space, kind: SpaceKind::Log } => {
            (Table::Log, keys::log_key(space, 0).to_vec(), keys::log_key(space + 1, 0).to_vec())
        }
        Task::DropSpace { space, kind: SpaceKind::State } => {
            (Table::State, keys::applied_key(space).to_vec(), keys::items_end(space))
        }
        Task::TrimLog { space, start, end } => {
            (Table::Log, keys::log_key(space, start).to_vec(), keys::log_key(space, end).to_vec())
        }
    };
    let from = after.map_or(Bound::Included(from), |after| Bound::Excluded(after.to_vec()));
    let mut batch = engine.batch();
    let mut last = None;
    for row in engine.range::<Vec<u8>>(table, (from, Bound::Excluded(to))).take(STEP) {
        let (key, _) = row.map_err(StoreError::reading("find keys to delete", None, None))?;
        last = Some(key.to_vec());
        batch.remove(table, key);
    }
    if batch.len() < STEP {
        if let Task::DropSpace { space, .. } = task {
            batch.remove(Table::Meta, keys::garbage_key(space));
        }
        last = None;
    }
    engine.commit(batch)?;
    Ok(last)
}
