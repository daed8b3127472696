//! Writes, reads and system commands from this node's own clients: served here, or forwarded with one hop.

use super::Replication;
use crate::error::Unserved;
use crate::group::{Group, Submission, WriteOutcome};
use crate::raft::{Applied, Command, decode, encode};
use crate::replica_id::ReplicaId;
use crate::runtime::{self, Mistake, errs, mark};
use crate::system::{GroupInfo, Required, SystemCommand, SystemError, SystemReply};
use crate::transport::{CallError, Kind};
use crate::wire::{ForwardRead, ForwardSystem, ForwardWrite, ReadMode, Served, ServedOr, SystemAnswer};
use bytes::Bytes;
use meridian_types::{Demand, GroupId, NodeId, Position, RegionName, RequestId};
use openraft::async_runtime::WatchReceiver;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Between tries to find a leader. A bound on the rate; the deadline bounds the number.
const RETRY_EVERY: Duration = Duration::from_millis(25);
/// The most time that a read with a token waits for this replica before it asks the leader.
pub(super) const TOKEN_PATIENCE: Duration = Duration::from_millis(500);

/// A write that is answered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteDone {
    /// The evaluator's response.
    pub response: Bytes,
    /// The state that includes it.
    pub position: Position,
    /// The node that evaluated it.
    pub served_by: NodeId,
}

/// What a read asks for.
#[derive(Clone, Copy, Debug)]
pub enum ReadConsistency {
    /// The latest state that is answered for.
    Consistent,
    /// The nearest replica's own state, no older than what the client has seen and the staleness allow.
    Local {
        /// What the client has already seen of the group.
        seen: Demand,
        /// The oldest state that the client accepts.
        max_staleness: Option<Duration>,
    },
}

/// A read's response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadDone {
    /// The evaluator's response.
    pub response: Bytes,
    /// The state that it saw.
    pub position: Position,
    /// The node that evaluated it.
    pub served_by: NodeId,
    /// Whether it is the latest state; otherwise a replica's own, which may be behind.
    pub consistent: bool,
}

impl Group {
    /// Submits a write to this node's proposer.
    pub(crate) async fn submit(
        &self,
        id: Option<RequestId>,
        request: Bytes,
    ) -> Result<WriteOutcome, Unserved> {
        // Without a lease another node may lead: a clean refusal now is better than an unknown outcome later.
        let session = self.session().ok_or(Unserved::NotLeader)?;
        if self.lease().is_none() {
            if self.fence.left().is_some() {
                return Err(Unserved::NotLeader);
            }
            mark("a write was refused for want of a region lease");
            return Err(Unserved::NoRegionLease);
        }
        let _unanswered = Arc::clone(&self.unanswered);
        let (answer, answered) = oneshot::channel();
        let asked = runtime::now();
        self.submissions.try_send(Submission { id, request, answer }).map_err(|_| Unserved::Overloaded)?;
        let outcome = answered.await.unwrap_or(Err(Unserved::Unknown))?;
        self.pacer.served(runtime::since(asked));
        if !outcome.entry {
            // A condition that did not hold, or a response from memory: as good as a read, so it needs a read's proof
            // that nobody else has led meanwhile. Nothing happened, so it may be tried again elsewhere.
            self.prove_leadership(session).await?;
        }
        Ok(outcome)
    }

    /// Who this replica thinks leads.
    pub(crate) fn leader_hint(&self) -> Option<NodeId> {
        self.raft.server_metrics().borrow_watched().current_leader
    }
}

