//! The admin API's words about signing keys and the tokens of sessions.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How long the tokens of a key last at most, in seconds, when nobody says.
pub const DEFAULT_MAX_TTL_S: u64 = 86_400;
/// The longest that can be said.
pub const LONGEST_MAX_TTL_S: u64 = 90 * 86_400;

fn default_max_ttl() -> u64 {
    DEFAULT_MAX_TTL_S
}

/// `POST /v1/jwt/keys`: a signing key to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSigningKey {
    /// How long its tokens last at most.
    #[serde(default = "default_max_ttl")]
    pub max_ttl_s: u64,
    /// Whether it takes over from those that there are; else it must be the first.
    #[serde(default)]
    pub rotate: bool,
}

impl CreateSigningKey {
    /// Checks the bounds.
    ///
    /// # Errors
    /// What is wrong and what is allowed.
    pub fn validate(&self) -> Result<(), String> {
        if (1..=LONGEST_MAX_TTL_S).contains(&self.max_ttl_s) {
            return Ok(());
        }
        Err(format!("tokens last 1 s to {} days at most", LONGEST_MAX_TTL_S / 86_400))
    }
}

/// A signing key without its private half.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyInfo {
    /// Its id: the `kid` of its tokens.
    pub kid: String,
    /// `signing`, `next` (known, about to sign) or `verifying` (another signs).
    pub state: String,
    /// When it was made, milliseconds since 1970.
    pub created_ms: u64,
    /// How long its tokens last at most.
    pub max_ttl_s: u64,
    /// When its last token has expired, once another has taken over.
    pub verifies_until_ms: Option<u64>,
}

/// `GET /v1/jwt/keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyList {
    /// The keys, the oldest first.
    pub keys: Vec<SigningKeyInfo>,
}

/// `POST /v1/jwt/sign`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignToken {
    /// What the token says.
    pub claims: Map<String, Value>,
    /// How long it lasts.
    pub ttl_s: u64,
}

/// The answer: a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedToken {
    /// The token.
    pub token: String,
}

/// `POST /v1/jwt/verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyToken {
    /// The token.
    pub token: String,
}

/// The answer: what a valid token says, or why it is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerifiedToken {
    /// Whether it is valid.
    pub valid: bool,
    /// What it says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub claims: Option<Map<String, Value>>,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}
