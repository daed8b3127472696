//! Where openraft meets Meridian: its types, storage over the embedded engine, and its network over peer links.

#[cfg(test)]
mod conformance;
mod durable;
mod durable_end;
mod ends;
mod hold;
mod log_store;
pub(crate) mod lost;
mod machine;
mod network;
mod pacer;
pub(crate) mod refound;
#[cfg(test)]
mod refound_tests;
pub(crate) mod reseed;
mod snapshot;
mod types;

pub(crate) use durable_end::DurableEnd;
pub(crate) use hold::Hold;
pub(crate) use log_store::LogStore;
pub(crate) use machine::{Machine, MachineView};
pub(crate) use network::{GroupNetworks, respond};
pub(crate) use pacer::Pacer;
pub(crate) use snapshot::SnapshotData;
pub(crate) use snapshot::{Complete, SnapshotPart, SnapshotReceiver};
pub use types::Mutation;
pub(crate) use types::{Applied, Command, RaftTypes, WriteBatch, WritePlace, WriteRecord};
pub(crate) use types::{decode, encode};

/// One group's Raft.
pub(crate) type Raft = openraft::Raft<RaftTypes, Machine>;