impl Replication {
    /// Writes to a group: here when this node leads it, otherwise through the leader.
    ///
    /// The request takes effect at most once, however often it is sent between nodes.
    ///
    /// # Errors
    /// [`Unserved`]; only [`Unserved::Unknown`] leaves open whether the write took effect.
    pub async fn write(
        &self,
        group: GroupId,
        request: Bytes,
        deadline: Instant,
    ) -> Result<WriteDone, Unserved> {
        // Drawn on the first hop away: a write that this node serves itself is never sent twice.
        let mut id = None;
        let mut maybe_done = false;
        loop {
            let tried = match self.leader_of(group) {
                Some(leader) if leader == self.own() => {
                    self.write_here(group, id, request.clone(), deadline).await
                }
                Some(leader) => {
                    let id = *id.get_or_insert_with(|| RequestId(runtime::random()));
                    self.write_there(leader, group, ForwardWrite { id, request: request.clone() }, deadline)
                        .await
                }
                None => Err(Unserved::NoLeader),
            };
            match tried {
                Ok(done) => return Ok(done),
                // Sent with an id that the group remembers: sending it again changes nothing.
                Err(Unserved::Unknown) if id.is_some() => {
                    mark("a write was sent again with its id");
                    maybe_done = true;
                }
                Err(error) if error.try_again() => {}
                // A refusal of this try says nothing about an earlier one.
                Err(error) => return Err(if maybe_done { Unserved::Unknown } else { error }),
            }
            if !self.pause_before_retry(deadline).await {
                return Err(if maybe_done { Unserved::Unknown } else { Unserved::NoLeader });
            }
        }
    }

    async fn write_here(
        &self,
        group: GroupId,
        id: Option<RequestId>,
        request: Bytes,
        deadline: Instant,
    ) -> Result<WriteDone, Unserved> {
        let group = self.group(group).ok_or(Unserved::NoReplica)?;
        // After the deadline the write may still take effect.
        let done = runtime::timeout_at(deadline, group.submit(id, request))
            .await
            .unwrap_or(Err(Unserved::Unknown))?;
        Ok(WriteDone { response: done.response, position: group.position(done.index), served_by: self.own() })
    }

    async fn write_there(
        &self,
        leader: NodeId,
        group: GroupId,
        write: ForwardWrite,
        deadline: Instant,
    ) -> Result<WriteDone, Unserved> {
        let served: ServedOr = self.ask_leader(leader, Kind::Write, group, encode(&write)?, deadline).await?;
        let Served { response, position } = served?;
        Ok(WriteDone { response, position, served_by: leader })
    }

    /// Reads from a group.
    ///
    /// # Errors
    /// [`Unserved`] when no replica could serve the read by the deadline.
    pub async fn read(
        &self,
        group: GroupId,
        request: Bytes,
        consistency: ReadConsistency,
        deadline: Instant,
    ) -> Result<ReadDone, Unserved> {
        let local = match consistency {
            ReadConsistency::Consistent | ReadConsistency::Local { seen: Demand::Latest, .. } => None,
            ReadConsistency::Local { seen: Demand::Nothing, max_staleness } => Some((None, max_staleness)),
            ReadConsistency::Local { seen: Demand::Position(position), max_staleness } => {
                Some((Some(position), max_staleness))
            }
        };
        if let Some((position, max_staleness)) = local {
            match self.readable(group) {
                Some(replica) => {
                    if let Some(done) =
                        self.read_here(&replica, &request, position, max_staleness, deadline).await?
                    {
                        return Ok(done);
                    }
                }
                None if max_staleness.is_none() => {
                    if let Some(done) = self.read_nearest(group, &request, position, deadline).await {
                        return Ok(done);
                    }
                }
                None => {}
            }
        }
        self.read_leader(group, &request, deadline).await
    }

    /// Serves from this node's replica, unless it is too far behind.
    async fn read_here(
        &self,
        replica: &Arc<Group>,
        request: &[u8],
        position: Option<Position>,
        max_staleness: Option<Duration>,
        deadline: Instant,
    ) -> Result<Option<ReadDone>, Unserved> {
        if let Some(max_staleness) = max_staleness
            && self.staleness(replica).is_none_or(|stale| stale > max_staleness)
        {
            return Ok(None);
        }
        if let Some(position) = position {
            let patience = deadline.min(runtime::now() + TOKEN_PATIENCE);
            if !errs(Mistake::IgnoreTokens) && !self.wait_position(replica, position, patience).await {
                mark("a read with a token went to the leader");
                return Ok(None);
            }
        }
        let outcome = replica.read_local(request)?;
        Ok(Some(ReadDone {
            response: outcome.response,
            position: replica.position(outcome.index),
            served_by: self.own(),
            consistent: false,
        }))
    }

