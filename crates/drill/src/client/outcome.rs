//! The three ends that a request can have. There is no fourth, and "unknown" is never counted as "failed".

use serde_json::Value;
use std::fmt;

/// How a request ended, as far as the client can know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// The server said that it is done.
    Done(T),
    /// The request was refused, and certainly had no effect.
    Refused(Refusal),
    /// Nobody knows: no answer came, or one that leaves it open. A write may have happened, or may yet happen.
    Unknown(String),
}

impl<T> Outcome<T> {
    /// The answer, if there is one.
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(value) => Some(value),
            Self::Refused(_) | Self::Unknown(_) => None,
        }
    }

    /// The answer, or a sentence that says why there is none.
    ///
    /// # Errors
    /// The refusal or the reason of the doubt, as text.
    pub fn into_result(self) -> Result<T, String> {
        match self {
            Self::Done(value) => Ok(value),
            Self::Refused(refusal) => Err(refusal.to_string()),
            Self::Unknown(reason) => Err(format!("the outcome is unknown: {reason}")),
        }
    }
}

/// A definite no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The exception's name without its namespace, or [`Refusal::NOT_SENT`].
    pub code: String,
    /// The server's words.
    pub message: String,
}

impl Refusal {
    /// The code of a request of which nothing was sent.
    pub const NOT_SENT: &str = "NotSent";
    /// The code of a write whose condition did not hold.
    pub const CONDITION_FAILED: &str = "ConditionalCheckFailedException";
    /// The code of a request that names a table that is not there.
    pub const NOT_FOUND: &str = "ResourceNotFoundException";
    /// The code of a request for a table that is there, or is busy.
    pub const IN_USE: &str = "ResourceInUseException";

    /// Whether the client may simply try again: nothing was sent, the server asks for it, or another client was first.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        let retryable = [
            Self::NOT_SENT,
            Self::CONDITION_FAILED,
            "ThrottlingException",
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "TransactionConflictException",
        ];
        retryable.contains(&self.code.as_str())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// What a successful answer carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The JSON body.
    pub body: Value,
    /// `x-meridian-token`: what this client has now seen.
    pub token: Option<String>,
}

/// The exception name of an error body, such as `ValidationException`, and its message.
pub(super) fn exception(body: &[u8], status: u16) -> Refusal {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |names: [&str; 2]| names.iter().find_map(|name| json[*name].as_str()).map(str::to_owned);
    let kind = text(["__type", "code"]).unwrap_or_else(|| format!("HTTP {status}"));
    let code = kind.rsplit('#').next().unwrap_or_default().to_owned();
    Refusal { code, message: text(["message", "Message"]).unwrap_or_default() }
}
