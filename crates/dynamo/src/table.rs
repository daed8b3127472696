//! What a table is: its definition (replicated), its description (what DescribeTable shows) and its ARN.
//!
//! Checking a CreateTable request is in [`crate::request`]; keys and their encoding are in [`crate::key`].

use crate::key::{KeyKind, TableSchema};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use meridian_types::{RegionName, TableId, TableName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The account number in every ARN: a cluster is one account.
pub const ACCOUNT: &str = "000000000000";
/// The tag that names a table's policy.
pub const POLICY_TAG: &str = "meridian:policy";

/// How a table's throughput is declared. Kept and shown; capacity is never enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Billing {
    /// `PAY_PER_REQUEST`.
    PayPerRequest,
    /// `PROVISIONED`, with read and write units a second.
    Provisioned {
        /// Read capacity units.
        read: u64,
        /// Write capacity units.
        write: u64,
    },
}

/// The declared storage class. Kept and shown; it changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TableClass {
    /// `STANDARD`.
    Standard,
    /// `STANDARD_INFREQUENT_ACCESS`.
    StandardInfrequentAccess,
}

impl TableClass {
    /// The API's spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::StandardInfrequentAccess => "STANDARD_INFREQUENT_ACCESS",
        }
    }
}

/// Everything that a client declares about a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDefinition {
    /// The table's name.
    pub name: TableName,
    /// The primary key.
    pub schema: TableSchema,
    /// Declared throughput.
    pub billing: Billing,
    /// Declared storage class, when one was given.
    pub class: Option<TableClass>,
    /// Whether DeleteTable is refused.
    pub deletion_protection: bool,
    /// Tags, among them [`POLICY_TAG`].
    pub tags: BTreeMap<String, String>,
}

impl TableDefinition {
    /// The policy that the tags ask for; `None` asks for the cluster's default.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        self.tags.get(POLICY_TAG).map(String::as_str)
    }
}

/// Where a table is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TableStatus {
    /// Known, not yet usable everywhere.
    Creating,
    /// Usable.
    Active,
    /// Usable; a change of policy is under way.
    Updating,
    /// Going away; refuses requests.
    Deleting,
}

impl TableStatus {
    /// The API's spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Updating => "UPDATING",
            Self::Deleting => "DELETING",
        }
    }
}

/// A table as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDescription {
    /// The cluster's number for this table; a table made again under the name gets another.
    pub id: TableId,
    /// What the client declared.
    pub definition: TableDefinition,
    /// Where the table is in its life.
    pub status: TableStatus,
    /// When it was created, milliseconds since 1970.
    pub created_ms: u64,
    /// The attribute that says when an item expires, if items do.
    pub time_to_live: Option<String>,
    /// Items held, as of the last count; may lag.
    pub item_count: u64,
    /// Bytes of items held, as of the last count; may lag.
    pub size_bytes: u64,
}

