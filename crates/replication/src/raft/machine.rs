//! openraft's state machine over a group of the embedded engine: applies after-images, never expressions.

use super::Hold;
use super::durable::durable;
use super::snapshot::{SnapshotBuilder, SnapshotData, copy};
use super::types::{Applied, Command, RaftTypes, WriteBatch, decode, encode};
use crate::group::RiskLog;
use crate::lag::ReplicaLag;
use crate::runtime::{Mistake, errs, mark, watch};
use crate::system::SystemState;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use meridian_store::{GroupStore, StateOp};
use meridian_types::{Incarnation, RequestId};
use openraft::entry::RaftPayload;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::type_config::alias::{EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::{EntryPayload, OptionalSend, StoredMembership};
use serde::{Deserialize, Serialize};
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Entries applied in one atomic write at most.
const APPLY_CHUNK: usize = 256;
/// How long a forwarded write's id is remembered, by the leaders' stamps; longer than any request's deadline.
const REMEMBER_MS: u64 = 60_000;
/// Every so many indexes old ids are forgotten: decided by the index, so that replicas stay equal.
const FORGET_EVERY: u64 = 64;
/// Ids forgotten at once at most; more than so many entries can bring, so that forgetting keeps up.
const FORGET_AT_ONCE: usize = 16_384;

/// First bytes of keys within a group.
mod prefix {
    /// An item.
    pub(super) const ITEM: u8 = b'I';
    /// A remembered request id.
    pub(super) const REQUEST: u8 = b'R';
    /// Request ids by stamp, for forgetting.
    pub(super) const STAMP: u8 = b'T';
    /// The system state (group 0).
    pub(super) const SYSTEM: u8 = b'S';
    /// The session whose writes are being applied.
    pub(super) const CHAIN: u8 = b'C';
    /// Where an item was that has been deleted since the group was founded anew.
    pub(super) const GRAVE: u8 = b'D';
}

/// A value as stored: the log index that wrote it, then the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredValue {
    /// The index of the entry that wrote it.
    pub(crate) index: u64,
    /// What was written.
    pub(crate) bytes: Bytes,
}

impl StoredValue {
    const HEADER: usize = 8;

    fn encode(index: u64, value: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(Self::HEADER + value.len());
        out.put_u64_le(index);
        out.put_slice(value);
        out.freeze()
    }

    fn decode(stored: &Bytes) -> io::Result<Self> {
        let header = stored.first_chunk::<{ Self::HEADER }>().copied();
        let header = header
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a stored value is cut short"))?;
        Ok(Self { index: u64::from_le_bytes(header), bytes: stored.slice(Self::HEADER..) })
    }
}

/// Read access to a group's applied state, shared with those that serve reads.
#[derive(Clone)]
pub(crate) struct MachineView {
    store: GroupStore,
    applied: watch::Receiver<u64>,
    last_delete: Arc<AtomicU64>,
    /// What was applied lately.
    pub(crate) risk: Arc<RiskLog>,
}

impl MachineView {
    /// The index up to which this replica has applied.
    #[must_use]
    pub(crate) fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    /// Follows [`Self::applied`].
    #[must_use]
    pub(crate) fn watch_applied(&self) -> watch::Receiver<u64> {
        self.applied.clone()
    }

    /// The index of the newest applied entry that deleted something; 0 when none did since this process started.
    #[must_use]
    pub(crate) fn last_delete(&self) -> u64 {
        self.last_delete.load(Ordering::Acquire)
    }

    /// Reads an item's value.
    ///
    /// # Errors
    /// When the engine fails or the record is damaged.
    pub(crate) fn get(&self, key: &[u8]) -> io::Result<Option<StoredValue>> {
        stored_item(&self.store, key)
    }

