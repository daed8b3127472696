//! What the admin API says and is told, as types. The server and the command line share them.

use super::failover::{AtRisk, Refoundation};
pub use meridian_replication::system::MovePhase;
pub use meridian_steering::Verdict;
use meridian_types::{
    GroupId, NodeName, Pattern, Policy, PolicyName, RegionName, Replication, TableId, TableName, ZoneName,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// `GET /v1/health`: this node alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether the node serves requests: it has joined, and knows the system group's state.
    pub ready: bool,
    /// The node.
    pub node: NodeName,
    /// Its region.
    pub region: RegionName,
}

/// `GET /v1/status`: the cluster as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// The system group.
    pub system: SystemStatus,
    /// The regions in order of preference.
    pub regions: Vec<RegionStatus>,
    /// The placement groups, by id.
    pub groups: Vec<GroupStatus>,
    /// The policies, built-in ones first.
    pub policies: Vec<PolicyStatus>,
    /// Every group that was founded anew, and when.
    #[serde(default)]
    pub refoundations: Vec<Refoundation>,
}

/// The system group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemStatus {
    /// Its leader, when one is known.
    pub leader: Option<NodeName>,
    /// Its Raft term.
    pub term: u64,
    /// The cluster's level: the newest protocol whose commands and formats it uses.
    pub level: u32,
}

/// One region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionStatus {
    /// The region.
    pub name: RegionName,
    /// The verdict on the whole of it.
    pub health: Verdict,
    /// Whether leaders are kept out of it.
    #[serde(default)]
    pub drained: bool,
    /// Whether active-active policies go on without it.
    #[serde(default)]
    pub expelled: bool,
    /// Its nodes.
    pub nodes: Vec<NodeStatus>,
    /// What losing the region now would lose: acknowledged writes of async policies that no other region has. `null` when no group stands
    /// and falls with the region.
    #[serde(default)]
    pub loses: Option<AtRisk>,
}

/// A planned move of leadership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switchover {
    /// The region that is to lead.
    pub to: RegionName,
    /// The policy to move; without one, all that keep data there.
    #[serde(default)]
    pub policy: Option<PolicyName>,
}

/// The policies whose leadership moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switched {
    /// Their names; those that were led from the region already are not among them.
    pub policies: Vec<PolicyName>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node.
    pub id: NodeName,
    /// Its zone.
    pub zone: ZoneName,
    /// The verdict on it.
    pub health: Verdict,
}

/// One placement group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// The group.
    pub id: GroupId,
    /// The policy that owns it.
    pub policy: PolicyName,
    /// How often it was re-founded.
    pub incarnation: u32,
    /// Its leader, when one is known.
    pub leader: Option<NodeName>,
    /// The leader's region.
    pub leader_region: Option<RegionName>,
    /// The region whose writes it takes, of an active-active policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<RegionName>,
    /// What is left of the leader's lease, in milliseconds; only its leader knows.
    pub lease_ms: Option<u64>,
    /// The nodes that vote.
    pub voters: Vec<NodeName>,
    /// The nodes that only learn.
    pub learners: Vec<NodeName>,
    /// The highest committed log index.
    pub committed: u64,
    /// The highest log index that the policy lets be answered.
    pub answerable: u64,
    /// How far each replica is.
    pub replicas: Vec<ReplicaStatus>,
    /// Whether the group is where its policy wants it: no change of its members is under way or missing.
    #[serde(default)]
    pub settled: bool,
    /// What is on the disks of the leader's region alone, for a group that stands and falls with one region.
    #[serde(default)]
    pub at_risk: Option<AtRisk>,
}

/// One replica of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// The node that holds it.
    pub node: NodeName,
    /// The last log index that it is known to have.
    pub applied: u64,
    /// Entries behind the leader.
    pub lag_entries: u64,
    /// Milliseconds behind the leader; `null` when nothing is heard from the replica.
    pub lag_ms: Option<u64>,
}

/// One policy and what uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// The policy.
    pub name: PolicyName,
    /// Who takes writes.
    pub pattern: Pattern,
    /// What an acknowledgement means.
    pub replication: Replication,
    /// The regions that may hold its data.
    pub regions: Vec<RegionName>,
    /// The tables under it.
    pub tables: Vec<TableName>,
    /// The groups that it owns.
    pub groups: Vec<GroupId>,
}

/// The type of a key attribute, with the letter that the DynamoDB API gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// A string.
    S,
    /// A number.
    N,
    /// Binary.
    B,
}

/// A key attribute: its name (1 to 255 bytes) and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAttribute {
    /// The attribute's name.
    pub name: String,
    /// Its type.
    pub kind: KeyType,
}

/// A table's key, written `pk:S` or `pk:S,sk:N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// The partition key.
    pub partition: KeyAttribute,
    /// The sort key.
    pub sort: Option<KeyAttribute>,
}

/// Text that is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a key; write NAME:TYPE or NAME:TYPE,NAME:TYPE with type S, N or B and two different names, such as pk:S,sk:N"
)]
pub struct KeySpecError(String);

impl FromStr for KeySpec {
    type Err = KeySpecError;

