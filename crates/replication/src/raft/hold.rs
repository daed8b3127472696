//! Keeps a group's log while members are brought up, so that one that has its snapshot finds what came after it.

use super::Pacer;
use crate::replica_id::ReplicaId;
use crate::runtime::{self, mark};
use meridian_store::Store;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes by which a log may grow for that, beyond what it may have anyway. Whoever needs more begins with another snapshot, and faster.
const MOST: u64 = 256 << 20;
/// Between looks whether members have arrived. A stream that begins anew is not seen for a moment, so two looks have to agree.
const LOOK: Duration = Duration::from_secs(2);

/// What the log and the state machine of a replica share.
pub(crate) struct Hold {
    group: ReplicaId,
    pacer: Arc<Pacer>,
    store: Store,
    /// Bytes of all entries that were appended.
    appended: AtomicU64,
}

impl Hold {
    pub(crate) fn new(group: ReplicaId, pacer: &Arc<Pacer>, store: &Store) -> Arc<Self> {
        Arc::new(Self { group, pacer: Arc::clone(pacer), store: store.clone(), appended: AtomicU64::new(0) })
    }

    /// Entries of so many bytes were appended.
    pub(super) fn appended(&self, bytes: u64) {
        self.appended.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Waits for as long as the log should not be cut: while members are brought up, at most until it has grown by [`MOST`] or space is short.
    pub(super) async fn released(&self) {
        let limit = self.appended.load(Ordering::Relaxed).saturating_add(MOST);
        let released = || self.store.space().low || self.appended.load(Ordering::Relaxed) > limit;
        let mut chased = self.pacer.chases(self.group);
        while chased && !released() {
            mark("a log was kept for a member that is brought up");
            runtime::sleep(LOOK).await;
            let before = self.pacer.chases(self.group);
            runtime::sleep(LOOK).await;
            chased = before || self.pacer.chases(self.group);
        }
    }
}