    /// This node's replica, if it may be read: of the newest incarnation, no witness, and not one that is being filled again.
    pub(super) fn readable(&self, group: GroupId) -> Option<Arc<Group>> {
        self.group(group).filter(|replica| replica.may_be_read() && replica.fence.is_current())
    }

    /// Waits until a replica includes a position; `false` when it does not by then, or never will.
    pub(crate) async fn wait_position(&self, replica: &Group, position: Position, deadline: Instant) -> bool {
        let required = self.system().groups.get(&replica.id).map(|group| group.required(position));
        match required {
            Some(Required::Applied(index)) => replica.wait_applied(index, deadline).await,
            Some(Required::Leader) | None => false,
        }
    }

    /// The Raft group that a request to a group is for, as far as this node knows.
    fn addressee(&self, group: GroupId) -> ReplicaId {
        self.system().groups.get(&group).map_or_else(|| group.into(), GroupInfo::replica)
    }

    /// An upper bound on how stale this node's replica is.
    pub(crate) fn staleness(&self, replica: &Group) -> Option<Duration> {
        if replica.serves() {
            return Some(Duration::ZERO);
        }
        let leader = replica.leader_hint()?;
        let round_trip = self.shared.peers.link(leader)?.round_trip()?;
        replica.freshness.staleness(replica.view.applied(), round_trip)
    }

    /// For nodes without a replica: the nearest node that has one.
    async fn read_nearest(
        &self,
        group: GroupId,
        request: &Bytes,
        position: Option<Position>,
        deadline: Instant,
    ) -> Option<ReadDone> {
        for node in self.holders_by_distance(group) {
            let read = forward_read(ReadMode::Local(position), request, deadline);
            if let Ok(payload) = read
                && let Ok(Ok(served)) = self.ask::<ServedOr>(node, Kind::Read, group, payload, deadline).await
            {
                return Some(ReadDone {
                    response: served.response,
                    position: served.position,
                    served_by: node,
                    consistent: false,
                });
            }
        }
        None
    }

    /// The other nodes that hold a group's data, the nearest first.
    pub(super) fn holders_by_distance(&self, group: GroupId) -> Vec<NodeId> {
        let system = self.system();
        let placement = system.groups.get(&group).map(|group| &group.placement);
        let holders = placement.into_iter().flat_map(|placement| placement.data.keys().copied());
        let mut by_distance: Vec<_> =
            holders.filter_map(|node| Some((self.shared.peers.link(node)?.round_trip()?, node))).collect();
        by_distance.sort_unstable();
        by_distance.into_iter().map(|(_, node)| node).collect()
    }

    /// How far this node is from a region: to the nearest of its nodes, nothing to its own. `None` when no node there is connected.
    #[must_use]
    pub fn distance_to(&self, region: &RegionName) -> Option<Duration> {
        if self.own_region().as_ref() == Some(region) {
            return Some(Duration::ZERO);
        }
        let everyone = self.everyone();
        let there = everyone.nodes().filter(|node| node.region == *region);
        there.filter_map(|node| self.shared.peers.link(node.id)?.round_trip()).min()
    }

    pub(super) async fn read_leader(
        &self,
        group: GroupId,
        request: &Bytes,
        deadline: Instant,
    ) -> Result<ReadDone, Unserved> {
        loop {
            let tried = match self.leader_of(group) {
                Some(leader) if leader == self.own() => {
                    let replica = self.group(group).ok_or(Unserved::NoReplica)?;
                    let read = replica.read_consistent(request, deadline).await;
                    read.map(|outcome| (outcome.response, replica.position(outcome.index), leader))
                }
                Some(leader) => {
                    let payload = forward_read(ReadMode::Consistent, request, deadline)?;
                    let asked =
                        self.ask_leader::<ServedOr>(leader, Kind::Read, group, payload, deadline).await;
                    asked.and_then(|served| served).map(|served| (served.response, served.position, leader))
                }
                None => Err(Unserved::NoLeader),
            };
            match tried {
                Ok((response, position, served_by)) => {
                    return Ok(ReadDone { response, position, served_by, consistent: true });
                }
                // A read changes nothing, so it may be sent again whatever became of it.
                Err(Unserved::Unknown) => {}
                Err(error) if error.try_again() => {}
                Err(error) => return Err(error),
            }
            if !self.pause_before_retry(deadline).await {
                return Err(Unserved::NoLeader);
            }
        }
    }

