//! What the admin API says of writes that a lost region had alone.

use meridian_types::{GroupId, Incarnation, TableName};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// The most ids in one [`SalvageOrder`].
pub const MAX_IDS: usize = 100;

/// Names one entry, written `GROUP-INCARNATION-INDEX-PART`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SalvageId {
    /// The group.
    pub group: GroupId,
    /// The old incarnation.
    pub incarnation: Incarnation,
    /// The index in the old log.
    pub index: u64,
    /// Which write of that entry.
    pub part: u32,
}

/// Text that is no id of an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the id of an entry; `meridian salvage list` shows them, such as 9-0-1234-0")]
pub struct SalvageIdError(String);

impl FromStr for SalvageId {
    type Err = SalvageIdError;

    fn from_str(text: &str) -> Result<Self, SalvageIdError> {
        let parse = || {
            let mut parts = text.split('-');
            let group = GroupId(parts.next()?.parse().ok()?);
            let incarnation = Incarnation(parts.next()?.parse().ok()?);
            let (index, part) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            parts.next().is_none().then_some(Self { group, incarnation, index, part })
        };
        parse().ok_or_else(|| SalvageIdError(text.chars().take(64).collect()))
    }
}

impl fmt::Display for SalvageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}-{}", self.group, self.incarnation, self.index, self.part)
    }
}

impl Serialize for SalvageId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SalvageId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// An item with writes that the lost region had alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SalvageEntry {
    /// Its id.
    pub id: SalvageId,
    /// The group that it belongs to.
    pub group: GroupId,
    /// The incarnation that took the writes.
    pub incarnation: u32,
    /// The table; `null` when it is gone.
    pub table: Option<TableName>,
    /// The key attributes, in DynamoDB's JSON; `null` when neither value tells them.
    pub key: Option<Value>,
    /// What the item was in the lost region in the end, in DynamoDB's JSON; `null`: deleted.
    pub old: Option<Value>,
    /// What the item is now; `null`: it is not there.
    pub current: Option<Value>,
    /// Whether it has become another since the group went on elsewhere.
    pub changed: bool,
    /// How many writes of it the lost region had alone; the last of them is shown.
    pub writes: u64,
    /// Milliseconds since 1970 in the lost region when it took the last of them; 0 when that is not known.
    pub written_ms: u64,
}

/// `GET /v1/salvage?after=ID`: a page of what nobody has decided on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SalvageList {
    /// The entries, in the order of the old logs.
    pub entries: Vec<SalvageEntry>,
    /// Where the next page begins; `null` when there is none.
    #[serde(default)]
    pub next: Option<SalvageId>,
}

/// What to do with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SalvageAction {
    /// Write it, where nothing has changed since.
    Apply,
    /// Let it go.
    Discard,
}

/// `POST /v1/salvage`: a decision on some entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SalvageOrder {
    /// At most 100 of them.
    pub ids: Vec<SalvageId>,
    /// What to do.
    pub action: SalvageAction,
    /// Apply also where the item has changed since: the newer value is then lost.
    #[serde(default)]
    pub force: bool,
}

/// What became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SalvageDone {
    /// Applied or discarded.
    pub done: Vec<SalvageId>,
    /// Left as they are.
    pub refused: Vec<SalvageRefusal>,
}

/// Why an entry was left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SalvageRefusal {
    /// The entry.
    pub id: SalvageId,
    /// Why, and what to do.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_and_write() {
        for text in ["9-0-1234-0", "1-2-3-4"] {
            assert_eq!(text.parse::<SalvageId>().unwrap().to_string(), text);
        }
        for text in ["", "9", "9-0-1234", "9-0-1234-0-1", "9-0--1-0", "a-b-c-d"] {
            assert!(text.parse::<SalvageId>().is_err(), "{text}");
        }
    }
}
