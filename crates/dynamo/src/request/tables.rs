//! DescribeTable, DeleteTable, ListTables and UpdateTable.

use super::body::{Body, class};
use super::constraints::{Constraints, table_of_table_operation};
use super::create_table::{
    billing_mode_constraint, neither_units, provisioned, table_class_constraint, throughput_constraint,
};
use crate::error::DynamoError;
use crate::table::{Billing, TableClass};
use alloc::string::String;
use meridian_types::TableName;

/// Most names that one ListTables answers.
const MAX_LIST: usize = 100;

/// A ListTables request.
#[derive(Debug, PartialEq, Eq)]
pub struct ListTables {
    /// Names after this one.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// An UpdateTable request; absent members stay as they are.
#[derive(Debug, PartialEq, Eq)]
pub struct UpdateTable {
    /// The table.
    pub table: TableName,
    /// New throughput declaration.
    pub billing: Option<Billing>,
    /// New storage class.
    pub class: Option<TableClass>,
    /// New deletion protection.
    pub deletion_protection: Option<bool>,
}

/// Parses DescribeTable or DeleteTable: a table's name.
///
/// # Errors
/// The API's exceptions.
pub fn parse_name(text: &[u8]) -> Result<TableName, DynamoError> {
    table_of_table_operation(Body::parse(text)?.string("TableName")?.as_deref())
}

/// Parses ListTables.
///
/// # Errors
/// The API's exceptions.
pub fn parse_list(text: &[u8]) -> Result<ListTables, DynamoError> {
    let mut body = Body::parse(text)?;
    let after = body.string("ExclusiveStartTableName")?;
    let limit = body.integer("Limit")?;
    let mut constraints = Constraints::default();
    if let Some(after) = &after {
        constraints.table_in_full(after, "exclusiveStartTableName");
    }
    match limit {
        Some(limit) if limit < 1 => {
            constraints.value(limit, "limit", "have value greater than or equal to 1");
        }
        Some(limit) if limit > 100 => {
            constraints.value(limit, "limit", "have value less than or equal to 100");
        }
        _ => {}
    }
    constraints.finish()?;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_LIST);
    Ok(ListTables { after, limit })
}

/// Members of UpdateTable that ask for what tables do not have yet.
const LATER: [&str; 5] = [
    "GlobalSecondaryIndexUpdates",
    "VectorIndexUpdates",
    "StreamSpecification",
    "SSESpecification",
    "ReplicaUpdates",
];

/// Parses UpdateTable.
///
/// # Errors
/// The API's exceptions.
pub fn parse_update(text: &[u8]) -> Result<UpdateTable, DynamoError> {
    let mut body = Body::parse(text)?;
    let throughput = body.body("ProvisionedThroughput", class::PROVISIONED_THROUGHPUT)?;
    let name = body.string("TableName")?;
    let mode = body.string("BillingMode")?;
    let class = body.string("TableClass")?;
    let deletion_protection = body.boolean("DeletionProtectionEnabled")?;
    let table = table_of_table_operation(name.as_deref())?;
    let mut constraints = Constraints::default();
    let on_demand = billing_mode_constraint(&mut constraints, mode.as_deref());
    let throughput = throughput.map(|body| throughput_constraint(&mut constraints, body)).transpose()?;
    let class = table_class_constraint(&mut constraints, class.as_deref());
    constraints.finish()?;
    if LATER.iter().any(|member| body.has(member)) {
        return Err(DynamoError::validation(
            "One or more parameter values were invalid: indexes, streams, encryption keys and replicas are not \
             changed through UpdateTable yet",
        ));
    }
    let billing = match (on_demand, throughput) {
        (Some(true), Some(_)) => return Err(neither_units()),
        (Some(true), None) => Some(Billing::PayPerRequest),
        (_, Some(throughput)) => Some(provisioned(throughput)?),
        (Some(false), None) => {
            return Err(DynamoError::validation(
                "One or more parameter values were invalid: ProvisionedThroughput must be specified when BillingMode \
                 is PROVISIONED",
            ));
        }
        (None, None) => None,
    };
    if billing.is_none() && class.is_none() && deletion_protection.is_none() {
        return Err(DynamoError::validation(
            "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or \
             SSESpecification or ReplicaUpdates is required",
        ));
    }
    Ok(UpdateTable { table, billing, class, deletion_protection })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn list_limits_are_bounded() {
        assert_eq!(parse_list(b"{}").unwrap(), ListTables { after: None, limit: 100 });
        assert_eq!(parse_list(br#"{"Limit":7}"#).unwrap().limit, 7);
        let error = parse_list(br#"{"Limit":0,"ExclusiveStartTableName":"a"}"#).unwrap_err().to_string();
        assert!(
            error.starts_with("2 validation errors detected: Value 'a' at 'exclusiveStartTableName'"),
            "{error}"
        );
        assert!(parse_list(br#"{"Limit":101}"#).is_err());
    }

    #[test]
    fn an_update_changes_something() {
        let error = parse_update(br#"{"TableName":"abc"}"#).unwrap_err().to_string();
        assert!(error.starts_with("At least one of"), "{error}");
        let update = parse_update(br#"{"TableName":"abc","DeletionProtectionEnabled":true}"#).unwrap();
        assert_eq!(update.deletion_protection, Some(true));
    }
}