    /// Who leads a group, as far as this node can tell.
    pub(crate) fn leader_of(&self, group: GroupId) -> Option<NodeId> {
        if let Some(replica) = self.group(group).filter(|replica| replica.fence.is_current()) {
            return replica.leader_hint();
        }
        // Without a replica: the best that is connected. It answers `NotLeader` if it does not lead; the next try
        // takes another.
        let system = self.system();
        let placement = &system.groups.get(&group)?.placement;
        let connected: Vec<_> = placement
            .preferred_leaders
            .iter()
            .copied()
            .filter(|node| self.shared.peers.link(*node).is_some())
            .collect();
        connected.get(runtime::random_index(connected.len())?).copied()
    }

    /// Asks a peer; errors say whether anything may have happened.
    pub(crate) async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        node: NodeId,
        kind: Kind,
        group: GroupId,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<T, Unserved> {
        let link = self.shared.peers.link(node).ok_or(Unserved::NoLeader)?;
        let left = deadline.saturating_duration_since(runtime::now());
        match link.call(kind, self.addressee(group), payload, left).await {
            Ok(answer) => Ok(decode(&answer)?),
            Err(CallError::Lost) => Err(Unserved::Unknown),
            // Refused before it reached the group.
            Err(CallError::NotSent | CallError::Refused(_)) => Err(Unserved::NotLeader),
        }
    }

