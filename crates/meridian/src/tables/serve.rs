//! [`Tables`] over replication: the data path of every item request.

use super::catalog::{Catalog, CatalogTable, Catalogs};
use super::evaluate::{GroupRead, GroupWrite, encode};
use super::homes::{Homes, Served};
use super::route::Route;
use meridian_api::{Credential, Reply, RequestContext, ServedBy, Staleness, TableChange, Tables};
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::read::{GetOp, GetOutcome, Page, QueryOp, ScanOp};
use meridian_dynamo::table::{TableDefinition, TableDescription};
use meridian_dynamo::write::{WriteOp, WriteOutcome};
use meridian_replication::{Replication, Unserved, runtime};
use meridian_types::hash::partition_hash;
use meridian_types::{GroupId, NodeId, Position, TableId, TableName};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a name that this node does not know is asked after at the system leader.
const LOOK_UP: Duration = Duration::from_secs(1);

/// The cluster's tables, as one node serves them.
pub struct ReplicatedTables {
    pub(super) replication: Arc<Replication>,
    pub(super) catalogs: Arc<Catalogs>,
    pub(super) here: ServedBy,
    /// For the first group of each share whose tombstones wait: the node that they wait for.
    pub(super) waiting: Mutex<BTreeMap<GroupId, NodeId>>,
    /// Items that this node has deleted since it started because they had expired.
    pub(super) expired: AtomicU64,
}

impl ReplicatedTables {
    /// Serves in the name of `here`.
    #[must_use]
    pub fn new(replication: Arc<Replication>, catalogs: Arc<Catalogs>, here: ServedBy) -> Self {
        Self { replication, catalogs, here, waiting: Mutex::default(), expired: AtomicU64::new(0) }
    }

    /// The catalog, once this node has caught up with the system leader.
    pub(super) async fn look_again(&self, ctx: &RequestContext) -> Arc<Catalog> {
        let deadline = ctx.deadline.min(runtime::now() + LOOK_UP);
        self.replication.system_barrier(deadline).await;
        self.catalogs.newest()
    }

    /// A reply by `node`, whose token grows from the client's own.
    pub(super) fn reply<T>(
        &self,
        ctx: &RequestContext,
        value: T,
        positions: impl IntoIterator<Item = Position>,
        node: NodeId,
        consistent: bool,
    ) -> Reply<T> {
        let mut token = ctx.token.clone().unwrap_or_default();
        positions.into_iter().for_each(|position| token.add(position));
        let staleness = if consistent { Staleness::Leader } else { Staleness::Local };
        Reply { value, token, served_by: self.served_by(node), staleness, conflicts: Vec::new() }
    }

    fn served_by(&self, node: NodeId) -> ServedBy {
        let system = self.replication.system();
        system.nodes.get(&node).map_or_else(
            || self.here.clone(),
            |entry| ServedBy { region: entry.region.clone(), node: entry.name.clone() },
        )
    }

    fn replied<T, U>(
        &self,
        ctx: &RequestContext,
        table: &CatalogTable,
        value: T,
        served: Served<U>,
    ) -> Reply<T> {
        let Served { positions, by, consistent, conflicts, .. } = served;
        let reply = self.reply(ctx, value, table.seen(self, positions), by, consistent);
        Reply { conflicts, ..reply }
    }

    /// Where the items under a partition key live.
    fn locate(
        &self,
        catalog: &Catalog,
        table: &CatalogTable,
        partition: impl FnOnce(&TableDescription) -> Result<Vec<u8>, DynamoError>,
    ) -> Result<Homes, DynamoError> {
        let id: TableId = table.description.id;
        let partition = partition(&table.description)?;
        let policy = table.policy_of(catalog, &self.here.region, &partition)?;
        self.homes(catalog, policy, partition_hash(id, &partition))
    }
}

pub(super) fn internal(error: impl std::fmt::Display) -> DynamoError {
    DynamoError::InternalServerError(error.to_string())
}

/// A refusal of the replication layer in the API's words.
#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
pub(super) fn unserved(error: Unserved) -> DynamoError {
    let message = error.to_string();
    match error {
        Unserved::NotLeader
        | Unserved::NoLeader
        | Unserved::NoReplica
        | Unserved::NoRegionLease
        | Unserved::TooFarAhead
        | Unserved::DiskFull(_)
        | Unserved::RegionLost(_) => DynamoError::ServiceUnavailable(message),
        Unserved::Overloaded => DynamoError::Throttling(message),
        Unserved::Unknown | Unserved::Storage(_) => DynamoError::InternalServerError(message),
    }
}

