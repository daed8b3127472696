//! Reads of items that are kept in several groups, one for each region that writes them: every replica that is looked at must be on the node that
//! serves the read, and as new as the client has seen.

use super::Replication;
use super::client::{ReadDone, TOKEN_PATIENCE, forward_read};
use crate::error::Unserved;
use crate::group::{Group, ReadOutcome};
use crate::runtime::{self, mark};
use crate::system::Required;
use crate::transport::Kind;
use crate::wire::{Beside, ReadMode, Served, ServedOr};
use bytes::Bytes;
use meridian_types::{Demand, GroupId, NodeId, Position};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a read of several groups asks for.
#[derive(Clone, Debug)]
pub struct MergedRead {
    /// The groups, the one that evaluates the read first.
    pub groups: Vec<GroupId>,
    /// What the client has seen of each, in the same order.
    pub seen: Vec<Demand>,
    /// Whether the first group's leader must serve it, behind the commit rule.
    pub consistent: bool,
    /// The oldest state that the client accepts.
    pub max_staleness: Option<Duration>,
}

impl Replication {
    /// Reads from several groups at once.
    ///
    /// # Errors
    /// [`Unserved`] when no node could serve the read by the deadline.
    pub async fn read_merged(
        &self,
        read: MergedRead,
        request: Bytes,
        deadline: Instant,
    ) -> Result<ReadDone, Unserved> {
        let Some(&first) = read.groups.first() else { return Err(Unserved::NoReplica) };
        let seen = self.positions(&read, &request, deadline).await?;
        if !read.consistent
            && let Some(done) = self.merged_here(&read, &request, &seen, deadline).await?
        {
            return Ok(done);
        }
        loop {
            let tried = if read.consistent {
                self.merged_leader(first, first, Beside::Leader, &request, &seen, deadline).await
            } else {
                self.merged_elsewhere(&read, &request, &seen, deadline).await
            };
            match tried {
                Ok(done) => return Ok(done),
                // A read changes nothing, so it may be sent again whatever became of it.
                Err(error) if error == Unserved::Unknown || error.try_again() => {}
                Err(error) => return Err(error),
            }
            if !self.pause_before_retry(deadline).await {
                return Err(Unserved::NoLeader);
            }
        }
    }

    /// Reads from one node's replica of a group, once that node's replicas of these groups have applied what was seen of them.
    ///
    /// # Errors
    /// [`Unserved`] when the node cannot be reached, or has not by the deadline.
    pub async fn read_at(
        &self,
        node: NodeId,
        group: GroupId,
        request: Bytes,
        seen: &[Position],
        deadline: Instant,
    ) -> Result<ReadDone, Unserved> {
        self.merged_at(node, group, Beside::Replica, &request, seen, deadline).await
    }

    /// The positions that the replicas must have. What a token has forgotten, and the newest of a group whose replica here is staler than
    /// the client accepts, is asked of the leaders.
    async fn positions(
        &self,
        read: &MergedRead,
        request: &Bytes,
        deadline: Instant,
    ) -> Result<Vec<Position>, Unserved> {
        let mut positions = Vec::new();
        let fresh = |group, bound| {
            let replica = self.readable(group).and_then(|replica| self.staleness(&replica));
            replica.is_some_and(|stale| stale <= bound)
        };
        for (group, seen) in read.groups.iter().zip(&read.seen) {
            match seen {
                _ if read.max_staleness.is_some_and(|bound| !fresh(*group, bound)) => {
                    positions.push(self.read_leader(*group, request, deadline).await?.position);
                }
                Demand::Nothing => {}
                Demand::Position(position) => positions.push(*position),
                Demand::Latest => positions.push(self.read_leader(*group, request, deadline).await?.position),
            }
        }
        Ok(positions)
    }

