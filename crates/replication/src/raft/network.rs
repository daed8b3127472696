//! openraft's network over peer links: appends are pipelined in order, heartbeats overtake them.

use super::ends::Ends;
use super::pacer::Pacer;
use super::snapshot::{SnapshotData, SnapshotPart};
use super::types::{Command, RaftTypes, decode, encode};
use crate::group::{AckClock, Shared};
use crate::node::Roster;
use crate::replica_id::ReplicaId;
use crate::runtime::{self, mark};
use crate::transport::{CallError, Kind, Link, Peers, PendingCall};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, Stream, StreamExt};
use meridian_store::{GroupStore, StateChunk, StateSnapshot};
use meridian_types::NodeId;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::v2::RaftNetworkV2;
use openraft::network::{RPCOption, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf, VoteOf};
use openraft::vote::RaftLeaderId;
use openraft::{EmptyNode, EntryPayload, OptionalSend};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Appends under way to one follower. When they are too few for a round trip the next entry waits for the first answer, so what comes
/// evenly is replicated in bursts, a round trip late: enough for 2,500 a second over 100 ms.
const APPENDS_IN_FLIGHT: usize = 256;
/// Bytes of appends under way to one follower, to bound memory. A longer one goes alone.
const BYTES_IN_FLIGHT: usize = 16 << 20;
/// An append that is not answered within this is taken for lost. Far above any round trip: links have their own,
/// faster, detection of silence.
const APPEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stream of appends waits for a link to come up.
const LINK_PATIENCE: Duration = Duration::from_millis(500);
/// Bytes of state in a snapshot part: small, so that heartbeats are not stuck behind it.
const SNAPSHOT_PART: usize = 128 << 10;
/// Snapshot parts under way at once.
const PARTS_IN_FLIGHT: usize = 16;
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes the network of one group.
#[derive(Clone)]
pub(crate) struct GroupNetworks {
    group: ReplicaId,
    peers: Arc<Peers>,
    roster: Arc<Roster>,
    acks: Arc<AckClock>,
    ends: Arc<Ends>,
    pacer: Arc<Pacer>,
}

impl GroupNetworks {
    pub(crate) fn new(group: ReplicaId, shared: &Shared, acks: Arc<AckClock>, log: GroupStore) -> Self {
        let (peers, roster) = (Arc::clone(&shared.peers), Arc::clone(&shared.roster));
        Self { group, peers, roster, acks, ends: Ends::new(log), pacer: Arc::clone(&shared.pacer) }
    }
}

impl GroupNetworks {
    fn to(&self, target: NodeId, append: Kind) -> GroupNetwork {
        GroupNetwork {
            group: self.group,
            target,
            peers: Arc::clone(&self.peers),
            append,
            roster: Arc::clone(&self.roster),
            acks: Arc::clone(&self.acks),
            ends: Arc::clone(&self.ends),
            pacer: Arc::clone(&self.pacer),
        }
    }
}

impl RaftNetworkFactory<RaftTypes> for GroupNetworks {
    type Network = GroupNetwork;

    async fn new_client(&mut self, target: NodeId, _node: &EmptyNode) -> GroupNetwork {
        self.to(target, Kind::Append)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, _node: &EmptyNode) -> GroupNetwork {
        self.to(target, Kind::Heartbeat)
    }
}

/// The way from this node to one member of one group.
pub(crate) struct GroupNetwork {
    group: ReplicaId,
    target: NodeId,
    peers: Arc<Peers>,
    append: Kind,
    roster: Arc<Roster>,
    acks: Arc<AckClock>,
    ends: Arc<Ends>,
    pacer: Arc<Pacer>,
}

impl Drop for GroupNetwork {
    fn drop(&mut self) {
        if matches!(self.append, Kind::Append) {
            self.pacer.forget((self.group, self.target));
        }
    }
}

/// The same entries without what they write: a witness keeps positions only, and never sends its log to anyone.
fn without_data(mut request: AppendEntriesRequest<RaftTypes>) -> AppendEntriesRequest<RaftTypes> {
    for entry in &mut request.entries {
        if let EntryPayload::Normal(Command::Write(_) | Command::Purge(_)) = entry.payload {
            entry.payload = EntryPayload::Normal(Command::Barrier);
        }
    }
    request
}

fn unreachable(error: &CallError) -> RPCError<RaftTypes> {
    match error {
        CallError::NotSent => RPCError::Unreachable(Unreachable::new(error)),
        CallError::Lost | CallError::Refused(_) => RPCError::Network(NetworkError::new(error)),
    }
}

fn broken(error: &io::Error) -> RPCError<RaftTypes> {
    RPCError::Network(NetworkError::new(error))
}

impl GroupNetwork {
    /// Invariant 7: nothing of an item goes to a witness, on the wire or on its disk. The system state is no item's. To a node that this
    /// one has not heard of yet nothing goes at all.
    fn no_data(&self) -> Result<bool, RPCError<RaftTypes>> {
        let witness = self.roster.is_witness(self.target);
        let unknown = || unreachable(&CallError::NotSent);
        if self.group.group.is_system() { Ok(false) } else { witness.ok_or_else(unknown) }
    }

