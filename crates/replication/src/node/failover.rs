//! Giving a region up: its groups are founded anew from what the other regions have.
//!
//! Order, all of it on the system leader: no more leases to the region; wait until the last one must have ended; ask the survivors how
//! far they are; commit who goes on from whose state. From that commit on nobody accepts anything of the old incarnation. The seed then
//! founds the new one and says where it cut the old log.

use super::Replication;
use crate::error::Unserved;
use crate::group::Session;
use crate::raft::{encode, refound};
use crate::replica_id::ReplicaId;
use crate::runtime::{self, Mistake, errs};
use crate::system::{GroupInfo, LogPoint, Refoundation, SystemCommand, SystemError, SystemState};
use crate::transport::Kind;
use crate::wire::{FailoverOrder, GroupFailover, RiskReport, Survey};
use bytes::Bytes;
use meridian_placement::lease::wait_before_refounding;
use meridian_placement::{Survivor, choose_survivor, sole_region};
use meridian_types::{GroupId, Incarnation, NodeId, PolicyName, RegionName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long the seeds have to found their groups before the order is answered; they go on behind it.
const FOUNDING_PATIENCE: Duration = Duration::from_secs(10);
/// A leader that has said so within this many milliseconds leads.
const LED_MS: u64 = 2_000;
/// Between looks whether they have.
const POLL: Duration = Duration::from_millis(25);

/// Why a region was not given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum FailoverError {
    /// The cluster has no such region.
    #[error("there is no region {0}; `meridian status` shows those that there are")]
    UnknownRegion(RegionName),
    /// No group stands and falls with the region.
    #[error(
        "no group of {} has all of its votes in {region}: there is nothing to found anew. Groups of sync and semi-sync \
         policies elect a new leader by themselves, and the other regions of an active-active one never stop taking writes",
        policy.as_ref().map_or_else(|| "any policy".to_owned(), |policy| format!("policy {policy}"))
    )]
    NothingThere {
        /// The region.
        region: RegionName,
        /// The policy, when one was named.
        policy: Option<PolicyName>,
    },
    /// No such policy.
    #[error("{0}")]
    Refused(#[from] SystemError),
    /// Somebody else is giving the region up.
    #[error("region {0} is being given up already; `meridian status` shows when it is done")]
    UnderWay(RegionName),
    /// No system leader could be asked, or it lost its leadership.
    #[error("{0}")]
    Unserved(#[from] Unserved),
}

impl From<std::io::Error> for FailoverError {
    fn from(error: std::io::Error) -> Self {
        Self::Unserved(error.into())
    }
}

/// The groups that are lost with a region, of one policy or of all: those that stand and fall with it and are not led elsewhere, which they
/// are while they move to it; and those that are still led there while they move away. `reports` tell who led last.
///
/// # Errors
/// When there is no such region or policy, or no such group.
pub fn groups_of_region<'a>(
    state: &'a SystemState,
    reports: &[RiskReport],
    region: &RegionName,
    policy: Option<&PolicyName>,
) -> Result<Vec<&'a GroupInfo>, FailoverError> {
    if !state.nodes.values().any(|node| node.region == *region) {
        return Err(FailoverError::UnknownRegion(region.clone()));
    }
    if let Some(policy) = policy.filter(|policy| !state.policies.contains_key(*policy)) {
        return Err(SystemError::NoSuchPolicy(policy.clone()).into());
    }
    let there = |group: &&GroupInfo| {
        state.sole_region(group).is_some_and(|sole| is_held_there(state, reports, group, (sole, region)))
    };
    let of_policy = |group: &&GroupInfo| policy.is_none_or(|policy| group.policy == *policy);
    let found: Vec<_> = state.groups.values().filter(of_policy).filter(there).collect();
    if found.is_empty() {
        return Err(FailoverError::NothingThere { region: region.clone(), policy: policy.cloned() });
    }
    Ok(found)
}

