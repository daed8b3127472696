//! Expelling a region from the active-active policies, and taking it back.
//!
//! Unlike a failover this needs no lease: the region may go on by itself for as long as it is cut off, and what it writes then is salvage. Nothing of
//! it can be taken for the writes of the groups that were founded anew (see [`ReplicaId`](crate::ReplicaId)), and what its replicas of the other
//! groups have missed, they are told to have before anybody looks at them (the fences that the evaluator keeps in the groups).

use super::Replication;
use super::failover::origins_held_by;
use super::members::MembersError;
use crate::error::Unserved;
use crate::system::{NodeEntry, SystemCommand, SystemError};
use crate::wire::{FailoverOrder, GroupFailover};
use meridian_types::RegionName;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::Instant;

impl Replication {
    /// Whether any node of a region is heard.
    fn hears_region(&self, region: &RegionName) -> bool {
        let heard = |node: &NodeEntry| node.region == *region && self.hears(node.number);
        self.own_region().as_ref() == Some(region) || self.system().nodes.values().any(heard)
    }

    /// Whether any node of another region hears one of the region: this node's own links may be what is broken.
    async fn is_heard_anywhere(self: &Arc<Self>, region: &RegionName) -> bool {
        let said = self.status_everywhere(self.shared.timing.heartbeat * 2).await;
        let state = self.system();
        let there: Vec<_> = state.nodes.values().filter(|node| node.region == *region).collect();
        let mut others = said.iter().filter(|(by, _)| state.region_of(**by) != Some(region));
        others.any(|(_, said)| there.iter().any(|node| !said.silent.contains(&node.number)))
    }

    /// Has the active-active policies go on without a region that is away, and founds the groups of its writes anew from what the others
    /// have; answers those. Done again, it goes on where it was.
    ///
    /// # Errors
    /// [`MembersError`]; among them that the region answers, or that a policy would have no region left.
    pub async fn expel(
        self: &Arc<Self>,
        region: &RegionName,
        deadline: Instant,
    ) -> Result<Vec<GroupFailover>, MembersError> {
        self.system_barrier(deadline).await;
        let already = self.system().expelled().contains(region);
        if !already && (self.hears_region(region) || self.is_heard_anywhere(region).await) {
            return Err(SystemError::RegionAnswers(region.clone()).into());
        }
        self.system_write(SystemCommand::ExpelRegion(region.clone()), deadline).await??;
        self.system_barrier(deadline).await;
        tracing::warn!(%region, "the region is expelled: active-active policies go on without it");
        let state = self.system();
        let without: BTreeSet<RegionName> = state.expelled().clone();
        let order = FailoverOrder { from: region.clone(), policy: None, automatic: false };
        let held = origins_held_by(&state, &self.risks_known(), region);
        let groups = held.into_iter().map(|group| async {
            let (done, command) = self.plan_refounding(group, &order, &without, &state).await;
            let Some(command) = command else { return Ok(done) };
            match self.system_write(command, deadline).await? {
                Ok(_) => Ok(done),
                Err(refused) => Ok(GroupFailover { error: Some(refused.to_string()), ..done }),
            }
        });
        let done = futures_util::future::join_all(groups).await;
        let mut groups = done.into_iter().collect::<Result<Vec<_>, Unserved>>()?;
        self.await_foundings(&mut groups).await;
        Ok(groups)
    }

    /// Takes an expelled region back: its groups move to it as its nodes catch up, and it is waited for again.
    ///
    /// # Errors
    /// [`MembersError`]; among them that none of its nodes answers.
    pub async fn readmit(&self, region: &RegionName, deadline: Instant) -> Result<(), MembersError> {
        loop {
            self.system_barrier(deadline).await;
            let state = self.system();
            if !state.expelled().contains(region) {
                return Err(SystemError::NotExpelled(region.clone()).into());
            }
            if !self.hears_region(region) {
                return Err(SystemError::RegionSilent(region.clone()).into());
            }
            let mut expelled = state.expelled().clone();
            expelled.remove(region);
            let nodes = state.nodes.values().filter(|node| !node.leaving).map(NodeEntry::placed);
            let planned = self.plan_without(&state, nodes, &expelled)?;
            let command = SystemCommand::ReadmitRegion { region: region.clone(), planned };
            match self.system_write(command, deadline).await? {
                Err(SystemError::StalePlan) if self.pause_before_retry(deadline).await => {}
                done => return Ok(done.map(drop)?),
            }
        }
    }
}