    fn link(&self) -> Result<Arc<Link>, RPCError<RaftTypes>> {
        self.peers.link(self.target).ok_or_else(|| unreachable(&CallError::NotSent))
    }

    async fn call<T: Serialize, R: DeserializeOwned>(
        &self,
        kind: Kind,
        request: &T,
        timeout: Duration,
    ) -> Result<R, RPCError<RaftTypes>> {
        let payload = encode(request).map_err(|error| broken(&error))?;
        let answer = self
            .link()?
            .call(kind, self.group, payload, timeout)
            .await
            .map_err(|error| unreachable(&error))?;
        decode(&answer).map_err(|error| broken(&error))
    }
}

/// Appends of one stream over one link.
struct Appends {
    link: Arc<Link>,
    kind: Kind,
    group: ReplicaId,
    target: NodeId,
    acks: Arc<AckClock>,
    ends: Arc<Ends>,
    peers: Arc<Peers>,
    roster: Arc<Roster>,
    pacer: Arc<Pacer>,
    /// Room for bytes under way.
    room: Arc<Semaphore>,
}

impl Appends {
    /// Waits if the member is far behind and the group has a majority without it: nobody waits for it then.
    async fn pace(&self, request: &AppendEntriesRequest<RaftTypes>, bytes: usize) {
        let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        let Some((last, committed)) = last.zip(request.leader_commit) else { return };
        let (to, lag) = ((self.group, self.target), committed.index.saturating_sub(last.index));
        let linked = |node| self.peers.link(node).is_some();
        if !request.entries.is_empty() && self.roster.spares(self.group.group, self.target, linked) {
            self.pacer.entries(to, lag, bytes).await;
        } else {
            self.pacer.reached(to, lag);
        }
    }

    /// Waits until so many bytes more may be under way.
    async fn room_for(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let share = u32::try_from(bytes.min(BYTES_IN_FLIGHT)).ok()?;
        Arc::clone(&self.room).acquire_many_owned(share).await.ok()
    }

    /// The answer to an append that the member has already, by what it said when it voted.
    fn known(&self, request: &AppendEntriesRequest<RaftTypes>) -> Option<StreamAppendResult<RaftTypes>> {
        let last = request.entries.last()?.log_id;
        let known = self.ends.cover(self.target, request.vote.leader_id().term, last);
        known.then(|| {
            mark("a new leader knew where a voter's log ends");
            AppendEntriesResponse::Success.into_stream_result(request.prev_log_id, Some(last))
        })
    }

    /// Sends one append now; the future is its result, for the stream that openraft reads.
    fn send(
        &self,
        request: &AppendEntriesRequest<RaftTypes>,
        payload: io::Result<Bytes>,
        room: Option<OwnedSemaphorePermit>,
    ) -> impl Future<Output = Result<StreamAppendResult<RaftTypes>, RPCError<RaftTypes>>> + Send + use<> {
        let previous = request.prev_log_id;
        let last = request.entries.last().map(|entry| entry.log_id).or(previous);
        let leader = request.vote.leader_id().to_committed();
        let (acks, ends) = (Arc::clone(&self.acks), Arc::clone(&self.ends));
        let (target, sent) = (self.target, runtime::now());
        let call: Result<PendingCall, _> =
            payload.map(|payload| self.link.send(self.kind, self.group, payload));
        async move {
            let call = call.map_err(|error| broken(&error))?;
            let answer = runtime::timeout(APPEND_TIMEOUT, call).await.unwrap_or(Err(CallError::Lost));
            drop(room);
            let response: AppendEntriesResponse<RaftTypes> =
                decode(&answer.map_err(|error| unreachable(&error))?).map_err(|error| broken(&error))?;
            if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
                acks.acked(target, leader, sent);
            }
            if matches!(response, AppendEntriesResponse::Conflict) {
                ends.forget(target);
            }
            Ok(response.into_stream_result(previous, last))
        }
    }
}