    /// Reads items with `start <= key < end` in key order, or backwards.
    ///
    /// # Errors
    /// When the engine fails.
    pub(crate) fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        reverse: bool,
    ) -> io::Result<impl Iterator<Item = io::Result<(Bytes, StoredValue)>> + Send + 'static> {
        let (start, end) = (item_key(start), item_key(end));
        let found = self.store.scan(Bound::Included(&start), Bound::Excluded(&end), reverse);
        let found = found.map_err(io::Error::other)?;
        Ok(found.map(|row| {
            let (key, value) = row.map_err(io::Error::other)?;
            Ok((key.slice(1..), StoredValue::decode(&value)?))
        }))
    }

    /// The index of the newest entry known to have changed an item: of what is there, or of its deletion in this incarnation. 0 for
    /// an item that is not there and was not deleted since the group was founded anew.
    ///
    /// # Errors
    /// When the engine fails or the record is damaged.
    pub(crate) fn changed_at(&self, key: &[u8]) -> io::Result<u64> {
        let grave = self.store.get(&grave_key(key)).map_err(io::Error::other)?;
        let deleted = grave.as_ref().map(StoredValue::decode).transpose()?;
        let there = self.get(key)?;
        Ok(deleted.into_iter().chain(there).map(|stored| stored.index).max().unwrap_or(0))
    }

    /// The remembered response of a forwarded write that already took effect.
    ///
    /// # Errors
    /// When the engine fails.
    pub(crate) fn remembered(&self, id: RequestId) -> io::Result<Option<Bytes>> {
        let stored = self.store.get(&request_key(id)).map_err(io::Error::other)?;
        Ok(stored.map(|stored| stored.slice(8..)))
    }
}

/// An item as a group's state has it, whether or not the group still takes part.
pub(super) fn stored_item(store: &GroupStore, key: &[u8]) -> io::Result<Option<StoredValue>> {
    let stored = store.get(&item_key(key)).map_err(io::Error::other)?;
    stored.as_ref().map(StoredValue::decode).transpose()
}

/// All items of a state.
pub(super) fn stored_items(
    store: &GroupStore,
) -> io::Result<impl Iterator<Item = io::Result<(Bytes, StoredValue)>>> {
    let (start, end) = ([prefix::ITEM], [prefix::ITEM + 1]);
    let found =
        store.scan(Bound::Included(&start), Bound::Excluded(&end), false).map_err(io::Error::other)?;
    Ok(found.map(|row| {
        let (key, value) = row.map_err(io::Error::other)?;
        Ok((key.slice(1..), StoredValue::decode(&value)?))
    }))
}

/// One group's state machine.
pub(crate) struct Machine {
    store: GroupStore,
    system: Option<SystemMachine>,
    last: Option<LogIdOf<RaftTypes>>,
    membership: StoredMembershipOf<RaftTypes>,
    chain: Chain,
    applied: watch::Sender<u64>,
    last_delete: Arc<AtomicU64>,
    /// Whether deletions leave a mark, so that salvage can tell what changed since the group was founded anew.
    keep_graves: bool,
    risk: Arc<RiskLog>,
    /// What follows how late others' writes come here.
    lag: Option<Arc<ReplicaLag>>,
    /// What keeps the log from being cut.
    hold: Option<Arc<Hold>>,
}

/// The session whose writes are being applied, and the number of its next entry. Part of the state, so that every
/// replica skips the same entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Chain {
    session: u64,
    next: u64,
}

impl Chain {
    fn begin(session: u64) -> Self {
        Self { session, next: 1 }
    }

    /// Whether an entry is the next one; then the one after it is.
    fn take(&mut self, session: u64, number: u64) -> bool {
        let taken = *self == Self { session, next: number };
        self.next += u64::from(taken);
        taken
    }
}

#[derive(Debug)]
struct SystemMachine {
    state: SystemState,
    publish: watch::Sender<Arc<SystemState>>,
}

/// What the engine's marker says: how far the state has come.
type Marker = (Option<LogIdOf<RaftTypes>>, StoredMembershipOf<RaftTypes>);

