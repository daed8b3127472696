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
        if let Some(group) = self.groups.values().find(|group| !self.goes_on_without(group, &region)) {
            return Err(SystemError::LastRegion { region, policy: group.policy.clone() });
        }
        self.since_2.expelled.insert(region);
        Ok(SystemReply::Done)
    }

    /// Whether a group has a majority of its votes elsewhere, or is founded anew.
    fn goes_on_without(&self, group: &GroupInfo, region: &RegionName) -> bool {
        let away = |of: &RegionName| of == region || self.expelled().contains(of);
        let Placement { voters, data, .. } = &group.placement;
        let there = voters.iter().filter(|voter| self.region_of(**voter).is_none_or(|of| !away(of))).count();
        let touched = data.values().any(|of| of == region) && self.is_active_active(group);
        !touched || there * 2 > voters.len() || sole_region(&group.placement).is_some_and(away)
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

#[cfg(test)]
mod tests {
    use super::super::{NodeEntry, SystemCommand};
    use super::*;

    fn region(name: &str) -> RegionName {
        RegionName::new(name).expect("a name")
    }

    fn state() -> SystemState {
        let mut state = SystemState::default();
        for (number, name) in [(1, "a"), (2, "b")] {
            let entry = NodeEntry { protocol: 2, ..NodeEntry::example(number, name) };
            state.nodes.insert(entry.number, entry);
        }
        state
    }

    #[test]
    fn a_region_is_expelled_and_readmitted_once_every_node_knows_how() {
        let mut state = state();
        let expel = || SystemCommand::ExpelRegion(region("b"));
        assert!(matches!(state.apply(expel()), Err(SystemError::LevelTooLow { .. })));
        state.apply(SystemCommand::RaiseLevel(2)).expect("every node knows it");
        let nowhere = state.apply(SystemCommand::ExpelRegion(region("c")));
        assert_eq!(nowhere, Err(SystemError::NoSuchRegion(region("c"))));
        let readmit = |at| SystemCommand::ReadmitRegion {
            region: region("b"),
            planned: Planned { at, placements: [].into() },
        };
        assert_eq!(state.apply(readmit(0)), Err(SystemError::NotExpelled(region("b"))));
        state.apply(expel()).expect("it is there");
        state.apply(expel()).expect("a second time it changes nothing");
        assert!(state.is_expelled(NodeId(2)) && !state.is_expelled(NodeId(1)));
        let bytes = state.to_bytes().expect("it is encoded");
        assert_eq!(SystemState::from_bytes(&bytes).expect("it is whole").expelled(), state.expelled());
        assert_eq!(state.apply(readmit(9)), Err(SystemError::StalePlan));
        state.apply(readmit(state.placed_version())).expect("it is expelled");
        assert!(state.expelled().is_empty());
    }
}