/// The groups of active-active policies whose votes are all in a region, or were before they were founded anew and have not begun: without it
/// they stand still until they are founded anew.
#[must_use]
pub fn origins_held_by<'a>(
    state: &'a SystemState,
    reports: &[RiskReport],
    region: &RegionName,
) -> Vec<&'a GroupInfo> {
    let held = |group: &&GroupInfo| {
        let began = group.unfounded().is_none_or(|next| next.from != *region);
        let there = |sole| is_held_there(state, reports, group, (sole, region));
        state.is_active_active(group) && (!began || sole_region(&group.placement).is_some_and(there))
    };
    state.groups.values().filter(held).collect()
}

/// Whether a group that stands and falls with region `sole` is lost with `region`: it is placed there and not led elsewhere, or still led there.
fn is_held_there(
    state: &SystemState,
    reports: &[RiskReport],
    group: &GroupInfo,
    (sole, region): (&RegionName, &RegionName),
) -> bool {
    let of_group = reports.iter().filter(|r| r.group == group.id && r.incarnation == group.incarnation);
    let newest = of_group.min_by_key(|report| report.heard_ms);
    let led_from = newest.and_then(|report| state.region_of(report.leader));
    let led_elsewhere = newest.is_some_and(|r| r.heard_ms < LED_MS) && led_from != Some(region);
    let seeded = group.unfounded().and_then(|next| state.region_of(next.seed));
    led_from == Some(region) || seeded == Some(region) || (sole == region && !led_elsewhere)
}

/// What one node was asked, and answered.
struct Surveyed {
    node: NodeId,
    region: RegionName,
    answer: Option<Survey>,
}

impl Surveyed {
    fn survivor(self) -> Option<Survivor> {
        let LogPoint { term, index } = self.answer?.end?;
        Some(Survivor { node: self.node, region: self.region, term, index })
    }
}

impl Replication {
    /// Gives a region up, through the system leader: every group that stands and falls with it, of one policy or of all, is founded
    /// anew from the survivor that has most of it. What no survivor has is lost until the region is back.
    ///
    /// # Errors
    /// [`FailoverError`]; groups that were founded anew before it stay so.
    pub async fn fail_over(
        self: &Arc<Self>,
        order: FailoverOrder,
        deadline: Instant,
    ) -> Result<Vec<GroupFailover>, FailoverError> {
        loop {
            let tried = match self.leader_of(GroupId::SYSTEM) {
                Some(leader) if leader == self.own() => self.fail_over_here(&order).await,
                Some(leader) => {
                    let payload = encode(&order)?;
                    let asked = self.ask(leader, Kind::Failover, GroupId::SYSTEM, payload, deadline).await;
                    asked.map_err(FailoverError::from).and_then(|answer| answer)
                }
                None => Err(Unserved::NoLeader.into()),
            };
            match tried {
                Err(FailoverError::Unserved(Unserved::NotLeader | Unserved::NoLeader)) => {}
                done => return done,
            }
            if !self.pause_before_retry(deadline).await {
                return Err(Unserved::NoLeader.into());
            }
        }
    }

    pub(crate) async fn fail_over_here(
        self: &Arc<Self>,
        order: &FailoverOrder,
    ) -> Result<Vec<GroupFailover>, FailoverError> {
        let session = self.leads_system().ok_or(Unserved::NotLeader)?;
        let wanted = |state| groups_of_region(state, &self.risks_known(), &order.from, order.policy.as_ref());
        let state = self.system();
        let mut regions = BTreeSet::from([order.from.clone()]);
        let asked = wanted(&state)?.into_iter().map(|group| self.regions_that_may_lead(group, &order.from));
        regions.extend(futures_util::future::join_all(asked).await.into_iter().flatten());
        tracing::warn!(region = %order.from, closed = ?regions, automatic = order.automatic, "giving the region up");
        let close = |region| self.grants.close(region).ok_or_else(|| FailoverError::UnderWay(region.clone()));
        let _closed = regions.iter().map(close).collect::<Result<Vec<_>, _>>()?;
        for region in &regions {
            self.outwait_leases(region, session).await?;
        }
        let state = self.system();
        let without = BTreeSet::from([order.from.clone()]);
        let groups = wanted(&state)?.into_iter().map(|group| async {
            let (done, command) = self.plan_refounding(group, order, &without, &state).await;
            if let Some(command) = command {
                // By this node alone: it is the one that has waited.
                self.system_write_here(command).await?.0?;
            }
            Ok::<_, FailoverError>(done)
        });
        let mut done =
            futures_util::future::join_all(groups).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        self.await_foundings(&mut done).await;
        Ok(done)
    }

