//! The API's exceptions, with the exact `__type`, HTTP status and message of each.
//!
//! What is not here: choosing when an exception is raised. Texts that belong to one rule live beside that rule.

use crate::value::Item;
use alloc::format;
use alloc::string::String;
use serde::{Deserialize, Serialize};

/// The message of a failed condition.
const CONDITION_FAILED: &str = "The conditional request failed";

/// An exception of the DynamoDB API. Sent between nodes as it is, so that a forwarded request fails with the same words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum DynamoError {
    /// `ValidationException`: the request, or what it would leave behind, is not valid.
    #[error("{0}")]
    Validation(String),
    /// `ValidationException` of the class that the single-item writes wrap as `1 validation error detected: ...`.
    ///
    /// Which form the client sees is the operation's choice: [`DynamoError::enveloped`] or [`DynamoError::bare`].
    #[error("{0}")]
    RequestValidation(String),
    /// `ConditionalCheckFailedException`, with the item as it was when the request asked for it.
    #[error("{CONDITION_FAILED}")]
    ConditionalCheckFailed {
        /// The item that failed the condition; absent unless asked for.
        item: Option<Item>,
    },
    /// `ResourceNotFoundException`.
    #[error("{0}")]
    ResourceNotFound(String),
    /// `ResourceInUseException`.
    #[error("{0}")]
    ResourceInUse(String),
    /// `SerializationException`: the body is not what the operation's shape allows. The message may be empty.
    #[error("{0}")]
    Serialization(String),
    /// `ItemCollectionSizeLimitExceededException`.
    #[error("{0}")]
    ItemCollectionSizeLimitExceeded(String),
    /// `LimitExceededException`.
    #[error("{0}")]
    LimitExceeded(String),
    /// `ProvisionedThroughputExceededException`: a bound of the node is reached; retry later.
    #[error("{0}")]
    ProvisionedThroughputExceeded(String),
    /// `ThrottlingException`: the node sheds load; retry later.
    #[error("{0}")]
    Throttling(String),
    /// `InternalServerError`: the outcome may be unknown; retry with the same request.
    #[error("{0}")]
    InternalServerError(String),
    /// `ServiceUnavailable`: no leader or no quorum at this moment; nothing was done, retry.
    #[error("{0}")]
    ServiceUnavailable(String),
    /// `AccessDeniedException`.
    #[error("{0}")]
    AccessDenied(String),
    /// `UnrecognizedClientException`: the access key is not known.
    #[error("{0}")]
    UnrecognizedClient(String),
    /// `InvalidSignatureException`: the signature does not match the request.
    #[error("{0}")]
    InvalidSignature(String),
    /// `IncompleteSignatureException`.
    #[error("{0}")]
    IncompleteSignature(String),
    /// `MissingAuthenticationTokenException`.
    #[error("{0}")]
    MissingAuthenticationToken(String),
    /// `UnknownOperationException`. The message may be empty.
    #[error("{0}")]
    UnknownOperation(String),
}

impl DynamoError {
    /// A `ValidationException` with this message.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::Validation(message.into())
    }

    /// A `ValidationException` of the class that the single-item writes wrap.
    pub fn request(message: impl Into<String>) -> Self {
        Self::RequestValidation(message.into())
    }

    /// Puts a [`DynamoError::RequestValidation`] into the envelope of the single-item writes; leaves the others alone.
    #[must_use]
    pub fn enveloped(self) -> Self {
        match self {
            Self::RequestValidation(message) => {
                Self::Validation(format!("1 validation error detected: {message}"))
            }
            other => other,
        }
    }

    /// Turns a [`DynamoError::RequestValidation`] into a plain one, as the other operations send it.
    #[must_use]
    pub fn bare(self) -> Self {
        match self {
            Self::RequestValidation(message) => Self::Validation(message),
            other => other,
        }
    }

    /// The exception's name: the part of `__type` behind the `#`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.type_name().split_once('#') {
            Some((_, name)) => name,
            None => self.type_name(),
        }
    }

    /// The exact `__type` of the error body.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Validation(_) | Self::RequestValidation(_) => {
                "com.amazon.coral.validate#ValidationException"
            }
            Self::ConditionalCheckFailed { .. } => {
                "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"
            }
            Self::ResourceNotFound(_) => "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
            Self::ResourceInUse(_) => "com.amazonaws.dynamodb.v20120810#ResourceInUseException",
            Self::Serialization(_) => "com.amazon.coral.service#SerializationException",
            Self::ItemCollectionSizeLimitExceeded(_) => {
                "com.amazonaws.dynamodb.v20120810#ItemCollectionSizeLimitExceededException"
            }
            Self::LimitExceeded(_) => "com.amazonaws.dynamodb.v20120810#LimitExceededException",
            Self::ProvisionedThroughputExceeded(_) => {
                "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
            }
            Self::Throttling(_) => "com.amazon.coral.availability#ThrottlingException",
            Self::InternalServerError(_) => "com.amazonaws.dynamodb.v20120810#InternalServerError",
            Self::ServiceUnavailable(_) => "com.amazon.coral.availability#ServiceUnavailable",
            Self::AccessDenied(_) => "com.amazon.coral.service#AccessDeniedException",
            Self::UnrecognizedClient(_) => "com.amazon.coral.service#UnrecognizedClientException",
            Self::InvalidSignature(_) => "com.amazon.coral.service#InvalidSignatureException",
            Self::IncompleteSignature(_) => "com.amazon.coral.service#IncompleteSignatureException",
            Self::MissingAuthenticationToken(_) => {
                "com.amazon.coral.service#MissingAuthenticationTokenException"
            }
            Self::UnknownOperation(_) => "com.amazon.coral.service#UnknownOperationException",
        }
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::InternalServerError(_) => 500,
            Self::ServiceUnavailable(_) => 503,
            _ => 400,
        }
    }

    /// Whether the same request may succeed when it is sent again, unchanged.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Self::ProvisionedThroughputExceeded(_)
                | Self::Throttling(_)
                | Self::InternalServerError(_)
                | Self::ServiceUnavailable(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn only_request_validation_goes_into_the_envelope() {
        let wrapped = DynamoError::request("bad").enveloped();
        assert_eq!(wrapped, DynamoError::validation("1 validation error detected: bad"));
        assert_eq!(DynamoError::validation("bad").enveloped(), DynamoError::validation("bad"));
        assert_eq!(DynamoError::request("bad").bare(), DynamoError::validation("bad"));
    }

    #[test]
    fn names_status_and_retry_follow_the_api() {
        let error = DynamoError::ConditionalCheckFailed { item: None };
        assert_eq!(error.name(), "ConditionalCheckFailedException");
        assert_eq!(error.to_string(), "The conditional request failed");
        assert_eq!((error.status(), error.retryable()), (400, false));
        let error = DynamoError::ServiceUnavailable("no leader".into());
        assert_eq!((error.status(), error.retryable(), error.name()), (503, true, "ServiceUnavailable"));
    }
}
