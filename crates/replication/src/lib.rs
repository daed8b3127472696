//! Replication: one Raft group per placement group, the system group, peer links, leases and the supervisor.
//!
//! Architecture invariants: consensus is openraft's; where replicas live, who should lead and when a leader may answer
//! are decided by the pure crate `meridian_placement`; requests are opaque bytes, evaluated by an [`Evaluator`] that the
//! layer above provides. This crate knows nothing of DynamoDB.

mod beat;
mod config;
mod error;
mod evaluate;
mod group;
mod keys;
mod lag;
mod node;
mod pace;
mod raft;
mod replica_id;
pub mod runtime;
mod supervisor;
pub mod system;
pub mod transport;
mod wire;

pub use config::{LogLimits, Timing};
pub use error::Unserved;
pub use evaluate::{Evaluation, Evaluator, Neighbour, View, WallClock};
pub use keys::{
    MoveNote, is_salvaged, move_note, move_notes, salvage_done, salvage_mark, table_of, table_prefix,
    table_range,
};
pub use lag::{LAG_BUCKETS_MS, LagHistogram};
pub use node::{
    Changes, Expelled, FailoverError, MAX_NOTICE, MembersError, MergedRead, Network, OnNotice,
    ReadConsistency, ReadDone, Replication, ReplicationOptions, WriteDone, groups_of_region, origins_held_by,
};
pub use raft::Mutation;
pub use raft::reseed::spares;
pub use replica_id::ReplicaId;
pub use supervisor::Founding;
pub use wire::{FailoverOrder, GroupFailover, LostWrite, NodeStatus, ReplicaStatus, RiskReport, SalvageAt};