    /// This node's leadership of the system group.
    pub(crate) fn leads_system(&self) -> Option<Session> {
        self.group(GroupId::SYSTEM)?.session()
    }

    /// Waits until nobody in the region can hold a lease any more.
    async fn outwait_leases(&self, region: &RegionName, session: Session) -> Result<(), Unserved> {
        loop {
            if self.leads_system() != Some(session) {
                return Err(Unserved::NotLeader);
            }
            let leading = self.grants.leading_for(session.leader);
            let granted = self.grants.since_last(region);
            let wait = wait_before_refounding(self.shared.timing.region_lease(), leading, granted);
            if wait.is_zero() || errs(Mistake::RefoundEarly) {
                return Ok(());
            }
            runtime::sleep(wait.max(POLL)).await;
        }
    }

    /// From whose state a group goes on without some regions, and the command that says so; none when it cannot.
    pub(super) async fn plan_refounding(
        self: &Arc<Self>,
        group: &GroupInfo,
        order: &FailoverOrder,
        without: &BTreeSet<RegionName>,
        state: &SystemState,
    ) -> (GroupFailover, Option<SystemCommand>) {
        let refused = |why: String| (GroupFailover { error: Some(why), ..GroupFailover::of(group) }, None);
        let Some(policy) = state.policies.get(&group.policy).map(|entry| &entry.policy) else {
            return refused("its policy is not known".to_owned());
        };
        let answers = self.survey(group, without).await;
        let survivors: Vec<Survivor> = answers.into_iter().filter_map(Surveyed::survivor).collect();
        let Some(chosen) = choose_survivor(&survivors, &policy.primary_order()) else {
            return refused("no replica outside the region answers that has anything of it".to_owned());
        };
        let placement =
            match meridian_placement::refound(policy, group.ordinal, &self.everyone(), chosen.node) {
                Ok(placement) => placement,
                Err(error) => return refused(error.to_string()),
            };
        let next = Refoundation {
            incarnation: Incarnation(group.incarnation.0 + 1),
            base: group.founded(),
            from: order.from.clone(),
            seed: chosen.node,
            expected: LogPoint { term: chosen.term, index: chosen.index },
            cut: None,
            decided_ms: runtime::wall_ms(),
            automatic: order.automatic,
            last_heard: self.last_heard(group.id, group.incarnation),
            salvage: BTreeMap::new(),
        };
        let answer = GroupFailover {
            incarnation: next.incarnation,
            seed: Some(chosen.node),
            last_heard: next.last_heard,
            ..GroupFailover::of(group)
        };
        tracing::warn!(group = %group.id, seed = %chosen.node, expected = ?next.expected, "founding anew");
        let command = SystemCommand::Refound { group: group.id, refoundation: Box::new(next), placement };
        (answer, Some(command))
    }

    /// Regions besides the lost one in which somebody may lead the group: those with a voter, as there is while a group moves, and
    /// those with a member that does not answer, so that it cannot be known. Their leases must end too.
    async fn regions_that_may_lead(
        self: &Arc<Self>,
        group: &GroupInfo,
        without: &RegionName,
    ) -> Vec<RegionName> {
        let answers = self.survey(group, &BTreeSet::from([without.clone()])).await;
        let suspect = answers.into_iter().filter(|of| of.answer.is_none_or(|answer| answer.votes));
        suspect.map(|of| of.region).collect()
    }

