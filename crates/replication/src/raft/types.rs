//! The types that a group's log is made of.

use crate::system::{SystemCommand, SystemError, SystemReply};
use bytes::Bytes;
use meridian_types::{NodeId, RequestId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;

openraft::declare_raft_types!(
    /// openraft's view of Meridian: every group has the same types.
    pub(crate) RaftTypes:
        D = Command,
        R = Applied,
        NodeId = NodeId,
        Node = openraft::EmptyNode,
        // One leader a term, as in the Raft paper: a late hand-over can then never outdo a leader that was elected
        // meanwhile, whose lease the voters respect.
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, NodeId>,
        AsyncRuntime = crate::runtime::Runtime,
);

/// A log entry's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Changes nothing: a new leader commits it to know that it has applied all that came before.
    Barrier,
    /// A change to the system state (group 0 only).
    System(Box<SystemCommand>),
    /// The results of writes that the leader has evaluated (every other group).
    Write(WriteBatch),
    /// Deletes items of a table that nobody writes to any more.
    Purge(Vec<Bytes>),
}

/// Several evaluated writes that share a log entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WriteBatch {
    /// The index of the barrier that began the session in which the writes were evaluated.
    pub(crate) session: u64,
    /// 1, 2, 3... within the session. An entry with a gap before it was evaluated on top of one that never came into the
    /// log: it is skipped on every replica.
    pub(crate) number: u64,
    /// Milliseconds since 1970 at the leader. Only decides when remembered request ids are forgotten.
    pub(crate) stamp_ms: u64,
    /// The writes, in the order in which they were evaluated.
    pub(crate) writes: Vec<WriteRecord>,
}

/// Which batch of writes one is: its session, and its number within it.
pub(crate) type WritePlace = (u64, u64);

/// The result of one write: what to store, not how it was computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WriteRecord {
    /// Set for forwarded writes, whose id and response are remembered so that a retry changes nothing.
    pub(crate) remember: Option<(RequestId, Bytes)>,
    /// After-images.
    pub(crate) mutations: Vec<Mutation>,
}

/// An after-image: the key's new value, or its deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mutation {
    /// The key within the group.
    pub key: Bytes,
    /// The value, or `None` to delete.
    pub value: Option<Bytes>,
}

/// What applying an entry answers to its proposer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Applied {
    /// Nothing to say.
    Nothing,
    /// The writes have no effect: they were evaluated on top of others that never came into the log.
    Skipped,
    /// A system command's reply.
    System(Result<SystemReply, SystemError>),
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Command::Barrier => f.write_str("barrier"),
            Command::System(_) => f.write_str("system command"),
            Command::Purge(keys) => write!(f, "{} deletions", keys.len()),
            Command::Write(batch) => write!(f, "{} writes", batch.writes.len()),
        }
    }
}

/// Encodes a value for the log or the wire.
pub(crate) fn encode<T: Serialize>(value: &T) -> io::Result<Bytes> {
    postcard::to_stdvec(value).map(Bytes::from).map_err(io::Error::other)
}

/// Decodes what [`encode`] made.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