    /// From this node's replicas, unless it lacks one or they are too far behind.
    async fn merged_here(
        &self,
        read: &MergedRead,
        request: &Bytes,
        seen: &[Position],
        deadline: Instant,
    ) -> Result<Option<ReadDone>, Unserved> {
        let replicas: Option<Vec<_>> = read.groups.iter().map(|group| self.readable(*group)).collect();
        let Some(replicas) = replicas else { return Ok(None) };
        let patience = deadline.min(runtime::now() + TOKEN_PATIENCE);
        let Some(first) = replicas.first() else { return Ok(None) };
        match self.read_beside(first, Beside::Replica, request, seen, patience).await {
            Ok(outcome) => Ok(Some(ReadDone {
                response: outcome.response,
                position: first.position(outcome.index),
                served_by: self.own(),
                consistent: false,
            })),
            Err(error) if error.try_again() => {
                mark("a read of several groups went elsewhere");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Serves a read here, once the replicas beside this one have applied what was seen of them.
    pub(crate) async fn read_beside(
        &self,
        group: &Arc<Group>,
        how: Beside,
        request: &Bytes,
        seen: &[Position],
        deadline: Instant,
    ) -> Result<ReadOutcome, Unserved> {
        for position in seen {
            // The leader has all of its own group.
            if how == Beside::Leader && position.group == group.id {
                continue;
            }
            let replica = self.readable(position.group).ok_or(Unserved::NoReplica)?;
            let leads = replica.serves();
            // As a leader answers with what there is when what was seen is lost.
            let lost = how == Beside::Leader && self.is_lost(*position);
            if !leads && !lost && !self.wait_position(&replica, *position, deadline).await {
                return Err(Unserved::NoLeader);
            }
        }
        match how {
            Beside::Leader => group.read_consistent(request, deadline).await,
            Beside::Replica if group.may_be_read() => group.read_local(request),
            Beside::Replica => Err(Unserved::NoReplica),
        }
    }

    /// Whether a position is of an incarnation that was given up, beyond what the next one has.
    fn is_lost(&self, position: Position) -> bool {
        self.system().groups.get(&position.group).is_some_and(|group| {
            group.unfounded().is_none()
                && position.incarnation < group.incarnation
                && group.required(position) == Required::Leader
        })
    }

    /// By the node that leads a group: it has what was seen of that one, and waits for the others.
    async fn merged_leader(
        &self,
        first: GroupId,
        led: GroupId,
        how: Beside,
        request: &Bytes,
        seen: &[Position],
        deadline: Instant,
    ) -> Result<ReadDone, Unserved> {
        let leader = self.leader_of(led).ok_or(Unserved::NoLeader)?;
        self.merged_at(leader, first, how, request, seen, deadline).await
    }

    async fn merged_at(
        &self,
        node: NodeId,
        group: GroupId,
        how: Beside,
        request: &Bytes,
        seen: &[Position],
        deadline: Instant,
    ) -> Result<ReadDone, Unserved> {
        let consistent = how == Beside::Leader;
        if node == self.own() {
            let replica = self.readable(group).ok_or(Unserved::NoReplica)?;
            let outcome = self.read_beside(&replica, how, request, seen, deadline).await?;
            let (response, position) = (outcome.response, replica.position(outcome.index));
            return Ok(ReadDone { response, position, served_by: node, consistent });
        }
        let payload = forward_read(ReadMode::Beside(how, seen.to_vec()), request, deadline)?;
        let served: ServedOr = self.ask(node, Kind::Read, group, payload, deadline).await?;
        let Served { response, position } = served?;
        Ok(ReadDone { response, position, served_by: node, consistent })
    }

    /// By a node that has what this one lacks: the leader of a group of which the client has seen more, else the nearest that has replicas.
    async fn merged_elsewhere(
        &self,
        read: &MergedRead,
        request: &Bytes,
        seen: &[Position],
        deadline: Instant,
    ) -> Result<ReadDone, Unserved> {
        let first = *read.groups.first().ok_or(Unserved::NoReplica)?;
        let has = |position: &&Position| {
            let replica = self.readable(position.group);
            replica.is_some_and(|replica| position.is_covered_by(&replica.position(replica.view.applied())))
        };
        if let Some(missing) = seen.iter().find(|position| !has(position)) {
            return self.merged_leader(first, missing.group, Beside::Replica, request, seen, deadline).await;
        }
        let mut failed = Unserved::NoReplica;
        for node in self.holders_by_distance(first) {
            match self.merged_at(node, first, Beside::Replica, request, seen, deadline).await {
                Ok(done) => return Ok(done),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}
