//! The table that holds the keys: found, or made at the first command.

use super::config::RedisConfig;
use super::error::RedisError;
use super::layout::KEY;
use crate::tables::{RequestContext, Tables};
use core::time::Duration;
use meridian_dynamo::DynamoError;
use meridian_dynamo::key::{KeyAttribute, KeyKind, TableSchema};
use meridian_dynamo::table::{Billing, POLICY_TAG, TableDefinition, TableDescription, TableStatus};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

/// The policy of a table that the front makes.
const POLICY: &str = "active-active-crdt";
/// How often a table that is being made is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

fn schema() -> TableSchema {
    TableSchema { partition: KeyAttribute { name: KEY.to_owned(), kind: KeyKind::B }, sort: None }
}

/// Waits until the table can be used, making it when there is none.
///
/// # Errors
/// When it has another key, or is not usable by the deadline.
pub(crate) async fn ensure(
    tables: &dyn Tables,
    config: &RedisConfig,
    context: &RequestContext,
) -> Result<Arc<TableDescription>, RedisError> {
    loop {
        match tables.table(context, &config.table).await? {
            Some(table) if table.definition.schema != schema() => {
                return Err(RedisError::err(format_args!(
                    "the table {} has another key than Redis keys need, which is `{KEY}:B` alone; name another table by \
                     `redis.table` in the configuration of every node",
                    config.table
                )));
            }
            Some(table) if matches!(table.status, TableStatus::Active | TableStatus::Updating) => {
                return Ok(table);
            }
            Some(_) => {}
            None => {
                let definition = TableDefinition {
                    name: config.table.clone(),
                    schema: schema(),
                    billing: Billing::PayPerRequest,
                    class: None,
                    deletion_protection: false,
                    tags: BTreeMap::from([(POLICY_TAG.to_owned(), POLICY.to_owned())]),
                };
                match tables.create_table(context, definition).await {
                    // Another node was first.
                    Ok(_) | Err(DynamoError::ResourceInUse(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if Instant::now() + LOOK_EVERY > context.deadline {
            return Err(RedisError::TryAgain(format!("the table {} is being made", config.table)));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