    fn from_str(text: &str) -> Result<Self, KeySpecError> {
        let fail = || KeySpecError(text.chars().take(128).collect());
        let attribute = |part: &str| {
            let (name, kind) = part.rsplit_once(':')?;
            let kind = match kind {
                "S" => KeyType::S,
                "N" => KeyType::N,
                "B" => KeyType::B,
                _ => return None,
            };
            (1..=255).contains(&name.len()).then(|| KeyAttribute { name: name.to_owned(), kind })
        };
        let mut parts = text.split(',').map(attribute);
        let partition = parts.next().flatten().ok_or_else(fail)?;
        let sort = parts.next().map(|part| part.ok_or_else(fail)).transpose()?;
        let same = sort.as_ref().is_some_and(|sort| sort.name == partition.name);
        if same || parts.next().is_some() {
            return Err(fail());
        }
        Ok(Self { partition, sort })
    }
}

impl fmt::Display for KeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:?}", self.partition.name, self.partition.kind)?;
        match &self.sort {
            Some(sort) => write!(f, ",{}:{:?}", sort.name, sort.kind),
            None => Ok(()),
        }
    }
}

impl Serialize for KeySpec {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeySpec {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// `POST /v1/tables`: a table to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateTable {
    /// Its name.
    pub name: TableName,
    /// Its key.
    pub key: KeySpec,
    /// Its policy.
    pub policy: PolicyName,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableInfo {
    /// Its name.
    pub name: TableName,
    /// Its number, never reused.
    pub id: TableId,
    /// Its key.
    pub key: KeySpec,
    /// Its policy.
    pub policy: PolicyName,
    /// The groups that hold its items.
    pub groups: Vec<GroupId>,
    /// Its way to another policy, while it is on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<TableMoving>,
}

/// A table's way to another policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableMoving {
    /// The policy that it will have.
    pub to: PolicyName,
    /// How far it is.
    pub phase: MovePhase,
    /// Items copied so far; one that changes meanwhile is copied, and counted, again.
    pub copied_items: u64,
}

/// `POST /v1/tables/{name}/move`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveTable {
    /// The new policy.
    pub policy: PolicyName,
}

/// `GET /v1/tables`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableList {
    /// The tables, by name.
    pub tables: Vec<TableInfo>,
}

/// `GET /v1/policies`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyList {
    /// The policies, built-in ones first.
    pub policies: Vec<Policy>,
}

fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}

/// `POST /v1/keys`: an access key to be made for the data API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// What the key is for, in the operator's words.
    pub name: String,
    /// The tables it may touch; `*` at the end of a name stands for any rest.
    #[serde(default = "everything")]
    pub tables: Vec<String>,
    /// The operations it may use, such as `GetItem`; `*` at the end stands for any rest.
    #[serde(default = "everything")]
    pub actions: Vec<String>,
}

impl CreateKey {
    /// Checks lengths, counts and patterns.
    ///
    /// # Errors
    /// What is wrong and what is allowed.
    pub fn validate(&self) -> Result<(), String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if self.name.is_empty() || self.name.len() > 64 || !self.name.bytes().all(plain) {
            return Err(format!(
                "key name {:?} must be 1 to 64 characters of a-z, A-Z, 0-9, -, _ and .",
                cut(&self.name)
            ));
        }
        for (field, list) in [("tables", &self.tables), ("actions", &self.actions)] {
            if list.is_empty() || list.len() > 100 {
                return Err(format!(
                    "`{field}` must list 1 to 100 names, or \"*\" for all; it lists {}",
                    list.len()
                ));
            }
            for pattern in list {
                let stem = pattern.strip_suffix('*').unwrap_or(pattern);
                if pattern.is_empty() || pattern.len() > 255 || !stem.bytes().all(plain) {
                    return Err(format!(
                        "{:?} in `{field}` is not a name; only a trailing * is special",
                        cut(pattern)
                    ));
                }
            }
        }
        Ok(())
    }
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

/// A new access key: the only time that its secret is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKey {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: crate::config::Secret,
}

/// An access key without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// The public half.
    pub access_key_id: String,
    /// What it is for.
    pub name: String,
    /// The tables it may touch.
    pub tables: Vec<String>,
    /// The operations it may use.
    pub actions: Vec<String>,
}

/// `GET /v1/keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList {
    /// The keys, by access key id.
    pub keys: Vec<KeyInfo>,
}

/// The body of every refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The refusal.
    pub error: ErrorDetail,
}

impl ErrorBody {
    /// The sentence of a refusal, when `body` is one.
    #[must_use]
    pub fn message_of(body: &[u8]) -> Option<String> {
        serde_json::from_slice(body).ok().map(|ErrorBody { error }| error.message)
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// A word for programs, such as `not_found`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_and_write() {
        for text in ["pk:S", "pk:S,sk:N", "a:b:B"] {
            assert_eq!(text.parse::<KeySpec>().unwrap().to_string(), text);
        }
        for text in ["", "pk", "pk:X", ":S", "pk:S,", "pk:S,pk:N", "a:S,b:S,c:S", "pk:s"] {
            assert!(text.parse::<KeySpec>().unwrap_err().to_string().contains("is not a key"), "{text}");
        }
    }

    #[test]
    fn key_requests_are_bounded() {
        let key = |name: &str, tables: &[&str]| CreateKey {
            name: name.to_owned(),
            tables: tables.iter().map(|&table| table.to_owned()).collect(),
            actions: everything(),
        };
        assert_eq!(key("app", &["*", "orders-*", "Users"]).validate(), Ok(()));
        assert!(key("", &["*"]).validate().is_err());
        assert!(key(&"x".repeat(65), &["*"]).validate().is_err());
        assert!(key("app", &[]).validate().unwrap_err().contains("1 to 100 names"));
        assert!(key("app", &["a*b"]).validate().unwrap_err().contains("only a trailing *"));
    }
}
