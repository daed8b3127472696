//! Giving a region up, for the admin API.

use crate::admin::failover::{
    AtRisk, FailedOver, Failover, FailoverDone, FailoverPlan, PlannedGroup, Refoundation,
};
use crate::http::{ApiError, ErrorCode};
use meridian_replication::system::{LastHeard, SalvageCount, SystemState};
use meridian_replication::{
    FailoverError, FailoverOrder, GroupFailover, NodeStatus, Replication, RiskReport, groups_of_region,
};
use meridian_types::{GroupId, NodeId, NodeName, PolicyName, RegionName};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long other nodes are asked what they have heard.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// The leases must run out, the survivors answer and the seeds found their groups.
pub(super) const DEADLINE: Duration = Duration::from_secs(25);

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn refused(error: FailoverError) -> ApiError {
    let code = match &error {
        FailoverError::UnknownRegion(_) | FailoverError::NothingThere { .. } | FailoverError::Refused(_) => {
            ErrorCode::InvalidRequest
        }
        FailoverError::UnderWay(_) => ErrorCode::Conflict,
        FailoverError::Unserved(_) => ErrorCode::Unavailable,
    };
    ApiError::new(code, error.to_string())
}

fn of_report(report: &RiskReport) -> AtRisk {
    let meridian_replication::system::AtRisk { writes, entries, ms } = report.at_risk;
    AtRisk { writes, entries, ms, heard_ms: report.heard_ms }
}

fn of_record(heard: &LastHeard) -> AtRisk {
    let meridian_replication::system::AtRisk { writes, entries, ms } = heard.at_risk;
    AtRisk { writes, entries, ms, heard_ms: heard.ms_before }
}

/// What is at risk in each group: the newest that any node has heard of its present incarnation.
pub(super) fn risks(state: &SystemState, said: &BTreeMap<NodeId, NodeStatus>) -> BTreeMap<GroupId, AtRisk> {
    let mut newest: BTreeMap<GroupId, RiskReport> = BTreeMap::new();
    for report in said.values().flat_map(|said| &said.at_risk) {
        let present = state.groups.get(&report.group).map(|group| group.incarnation);
        let known = newest.get(&report.group).map_or(u64::MAX, |known| known.heard_ms);
        if present == Some(report.incarnation) && report.heard_ms < known {
            newest.insert(report.group, *report);
        }
    }
    newest.iter().map(|(group, report)| (*group, of_report(report))).collect()
}

/// Every founding anew on record, newest group and incarnation last.
pub(super) fn refoundations(state: &SystemState) -> Vec<Refoundation> {
    let name = |node: NodeId| state.nodes.get(&node).map(|entry| entry.name.clone());
    let of_group = |group: &meridian_replication::system::GroupInfo| {
        let id = group.id;
        let records = group.refoundations.clone();
        records.into_iter().map(move |step| {
            // Replicas of one region have the same log: the furthest has all that any has.
            let found = step.salvage.values().max_by_key(|count| count.writes).copied();
            let SalvageCount { writes, items } = found.unwrap_or_default();
            Refoundation {
                group: id,
                incarnation: step.incarnation.0,
                base: step.base.0,
                seed: name(step.seed),
                from: step.from,
                cut: step.cut.map(|cut| cut.index),
                decided_ms: step.decided_ms,
                automatic: step.automatic,
                at_risk: step.last_heard.as_ref().map(of_record),
                found_writes: found.map(|_| writes),
                found_items: found.map(|_| items),
            }
        })
    };
    state.groups.values().flat_map(of_group).collect()
}

pub(super) async fn plan(
    replication: &Arc<Replication>,
    from: RegionName,
    policy: Option<PolicyName>,
) -> Result<FailoverPlan, ApiError> {
    let said = replication.status_everywhere(PATIENCE).await;
    let state = replication.system();
    let risks = risks(&state, &said);
    let reports: Vec<RiskReport> = said.values().flat_map(|said| &said.at_risk).copied().collect();
    let groups = groups_of_region(&state, &reports, &from, policy.as_ref()).map_err(refused)?;
    let groups = groups.into_iter().map(|group| PlannedGroup {
        group: group.id,
        policy: group.policy.clone(),
        incarnation: group.incarnation.0,
        at_risk: risks.get(&group.id).copied(),
    });
    let groups = groups.collect();
    let mut there = state.nodes.values().filter(|node| node.region == from);
    let answers = there.any(|node| said.contains_key(&node.number));
    let grace_ms = u64::try_from(replication.region_grace().as_millis()).unwrap_or(u64::MAX);
    Ok(FailoverPlan { from, answers, grace_ms, groups })
}

pub(super) async fn execute(
    replication: &Arc<Replication>,
    order: Failover,
) -> Result<FailoverDone, ApiError> {
    let Failover { from, policy, accept_loss } = order;
    if !accept_loss {
        return Err(ApiError::invalid(
            "writes that only this region has would be lost until it is back; say `accept_loss: true` to take that",
        ));
    }
    let order = FailoverOrder { from: from.clone(), policy, automatic: false };
    let done = replication.fail_over(order, Instant::now() + DEADLINE).await.map_err(refused)?;
    Ok(summed_up(replication, from, done))
}

/// What came of founding groups anew, in the admin API's words.
pub(super) fn summed_up(
    replication: &Replication,
    from: RegionName,
    done: Vec<GroupFailover>,
) -> FailoverDone {
    let state = replication.system();
    let name = |node: NodeId| -> Option<(NodeName, RegionName)> {
        state.nodes.get(&node).map(|entry| (entry.name.clone(), entry.region.clone()))
    };
    let groups = done.into_iter().map(|done: GroupFailover| {
        let (seed, region) = done.seed.and_then(name).unzip();
        FailedOver {
            group: done.group,
            policy: done.policy,
            incarnation: done.incarnation.0,
            seed,
            region,
            cut: done.cut.map(|cut| cut.index),
            at_risk: done.last_heard.as_ref().map(of_record),
            error: done.error,
        }
    });
    FailoverDone { from, groups: groups.collect() }
}