#[async_trait::async_trait]
impl Tables for ReplicatedTables {
    async fn create_table(
        &self,
        ctx: &RequestContext,
        definition: TableDefinition,
    ) -> Result<Reply<Arc<TableDescription>>, DynamoError> {
        self.create(ctx, definition).await
    }

    async fn table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<Option<Arc<TableDescription>>, DynamoError> {
        let describe = |catalog: &Catalog| catalog.table(name).map(|table| Arc::clone(&table.description));
        if let Some(description) = describe(&self.catalogs.newest()) {
            return Ok(Some(description));
        }
        Ok(describe(&*self.look_again(ctx).await))
    }

    async fn list_tables(
        &self,
        ctx: &RequestContext,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TableName>, DynamoError> {
        let catalog = self.look_again(ctx).await;
        let names = catalog.tables().map(|(name, _)| name);
        let behind = names.filter(|name| after.is_none_or(|after| name.as_str() > after));
        Ok(behind.take(limit).cloned().collect())
    }

    async fn update_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        change: TableChange,
    ) -> Result<Reply<Arc<TableDescription>>, DynamoError> {
        self.update(ctx, name, change).await
    }

    async fn delete_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<Reply<Arc<TableDescription>>, DynamoError> {
        self.delete(ctx, name).await
    }

    async fn tag_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        tags: BTreeMap<String, String>,
    ) -> Result<Reply<()>, DynamoError> {
        self.tag(ctx, name, tags).await
    }

    async fn untag_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        keys: &[String],
    ) -> Result<Reply<()>, DynamoError> {
        self.untag(ctx, name, keys).await
    }

    async fn update_time_to_live(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        attribute: &str,
        enabled: bool,
    ) -> Result<Reply<()>, DynamoError> {
        self.set_time_to_live(ctx, name, attribute, enabled).await
    }

    async fn write(&self, ctx: &RequestContext, op: WriteOp) -> Result<Reply<WriteOutcome>, DynamoError> {
        let mut route = Route::new(self, ctx, &op.table);
        loop {
            let (catalog, table) = route.next().await?;
            let homes =
                self.locate(&catalog, &table, |table| Ok(op.key(&table.definition.schema)?.partition))?;
            let request = encode(&GroupWrite::Item(table.place(), Cow::Borrowed(&op))).map_err(internal)?;
            let mut served = self.write_home(ctx, &homes, request).await?;
            if let Some(answer) = served.answer.take() {
                return Ok(self.replied(ctx, &table, answer?, served));
            }
        }
    }

    async fn get(&self, ctx: &RequestContext, op: GetOp) -> Result<Reply<GetOutcome>, DynamoError> {
        let mut route = Route::new(self, ctx, &op.table);
        loop {
            let (catalog, table) = route.next().await?;
            let homes =
                self.locate(&catalog, &table, |table| Ok(op.key(&table.definition.schema)?.partition))?;
            let read = GroupRead::Get(table.place(), Cow::Borrowed(&op));
            let mut served = self.read_home(ctx, &table, &homes, &read, op.consistent).await?;
            if let Some(answer) = served.answer.take() {
                return Ok(self.replied(ctx, &table, answer?, served));
            }
        }
    }

    async fn query(&self, ctx: &RequestContext, op: QueryOp) -> Result<Reply<Page>, DynamoError> {
        let mut route = Route::new(self, ctx, &op.table);
        loop {
            let (catalog, table) = route.next().await?;
            let homes = self.locate(&catalog, &table, |_| Ok(op.range.partition.clone()))?;
            let read = GroupRead::Query(table.place(), Cow::Borrowed(&op));
            let mut served = self.read_home(ctx, &table, &homes, &read, op.shape.consistent).await?;
            if let Some(answer) = served.answer.take() {
                return Ok(self.replied(ctx, &table, answer?, served));
            }
        }
    }

    async fn scan(&self, ctx: &RequestContext, op: ScanOp) -> Result<Reply<Page>, DynamoError> {
        let mut route = Route::new(self, ctx, &op.table);
        loop {
            let (catalog, table) = route.next().await?;
            if let Some(reply) = self.scan_groups(ctx, &catalog, &table, &op).await? {
                return Ok(reply);
            }
        }
    }

    fn credential(&self, access_key_id: &str) -> Option<Arc<Credential>> {
        self.catalogs.newest().credential(access_key_id)
    }
}
