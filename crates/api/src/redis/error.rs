//! Refusals in Redis's exact words.

use meridian_dynamo::DynamoError;
use meridian_dynamo::size::MAX_ITEM_SIZE;

/// Why a command was refused. The text begins with the code that clients look at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RedisError {
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(String),
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    #[error("ERR value is not a valid float")]
    NotAFloat,
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    #[error("ERR hash value is not an integer")]
    HashNotAnInteger,
    #[error("ERR hash value is not a float")]
    HashNotAFloat,
    #[error("ERR invalid expire time in '{0}' command")]
    ExpireTime(&'static str),
    #[error("ERR invalid cursor")]
    Cursor,
    #[error("NOAUTH Authentication required.")]
    NoAuth,
    #[error("WRONGPASS invalid username-password pair or user is disabled.")]
    WrongPass,
    #[error("NOPERM this user has no permissions to run the '{0}' command")]
    NoPermission(String),
    #[error(
        "ERR the value would make the key larger than {} KB, the most that a key holds with all its members",
        MAX_ITEM_SIZE / 1024
    )]
    TooLarge,
    /// Nothing was done, and the command may be sent again.
    #[error("TRYAGAIN {0}")]
    TryAgain(String),
    /// Anything else, with its code.
    #[error("{0}")]
    Other(String),
}

impl RedisError {
    /// An `ERR` with this text.
    pub(crate) fn err(text: impl core::fmt::Display) -> Self {
        Self::Other(format!("ERR {text}"))
    }

    /// A command that Meridian does not have, and why.
    pub(crate) fn unsupported(name: &str, why: &str) -> Self {
        Self::err(format_args!("{} is not supported: {why}", name.to_ascii_uppercase()))
    }
}

impl From<DynamoError> for RedisError {
    fn from(error: DynamoError) -> Self {
        let text = error.to_string();
        match error {
            DynamoError::ServiceUnavailable(_)
            | DynamoError::Throttling(_)
            | DynamoError::ProvisionedThroughputExceeded(_) => Self::TryAgain(text),
            DynamoError::InternalServerError(_) => {
                Self::err(format_args!("{text}; if it was a write, it may or may not have happened"))
            }
            DynamoError::Validation(_) if text.contains("tem size") => Self::TooLarge,
            _ => Self::err(text),
        }
    }
}