    /// How far the replicas outside some regions are: of the newest incarnation that has a state.
    async fn survey(self: &Arc<Self>, group: &GroupInfo, without: &BTreeSet<RegionName>) -> Vec<Surveyed> {
        let id = ReplicaId { group: group.id, incarnation: group.founded() };
        // Two round trips: a link that has just come up may have to carry other things first.
        let deadline = runtime::now() + self.shared.timing.heartbeat * 2;
        let outside = group.placement.data.iter().filter(|(_, region)| !without.contains(*region));
        let asked = outside.map(|(node, region)| async move {
            let answer = self.survey_node(*node, id, deadline).await;
            Surveyed { node: *node, region: region.clone(), answer }
        });
        futures_util::future::join_all(asked).await
    }

    async fn survey_node(&self, node: NodeId, id: ReplicaId, deadline: Instant) -> Option<Survey> {
        if node == self.own() {
            return self.survey_here(id).ok();
        }
        let payload = encode(&(id.group, id.incarnation)).ok()?;
        self.ask(node, Kind::Survey, GroupId::SYSTEM, payload, deadline).await.ok()
    }

    /// How far this node's replica of one incarnation is, whether or not it still takes part.
    pub(crate) fn survey_here(&self, id: ReplicaId) -> std::io::Result<Survey> {
        let end = refound::end_of_log(&id.store(&self.shared.store)?)?;
        let open = self.group(id.group).filter(|group| group.incarnation == id.incarnation);
        let votes = open.is_some_and(|group| group.votes());
        Ok(Survey { end, votes })
    }

    pub(super) async fn await_foundings(&self, done: &mut [GroupFailover]) {
        let deadline = runtime::now() + FOUNDING_PATIENCE;
        for group in done.iter_mut().filter(|group| group.error.is_none()) {
            loop {
                let state = self.system();
                let info = state.groups.get(&group.group);
                let step = info.and_then(|info| {
                    info.refoundations.iter().find(|step| step.incarnation == group.incarnation)
                });
                group.cut = step.and_then(|step| step.cut);
                if group.cut.is_some() || runtime::now() >= deadline {
                    break;
                }
                runtime::sleep(POLL).await;
            }
        }
    }

    /// For how long a leader that lost touch with the other regions may have gone on acknowledging writes.
    #[must_use]
    pub fn region_grace(&self) -> Duration {
        meridian_placement::lease::holder_lease(self.shared.timing.region_lease())
    }

    /// Grants a region a lease, if this node leads the system group: answers the index that the holder must have applied before it uses
    /// the lease, so that it knows of every founding anew that was decided before.
    pub(crate) fn grant_region_lease(&self, region: &RegionName) -> Result<u64, Unserved> {
        if !self.grants.note(region) {
            return Err(Unserved::NoRegionLease);
        }
        let group = self.group(GroupId::SYSTEM).ok_or(Unserved::NoReplica)?;
        let session = group.session().ok_or(Unserved::NotLeader)?;
        let index = group.view.applied();
        self.grants.leading_for(session.leader);
        // Last: while this holds, no other node leads the system group and founds anything anew.
        if group.lease().is_some() && group.session() == Some(session) {
            Ok(index)
        } else {
            Err(Unserved::NotLeader)
        }
    }

