//! Requests from peers, handed to the group that they address.

use super::Replication;
use crate::beat;
use crate::error::Unserved;
use crate::group::{Group, accept};
use crate::raft::refound::log_point;
use crate::raft::{RaftTypes, decode, encode, respond};
use crate::replica_id::ReplicaId;
use crate::runtime::{self, mark};
use crate::transport::{Handler, Kind, Reply, Request};
use crate::wire::{ForwardRead, ForwardSystem, ForwardWrite, ReadMode, Served, ServedOr, SystemAnswer};
use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use openraft::vote::RaftLeaderId;
use serde::Serialize;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Requests from peers being served at once, besides appends and snapshots, which have their own queues.
const AT_ONCE: usize = 8_192;

pub(super) struct Dispatch {
    // The node owns the links' tasks, which own this: a strong reference would keep all of them alive for ever.
    node: Weak<Replication>,
    at_once: Arc<Semaphore>,
}

impl Dispatch {
    pub(super) fn new(node: &Arc<Replication>) -> Self {
        Self { node: Arc::downgrade(node), at_once: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Handler for Dispatch {
    fn dispatch(&self, request: Request, reply: Reply) {
        let Some(node) = self.node.upgrade() else { return };
        let Some(group) = node.addressed(request.to) else {
            // Also while the node starts, or has not yet heard of a new group: the peer tries again.
            return reply.refuse(&Unserved::NoReplica.to_string());
        };
        match request.kind {
            Kind::Append => append(&node, &group, &request.payload, reply),
            Kind::Snapshot => group.snapshots.push(request.payload, reply),
            Kind::Beat => match beat::hear(&node, request.from, &request.payload) {
                Ok(payload) => reply.done(payload),
                Err(error) => reply.refuse(&error.to_string()),
            },
            Kind::Notice => {
                node.notices.heard(request.from, request.payload);
                reply.done(Bytes::new());
            }
            _ => {
                let Ok(permit) = Arc::clone(&self.at_once).try_acquire_owned() else {
                    return reply.refuse(&Unserved::Overloaded.to_string());
                };
                runtime::spawn(async move {
                    match serve(&node, &group, request).await {
                        Ok(payload) => reply.done(payload),
                        Err(why) => reply.refuse(&why),
                    }
                    drop(permit);
                });
            }
        }
    }
}

fn append(node: &Replication, group: &Group, payload: &[u8], reply: Reply) {
    let request: AppendEntriesRequest<RaftTypes> = match decode(payload) {
        Ok(request) => request,
        Err(error) => return reply.refuse(&error.to_string()),
    };
    if !request.entries.is_empty() && node.shared.store.space().low {
        mark("an append was refused for lack of space");
        // The leader keeps the entries and tries again; this replica goes on when there is space.
        return reply.refuse(&Unserved::DiskFull(node.shared.node_name.clone()).to_string());
    }
    heard(group, &request);
    group.appends.push(request, reply);
}

/// Notes what a leader's message tells.
fn heard(group: &Group, request: &AppendEntriesRequest<RaftTypes>) {
    group.freshness.heard(request.leader_commit.map_or(0, |id| id.index));
    group.lag.heard(*request.vote.leader_id().node_id());
}

async fn serve(node: &Arc<Replication>, group: &Arc<Group>, request: Request) -> Result<Bytes, String> {
    let payload = &request.payload[..];
    match request.kind {
        Kind::Heartbeat => {
            let request: AppendEntriesRequest<RaftTypes> = parse(payload)?;
            heard(group, &request);
            accept(&group.raft, &group.promise, request).await
        }
        Kind::Vote => vote(group, parse(payload)?).await,
        Kind::PreVote => answer(&group.would_vote_soon(parse(payload)?).await),
        Kind::TransferLeader if !group.holds_items() => Err("a witness does not lead".to_owned()),
        Kind::TransferLeader if group.owes() => Err("this replica is being filled again".to_owned()),
        Kind::TransferLeader => {
            let transfer: TransferLeaderRequest<RaftTypes> = parse(payload)?;
            respond(group.raft.handle_transfer_leader(transfer).await)
        }
        Kind::Write => {
            let ForwardWrite { id, request } = parse(payload)?;
            let served = group.submit(Some(id), request).await;
            answer(
                &served.map(|done| Served { response: done.response, position: group.position(done.index) }),
            )
        }
        Kind::Read => answer(&read(node, group, parse(payload)?).await),
        Kind::System => {
            let ForwardSystem(command) = parse(payload)?;
            let answered: SystemAnswer = node.system_write_here(command).await;
            answer(&answered)
        }
        Kind::SystemIndex => answer(&node.system_index_here().await),
        Kind::Status => answer(&node.status_here()),
        Kind::Departed => answer(&group.asked_departed(request.from, payload)),
        Kind::RegionLease | Kind::AtRisk | Kind::Survey | Kind::Failover | Kind::Salvage => {
            failover(node, &request).await
        }
        Kind::Append | Kind::Snapshot | Kind::Ping | Kind::Beat | Kind::Notice => {
            Err("handled elsewhere".to_owned())
        }
    }
}

async fn vote(group: &Group, mut request: VoteRequest<RaftTypes>) -> Result<Bytes, String> {
    if group.owes() {
        mark("a vote was refused by a replica that had lost entries");
        return Err("this replica lacks entries that it has acknowledged".to_owned());
    }
    let term = request.vote.leader_id().term();
    if !group.promise.reaches(request.last_log_id.as_ref().map(log_point)) {
        return Err("this voter has given up a replica that had more".to_owned());
    }
    let lease = (!request.leadership_transfer).then_some(group.timing.lease);
    let Some(voting) = group.promise.begin_vote(term, lease) else {
        mark("a vote was refused, because a lease runs");
        return Err("this voter has granted a lease that still runs".to_owned());
    };
    // The promise has kept the lease; openraft's own, which is longer, does not count.
    request.leadership_transfer = true;
    let mut result = group.raft.vote(request).await;
    if let Ok(response) = result.as_mut()
        && response.vote_granted
        && response.last_log_id.is_some_and(|last| !group.durable.covers(last.index))
    {
        // The candidate takes it for what is on the disk (`raft::ends`).
        response.last_log_id = None;
    }
    if result.as_ref().is_ok_and(|response| !response.vote_granted) {
        voting.refused();
    }
    respond(result)
}

/// What only failovers and what comes after them need.
async fn failover(node: &Arc<Replication>, request: &Request) -> Result<Bytes, String> {
    let payload = &request.payload[..];
    match request.kind {
        Kind::RegionLease => {
            // Of the region that the certificate says, not of one that the peer names.
            let everyone = node.everyone();
            let from = everyone.node(request.from).map(|node| &node.region);
            let granted = from.ok_or(Unserved::NoReplica).and_then(|region| node.grant_region_lease(region));
            answer(&granted)
        }
        Kind::AtRisk => {
            node.heard_risks.heard(parse(payload)?);
            Ok(Bytes::new())
        }
        Kind::Survey => {
            let (group, incarnation) = parse(payload)?;
            let survey = node.survey_here(ReplicaId { group, incarnation });
            answer(&survey.map_err(|error| error.to_string())?)
        }
        Kind::Failover => answer(&node.fail_over_here(&parse(payload)?).await),
        Kind::Salvage => answer(&node.salvage_here(parse(payload)?)),
        _ => Err("handled elsewhere".to_owned()),
    }
}

async fn read(
    node: &Replication,
    group: &Arc<Group>,
    ForwardRead { mode, request, timeout_ms }: ForwardRead,
) -> ServedOr {
    let deadline = runtime::now() + Duration::from_millis(timeout_ms);
    let outcome = match mode {
        ReadMode::Consistent => group.read_consistent(&request, deadline).await?,
        ReadMode::Local(_) if !group.may_be_read() => return Err(Unserved::NoReplica),
        ReadMode::Local(position) => {
            if let Some(position) = position
                && !node.wait_position(group, position, deadline).await
            {
                return Err(Unserved::NoLeader);
            }
            group.read_local(&request)?
        }
        ReadMode::Beside(how, seen) => node.read_beside(group, how, &request, &seen, deadline).await?,
    };
    Ok(Served { response: outcome.response, position: group.position(outcome.index) })
}

fn parse<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Result<T, String> {
    decode(payload).map_err(|error| format!("the request could not be decoded: {error}"))
}

fn answer<T: Serialize>(value: &T) -> Result<Bytes, String> {
    encode(value).map_err(|error| error.to_string())
}
