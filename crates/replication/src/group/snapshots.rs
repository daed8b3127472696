//! Parts of snapshots from the leader, taken in the order of their arrival.
//!
//! Served at once, each on a task of its own, they would overtake each other now and then, and a transfer with a gap begins anew: a
//! large one would never end.

use crate::raft::{Complete, Raft, SnapshotData, SnapshotPart, SnapshotReceiver, decode, respond};
use crate::runtime;
use crate::transport::Reply;
use bytes::Bytes;
use meridian_store::GroupStore;
use tokio::sync::mpsc;

/// Parts waiting per group; the leader keeps fewer under way.
const QUEUE: usize = 64;

/// The way in for a group's snapshots.
pub(crate) struct SnapshotQueue {
    queue: mpsc::Sender<(Bytes, Reply)>,
}

impl SnapshotQueue {
    pub(super) fn start(raft: Raft, store: GroupStore) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        runtime::spawn(take(raft, store, waiting));
        Self { queue }
    }

    /// Queues a part; a full queue refuses it, and the leader begins again.
    pub(crate) fn push(&self, part: Bytes, reply: Reply) {
        if let Err(error) = self.queue.try_send((part, reply)) {
            let (_, reply) = error.into_inner();
            reply.refuse("the node has more parts of a snapshot than it can store");
        }
    }
}

async fn take(raft: Raft, store: GroupStore, mut waiting: mpsc::Receiver<(Bytes, Reply)>) {
    let receiver = SnapshotReceiver::default();
    while let Some((part, reply)) = waiting.recv().await {
        match one(&raft, &store, &receiver, &part).await {
            Ok(payload) => reply.done(payload),
            Err(why) => reply.refuse(&why),
        }
    }
}

async fn one(
    raft: &Raft,
    store: &GroupStore,
    receiver: &SnapshotReceiver,
    part: &[u8],
) -> Result<Bytes, String> {
    let part: SnapshotPart =
        decode(part).map_err(|error| format!("the request could not be decoded: {error}"))?;
    let received = receiver.take(store, part).map_err(|error| error.to_string())?;
    let Some(Complete { vote, meta, install }) = received else { return Ok(Bytes::new()) };
    let snapshot = openraft::storage::Snapshot { meta, snapshot: SnapshotData::Received(install) };
    let installed = raft.install_full_snapshot(vote, snapshot).await;
    respond(installed)
}
