//! The vocabulary of Meridian: ids, names, policies, services, positions, tokens and the hybrid logical clock.
//!
//! Architecture invariant: this crate is pure (`no_std` + `alloc`) and depends on no other crate of the workspace.
//! It reads no clock, opens no socket and touches no disk; time is always an argument.
#![no_std]

extern crate alloc;

pub mod hash;
pub mod hlc;
pub mod id;
pub mod name;
pub mod policy;
pub mod position;
pub mod service;
pub mod span;
pub mod token;

pub use hlc::{Hlc, HlcClock};
pub use id::{GroupId, Incarnation, NodeId, RequestId, TableId};
pub use name::{NameError, NodeName, PolicyName, RegionName, ServiceName, TableName, ZoneName};
pub use policy::{ConflictRule, Failback, OnRegionLoss, Pattern, Policy, PolicyError, Replication};
pub use position::Position;
pub use service::{Backend, HealthCheck, HostName, Service, ServiceError, ServicePolicy};
pub use span::{Span, SpanError};
pub use token::{Demand, Token, TokenError};
