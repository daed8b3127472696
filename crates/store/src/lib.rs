//! The store of a node: the Raft logs, votes and item states of many groups in one embedded engine.
//!
//! Bytes in, bytes out: what an entry or an item means is for the callers. This crate knows neither Raft nor DynamoDB, opens no
//! socket and uses no async runtime. Its promises:
//!
//! - **One journal.** Logs, votes and states of all groups go through one journal in the order of the calls that wrote them.
//!   After a crash a prefix of it is there. So for each group, what is applied was appended: applied ≤ durable.
//! - **One fsync for all that wait** ([`GroupStore::append`], [`GroupStore::save_vote`], [`Store::sync`]).
//! - **Fail stop.** After a failed write or fsync every call answers [`StoreError::Failed`].
//! - **Damage is an error**, never data: log records, journal batches and table blocks carry checksums, and a journal that lost
//!   what was durable does not open.
//! - **A nearly full disk is an answer** ([`StoreError::DiskFull`]), not an accident; reads go on.

mod damage;
mod engine;
mod error;
mod format;
mod group;
mod install;
mod janitor;
mod journal;
mod keys;
mod locks;
mod log;
mod memory;
mod old_journals;
mod options;
mod recovery;
mod scrub;
mod space;
mod state;
mod store;
mod sync;
mod tail;

pub use error::StoreError;
pub use format::FORMAT;
pub use group::GroupStore;
pub use install::Install;
pub use keys::MAX_KEY_BYTES;
pub use log::{LogBounds, MAX_ENTRY_BYTES, Purged};
pub use memory::{MemoryDisk, MemoryDriver, MemorySync, SyncEnd};
pub use options::StoreOptions;
pub use scrub::Scrub;
pub use space::Space;
pub use state::{StateChunk, StateIter, StateOp, StateSnapshot, StateStream};
pub use store::{Store, StoreStats};
pub use sync::OnDurable;
