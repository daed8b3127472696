//! What the replication layer asks of the layer above: to evaluate writes and reads against a group's state.
//!
//! Requests and responses are opaque bytes here: this crate knows nothing of DynamoDB.

use crate::raft::Mutation;
use bytes::Bytes;
use meridian_types::{GroupId, Position};
use std::io;

/// The state of one group as an evaluation sees it.
pub trait View {
    /// The group.
    fn group(&self) -> GroupId;

    /// The value of a key.
    ///
    /// # Errors
    /// When the engine fails.
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>>;

    /// The index of the newest entry known to have changed a key; 0 when the key is not there and was not deleted since the group was
    /// founded anew. Indexes grow along a group's life, across incarnations.
    ///
    /// # Errors
    /// When the engine fails.
    fn changed_at(&self, key: &[u8]) -> io::Result<u64>;

    /// Calls `row` for keys in `start..end`, in order or backwards, until it answers `false`.
    ///
    /// # Errors
    /// When the engine fails.
    fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        reverse: bool,
        row: &mut dyn FnMut(&[u8], &Bytes) -> bool,
    ) -> io::Result<()>;

    /// This node's replica of another group, and what it has applied at least; `None` when the node has none that may be read.
    fn neighbour(&self, group: GroupId) -> Option<Neighbour<'_>>;

    /// This node's wall clock.
    fn clock(&self) -> WallClock;
}

/// A node's wall clock, and how good it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WallClock {
    /// Milliseconds since 1970.
    pub wall_ms: u64,
    /// How far it is behind most of the cluster's, in milliseconds; negative when it is ahead.
    pub behind_ms: i64,
}

/// Another group's replica on the same node.
pub struct Neighbour<'a> {
    /// Its applied state, or a newer one.
    pub view: Box<dyn View + 'a>,
    /// What the state includes at least.
    pub position: Position,
}

/// The result of evaluating a write: what to store and what to answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// After-images; empty when the write changes nothing or is refused.
    pub mutations: Vec<Mutation>,
    /// The encoded response, for success and refusal alike.
    pub response: Bytes,
}

/// Evaluates requests. Called on the leader for writes, on the serving replica for reads.
pub trait Evaluator: Send + Sync + 'static {
    /// Evaluates a write once, on the leader. Only `View::get` is available: a write touches keys that it names.
    ///
    /// # Errors
    /// When the view fails; nothing is then stored.
    fn write(&self, request: &[u8], view: &dyn View) -> io::Result<Evaluation>;

    /// Evaluates a read.
    ///
    /// # Errors
    /// When the view fails.
    fn read(&self, request: &[u8], view: &dyn View) -> io::Result<Bytes>;
}
