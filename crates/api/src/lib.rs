//! Fronts: the DynamoDB HTTP API and the Redis protocol over one [`Tables`] trait.
//!
//! Architecture invariant: nothing in this crate knows of Raft, of groups' placement or of disks. A front validates a
//! request with `meridian-dynamo`, calls [`Tables`] and writes the answer.

pub mod credential;
pub mod dynamodb;
pub mod memory;
pub mod redis;
pub mod tables;

pub use credential::{Credential, CredentialError, SecretAccessKey};
pub use tables::{Reply, RequestContext, ServedBy, Staleness, TableChange, Tables};
