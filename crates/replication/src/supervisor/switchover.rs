//! Planned moves of leadership to another region: a policy's first primary changes, and everything follows placement.

use crate::node::Replication;
use crate::system::{PolicyEntry, SystemCommand, SystemError};
use meridian_types::{Pattern, Policy, PolicyName, RegionName};
use std::collections::BTreeMap;

impl Replication {
    /// The commands that make `to` the first primary of one policy, or of all that keep data there and are led elsewhere, by
    /// the name of the policy.
    ///
    /// Once they are committed, voters and leaders move by themselves; nothing is lost, since the old leader serves until a
    /// voter that has caught up takes over.
    ///
    /// # Errors
    /// When there is no such policy or region, or the named policy keeps no data in the region.
    pub fn plan_switchover(
        &self,
        to: &RegionName,
        only: Option<&PolicyName>,
    ) -> Result<BTreeMap<PolicyName, SystemCommand>, SystemError> {
        let state = self.system();
        if !self.everyone().regions().contains(to) {
            return Err(SystemError::NoSuchRegion(to.clone()));
        }
        let entries: Vec<&PolicyEntry> = match only {
            Some(name) => {
                let entry = state.policies.get(name);
                vec![entry.ok_or_else(|| SystemError::NoSuchPolicy(name.clone()))?]
            }
            None => {
                let moves = |entry: &&PolicyEntry| {
                    entry.policy.pattern != Pattern::ActiveActive && entry.policy.regions.contains(to)
                };
                state.policies.values().filter(moves).collect()
            }
        };
        let led_elsewhere =
            entries.into_iter().filter(|entry| entry.policy.primary_order().first() != Some(to));
        let command =
            |entry: &PolicyEntry| Ok((entry.policy.name.clone(), self.with_primary(&entry.policy, to)?));
        led_elsewhere.map(command).collect()
    }

    /// The command that replaces a policy and moves its groups to where the new one wants them.
    ///
    /// # Errors
    /// When the new one is not valid or cannot be placed, or asks for another number of groups.
    pub fn replace_policy(&self, was: &Policy, policy: Policy) -> Result<SystemCommand, SystemError> {
        if policy.groups != was.groups {
            return Err(SystemError::BadPolicy(format!(
                "policy {}: the number of groups cannot be changed; it is {}",
                was.name, was.groups
            )));
        }
        if was.pattern == Pattern::ActiveActive && !policy.regions.starts_with(&was.regions) {
            return Err(SystemError::BadPolicy(format!(
                "policy {}: regions can only be added behind those of an active-active policy, {}: each has written \
                 what the others show",
                was.name,
                listed(&was.regions)
            )));
        }
        let members = self.system().members_version();
        let groups = self.place_groups(&policy)?;
        Ok(SystemCommand::ReplacePolicy { was: was.clone(), policy, groups, members })
    }

    fn with_primary(&self, was: &Policy, to: &RegionName) -> Result<SystemCommand, SystemError> {
        if was.pattern == Pattern::ActiveActive {
            return Err(SystemError::BadPolicy(format!(
                "policy {} is active-active: every region takes writes, so there is no primary to switch; send clients to {to}",
                was.name
            )));
        }
        if !was.regions.contains(to) {
            return Err(SystemError::BadPolicy(format!(
                "policy {} keeps no data in {to}; its regions are {}",
                was.name,
                listed(&was.regions)
            )));
        }
        let others = was.primary.iter().filter(|region| *region != to);
        let primary = std::iter::once(to).chain(others).cloned().collect();
        let policy = Policy { primary, ..was.clone() };
        self.replace_policy(was, policy)
    }
}

fn listed(regions: &[RegionName]) -> String {
    regions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