impl Machine {
    /// Opens the state of a placement group in one of its incarnations. One that was founded anew remembers what was deleted since.
    ///
    /// # Errors
    /// When the engine fails or its marker is damaged.
    pub(crate) fn open(store: GroupStore, incarnation: Incarnation) -> io::Result<(Self, MachineView)> {
        Self::open_with(store, None, incarnation > Incarnation(0))
    }

    /// Opens the state of the system group; every change is published.
    ///
    /// # Errors
    /// When the engine fails or the state is damaged.
    pub(crate) fn open_system(
        store: GroupStore,
        publish: watch::Sender<Arc<SystemState>>,
    ) -> io::Result<(Self, MachineView)> {
        Self::open_with(store, Some(publish), false)
    }

    fn open_with(
        store: GroupStore,
        publish: Option<watch::Sender<Arc<SystemState>>>,
        keep_graves: bool,
    ) -> io::Result<(Self, MachineView)> {
        let (applied, follow) = watch::channel(0);
        let last_delete = Arc::new(AtomicU64::new(0));
        let risk = Arc::<RiskLog>::default();
        let view = MachineView {
            store: store.clone(),
            applied: follow,
            last_delete: Arc::clone(&last_delete),
            risk: Arc::clone(&risk),
        };
        let system = publish.map(|publish| SystemMachine { state: SystemState::default(), publish });
        let (last, membership, chain) = (None, StoredMembership::default(), Chain::default());
        let mut machine = Self {
            store,
            system,
            last,
            membership,
            chain,
            applied,
            last_delete,
            keep_graves,
            risk,
            lag: None,
            hold: None,
        };
        machine.reload()?;
        Ok((machine, view))
    }

    /// Takes part in a group: what is applied from now on is measured, and the log is kept for those who need it.
    pub(crate) fn in_group(self, lag: &Arc<ReplicaLag>, hold: &Arc<Hold>) -> Self {
        Self { lag: Some(Arc::clone(lag)), hold: Some(Arc::clone(hold)), ..self }
    }

    /// Takes marker and system state from the engine: at start, and after a snapshot replaced them.
    fn reload(&mut self) -> io::Result<()> {
        let marker = self.store.applied().map_err(io::Error::other)?;
        (self.last, self.membership) = match marker {
            Some(marker) => decode::<Marker>(&marker)?,
            None => (None, StoredMembership::default()),
        };
        let chain = self.store.get(&[prefix::CHAIN]).map_err(io::Error::other)?;
        self.chain = chain.map(|bytes| decode(&bytes)).transpose()?.unwrap_or_default();
        if let Some(system) = &mut self.system {
            let stored = self.store.get(&[prefix::SYSTEM]).map_err(io::Error::other)?;
            system.state = stored.map(|bytes| system_state(&bytes)).transpose()?.unwrap_or_default();
            self.store.store().raise_format(system.state.level()).map_err(io::Error::other)?;
            system.publish.send_replace(Arc::new(system.state.clone()));
        }
        // What a snapshot deleted is not known: consistent reads must take everything up to it as deleted just now.
        let index = self.last.map_or(0, |id| id.index);
        self.last_delete.store(index, Ordering::Release);
        self.applied.send_replace(index);
        Ok(())
    }

    /// Applies entries that nobody waits for.
    ///
    /// # Errors
    /// When the engine fails.
    pub(crate) fn replay(&mut self, entries: Vec<EntryOf<RaftTypes>>) -> io::Result<()> {
        let mut waiting = entries.into_iter().map(|entry| (entry, None)).peekable();
        while waiting.peek().is_some() {
            self.apply_chunk(waiting.by_ref().take(APPLY_CHUNK).collect())?;
        }
        Ok(())
    }

