//! What regions have alone: measured by the leaders, told to the voters of the system group, so that somebody knows when a region is gone.

use super::Replication;
use crate::group::{Group, Risk, reach_elsewhere};
use crate::runtime;
use crate::system::{AtRisk, LastHeard};
use crate::wire::RiskReport;
use meridian_types::{GroupId, Incarnation, NodeId};
use openraft::async_runtime::WatchReceiver;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The newest report of each group, and when it came.
#[derive(Debug, Default)]
pub(crate) struct HeardRisks {
    newest: Mutex<BTreeMap<GroupId, (Instant, RiskReport)>>,
}

impl HeardRisks {
    /// Keeps reports that are of no older incarnation than those before.
    pub(crate) fn heard(&self, reports: Vec<RiskReport>) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        for report in reports {
            if newest.get(&report.group).is_none_or(|(_, known)| known.incarnation <= report.incarnation) {
                newest.insert(report.group, (runtime::now(), report));
            }
        }
    }

    /// All of them, each with its age.
    fn all(&self) -> Vec<RiskReport> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let aged =
            newest.values().map(|(at, report)| RiskReport { heard_ms: ms(runtime::since(*at)), ..*report });
        aged.collect()
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a led group has in this node's region alone; `None` when it does not stand and fall with one region, or is led elsewhere.
fn measure(node: &Replication, group: &Group) -> Option<Risk> {
    group.session()?;
    let state = node.system();
    let placement = state.placement_with(state.groups.get(&group.id)?, node.own());
    let elsewhere = reach_elsewhere(&placement, node.own(), &group.metrics.borrow_watched())?;
    Some(group.view.risk.beyond(elsewhere))
}

impl Replication {
    /// What the groups that this node leads have in its region alone.
    pub(crate) fn risks_here(&self) -> Vec<RiskReport> {
        let measured = |group: &std::sync::Arc<Group>| {
            let risk = measure(self, group)?;
            Some(RiskReport {
                group: group.id,
                incarnation: group.incarnation,
                leader: self.own(),
                at_risk: AtRisk { writes: risk.writes, entries: risk.entries, ms: ms(risk.age) },
                heard_ms: 0,
            })
        };
        self.groups().iter().filter_map(measured).collect()
    }

    /// The same, and what other leaders last said.
    pub(crate) fn risks_known(&self) -> Vec<RiskReport> {
        let here = self.risks_here();
        let mut all: Vec<_> = self.heard_risks.all();
        all.retain(|heard| here.iter().all(|own| own.group != heard.group));
        all.extend(here);
        all
    }

    /// What was last heard from the leader of an incarnation.
    pub(crate) fn last_heard(&self, group: GroupId, incarnation: Incarnation) -> Option<LastHeard> {
        let mut known = self.risks_known().into_iter();
        let report = known.find(|known| known.group == group && known.incarnation == incarnation)?;
        Some(LastHeard { at_risk: report.at_risk, ms_before: report.heard_ms })
    }

    /// The nodes that are told what is at risk: those that may have to decide.
    pub(crate) fn risk_listeners(&self) -> Vec<NodeId> {
        let voters = self.system_placement().map(|placement| placement.voters);
        voters.unwrap_or_default().into_iter().filter(|voter| *voter != self.own()).collect()
    }
}
