//! What the Redis front is told.

use crate::dynamodb::AuthMode;
use crate::tables::ServedBy;
use core::time::Duration;
use meridian_types::TableName;
use std::time::SystemTime;

/// The front's settings.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// The table that holds the keys. Made at the first command when there is none.
    pub table: TableName,
    /// Who answers.
    pub served_by: ServedBy,
    /// Whether connections have to say who they are.
    pub auth: AuthMode,
    /// How long a command may take.
    pub deadline: Duration,
    /// Commands worked on at once; more wait.
    pub max_commands: usize,
    /// Connections held at once; more are refused.
    pub max_connections: usize,
    /// Bytes of large requests held at once; more are refused.
    pub max_request_bytes: usize,
    /// How long a connection that has said nothing useful is kept: one that has not authenticated, is in the middle of a request, or does not
    /// take its replies.
    pub patience: Duration,
    /// How long a graceful stop waits for commands under way.
    pub drain: Duration,
    /// How long after its expiry a key is removed. Longer than another region is likely to be away, which may have prolonged it.
    pub sweep_after: Duration,
    /// The time of day.
    pub clock: fn() -> SystemTime,
}

impl RedisConfig {
    /// The defaults for a node.
    #[must_use]
    pub fn new(table: TableName, served_by: ServedBy, auth: AuthMode) -> Self {
        Self {
            table,
            served_by,
            auth,
            deadline: Duration::from_secs(10),
            max_commands: 1024,
            max_connections: 4096,
            max_request_bytes: 256 << 20,
            patience: Duration::from_secs(60),
            drain: Duration::from_secs(5),
            sweep_after: Duration::from_secs(300),
            clock: SystemTime::now,
        }
    }

    /// The time of day in milliseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        let since = (self.clock)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}
