//! Expelling a region from the active-active policies, and taking it back, for the admin API.

use super::admin::{refused, unserved};
use super::failover::{DEADLINE, PATIENCE, risks, summed_up};
use crate::admin::failover::{Expel, ExpulsionPlan, FailoverDone, PlannedGroup};
use crate::http::ApiError;
use meridian_replication::system::SystemError;
use meridian_replication::{MembersError, Replication, RiskReport, origins_held_by};
use meridian_types::RegionName;
use std::sync::Arc;
use tokio::time::Instant;

fn not_done(error: MembersError) -> ApiError {
    match error {
        MembersError::Refused(error) => refused(error),
        MembersError::Unserved(error) => unserved(error),
    }
}

pub(super) async fn plan(
    replication: &Arc<Replication>,
    region: &RegionName,
) -> Result<ExpulsionPlan, ApiError> {
    let said = replication.status_everywhere(PATIENCE).await;
    let state = replication.system();
    let mut there = state.nodes.values().filter(|node| node.region == *region).peekable();
    if there.peek().is_none() {
        return Err(refused(SystemError::NoSuchRegion(region.clone())));
    }
    let answers = there.any(|node| said.contains_key(&node.number));
    let risks = risks(&state, &said);
    let reports: Vec<RiskReport> = said.values().flat_map(|said| said.at_risk.iter().copied()).collect();
    let groups = origins_held_by(&state, &reports, region).into_iter().map(|group| PlannedGroup {
        group: group.id,
        policy: group.policy.clone(),
        incarnation: group.incarnation.0,
        at_risk: risks.get(&group.id).copied(),
    });
    let groups = groups.collect();
    let expelled = state.expelled().contains(region);
    Ok(ExpulsionPlan { region: region.clone(), answers, expelled, groups })
}

pub(super) async fn execute(
    replication: &Arc<Replication>,
    region: &RegionName,
    order: Expel,
) -> Result<FailoverDone, ApiError> {
    if !order.accept_loss {
        return Err(ApiError::invalid(
            "writes that only this region has would be lost until it is back; say `accept_loss: true` to take that",
        ));
    }
    let done = replication.expel(region, Instant::now() + DEADLINE).await.map_err(not_done)?;
    Ok(summed_up(replication, region.clone(), done))
}

pub(super) async fn readmit(replication: &Arc<Replication>, region: &RegionName) -> Result<(), ApiError> {
    replication.readmit(region, Instant::now() + DEADLINE).await.map_err(not_done)
}