impl RaftNetworkV2<RaftTypes> for GroupNetwork {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<RaftTypes>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<RaftTypes>, RPCError<RaftTypes>> {
        let rpc = if self.no_data()? { without_data(rpc) } else { rpc };
        self.call(self.append, &rpc, option.hard_ttl()).await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> Pin<
        Box<
            dyn Future<
                    Output = Result<
                        BoxStream<'s, Result<StreamAppendResult<RaftTypes>, RPCError<RaftTypes>>>,
                        RPCError<RaftTypes>,
                    >,
                > + Send
                + 's,
        >,
    >
    where
        S: Stream<Item = AppendEntriesRequest<RaftTypes>> + OptionalSend + Unpin + 'static,
    {
        let (target, peers, no_data) = (self.target, Arc::clone(&self.peers), self.no_data());
        let (kind, group) = (self.append, self.group);
        let (acks, ends) = (Arc::clone(&self.acks), Arc::clone(&self.ends));
        let (roster, pacer) = (Arc::clone(&self.roster), Arc::clone(&self.pacer));
        async move {
            // openraft tries again at once when a stream cannot begin, so the wait for the link is here.
            let link = peers.link_within(target, LINK_PATIENCE).await;
            let link = link.ok_or_else(|| unreachable(&CallError::NotSent))?;
            let no_data = match no_data {
                Ok(no_data) => no_data,
                Err(unknown) => {
                    runtime::sleep(LINK_PATIENCE).await;
                    return Err(unknown);
                }
            };
            let room = Arc::new(Semaphore::new(BYTES_IN_FLIGHT));
            let appends =
                Arc::new(Appends { link, kind, group, target, acks, ends, peers, roster, pacer, room });
            #[expect(
                clippy::async_yields_async,
                reason = "what was sent is waited for elsewhere, with others"
            )]
            let results = input
                // One after the other, so that they are sent in their order; those that were sent are waited for together.
                .then(move |request| {
                    let (request, appends) =
                        (if no_data { without_data(request) } else { request }, Arc::clone(&appends));
                    async move {
                        if let Some(known) = appends.known(&request) {
                            return std::future::ready(Ok(known)).left_future();
                        }
                        let payload = encode(&request);
                        let bytes = payload.as_ref().map_or(0, Bytes::len);
                        appends.pace(&request, bytes).await;
                        let room = appends.room_for(bytes).await;
                        appends.send(&request, payload, room).right_future()
                    }
                })
                .buffered(APPENDS_IN_FLIGHT)
                // The first failure ends the stream: what follows it would fail too.
                .scan(false, |ended, result| {
                    let item = (!*ended).then_some(result);
                    *ended = !matches!(item, Some(Ok(Ok(_))));
                    std::future::ready(item)
                });
            Ok(results.boxed())
        }
        .boxed()
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<RaftTypes>,
        option: RPCOption,
    ) -> Result<VoteResponse<RaftTypes>, RPCError<RaftTypes>> {
        let term = rpc.vote.leader_id().term;
        let response: VoteResponse<RaftTypes> = self.call(Kind::Vote, &rpc, option.hard_ttl()).await?;
        if let Some(last) = response.last_log_id.filter(|_| response.vote_granted) {
            self.ends.voted(self.target, term, last);
        }
        Ok(response)
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<RaftTypes>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<RaftTypes>, RPCError<RaftTypes>> {
        self.call(Kind::TransferLeader, &rpc, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<RaftTypes>,
        snapshot: SnapshotOf<RaftTypes, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<RaftTypes>, StreamingError<RaftTypes>> {
        let SnapshotData::Outgoing(view) = snapshot.snapshot else {
            return Err(broken(&io::Error::other("only a view of the own state can be sent")).into());
        };
        let send = self.send_snapshot(vote, snapshot.meta, view);
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            response = send => response.map_err(StreamingError::from),
        }
    }
}

impl GroupNetwork {
    async fn send_snapshot(
        &self,
        vote: VoteOf<RaftTypes>,
        meta: SnapshotMetaOf<RaftTypes>,
        view: StateSnapshot,
    ) -> Result<SnapshotResponse<RaftTypes>, RPCError<RaftTypes>> {
        let (link, no_data) = (self.link()?, self.no_data()?);
        let transfer = runtime::random();
        let mut under_way: VecDeque<PendingCall> = VecDeque::new();
        let mut number = 0;
        let mut state = view.into_stream().map_err(|error| broken(&io::Error::other(error)))?;
        let to = (self.group, self.target);
        self.pacer.snapshot(to);
        loop {
            let chunk = state.chunk(SNAPSHOT_PART);
            let StateChunk { items, done } = chunk.map_err(|error| broken(&io::Error::other(error)))?;
            let (rows, done) = if no_data { (Vec::new(), true) } else { (items, done) };
            let last = done.then(|| (vote, meta.clone()));
            let part = SnapshotPart { transfer, number, rows, last };
            number += 1;
            let payload = part.encode().map_err(|error| broken(&error))?;
            let peers = &self.peers;
            if self.roster.spares(self.group.group, self.target, |node| peers.link(node).is_some()) {
                self.pacer.part(to, payload.len()).await;
            }
            under_way.push_back(link.send(Kind::Snapshot, self.group, payload));
            while under_way.len() > if done { 0 } else { PARTS_IN_FLIGHT } {
                let Some(call) = under_way.pop_front() else { break };
                let answer = runtime::timeout(SNAPSHOT_TIMEOUT, call)
                    .await
                    .unwrap_or(Err(CallError::Lost))
                    .map_err(|error| unreachable(&error))?;
                if done && under_way.is_empty() {
                    return decode(&answer).map_err(|error| broken(&error));
                }
            }
        }
    }
}

/// The response to one Raft request, encoded for the wire.
pub(crate) fn respond<T: Serialize, E: std::fmt::Display>(result: Result<T, E>) -> Result<Bytes, String> {
    match result {
        Ok(response) => encode(&response).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