    fn apply_chunk(&mut self, chunk: Vec<EntryResponder<RaftTypes>>) -> io::Result<()> {
        let mut ops = Vec::new();
        let mut answers = Vec::new();
        let mut taken = Vec::new();
        let mut last_delete = None;
        let mut system_changed = false;
        let chain = self.chain;
        for (entry, responder) in chunk {
            let (log_id, payload) = (entry.log_id, entry.payload);
            assert!(
                self.last.is_none_or(|last| last.index < log_id.index),
                "entries are applied in order, once"
            );
            self.last = Some(log_id);
            if let Some(membership) = payload.get_membership() {
                self.membership = StoredMembership::new(Some(log_id), membership);
            }
            let mut answer = Applied::Nothing;
            match payload {
                EntryPayload::Normal(Command::Write(batch)) => {
                    if !self.chain.take(batch.session, batch.number) {
                        answer = Applied::Skipped;
                    } else {
                        let writes = batch.writes.len() as u64;
                        self.risk.applied(log_id.index, writes);
                        // What nobody here waits for came from another leader.
                        taken.extend(responder.is_none().then_some((batch.stamp_ms, writes)));
                        if self.apply_writes(log_id.index, batch, &mut ops)? {
                            last_delete = Some(log_id.index);
                        }
                    }
                }
                EntryPayload::Normal(Command::Purge(keys)) => {
                    let rows = keys.iter().flat_map(|key| [item_key(key), grave_key(key)]);
                    ops.extend(rows.map(|key| StateOp { key, value: None }));
                    last_delete = Some(log_id.index);
                }
                EntryPayload::Normal(Command::System(command)) => {
                    if let Some(system) = &mut self.system {
                        answer = Applied::System(system.state.apply(*command));
                        system_changed = true;
                    }
                }
                EntryPayload::Normal(Command::Barrier) => self.chain = Chain::begin(log_id.index),
                EntryPayload::Blank | EntryPayload::Membership(_) => {}
            }
            answers.extend(responder.map(|responder| (responder, answer)));
        }
        if let Some(system) = self.system.as_ref().filter(|_| system_changed) {
            // Before anything that an older version would misread is on the disk.
            self.store.store().raise_format(system.state.level()).map_err(io::Error::other)?;
            ops.push(put(vec![prefix::SYSTEM].into(), system.state.to_bytes().map_err(io::Error::other)?));
        }
        if chain != self.chain {
            ops.push(put(vec![prefix::CHAIN].into(), encode(&self.chain)?));
        }
        let marker: Marker = (self.last, self.membership.clone());
        self.store.apply(&ops, &encode(&marker)?).map_err(io::Error::other)?;
        if let Some(index) = last_delete {
            self.last_delete.store(index, Ordering::Release);
        }
        if let Some(system) = self.system.as_ref().filter(|_| system_changed) {
            system.publish.send_replace(Arc::new(system.state.clone()));
        }
        self.applied.send_replace(self.last.map_or(0, |id| id.index));
        if let Some(lag) = &self.lag {
            lag.applied(&taken);
        }
        for (responder, answer) in answers {
            responder.send(answer);
        }
        Ok(())
    }

    /// Turns a batch into engine operations; whether anything was deleted.
    fn apply_writes(&self, index: u64, batch: WriteBatch, ops: &mut Vec<StateOp>) -> io::Result<bool> {
        let mut deleted = false;
        for mut record in batch.writes {
            if index.is_multiple_of(7) && errs(Mistake::ApplyDifferently) {
                record.mutations.pop();
            }
            for mutation in record.mutations {
                deleted |= mutation.value.is_none();
                if self.keep_graves && mutation.value.is_none() {
                    ops.push(put(grave_key(&mutation.key), StoredValue::encode(index, &[])));
                }
                let value = mutation.value.map(|value| StoredValue::encode(index, &value));
                ops.push(StateOp { key: item_key(&mutation.key), value });
            }
            if let Some((id, response)) = record.remember {
                ops.push(put(request_key(id), StoredValue::encode(batch.stamp_ms, &response)));
                ops.push(put(stamp_key(batch.stamp_ms, Some(id)), Bytes::new()));
            }
        }
        if index.is_multiple_of(FORGET_EVERY) {
            self.forget_requests(batch.stamp_ms.saturating_sub(REMEMBER_MS), ops)?;
        }
        Ok(deleted)
    }

