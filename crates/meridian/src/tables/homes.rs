//! The groups that an item lives in: one, or in an active-active table one for each region that writes.

use super::active::Seen;
use super::catalog::{Catalog, CatalogTable};
use super::evaluate::{Answer, GroupRead, decode, encode};
use super::serve::{ReplicatedTables, internal, unserved};
use bytes::Bytes;
use meridian_api::RequestContext;
use meridian_dynamo::error::DynamoError;
use meridian_replication::{MergedRead, ReadConsistency, Unserved, runtime};
use meridian_types::{Demand, GroupId, NodeId, PolicyName, Position};
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::Instant;

/// How long a region that writes is waited for before the next one takes the write. More than an election.
const NEXT_AFTER: Duration = Duration::from_millis(1_500);

/// Where an item lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Homes {
    /// In one group.
    One(GroupId),
    /// In one group for each region that writes, the nearest region first.
    Origins(Vec<GroupId>),
}

/// What a group has answered, and the states that it has seen.
pub(super) struct Served<T> {
    pub(super) answer: Answer<T>,
    pub(super) positions: Vec<Position>,
    /// What of the item is in conflict.
    pub(super) conflicts: Vec<String>,
    pub(super) by: NodeId,
    pub(super) consistent: bool,
}

impl Homes {
    /// Takes a response apart: where regions write to groups of their own, it tells what it has seen of the others.
    fn open<T: DeserializeOwned>(
        &self,
        response: &Bytes,
        position: Position,
        (by, consistent): (NodeId, bool),
    ) -> Result<Served<T>, DynamoError> {
        let (seen, answer): (Seen, Answer<T>) = match self {
            Self::One(_) => (Seen::default(), decode(response).map_err(internal)?),
            Self::Origins(_) => decode(response).map_err(internal)?,
        };
        let Seen { mut positions, conflicts } = seen;
        positions.push(position);
        Ok(Served { answer, positions, conflicts, by, consistent })
    }
}

impl ReplicatedTables {
    /// Where the items of a hash live under a policy.
    ///
    /// # Errors
    /// When this node does not know yet.
    pub(super) fn homes(
        &self,
        catalog: &Catalog,
        policy: &PolicyName,
        hash: u64,
    ) -> Result<Homes, DynamoError> {
        let mut origins = catalog.system.origins_for(policy, hash);
        if !origins.is_empty() {
            origins.sort_by_key(|(region, _)| self.replication.distance_to(region).unwrap_or(Duration::MAX));
            return Ok(Homes::Origins(origins.into_iter().map(|(_, group)| group).collect()));
        }
        let group = catalog.system.group_for(policy, hash);
        group.map(|group| Homes::One(group.id)).ok_or_else(|| {
            DynamoError::InternalServerError(format!("the groups of policy {policy} are not known yet"))
        })
    }

    /// Writes to the item's group; of several to the nearest whose region can take it.
    pub(super) async fn write_home<T: DeserializeOwned>(
        &self,
        ctx: &RequestContext,
        homes: &Homes,
        request: Bytes,
    ) -> Result<Served<T>, DynamoError> {
        let groups = match homes {
            Homes::One(group) => std::slice::from_ref(group),
            Homes::Origins(groups) => groups,
        };
        let mut refused = Unserved::NoReplica;
        for (place, group) in groups.iter().enumerate() {
            let last = place + 1 == groups.len();
            let deadline = if last { ctx.deadline } else { ctx.deadline.min(runtime::now() + NEXT_AFTER) };
            match self.replication.write(*group, request.clone(), deadline).await {
                Ok(done) => {
                    return homes.open(&done.response, done.position, (done.served_by, true));
                }
                Err(error @ (Unserved::Unknown | Unserved::Overloaded | Unserved::Storage(_))) => {
                    return Err(unserved(error));
                }
                // Nothing was done there, and the next region may be able to.
                Err(error) => refused = error,
            }
        }
        Err(unserved(refused))
    }

    /// Reads from a group that this node leads.
    pub(super) async fn read_led<T: DeserializeOwned>(
        &self,
        catalog: &Catalog,
        group: GroupId,
        read: &GroupRead<'_>,
        deadline: Instant,
    ) -> Result<Answer<T>, DynamoError> {
        let request = encode(read).map_err(internal)?;
        let here = ReadConsistency::Local { seen: Demand::Nothing, max_staleness: None };
        let done = self.replication.read(group, request, here, deadline).await.map_err(unserved)?;
        let info = catalog.system.groups.get(&group);
        let homes = match info.is_some_and(|info| catalog.system.is_active_active(info)) {
            true => Homes::Origins(vec![group]),
            false => Homes::One(group),
        };
        Ok(homes.open(&done.response, done.position, (done.served_by, done.consistent))?.answer)
    }

    /// Reads from the groups of an item, as the operation and the client's headers ask.
    pub(super) async fn read_home<T: DeserializeOwned>(
        &self,
        ctx: &RequestContext,
        table: &CatalogTable,
        homes: &Homes,
        read: &GroupRead<'_>,
        consistent: bool,
    ) -> Result<Served<T>, DynamoError> {
        let request = encode(read).map_err(internal)?;
        let demand = |group: &GroupId| table.demand(ctx.token.as_ref(), *group);
        let max_staleness = ctx.max_staleness;
        let done = match homes {
            Homes::One(group) => {
                let consistency = if consistent {
                    ReadConsistency::Consistent
                } else {
                    ReadConsistency::Local { seen: demand(group), max_staleness }
                };
                self.replication.read(*group, request, consistency, ctx.deadline).await
            }
            Homes::Origins(groups) => {
                let (groups, seen) = (groups.clone(), groups.iter().map(demand).collect());
                let read = MergedRead { groups, seen, consistent, max_staleness };
                self.replication.read_merged(read, request, ctx.deadline).await
            }
        };
        let done = done.map_err(unserved)?;
        homes.open(&done.response, done.position, (done.served_by, done.consistent))
    }
}