    /// As [`Self::ask`], but waits no longer once somebody else leads: a frozen leader answers nothing, and its link
    /// may look alive for a while.
    async fn ask_leader<T: serde::de::DeserializeOwned>(
        &self,
        leader: NodeId,
        kind: Kind,
        group: GroupId,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<T, Unserved> {
        tokio::select! {
            biased;
            answer = self.ask(leader, kind, group, payload, deadline) => answer,
            () = self.other_leader(group, leader) => Err(Unserved::Unknown),
        }
    }

    /// Completes once this node's replica of the group follows a leader other than `than`. One of an old incarnation knows nothing of who
    /// leads now.
    async fn other_leader(&self, group: GroupId, than: NodeId) {
        if let Some(replica) = self.group(group).filter(|replica| replica.fence.is_current()) {
            let mut server = replica.raft.server_metrics();
            loop {
                if server.borrow_watched().current_leader.is_some_and(|leader| leader != than) {
                    return;
                }
                if server.changed().await.is_err() {
                    break;
                }
            }
        }
        std::future::pending::<()>().await;
    }

    /// Waits a moment; `false` when the deadline leaves no time for another try.
    pub(crate) async fn pause_before_retry(&self, deadline: Instant) -> bool {
        let next = runtime::now() + RETRY_EVERY;
        if next >= deadline {
            return false;
        }
        runtime::sleep_until(next).await;
        true
    }

    /// Commits a command to the system group and waits until this node has applied it.
    ///
    /// Commands are idempotent or refused when repeated, so they are sent again until the deadline.
    ///
    /// # Errors
    /// The command's own refusal inside, [`Unserved`] outside.
    pub async fn system_write(
        &self,
        command: SystemCommand,
        deadline: Instant,
    ) -> Result<Result<SystemReply, SystemError>, Unserved> {
        // Before it is sent: a leader of the version before could not read it.
        if let Err(refused) = self.system().check_level(&command) {
            return Ok(Err(refused));
        }
        loop {
            let tried = match self.leader_of(GroupId::SYSTEM) {
                Some(leader) if leader == self.own() => self.system_write_here(command.clone()).await,
                Some(leader) => {
                    let payload = encode(&ForwardSystem(command.clone()))?;
                    let asked =
                        self.ask::<SystemAnswer>(leader, Kind::System, GroupId::SYSTEM, payload, deadline);
                    asked.await.and_then(|answer| answer)
                }
                None => Err(Unserved::NoLeader),
            };
            match tried {
                Ok((reply, index)) => {
                    self.wait_system(index, deadline).await;
                    return Ok(reply);
                }
                // It may be committed; sent again it would be refused as a repetition, which would be wrong to say.
                Err(Unserved::Unknown) => return Err(Unserved::Unknown),
                Err(_) => {}
            }
            if !self.pause_before_retry(deadline).await {
                return Err(Unserved::NoLeader);
            }
        }
    }

    pub(crate) async fn system_write_here(&self, command: SystemCommand) -> SystemAnswer {
        let group = self.group(GroupId::SYSTEM).ok_or(Unserved::NoReplica)?;
        let session = group.session().ok_or(Unserved::NotLeader)?;
        if self.shared.store.space().low {
            return Err(Unserved::DiskFull(self.shared.node_name.clone()));
        }
        if let Err(refused) = self.system().check_level(&command) {
            return Ok((Err(refused), group.view.applied()));
        }
        let (responder, done) = openraft::impls::ProgressResponder::complete_only();
        let write = group
            .raft
            .write(Command::System(Box::new(command)))
            .with_leader(session.leader)
            .responder(responder);
        write.await.map_err(|_| Unserved::NotLeader)?;
        match done.await {
            Ok(Ok(written)) => match written.response() {
                Applied::System(reply) => Ok((reply.clone(), written.log_id.index)),
                Applied::Nothing | Applied::Skipped => {
                    Err(Unserved::Storage("the system group answered nothing".to_owned()))
                }
            },
            _ => Err(Unserved::Unknown),
        }
    }

    /// Waits until this node has applied all that the system group had committed when this was called; `false` when
    /// the leader could not be asked by the deadline.
    pub async fn system_barrier(&self, deadline: Instant) -> bool {
        let index = match self.leader_of(GroupId::SYSTEM) {
            Some(leader) if leader == self.own() => self.system_index_here().await,
            Some(leader) => {
                let ask = self.ask(leader, Kind::SystemIndex, GroupId::SYSTEM, Bytes::new(), deadline);
                ask.await.and_then(|answer: Result<u64, Unserved>| answer)
            }
            None => Err(Unserved::NoLeader),
        };
        match index {
            Ok(index) => self.wait_system(index, deadline).await,
            Err(_) => false,
        }
    }

    pub(crate) async fn system_index_here(&self) -> Result<u64, Unserved> {
        let group = self.group(GroupId::SYSTEM).ok_or(Unserved::NoReplica)?;
        let session = group.session().ok_or(Unserved::NotLeader)?;
        // What this leader has acknowledged, it has applied.
        let index = group.view.applied();
        let now = runtime::now();
        group.confirm(now, now + self.shared.timing.lease).await?;
        if group.session() == Some(session) { Ok(index) } else { Err(Unserved::NotLeader) }
    }

    /// Waits until this node has applied the system group's log up to `index`; `false` when it has not by the deadline.
    pub async fn wait_system(&self, index: u64, deadline: Instant) -> bool {
        match self.group(GroupId::SYSTEM) {
            Some(group) => group.wait_applied(index, deadline).await,
            None => false,
        }
    }

    /// Asks a node for its status.
    pub(crate) async fn ask_status(
        &self,
        node: NodeId,
        deadline: Instant,
    ) -> Option<crate::wire::NodeStatus> {
        self.ask(node, Kind::Status, GroupId::SYSTEM, Bytes::new(), deadline).await.ok()
    }
}

pub(super) fn forward_read(mode: ReadMode, request: &Bytes, deadline: Instant) -> Result<Bytes, Unserved> {
    let left = deadline.saturating_duration_since(runtime::now());
    let timeout_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    Ok(encode(&ForwardRead { mode, request: request.clone(), timeout_ms })?)
}