    fn forget_requests(&self, before_ms: u64, ops: &mut Vec<StateOp>) -> io::Result<()> {
        let end = stamp_key(before_ms, None);
        let old = self.store.scan(Bound::Included(&[prefix::STAMP]), Bound::Excluded(&end), false);
        for row in old.map_err(io::Error::other)?.take(FORGET_AT_ONCE) {
            let (key, _) = row.map_err(io::Error::other)?;
            let id = key.last_chunk::<16>().copied().map(u128::from_be_bytes).map(RequestId);
            ops.extend(id.map(|id| StateOp { key: request_key(id), value: None }));
            ops.push(StateOp { key, value: None });
        }
        Ok(())
    }
}

fn system_state(bytes: &[u8]) -> io::Result<SystemState> {
    SystemState::from_bytes(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn put(key: Bytes, value: Bytes) -> StateOp {
    StateOp { key, value: Some(value) }
}

fn item_key(key: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(1 + key.len());
    out.put_u8(prefix::ITEM);
    out.put_slice(key);
    out.freeze()
}

fn grave_key(key: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(1 + key.len());
    out.put_u8(prefix::GRAVE);
    out.put_slice(key);
    out.freeze()
}

fn request_key(id: RequestId) -> Bytes {
    let mut out = BytesMut::with_capacity(17);
    out.put_u8(prefix::REQUEST);
    out.put_u128(id.0);
    out.freeze()
}

fn stamp_key(stamp_ms: u64, id: Option<RequestId>) -> Bytes {
    let mut out = BytesMut::with_capacity(25);
    out.put_u8(prefix::STAMP);
    out.put_u64(stamp_ms);
    if let Some(id) = id {
        out.put_u128(id.0);
    }
    out.freeze()
}

impl RaftStateMachine<RaftTypes> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<Marker, io::Error> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<RaftTypes>, io::Error>> + Unpin + OptionalSend,
    {
        let mut chunks = entries.ready_chunks(APPLY_CHUNK);
        while let Some(chunk) = chunks.next().await {
            let mut part = Vec::with_capacity(chunk.len());
            for entry in chunk {
                let (entry, responder) = entry?;
                // What an entry forgets is looked up in the state, so all before it has to be there, wherever a chunk
                // happens to begin: replicas stay equal.
                if entry.log_id.index.is_multiple_of(FORGET_EVERY) && !part.is_empty() {
                    self.apply_chunk(std::mem::take(&mut part))?;
                }
                part.push((entry, responder));
            }
            self.apply_chunk(part)?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        SnapshotBuilder::new(self.store.clone(), self.hold.clone())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<RaftTypes>,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let install = match snapshot {
            SnapshotData::Received(install) => {
                mark("a snapshot was installed");
                install
            }
            SnapshotData::Outgoing(view) => copy(&self.store, view)?,
        };
        let marker: Marker = (meta.last_log_id, meta.last_membership.clone());
        let marker = encode(&marker)?;
        durable(|on_durable| install.commit_then(&marker, &[], on_durable)).await?;
        self.reload()
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<RaftTypes, SnapshotData>>, io::Error> {
        if self.last.is_none() {
            return Ok(None);
        }
        SnapshotBuilder::new(self.store.clone(), None).build().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_gap_is_skipped_until_the_next_session() {
        let mut chain = Chain::begin(10);
        assert!(chain.take(10, 1));
        assert!(!chain.take(10, 3), "the second never came");
        assert!(!chain.take(10, 4));
        chain = Chain::begin(20);
        assert!(!chain.take(10, 2), "an entry of the session before");
        assert!(chain.take(20, 1) && chain.take(20, 2));
    }
}
