//! The cluster's level: the newest protocol that every node has, and so the newest whose commands may be in a log.
//!
//! It goes up by one, never down, and only by a command that finds every node of the state on a version that knows it. See
//! `docs/decisions/0011-levels.md` for how a command or a field is added.

use super::command::{SystemCommand, SystemError, SystemReply};
use super::state::SystemState;
use meridian_types::{NodeId, Pattern, Policy};

/// The level of a cluster that has not been taken to another.
const FIRST: u32 = 1;
/// The level that brought active-active policies.
const ACTIVE_ACTIVE: u32 = 2;
/// The level that brought keys that sign tokens.
const SIGNING_KEYS: u32 = 2;
/// The level that brought services.
const SERVICES: u32 = 2;
/// The level that brought items that expire.
const TIME_TO_LIVE: u32 = 2;
/// The level that brought regions that are expelled.
const EXPULSION: u32 = 2;
/// The level that brought tables whose items are under several policies.
const RESIDENCY: u32 = 2;

impl SystemCommand {
    /// The level that brought this command: a node of a lower one could not read it.
    #[must_use]
    pub fn level(&self) -> u32 {
        match self {
            // Who does not know it could not read it either; that everyone does is its own condition.
            Self::RaiseLevel(to) => to.saturating_sub(1),
            // A node of the first level would keep items of such a table as if no other region wrote them.
            Self::CreatePolicy { policy, .. } | Self::ReplacePolicy { policy, .. }
                if policy.pattern == Pattern::ActiveActive =>
            {
                ACTIVE_ACTIVE
            }
            Self::CreateTable { table } if table.residency().next().is_some() => RESIDENCY,
            Self::PutService { .. } | Self::RemoveService(_) | Self::PurgeService { .. } => SERVICES,
            Self::SetTimeToLive { .. } => TIME_TO_LIVE,
            Self::ExpelRegion(_) | Self::ReadmitRegion { .. } => EXPULSION,
            Self::AddSigningKey { .. } | Self::DeleteSigningKey(_) => SIGNING_KEYS,
            Self::Found { .. }
            | Self::CreatePolicy { .. }
            | Self::CreateTable { .. }
            | Self::ActivateTables(_)
            | Self::UpdateTable { .. }
            | Self::DeleteTable(_)
            | Self::TablePurged { .. }
            | Self::MoveTable { .. }
            | Self::MoveProgressed { .. }
            | Self::MoveSealed { .. }
            | Self::CancelMove { .. }
            | Self::PutCredential { .. }
            | Self::DeleteCredential(_)
            | Self::ReplacePolicy { .. }
            | Self::DrainRegion { .. }
            | Self::MarkRegionLost(_)
            | Self::MarkRegionBack(_)
            | Self::Refound { .. }
            | Self::Founded { .. }
            | Self::SalvageFound { .. }
            | Self::CreateJoinToken { .. }
            | Self::AddNode { .. }
            | Self::DrainNode { .. }
            | Self::RemoveNode { .. }
            | Self::NodeStarted(_)
            | Self::RegionArrived { .. } => FIRST,
        }
    }
}

impl SystemState {
    /// The level that the cluster is at.
    #[must_use]
    pub fn level(&self) -> u32 {
        self.since_2.level.max(FIRST)
    }

    /// The level to which the cluster may be taken, by what every node has said when it started.
    #[must_use]
    pub fn next_level(&self) -> Option<u32> {
        let next = self.level() + 1;
        (!self.nodes.is_empty() && self.nodes.values().all(|node| node.protocol >= next)).then_some(next)
    }

    /// Whether a policy may be declared at this level.
    #[must_use]
    pub fn may_declare(&self, policy: &Policy) -> bool {
        policy.pattern != Pattern::ActiveActive || self.level() >= ACTIVE_ACTIVE
    }

    /// Whether a policy may be declared now, or soon: every node is `here`, and none has said that it is of a version that does not know it.
    #[must_use]
    pub fn soon_declares(&self, policy: &Policy, here: impl Fn(NodeId) -> bool) -> bool {
        let knows = |protocol: u32| protocol == 0 || protocol >= ACTIVE_ACTIVE;
        let all = || self.nodes.values().all(|node| knows(node.protocol) && here(node.number));
        self.may_declare(policy) || all()
    }

    /// Refuses a command that came with a later level: it must not be proposed.
    ///
    /// # Errors
    /// [`SystemError::LevelTooLow`].
    pub fn check_level(&self, command: &SystemCommand) -> Result<(), SystemError> {
        let (needs, level) = (command.level(), self.level());
        if needs <= level { Ok(()) } else { Err(SystemError::LevelTooLow { needs, level }) }
    }

    pub(super) fn raise_level(&mut self, to: u32) -> Result<SystemReply, SystemError> {
        if to > self.level() {
            if self.next_level() != Some(to) {
                return Err(SystemError::StalePlan);
            }
            self.since_2.level = to;
        }
        Ok(SystemReply::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NodeEntry, Started};
    use super::*;

    fn cluster() -> SystemState {
        let mut state = SystemState::default();
        let nodes = [1, 2].map(|number| NodeEntry::example(number, "a")).into();
        state.apply(SystemCommand::Found { cluster: "c".to_owned(), nodes }).expect("the first command");
        state
    }

    fn runs(state: &mut SystemState, node: u64, protocol: u32) {
        let started = Started { node: NodeId(node), disk: node, protocol, peer: String::new() };
        state.apply(SystemCommand::NodeStarted(started)).expect("it is known");
    }

    #[test]
    fn the_level_goes_up_step_by_step_once_every_node_knows_the_next() {
        let mut state = cluster();
        runs(&mut state, 1, 3);
        assert_eq!((state.level(), state.next_level()), (1, None), "node 2 has said nothing");
        runs(&mut state, 2, 1);
        assert_eq!(state.apply(SystemCommand::RaiseLevel(2)), Err(SystemError::StalePlan));
        runs(&mut state, 2, 2);
        assert_eq!(state.next_level(), Some(2));
        runs(&mut state, 1, 1);
        assert_eq!(state.next_level(), None, "node 1 went back");
        runs(&mut state, 1, 3);
        let two_at_once = state.apply(SystemCommand::RaiseLevel(3));
        assert_eq!(two_at_once, Err(SystemError::LevelTooLow { needs: 2, level: 1 }));
        assert_eq!(state.apply(SystemCommand::RaiseLevel(2)), Ok(SystemReply::Done));
        assert_eq!(state.apply(SystemCommand::RaiseLevel(2)), Ok(SystemReply::Done));
        assert_eq!((state.level(), state.next_level()), (2, None));
    }
}
