//! How a command fails: an exit code and a message that says what to do.

use crate::admin::AdminClientError;
use crate::config::ConfigError;

/// The exit codes other than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// The command could not do what it was asked for.
    Failed = 1,
    /// The request or the configuration is wrong.
    Usage = 2,
    /// An objective was missed.
    Missed = 3,
    /// The cluster cannot be reached.
    Unreachable = 4,
}

impl Exit {
    /// The meaning of a code that another crate chose by the same convention.
    pub(super) fn of_code(code: u8) -> Self {
        match code {
            2 => Self::Usage,
            3 => Self::Missed,
            4 => Self::Unreachable,
            _ => Self::Failed,
        }
    }
}

/// A failure.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) message: String,
}

#[expect(clippy::needless_pass_by_value, reason = "so that constructors can be passed to `map_err`")]
impl Failure {
    pub(super) fn failed(message: impl ToString) -> Self {
        Self { exit: Exit::Failed, message: message.to_string() }
    }

    pub(super) fn usage(message: impl ToString) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }

    pub(super) fn unreachable(message: impl ToString) -> Self {
        Self { exit: Exit::Unreachable, message: message.to_string() }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<AdminClientError> for Failure {
    fn from(error: AdminClientError) -> Self {
        let exit = match &error {
            AdminClientError::Unreachable(_) | AdminClientError::Foreign { .. } => Exit::Unreachable,
            AdminClientError::DataPort { .. } => Exit::Usage,
            AdminClientError::Refused { status, .. } if status.as_u16() == 400 => Exit::Usage,
            AdminClientError::Refused { .. } => Exit::Failed,
        };
        let advice = if matches!(error, AdminClientError::Unreachable(_)) {
            "; is the node running, and is --endpoint its admin address?"
        } else {
            ""
        };
        Self { exit, message: format!("{error}{advice}") }
    }
}
