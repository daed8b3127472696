//! Table management as drills and benchmarks need it: make one, learn one's key, drop one.

use super::{Client, Outcome, Refusal};
use meridian_types::{PolicyName, TableName};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The tag that names a table's policy.
const POLICY_TAG: &str = "meridian:policy";
const CALL_LIMIT: Duration = Duration::from_secs(10);
const POLL_EVERY: Duration = Duration::from_millis(100);

/// The type of a key attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// A string.
    S,
    /// A number.
    N,
    /// Bytes.
    B,
}

/// One part of a table's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAttribute {
    /// The attribute's name.
    pub name: String,
    /// The attribute's type.
    pub kind: KeyKind,
}

/// What is needed to address items of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableShape {
    /// The table.
    pub name: TableName,
    /// The partition key.
    pub partition: KeyAttribute,
    /// The sort key, if the table has one.
    pub sort: Option<KeyAttribute>,
}

impl TableShape {
    /// The shape of tables that drills and benchmarks make: strings `pk` and, when `sorted`, `sk`.
    #[must_use]
    pub fn own(name: TableName, sorted: bool) -> Self {
        let string = |name: &str| KeyAttribute { name: name.to_owned(), kind: KeyKind::S };
        Self { name, partition: string("pk"), sort: sorted.then(|| string("sk")) }
    }

    fn from_description(name: &TableName, table: &Value) -> Option<Self> {
        let part = |role: &str| {
            let schema = table["KeySchema"].as_array()?;
            let name = schema.iter().find(|key| key["KeyType"] == role)?["AttributeName"].as_str()?;
            let attributes = table["AttributeDefinitions"].as_array()?;
            let kind =
                attributes.iter().find(|one| one["AttributeName"] == name)?["AttributeType"].as_str()?;
            let kind = match kind {
                "S" => KeyKind::S,
                "N" => KeyKind::N,
                "B" => KeyKind::B,
                _ => return None,
            };
            Some(KeyAttribute { name: name.to_owned(), kind })
        };
        Some(Self { name: name.clone(), partition: part("HASH")?, sort: part("RANGE") })
    }
}

impl Client {
    /// Makes a table with the key of [`TableShape::own`], under a name that nobody else uses, and waits until it is active.
    ///
    /// # Errors
    /// The server's words, or that it was not active within `limit`.
    pub async fn create_table(
        &mut self,
        shape: &TableShape,
        policy: Option<&PolicyName>,
        limit: Duration,
    ) -> Result<(), String> {
        let parts: Vec<_> = [("HASH", Some(&shape.partition)), ("RANGE", shape.sort.as_ref())]
            .into_iter()
            .filter_map(|(role, part)| Some((role, part?)))
            .collect();
        let mut body = json!({
            "TableName": shape.name,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": parts.iter()
                .map(|(role, part)| json!({"AttributeName": part.name, "KeyType": role})).collect::<Vec<_>>(),
            "AttributeDefinitions": parts.iter()
                .map(|(_, part)| json!({"AttributeName": part.name, "AttributeType": "S"})).collect::<Vec<_>>(),
        });
        if let Some(policy) = policy {
            body["Tags"] = json!([{"Key": POLICY_TAG, "Value": policy}]);
        }
        let end = Instant::now() + limit;
        loop {
            match self.call("CreateTable", &body, CALL_LIMIT).await {
                Outcome::Done(_) => break,
                // An earlier try whose answer was lost has taken effect: the name is this caller's own.
                Outcome::Refused(refusal) if refusal.code == Refusal::IN_USE => break,
                Outcome::Refused(refusal) => return Err(refusal.to_string()),
                Outcome::Unknown(reason) if Instant::now() >= end => return Err(reason),
                Outcome::Unknown(_) => sleep(POLL_EVERY).await,
            }
        }
        self.wait_until_active(&shape.name, limit).await
    }

    /// Waits until this endpoint knows the table and calls it active.
    ///
    /// # Errors
    /// The last answer, when `limit` has passed.
    pub async fn wait_until_active(&mut self, table: &TableName, limit: Duration) -> Result<(), String> {
        let end = Instant::now() + limit;
        loop {
            let last =
                self.call("DescribeTable", &json!({"TableName": table}), CALL_LIMIT).await.into_result();
            match last {
                Ok(answer) if answer.body["Table"]["TableStatus"] == "ACTIVE" => return Ok(()),
                Err(reason) if Instant::now() >= end => return Err(reason),
                Ok(_) if Instant::now() >= end => return Err(format!("table {table} is not active yet")),
                Ok(_) | Err(_) => sleep(POLL_EVERY).await,
            }
        }
    }

    /// The table's key, and its policy if it carries the tag. `None` when there is no such table.
    ///
    /// # Errors
    /// The server's words.
    pub async fn describe_table(
        &mut self,
        table: &TableName,
    ) -> Result<Option<(TableShape, Option<PolicyName>)>, String> {
        let described = self.call("DescribeTable", &json!({"TableName": table}), CALL_LIMIT).await;
        if let Outcome::Refused(refusal) = &described
            && refusal.code == Refusal::NOT_FOUND
        {
            return Ok(None);
        }
        let body = described.into_result()?.body;
        let shape = TableShape::from_description(table, &body["Table"])
            .ok_or_else(|| format!("table {table}: its description names no key"))?;
        let arn = json!({"ResourceArn": body["Table"]["TableArn"]});
        let tags = self.call("ListTagsOfResource", &arn, CALL_LIMIT).await.into_result()?.body;
        let policy = tags["Tags"].as_array().into_iter().flatten().find(|tag| tag["Key"] == POLICY_TAG);
        Ok(Some((shape, policy.and_then(|tag| PolicyName::new(tag["Value"].as_str()?).ok()))))
    }

    /// Drops a table; one that is not there is as good as dropped.
    ///
    /// # Errors
    /// The server's words.
    pub async fn delete_table(&mut self, table: &TableName) -> Result<(), String> {
        match self.call("DeleteTable", &json!({"TableName": table}), CALL_LIMIT).await {
            Outcome::Refused(refusal) if refusal.code == Refusal::NOT_FOUND => Ok(()),
            other => other.into_result().map(|_| ()),
        }
    }
}
