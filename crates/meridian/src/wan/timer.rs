//! A timer that wakes within tens of microseconds. The runtime's own timer counts whole milliseconds and rounds up twice,
//! which a link of a few milliseconds would show as a false RTT.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::oneshot;

/// One thread that sleeps until the earliest deadline; cheap to clone. The thread ends with the last clone.
#[derive(Clone)]
pub(super) struct Timer {
    handle: Arc<Handle>,
}

struct Handle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: BinaryHeap<Reverse<Entry>>,
    next: u64,
    closed: bool,
}

struct Entry {
    at: Instant,
    /// Keeps entries of one instant in order, and the order total.
    number: u64,
    wake: oneshot::Sender<()>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl Shared {
    /// No code panics while it holds the lock, so a poisoned queue is still whole.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let worker = Arc::clone(&shared);
        std::thread::Builder::new().name("wan-timer".to_owned()).spawn(move || run(&worker))?;
        Ok(Self { handle: Arc::new(Handle(shared)) })
    }

    /// Waits until `at`, or not at all when that has passed.
    pub(super) async fn sleep_until(&self, at: Instant) {
        if at <= Instant::now() {
            return;
        }
        let (wake, woken) = oneshot::channel();
        let shared = &self.handle.0;
        {
            let mut queue = shared.lock();
            let number = queue.next;
            queue.next += 1;
            let earliest = queue.waiting.peek().is_none_or(|Reverse(first)| at < first.at);
            queue.waiting.push(Reverse(Entry { at, number, wake }));
            if earliest {
                shared.changed.notify_one();
            }
        }
        // The thread lives as long as this handle.
        _ = woken.await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_one();
    }
}

fn run(shared: &Shared) {
    let mut queue = shared.lock();
    while !queue.closed {
        let now = Instant::now();
        while queue.waiting.peek().is_some_and(|Reverse(first)| first.at <= now) {
            if let Some(Reverse(entry)) = queue.waiting.pop() {
                // Whoever waited may have gone.
                _ = entry.wake.send(());
            }
        }
        queue = match queue.waiting.peek().map(|Reverse(first)| first.at.saturating_duration_since(now)) {
            Some(wait) => shared.changed.wait_timeout(queue, wait).unwrap_or_else(PoisonError::into_inner).0,
            None => shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
        };
    }
}