    /// Asks the system leader for another lease of this node's region, and takes it once this node knows what the leader knew.
    pub(crate) async fn renew_region_lease(&self, region: &RegionName, patience: Duration) {
        let asked = runtime::now();
        let deadline = asked + patience;
        let granted = match self.leader_of(GroupId::SYSTEM) {
            Some(leader) if leader == self.own() => self.grant_region_lease(region),
            Some(leader) => {
                let ask = self.ask::<Result<u64, Unserved>>(
                    leader,
                    Kind::RegionLease,
                    GroupId::SYSTEM,
                    Bytes::new(),
                    deadline,
                );
                ask.await.and_then(|answer| answer)
            }
            None => return,
        };
        match granted {
            Ok(index) if self.wait_system(index, deadline).await => self.shared.region_lease.renewed(asked),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "no lease for this region"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{AtRisk, NodeEntry, PolicyEntry};
    use meridian_placement::{CommitRule, Placement};
    use meridian_types::{Pattern, Policy};

    fn region(name: &str) -> RegionName {
        RegionName::new(name).expect("a name")
    }

    /// Nodes 1, 2 and 3 in regions a, b and c, and group 1 of an active-active policy, whose votes are all in `place`.
    fn state(place: u64) -> SystemState {
        let names = ["a", "b", "c"].map(region);
        let mut state = SystemState::default();
        for (number, name) in (1..).zip(&names) {
            let entry = NodeEntry { protocol: 2, ..NodeEntry::example(number, name.as_str()) };
            state.nodes.insert(entry.number, entry);
        }
        let policies = Policy::built_in(&names, None).into_iter();
        let policy =
            policies.into_iter().find(|policy| policy.pattern == Pattern::ActiveActive).expect("one");
        let group = GroupInfo {
            id: GroupId(1),
            policy: policy.name.clone(),
            ordinal: 0,
            incarnation: Incarnation(0),
            placement: Placement {
                voters: [NodeId(place)].into(),
                learners: [].into(),
                witnesses: [].into(),
                preferred_leaders: vec![NodeId(place)],
                data: (1..).map(NodeId).zip(names).collect(),
                rule: CommitRule::Majority,
            },
            refoundations: Vec::new(),
            founders: [NodeId(place)].into(),
            arriving: [].into(),
        };
        state.policies.insert(policy.name.clone(), PolicyEntry { policy, groups: vec![group.id] });
        state.groups.insert(group.id, group);
        state
    }

    fn led_by(node: u64, incarnation: u32, heard_ms: u64) -> RiskReport {
        let at_risk = AtRisk { writes: 0, entries: 0, ms: 0 };
        RiskReport {
            group: GroupId(1),
            incarnation: Incarnation(incarnation),
            leader: NodeId(node),
            at_risk,
            heard_ms,
        }
    }

    fn held(state: &SystemState, reports: &[RiskReport], name: &str) -> bool {
        !origins_held_by(state, reports, &region(name)).is_empty()
    }

    #[test]
    fn an_origin_is_lost_with_the_region_of_its_votes_unless_it_is_led_elsewhere() {
        assert!(held(&state(1), &[], "a") && !held(&state(1), &[], "b"));
        assert!(held(&state(1), &[led_by(1, 0, 60_000)], "a"), "its leader fell silent with it");
        // Readmitted: placed in a, and still led by the stand-in in b until a has caught up.
        let standing_in = [led_by(2, 0, 100)];
        assert!(!held(&state(1), &standing_in, "a"), "nothing is lost with it");
        assert!(held(&state(1), &standing_in, "b"), "everything is");
    }

    #[test]
    fn a_founding_that_has_not_begun_can_be_ordered_again() {
        let mut state = state(2);
        let group = state.groups.get_mut(&GroupId(1)).expect("it is there");
        group.incarnation = Incarnation(1);
        group.refoundations.push(Refoundation {
            incarnation: Incarnation(1),
            base: Incarnation(0),
            from: region("a"),
            seed: NodeId(2),
            expected: LogPoint { term: 1, index: 9 },
            cut: None,
            decided_ms: 0,
            automatic: false,
            last_heard: None,
            salvage: BTreeMap::new(),
        });
        assert!(held(&state, &[], "a"), "its seed may be lost");
        let group = state.groups.get_mut(&GroupId(1)).expect("it is there");
        group.refoundations.iter_mut().for_each(|step| step.cut = Some(LogPoint { term: 1, index: 9 }));
        assert!(!held(&state, &[], "a"), "it has begun");
    }
}