impl TableDescription {
    /// The `TableDescription` of the API, as seen in `region`.
    #[must_use]
    pub fn to_json(&self, region: &RegionName) -> Value {
        let schema = &self.definition.schema;
        let keys = core::iter::once((&schema.partition, "HASH"))
            .chain(schema.sort.iter().map(|sort| (sort, "RANGE")))
            .map(|(key, role)| json!({"AttributeName": key.name, "KeyType": role}))
            .collect();
        let mut attributes: alloc::vec::Vec<_> =
            core::iter::once(&schema.partition).chain(schema.sort.iter()).collect();
        attributes.sort_by(|a, b| a.name.cmp(&b.name));
        let attributes = attributes
            .into_iter()
            .map(|key| json!({"AttributeName": key.name, "AttributeType": kind_name(key.kind)}))
            .collect();
        let mut table = Map::new();
        table.insert("AttributeDefinitions".to_owned(), Value::Array(attributes));
        table.insert("TableName".to_owned(), self.definition.name.as_str().into());
        table.insert("KeySchema".to_owned(), Value::Array(keys));
        table.insert("TableStatus".to_owned(), self.status.as_str().into());
        table.insert("CreationDateTime".to_owned(), json!(seconds(self.created_ms)));
        table.insert("TableSizeBytes".to_owned(), self.size_bytes.into());
        table.insert("ItemCount".to_owned(), self.item_count.into());
        table.insert("TableArn".to_owned(), arn(region, &self.definition.name).into());
        table.insert("TableId".to_owned(), self.uuid().into());
        table.insert("DeletionProtectionEnabled".to_owned(), self.definition.deletion_protection.into());
        let (read, write) = match self.definition.billing {
            Billing::PayPerRequest => {
                table.insert(
                    "BillingModeSummary".to_owned(),
                    json!({"BillingMode": "PAY_PER_REQUEST",
                        "LastUpdateToPayPerRequestDateTime": seconds(self.created_ms)}),
                );
                (0, 0)
            }
            Billing::Provisioned { read, write } => (read, write),
        };
        table.insert(
            "ProvisionedThroughput".to_owned(),
            json!({"NumberOfDecreasesToday": 0, "ReadCapacityUnits": read, "WriteCapacityUnits": write}),
        );
        if let Some(class) = self.definition.class {
            table.insert("TableClassSummary".to_owned(), json!({"TableClass": class.as_str()}));
        }
        Value::Object(table)
    }

    /// The `TimeToLiveDescription` of the API.
    #[must_use]
    pub fn time_to_live_json(&self) -> Value {
        match &self.time_to_live {
            Some(attribute) => json!({"TimeToLiveStatus": "ENABLED", "AttributeName": attribute}),
            None => json!({"TimeToLiveStatus": "DISABLED"}),
        }
    }

    /// A UUID-shaped text of the table's identity, stable for the table's life.
    fn uuid(&self) -> String {
        let ms = self.created_ms;
        // Version 8 (custom) of RFC 9562: time, then the cluster's table number.
        format!("{:08x}-{:04x}-8000-8000-{:012x}", (ms >> 16) & 0xffff_ffff, ms & 0xffff, self.id.0)
    }
}

/// The API writes times as seconds with milliseconds behind the point.
#[allow(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 fit a double exactly for 280,000 years"
)]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// The API's letter for a key attribute's type.
#[must_use]
pub fn kind_name(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::S => "S",
        KeyKind::N => "N",
        KeyKind::B => "B",
    }
}

/// The ARN of a table in `region`.
#[must_use]
pub fn arn(region: &RegionName, name: &TableName) -> String {
    format!("arn:aws:dynamodb:{region}:{ACCOUNT}:table/{name}")
}

/// The table that an ARN of [`arn`]'s form names, in any region; `None` when the text is no such ARN.
#[must_use]
pub fn table_of_arn(text: &str) -> Option<TableName> {
    let rest = text.strip_prefix("arn:aws:dynamodb:")?;
    let (region, rest) = rest.split_once(':')?;
    let (account, resource) = rest.split_once(':')?;
    RegionName::new(region).ok()?;
    if account != ACCOUNT {
        return None;
    }
    TableName::new(resource.strip_prefix("table/")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_name_their_table_in_any_region() {
        let name = TableName::new("Music").unwrap();
        let text = arn(&RegionName::new("eu-west-1").unwrap(), &name);
        assert_eq!(text, "arn:aws:dynamodb:eu-west-1:000000000000:table/Music");
        assert_eq!(table_of_arn(&text), Some(name));
        for bad in [
            "",
            "arn:aws:s3:::x",
            "arn:aws:dynamodb:eu-west-1:1:table/Music",
            "arn:aws:dynamodb:x:000000000000:x",
        ] {
            assert_eq!(table_of_arn(bad), None, "{bad}");
        }
        assert_eq!(table_of_arn(&text.replace("table/", "index/")), None);
    }
}
