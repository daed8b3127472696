//! Regions that active-active policies go on without.
//!
//! What a region that is away has not heard of holds up the collection of tombstones. Once it is expelled nobody waits for it: what only it has
//! written is no part of its groups any more (they are founded anew elsewhere), and its replicas are looked at again only when they have what
//! was decided without them, which each of them can tell by itself.

use super::command::{SystemError, SystemReply};
use super::members::Planned;
use super::state::{GroupInfo, SystemState};
use meridian_placement::{Placement, sole_region};
use meridian_types::{NodeId, Pattern, RegionName};
use std::collections::BTreeSet;

impl SystemState {
    /// Regions for which active-active policies do not wait.
    #[must_use]
    pub fn expelled(&self) -> &BTreeSet<RegionName> {
        &self.since_2.expelled
    }

    /// Whether a node's region is expelled.
    #[must_use]
    pub fn is_expelled(&self, node: NodeId) -> bool {
        self.region_of(node).is_some_and(|region| self.expelled().contains(region))
    }

    /// The groups of active-active policies whose votes are all in a region: without it they stand still until they are founded anew.
    #[must_use]
    pub fn groups_held_by(&self, region: &RegionName) -> Vec<&GroupInfo> {
        let held = |group: &&GroupInfo| {
            self.is_active_active(group) && sole_region(&group.placement) == Some(region)
        };
        self.groups.values().filter(held).collect()
    }

    /// Who should lead a group, best first, of those that placement prefers. Where those are all in expelled regions, the other voters that have
    /// the data.
    #[must_use]
    pub fn leaders_of(&self, group: &GroupInfo) -> Vec<NodeId> {
        let preferred = &group.placement.preferred_leaders;
        if self.expelled().is_empty() || !self.is_active_active(group) {
            return preferred.clone();
        }
        let there = |node: &NodeId| !self.is_expelled(*node);
        let kept: Vec<NodeId> = preferred.iter().copied().filter(there).collect();
        if !kept.is_empty() {
            return kept;
        }
        let Placement { voters, data, .. } = &group.placement;
        let others: Vec<NodeId> =
            voters.iter().copied().filter(|voter| data.contains_key(voter) && there(voter)).collect();
        if others.is_empty() { preferred.clone() } else { others }
    }

    pub(super) fn expel_region(&mut self, region: RegionName) -> Result<SystemReply, SystemError> {
        if !self.nodes.values().any(|node| node.region == region) {
            return Err(SystemError::NoSuchRegion(region));
        }
        let active = self.policies.values().filter(|entry| entry.policy.pattern == Pattern::ActiveActive);
        let stays = |other: &&RegionName| **other != region && !self.expelled().contains(*other);
        for entry in active.filter(|entry| entry.policy.regions.contains(&region)) {
            if entry.policy.regions.iter().find(stays).is_none() {
                return Err(SystemError::LastRegion { region, policy: entry.policy.name.clone() });
            }
        }
        self.since_2.expelled.insert(region);
        Ok(SystemReply::Done)
    }

    pub(super) fn readmit_region(
        &mut self,
        region: &RegionName,
        planned: Planned,
    ) -> Result<SystemReply, SystemError> {
        if !self.expelled().contains(region) {
            return Err(SystemError::NotExpelled(region.clone()));
        }
        self.check_plan(&planned)?;
        self.since_2.expelled.remove(region);
        self.move_groups(planned);
        Ok(SystemReply::Done)
    }
}
