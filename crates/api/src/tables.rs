//! The one trait that fronts see: tables and their items, whoever keeps them.
//!
//! Nothing here knows of HTTP, of Raft or of disks. A front validates a request, calls this trait and writes the answer.

use crate::credential::Credential;
use async_trait::async_trait;
use core::time::Duration;
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::read::{GetOp, GetOutcome, Page, QueryOp, ScanOp};
use meridian_dynamo::table::{Billing, TableClass, TableDefinition, TableDescription};
use meridian_dynamo::write::{WriteOp, WriteOutcome};
use meridian_types::{NodeName, RegionName, TableName, Token};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

/// What travels with every request besides its body.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The client has seen this; it must not be shown an older state.
    pub token: Option<Token>,
    /// The client accepts a state that is at most this old.
    pub max_staleness: Option<Duration>,
    /// When the client is answered at the latest. Past it the outcome of a write is unknown.
    pub deadline: Instant,
}

/// Who answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedBy {
    /// The answering node's region.
    pub region: RegionName,
    /// The answering node.
    pub node: NodeName,
}

/// Whether a read could be stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staleness {
    /// Answered by the leader under its lease (or after asking it): not stale.
    Leader,
    /// Answered from a replica's own applied state: may be stale.
    Local,
}

/// An answer, with what the client may carry to its next request.
#[derive(Clone, Debug)]
pub struct Reply<T> {
    /// The answer.
    pub value: T,
    /// Positions that the answer reflects.
    pub token: Token,
    /// Who answered.
    pub served_by: ServedBy,
    /// Whether it could be stale.
    pub staleness: Staleness,
    /// The places of the item that concurrent writes have left in conflict.
    pub conflicts: Vec<String>,
}

impl<T> Reply<T> {
    /// The same reply around another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Reply<U> {
        Reply {
            value: change(self.value),
            token: self.token,
            served_by: self.served_by,
            staleness: self.staleness,
            conflicts: self.conflicts,
        }
    }
}

/// What UpdateTable changes; absent fields stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableChange {
    /// New throughput declaration.
    pub billing: Option<Billing>,
    /// New storage class.
    pub class: Option<TableClass>,
    /// New deletion protection.
    pub deletion_protection: Option<bool>,
}

/// The refusal of an item operation whose table is not there.
#[must_use]
pub fn item_table_not_found() -> DynamoError {
    DynamoError::ResourceNotFound("Requested resource not found".to_owned())
}

/// The refusal of a table operation whose table is not there.
#[must_use]
pub fn table_not_found(name: &TableName) -> DynamoError {
    DynamoError::ResourceNotFound(format!("Requested resource not found: Table: {name} not found"))
}

/// Tables and items.
///
/// Requests arrive validated against their own text, but the table may have changed or gone in the meantime: an
/// implementation checks it again and refuses with the API's exception. An error whose outcome is unknown (a write
/// that ran into the deadline) is `InternalServerError`, never an exception that says "not applied".
#[async_trait]
pub trait Tables: Send + Sync + 'static {
    /// Creates a table. Answers `ResourceInUseException` when the name is taken, `ValidationException` when the
    /// policy that its tags name does not exist.
    async fn create_table(
        &self,
        ctx: &RequestContext,
        definition: TableDefinition,
    ) -> Result<Reply<Arc<TableDescription>>, DynamoError>;

    /// The table, from this node's own copy of the cluster's state; called for every request, so it must be cheap.
    async fn table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<Option<Arc<TableDescription>>, DynamoError>;

    /// At most `limit` names in ascending order, after `after` (which need not exist).
    async fn list_tables(
        &self,
        ctx: &RequestContext,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TableName>, DynamoError>;

    /// Changes a table's declaration. `ResourceNotFoundException` when there is none.
    async fn update_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        change: TableChange,
    ) -> Result<Reply<Arc<TableDescription>>, DynamoError>;

    /// Deletes a table with all its items and answers its last description. `ResourceNotFoundException` when there
    /// is none, `ValidationException` when it is protected.
    async fn delete_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<Reply<Arc<TableDescription>>, DynamoError>;

    /// Adds or replaces tags; a changed `meridian:policy` moves the table. `ResourceNotFoundException` when there is
    /// no table, `ValidationException` over 50 tags.
    async fn tag_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        tags: BTreeMap<String, String>,
    ) -> Result<Reply<()>, DynamoError>;

    /// Removes tags; those that are not there are no error.
    async fn untag_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        keys: &[String],
    ) -> Result<Reply<()>, DynamoError>;

    /// Has the items of a table expire by an attribute, or no more. `ValidationException` when they do already, or by another attribute.
    async fn update_time_to_live(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        attribute: &str,
        enabled: bool,
    ) -> Result<Reply<()>, DynamoError>;

    /// Evaluates and applies one write, at most once, as the table's policy says.
    async fn write(&self, ctx: &RequestContext, op: WriteOp) -> Result<Reply<WriteOutcome>, DynamoError>;

    /// Reads one item.
    async fn get(&self, ctx: &RequestContext, op: GetOp) -> Result<Reply<GetOutcome>, DynamoError>;

    /// Reads one page of one item collection.
    async fn query(&self, ctx: &RequestContext, op: QueryOp) -> Result<Reply<Page>, DynamoError>;

    /// Reads one page of a table, in the order of [`meridian_dynamo::read::ScanPosition`].
    async fn scan(&self, ctx: &RequestContext, op: ScanOp) -> Result<Reply<Page>, DynamoError>;

    /// The credential of this id, from this node's own copy of the cluster's state.
    fn credential(&self, access_key_id: &str) -> Option<Arc<Credential>>;
}
