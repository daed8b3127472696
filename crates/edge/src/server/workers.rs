//! Threads that serve connections, each with a runtime and connections to backends of its own: a request stays on its thread from its
//! first byte to its last, and waking another one would cost more than all that is done with it. A flood takes these threads, not those
//! of the node's heartbeats.

use std::io;
use std::sync::Arc;
use std::thread;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// All of them. They end, with all that they are at, when this is dropped.
pub(super) struct Workers(Vec<Worker>);

struct Worker {
    handle: Handle,
    /// Held once by this, and once by each connection of the worker.
    connections: Arc<()>,
    _running: oneshot::Sender<()>,
}

/// A connection's place at a worker.
pub(super) struct Seat {
    /// The worker's number.
    pub(super) worker: usize,
    pub(super) handle: Handle,
    pub(super) held: Arc<()>,
}

impl Workers {
    /// Starts so many.
    ///
    /// # Errors
    /// When the system gives no thread, or no more descriptors.
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let start = |number| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            let (running, ended) = oneshot::channel();
            thread::Builder::new().name(format!("edge-{number}")).spawn(move || {
                // An error says that the other end is gone.
                _ = runtime.block_on(ended);
                // The name of a backend may be looked up still, which cannot be interrupted.
                runtime.shutdown_background();
            })?;
            Ok(Worker { handle, connections: Arc::default(), _running: running })
        };
        (0..count).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// A place at the one that has the fewest connections.
    pub(super) fn seat(&self) -> Option<Seat> {
        let count = |worker: &Worker| Arc::strong_count(&worker.connections);
        let (number, worker) = self.0.iter().enumerate().min_by_key(|(_, worker)| count(worker))?;
        let held = Arc::clone(&worker.connections);
        Some(Seat { worker: number, handle: worker.handle.clone(), held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_out_and_end_with_their_workers() {
        let workers = Workers::start(2).unwrap();
        let seats: Vec<Seat> = (0..4).filter_map(|_| workers.seat()).collect();
        let numbers: Vec<usize> = seats.iter().map(|seat| seat.worker).collect();
        assert_eq!(numbers, [0, 1, 0, 1]);
        let never = seats[1].handle.spawn(std::future::pending::<()>());
        drop(seats.into_iter().nth(3));
        drop(workers);
        let ended = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(never);
        assert!(ended.unwrap_err().is_cancelled());
    }
}
