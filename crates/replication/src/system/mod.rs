//! The system group's state machine: nodes, policies, tables, placement, lost regions, credentials and services.
//!
//! Pure: commands and state in, new state and a reply out. No clock, no disk, no randomness; what a command needs of
//! those (creation times, ids of keys, placements) its proposer puts into the command.

mod command;
mod expel;
mod level;
mod members;
mod moving;
mod refound;
mod residency;
mod services;
mod signing;
mod state;
mod stored;
mod time_to_live;

pub use command::{SystemCommand, SystemError, SystemReply};
pub use members::{JoinToken, Joining, MAX_NODES, Planned, Started};
pub use moving::{MovePhase, MoveSource, Sweep, TableMove};
pub use refound::{AtRisk, LastHeard, LogPoint, Refoundation, Required, SalvageCount};
pub use residency::RESIDENCY_TAG;
pub use services::{Purge, Services};
pub use signing::SigningKey;
pub use state::{
    AllowList, Credential, GroupInfo, NodeEntry, PolicyEntry, SystemState, TableEntry, TableStatus,
};
pub use stored::StoredStateError;
