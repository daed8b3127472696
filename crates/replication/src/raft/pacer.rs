//! The one [`Pace`] of a node, with its clock.

use crate::pace::Pace;
use crate::replica_id::ReplicaId;
use crate::runtime;
use meridian_types::NodeId;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Paces what this node sends to members that are far behind.
#[derive(Debug)]
pub(crate) struct Pacer {
    began: Instant,
    pace: Mutex<Pace>,
}

impl Pacer {
    pub(crate) fn new(bytes_per_s: u64) -> Arc<Self> {
        Arc::new(Self { began: runtime::now(), pace: Mutex::new(Pace::new(bytes_per_s)) })
    }

    /// Waits until entries of so many bytes, which leave a member `lag` entries behind, may be sent.
    pub(crate) async fn entries(&self, to: (ReplicaId, NodeId), lag: u64, bytes: usize) {
        let now = runtime::since(self.began);
        let wait = self.lock().entries(to, lag, bytes as u64, now);
        self.pause(wait).await;
    }

    /// A member is `lag` entries behind, and is sent what it lacks at once.
    pub(crate) fn reached(&self, to: (ReplicaId, NodeId), lag: u64) {
        self.lock().reached(to, lag);
    }

    /// Notes that a snapshot begins.
    pub(crate) fn snapshot(&self, to: (ReplicaId, NodeId)) {
        self.lock().snapshot(to);
    }

    /// Waits until a part of a snapshot may be sent.
    pub(crate) async fn part(&self, to: (ReplicaId, NodeId), bytes: usize) {
        let now = runtime::since(self.began);
        let wait = self.lock().part(to, bytes as u64, now);
        self.pause(wait).await;
    }

    /// A client's write was answered after so long.
    pub(crate) fn served(&self, took: Duration) {
        let now = runtime::since(self.began);
        self.lock().served(took, now);
    }

    /// Whether a member of a group is far behind and being brought up.
    pub(crate) fn chases(&self, group: ReplicaId) -> bool {
        self.lock().chases(group)
    }

    /// A member is not sent to any more.
    pub(crate) fn forget(&self, to: (ReplicaId, NodeId)) {
        self.lock().forget(to);
    }

    /// Members that are far behind, and the bytes that were sent to such since this node started.
    pub(crate) fn figures(&self) -> (u64, u64) {
        self.lock().figures()
    }

    async fn pause(&self, wait: Duration) {
        if wait.is_zero() {
            return;
        }
        runtime::sleep(wait).await;
        let calm = self.lock().calm(runtime::since(self.began));
        if !calm.is_zero() {
            runtime::sleep(calm).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pace> {
        // Counters: none is left half-changed by a panic elsewhere.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
