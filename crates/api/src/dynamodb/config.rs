//! What the DynamoDB front is told: bounds, authentication, and who it speaks for.

use crate::tables::ServedBy;
use core::time::Duration;
use std::time::SystemTime;

/// Most bytes of a request's body, as the API has it.
pub const MAX_BODY: usize = 16 << 20;

/// Most bytes of a request's headers.
pub const MAX_HEAD: usize = 64 << 10;

/// Whether signatures are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Every request carries a valid SigV4 signature of a known credential that allows it.
    SigV4,
    /// Any credentials or none. For development on loopback only.
    None,
}

/// The front's settings.
#[derive(Clone, Debug)]
pub struct FrontConfig {
    /// Who answers, as far as the front itself does (errors, refusals); answers from [`crate::Tables`] say themselves.
    pub served_by: ServedBy,
    /// Whether signatures are checked.
    pub auth: AuthMode,
    /// How long a request may take from its first byte to its answer.
    pub deadline: Duration,
    /// Requests worked on at once; more are answered with `ThrottlingException`.
    pub max_requests: usize,
    /// Connections held at once; more wait in the listen queue.
    pub max_connections: usize,
    /// Bytes of request bodies held at once; more are answered with `ThrottlingException`.
    pub max_body_bytes: usize,
    /// How long a graceful stop waits for requests under way.
    pub drain: Duration,
    /// The time of day that signatures are checked against.
    pub clock: fn() -> SystemTime,
}

impl FrontConfig {
    /// The defaults for a node.
    #[must_use]
    pub fn new(served_by: ServedBy, auth: AuthMode) -> Self {
        Self {
            served_by,
            auth,
            deadline: Duration::from_secs(10),
            max_requests: 1024,
            max_connections: 4096,
            max_body_bytes: 256 << 20,
            drain: Duration::from_secs(5),
            clock: SystemTime::now,
        }
    }
}
