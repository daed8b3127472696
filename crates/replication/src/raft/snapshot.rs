//! Snapshots: a consistent view of a group's state, streamed in parts and installed whole.

use super::Hold;
use super::types::{RaftTypes, decode, encode};
use bytes::Bytes;
use meridian_store::{GroupStore, Install, StateSnapshot};
use openraft::RaftSnapshotBuilder;
use openraft::type_config::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes copied at once.
const COPY_AT_ONCE: usize = 1 << 20;

/// What a snapshot is made of at each end.
pub(crate) enum SnapshotData {
    /// A view of the state, to be sent.
    Outgoing(StateSnapshot),
    /// Parts that arrived, ready to replace the state.
    Received(Install),
}

impl std::fmt::Debug for SnapshotData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Outgoing(_) => "SnapshotData::Outgoing",
            Self::Received(_) => "SnapshotData::Received",
        })
    }
}

/// Copies a view of a state in this process, as sending it over a link would.
pub(super) fn copy(store: &GroupStore, view: StateSnapshot) -> io::Result<Install> {
    let mut install = store.begin_install().map_err(io::Error::other)?;
    let mut items = view.into_stream().map_err(io::Error::other)?;
    loop {
        let chunk = items.chunk(COPY_AT_ONCE).map_err(io::Error::other)?;
        install.put_chunk(&chunk.items).map_err(io::Error::other)?;
        if chunk.done {
            return Ok(install);
        }
    }
}

/// Makes snapshots of a group; cheap, since the engine keeps old versions for as long as the view lives, which is not for long: it is
/// sent as a stream.
pub(crate) struct SnapshotBuilder {
    store: GroupStore,
    /// What a snapshot waits for that is only taken to cut the log.
    hold: Option<Arc<Hold>>,
}

impl SnapshotBuilder {
    pub(super) fn new(store: GroupStore, hold: Option<Arc<Hold>>) -> Self {
        Self { store, hold }
    }

    pub(super) fn build(&self) -> io::Result<SnapshotOf<RaftTypes, SnapshotData>> {
        let view = self.store.snapshot().map_err(io::Error::other)?;
        let (last_log_id, last_membership): (Option<LogIdOf<RaftTypes>>, StoredMembershipOf<RaftTypes>) =
            match view.applied().map_err(io::Error::other)? {
                Some(marker) => decode(&marker)?,
                None => Default::default(),
            };
        let meta = SnapshotMetaOf::<RaftTypes> { last_log_id, last_membership };
        Ok(openraft::storage::Snapshot { meta, snapshot: SnapshotData::Outgoing(view) })
    }
}

impl RaftSnapshotBuilder<RaftTypes> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<RaftTypes, SnapshotData>, io::Error> {
        if let Some(hold) = &self.hold {
            hold.released().await;
        }
        self.build()
    }
}

/// A part of a snapshot on the wire.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotPart {
    /// Chosen by the sender; a new transfer replaces an unfinished one.
    pub(crate) transfer: u64,
    /// 0, 1, 2...
    pub(crate) number: u64,
    /// Rows of the state.
    pub(crate) rows: Vec<(Bytes, Bytes)>,
    /// Set in the last part: the leader's vote and the snapshot's description.
    pub(crate) last: Option<(VoteOf<RaftTypes>, SnapshotMetaOf<RaftTypes>)>,
}

impl SnapshotPart {
    pub(crate) fn encode(&self) -> io::Result<Bytes> {
        encode(self)
    }
}

struct Transfer {
    id: u64,
    next: u64,
    install: Install,
}

/// Collects the parts that arrive for one group. There is one leader, so one transfer: a new one ends the old.
#[derive(Default)]
pub(crate) struct SnapshotReceiver {
    transfer: Mutex<Option<Transfer>>,
}

impl SnapshotReceiver {
    /// Takes a part. With the last one, hands back what to install.
    pub(crate) fn take(&self, store: &GroupStore, part: SnapshotPart) -> io::Result<Option<Complete>> {
        let mut current = self.transfer.lock().unwrap_or_else(PoisonError::into_inner);
        if part.number == 0 {
            // First let go of the old one: a group installs one state at a time.
            *current = None;
            let install = store.begin_install().map_err(io::Error::other)?;
            *current = Some(Transfer { id: part.transfer, next: 0, install });
        }
        let Some(transfer) = current.as_mut().filter(|t| t.id == part.transfer && t.next == part.number)
        else {
            return Err(io::Error::other("a part of the snapshot is missing; send it again from the start"));
        };
        transfer.next += 1;
        transfer.install.put_chunk(&part.rows).map_err(io::Error::other)?;
        let Some((vote, meta)) = part.last else { return Ok(None) };
        Ok(current.take().map(|transfer| Complete { vote, meta, install: transfer.install }))
    }
}

/// A snapshot that has arrived whole.
pub(crate) struct Complete {
    pub(crate) vote: VoteOf<RaftTypes>,
    pub(crate) meta: SnapshotMetaOf<RaftTypes>,
    pub(crate) install: Install,
}
