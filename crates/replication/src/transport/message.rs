//! What travels in an envelope.

use super::link::Reply;
use crate::replica_id::ReplicaId;
use bytes::Bytes;
use meridian_types::NodeId;

/// What a request is. The numbers are part of the peer protocol: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// Answered at once; keeps a link alive and measures its round trip.
    Ping = 1,
    /// Raft: entries, kept in order per group.
    Append = 2,
    /// Raft: an append without entries that overtakes the ordered ones.
    Heartbeat = 3,
    /// Raft: a vote.
    Vote = 4,
    /// Whether the peer would vote for this node; changes nothing.
    PreVote = 5,
    /// Raft: the leader asks this node to take over.
    TransferLeader = 6,
    /// A part of a snapshot.
    Snapshot = 7,
    /// A write for the leader to evaluate.
    Write = 8,
    /// A read for the leader, or for any replica.
    Read = 9,
    /// A command for the leader of the system group.
    System = 10,
    /// The leader's read index of the system group.
    SystemIndex = 11,
    /// What this node knows about its groups.
    Status = 12,
    /// A leader's word on all groups that it leads and the peer is a member of.
    Beat = 13,
    /// The system leader grants the sender's region another lease.
    RegionLease = 14,
    /// What the sender's groups have on the disks of its region alone.
    AtRisk = 15,
    /// How far this node's replica of an incarnation is, whether or not it still takes part.
    Survey = 16,
    /// The system leader is asked to give a region up.
    Failover = 17,
    /// What this node has of an old incarnation above its cut.
    Salvage = 18,
    /// Whether the sender is a member of the group no more, by its leader's word.
    Departed = 19,
    /// What the layer above tells its like; opaque here.
    Notice = 20,
}

impl Kind {
    /// The kind of a number from the wire.
    #[must_use]
    pub fn from_wire(number: u32) -> Option<Kind> {
        use Kind::{
            Append, AtRisk, Beat, Departed, Failover, Heartbeat, Notice, Ping, PreVote, Read, RegionLease,
            Salvage, Snapshot, Status, Survey, System, SystemIndex, TransferLeader, Vote, Write,
        };
        let all = [
            Ping,
            Append,
            Heartbeat,
            Vote,
            PreVote,
            TransferLeader,
            Snapshot,
            Write,
            Read,
            System,
            SystemIndex,
            Status,
            Beat,
            RegionLease,
            AtRisk,
            Survey,
            Failover,
            Salvage,
            Departed,
            Notice,
        ];
        all.into_iter().find(|kind| *kind as u32 == number)
    }
}

/// A request as it arrives.
#[derive(Debug)]
pub struct Request {
    /// The node that sent it, as its certificate says.
    pub from: NodeId,
    /// What it is.
    pub kind: Kind,
    /// The group addressed, in the incarnation that the sender knows.
    pub to: ReplicaId,
    /// The encoded request.
    pub payload: Bytes,
}

/// Takes requests off a link.
pub trait Handler: Send + Sync + 'static {
    /// Starts to handle `request` and returns at once: the link's reader waits for it, and the order of calls is
    /// the order of arrival. Answers through `reply`, now or later; a dropped `reply` answers with an error.
    fn dispatch(&self, request: Request, reply: Reply);
}
