//! Where a request goes: to the groups that its table lives in, and on to others when it has moved meanwhile.

use super::catalog::{Catalog, CatalogTable};
use super::serve::ReplicatedTables;
use meridian_api::RequestContext;
use meridian_api::tables::item_table_not_found;
use meridian_dynamo::error::DynamoError;
use meridian_dynamo::table::TableStatus;
use meridian_replication::runtime;
use meridian_types::{Demand, GroupId, Position, TableName, Token};
use std::sync::Arc;
use std::time::Duration;

/// Between tries while a table changes its groups. A bound on the rate; the request's deadline bounds the number.
const AGAIN_EVERY: Duration = Duration::from_millis(25);

/// The tries of one request. Each group that serves the table no more has refused it, so nothing is done twice.
pub(super) struct Route<'a> {
    tables: &'a ReplicatedTables,
    ctx: &'a RequestContext,
    name: &'a TableName,
    tried: bool,
}

impl<'a> Route<'a> {
    pub(super) fn new(tables: &'a ReplicatedTables, ctx: &'a RequestContext, name: &'a TableName) -> Self {
        Self { tables, ctx, name, tried: false }
    }

    /// The catalog, and the table if it takes requests; not at once after the first time. A name that this node does not know may only
    /// be new: the system leader is asked before the client hears that there is no such table.
    ///
    /// # Errors
    /// `ResourceNotFoundException`; `ServiceUnavailable` when the table has not arrived by the deadline, or this node does not know where
    /// it is.
    pub(super) async fn next(&mut self) -> Result<(Arc<Catalog>, CatalogTable), DynamoError> {
        if self.tried {
            let next = runtime::now() + AGAIN_EVERY;
            if next > self.ctx.deadline {
                return Err(DynamoError::ServiceUnavailable(format!(
                    "Table {} is changing to another policy; try again.",
                    self.name
                )));
            }
            runtime::sleep_until(next).await;
        } else if let Some(token) = &self.ctx.token {
            // The client may have seen the table where it has moved to.
            let deadline = self.ctx.deadline;
            let knows = match token.demand(GroupId::SYSTEM) {
                Demand::Nothing => true,
                Demand::Position(seen) => self.tables.replication.wait_system(seen.index, deadline).await,
                Demand::Latest => self.tables.replication.system_barrier(deadline).await,
            };
            if !knows {
                return Err(DynamoError::ServiceUnavailable(
                    "This node has not yet heard of what the token has seen; try again.".to_owned(),
                ));
            }
        }
        self.tried = true;
        let usable = |catalog: &Catalog| {
            let table =
                catalog.table(self.name).filter(|table| table.description.status != TableStatus::Deleting);
            table.cloned()
        };
        let mut catalog = self.tables.catalogs.newest();
        let mut table = usable(&catalog);
        if table.is_none() {
            catalog = self.tables.look_again(self.ctx).await;
            table = usable(&catalog);
        }
        table.map(|table| (catalog, table)).ok_or_else(item_table_not_found)
    }
}

impl CatalogTable {
    /// What a read asks of a replica of this table's group: what the client has seen, and what the table brought along when it moved.
    pub(super) fn demand(&self, token: Option<&Token>, group: GroupId) -> Demand {
        let seen = token.map_or(Demand::Nothing, |token| token.demand(group));
        self.arrived.get(&group).map_or(seen, |arrived| seen.with(*arrived))
    }

    /// What a response of this table has seen: besides `positions`, where the table has moved to, if it ever has.
    pub(super) fn seen(
        &self,
        tables: &ReplicatedTables,
        positions: Vec<Position>,
    ) -> impl Iterator<Item = Position> + use<> {
        let moved = (!self.arrived.is_empty()).then(|| tables.replication.system_position()).flatten();
        moved.into_iter().chain(positions)
    }
}
