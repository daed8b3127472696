//! What the admin API says of concurrent writes of active-active tables.

use meridian_types::TableName;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// Names one conflict, written as 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConflictId(pub u64);

/// Text that is no id of a conflict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the id of a conflict; `meridian conflicts list` shows them, of 16 hex digits")]
pub struct ConflictIdError(String);

impl FromStr for ConflictId {
    type Err = ConflictIdError;

    fn from_str(text: &str) -> Result<Self, ConflictIdError> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or_else(|| ConflictIdError(text.chars().take(64).collect()))
    }
}

impl fmt::Display for ConflictId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for ConflictId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConflictId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// Whether the application still has to resolve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConflictState {
    /// Concurrent writes are kept until one that has seen them replaces them.
    Open,
    /// A write has lost against a later one.
    Lost,
}

/// One of several concurrent writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// The region that took it.
    pub region: String,
    /// When, in milliseconds since 1970 by that region's clock.
    pub written_ms: u64,
    /// What it left there, in DynamoDB's JSON; `null`: it was removed.
    pub value: Option<Value>,
}

/// Concurrent writes of one place of an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConflictEntry {
    /// Its id.
    pub id: ConflictId,
    /// The table.
    pub table: TableName,
    /// The key attributes, in DynamoDB's JSON.
    pub key: Value,
    /// The attribute, and names of members of maps with dots between them; `*`: the item as a whole.
    pub path: String,
    /// Whether it is still open.
    pub state: ConflictState,
    /// What is shown, or was when the other lost.
    pub winner: Side,
    /// The others.
    pub others: Vec<Side>,
}

/// `GET /v1/conflicts`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConflictList {
    /// Open ones first, then writes that have lost, the oldest first.
    pub conflicts: Vec<ConflictEntry>,
    /// Whether there are more than a list holds.
    pub truncated: bool,
}

/// `POST /v1/conflicts/{id}`: writes a value in the place of a conflict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolveConflict {
    /// The region whose write is to stand; the first of a region that has several.
    #[serde(default)]
    pub take: Option<String>,
    /// Or this value, in DynamoDB's JSON.
    #[serde(default)]
    pub value: Option<Value>,
}

/// `GET /v1/tables/{name}/checksum`: what a node's replicas hold of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableChecksum {
    /// The table.
    pub table: TableName,
    /// Equal on nodes that show the same items, in 16 hex digits.
    pub checksum: String,
    /// How many items there are.
    pub items: u64,
    /// How many keys are stored: items, and tombstones that are still kept.
    pub stored: u64,
}
