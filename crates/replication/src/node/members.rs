//! Nodes join and leave: what is asked of the system group, planned from the nodes as they will be.

use super::Replication;
use crate::error::Unserved;
use crate::runtime;
use crate::system::{
    JoinToken, Joining, NodeEntry, Planned, SystemCommand, SystemError, SystemReply, SystemState,
};
use meridian_placement::{Placement, Topology, place_system, place_without};
use meridian_types::{NodeId, NodeName, RegionName};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// Why the cluster's nodes were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// Refused, with the fix.
    #[error(transparent)]
    Refused(#[from] SystemError),
    /// The system group could not be asked.
    #[error(transparent)]
    Unserved(#[from] Unserved),
}

impl Replication {
    /// Makes a token with which one node may join: keeps its hash, and answers the number that the node will have.
    ///
    /// # Errors
    /// [`MembersError`].
    pub async fn create_join_token(
        &self,
        hash: String,
        (token, ttl): (JoinToken, Duration),
        deadline: Instant,
    ) -> Result<NodeId, MembersError> {
        let now_ms = runtime::wall_ms();
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let token = JoinToken { expires_ms: now_ms.saturating_add(ttl_ms), ..token };
        let command = SystemCommand::CreateJoinToken { hash, token, now_ms };
        numbered(&self.system_write(command, deadline).await??)
    }

    /// Takes a node into the cluster; answers its number. Sent again with the same name and address it answers the same.
    ///
    /// # Errors
    /// [`MembersError`].
    pub async fn join(&self, joining: Joining, deadline: Instant) -> Result<NodeId, MembersError> {
        loop {
            self.system_barrier(deadline).await;
            let state = self.system();
            if let Some(node) = state.joined_with(&joining) {
                return Ok(node.number);
            }
            let token = state.usable_token(&joining)?;
            if state.node_named(&joining.name).is_some() {
                return Err(SystemError::NodeExists(joining.name).into());
            }
            let stays = |node: &&NodeEntry| !node.leaving && Some(node.number) != token.replaces;
            let nodes = state.nodes.values().filter(stays).map(NodeEntry::placed);
            let nodes = nodes.chain([token.node(&joining).placed()]);
            let planned = self.plan(&state, nodes)?;
            let command = SystemCommand::AddNode { joining: joining.clone(), planned };
            match self.system_write(command, deadline).await? {
                Err(SystemError::StalePlan) if self.pause_before_retry(deadline).await => {}
                done => return numbered(&done?),
            }
        }
    }

    /// Has a node leave: everything moves off it, and then it is removed by itself. `lost` says that it will not come back by itself.
    ///
    /// # Errors
    /// [`MembersError`]; among them that a policy could not be placed without it, that it has writes which nobody has decided on, and
    /// that it answers although it is said to be lost, or the other way round.
    pub async fn leave(&self, name: &NodeName, lost: bool, deadline: Instant) -> Result<(), MembersError> {
        self.system_barrier(deadline).await;
        let state = self.system();
        let node = state.node_named(name).ok_or_else(|| SystemError::NoSuchNode(name.clone()))?;
        match (self.hears(node.number), lost) {
            (true, true) => return Err(SystemError::NodeAnswers(name.clone()).into()),
            (false, false) => return Err(SystemError::NodeSilent(name.clone()).into()),
            (true, false) => {
                let own = (node.number == self.own()).then(|| self.status_here());
                let said = match own {
                    Some(own) => Some(own),
                    None => self.ask_status(node.number, deadline).await,
                };
                let said = said.ok_or_else(|| SystemError::NodeSilent(name.clone()))?;
                if said.has_old(&state) {
                    // One that leaves already is drained of the rest once that is decided on.
                    return if node.leaving {
                        Ok(())
                    } else {
                        Err(SystemError::HasSalvage(name.clone()).into())
                    };
                }
            }
            (false, true) => {}
        }
        self.drain(name, deadline).await
    }

    /// Places all groups on other nodes.
    pub(crate) async fn drain(&self, name: &NodeName, deadline: Instant) -> Result<(), MembersError> {
        loop {
            self.system_barrier(deadline).await;
            let state = self.system();
            let node = state.node_named(name).ok_or_else(|| SystemError::NoSuchNode(name.clone()))?;
            let stays = |other: &&NodeEntry| !other.leaving && other.number != node.number;
            let nodes = state.nodes.values().filter(stays).map(NodeEntry::placed);
            let planned = self.plan(&state, nodes)?;
            if node.leaving && planned.placements.is_empty() {
                return Ok(());
            }
            let command = SystemCommand::DrainNode { node: node.number, planned };
            match self.system_write(command, deadline).await? {
                Err(SystemError::StalePlan) if self.pause_before_retry(deadline).await => {}
                done => return Ok(done.map(drop)?),
            }
        }
    }

    fn plan(
        &self,
        state: &SystemState,
        nodes: impl Iterator<Item = meridian_placement::Node>,
    ) -> Result<Planned, SystemError> {
        self.plan_without(state, nodes, state.expelled())
    }

    /// Which groups move when these are the nodes that there are, and these regions are expelled.
    pub(super) fn plan_without(
        &self,
        state: &SystemState,
        nodes: impl Iterator<Item = meridian_placement::Node>,
        expelled: &BTreeSet<RegionName>,
    ) -> Result<Planned, SystemError> {
        let nodes = Topology::new(nodes).map_err(|error| SystemError::BadPolicy(error.to_string()))?;
        let unplaced = |error: meridian_placement::PlaceError| SystemError::BadPolicy(error.to_string());
        place_system(&nodes).map_err(unplaced)?;
        let mut placements = BTreeMap::new();
        for group in state.groups.values() {
            if group.unfounded().is_some() {
                return Err(SystemError::BeingFounded(group.id));
            }
            let Some(entry) = state.policies.get(&group.policy) else { continue };
            let placement = place_without(&entry.policy, group.ordinal, &nodes, &self.distances, expelled)
                .map_err(unplaced)?;
            if placement != group.placement {
                placements.insert(group.id, placement);
            }
        }
        Ok(Planned { at: state.placed_version(), placements })
    }

    /// Where the system group should be: its votes on nodes that stay; those that leave learn until they are gone, so that they hear
    /// of it.
    pub(crate) fn system_placement(&self) -> Option<Placement> {
        let mut placement = place_system(&self.staying()).ok()?;
        for node in self.everyone().nodes() {
            if placement.data.insert(node.id, node.region.clone()).is_none() {
                placement.learners.insert(node.id);
            }
        }
        // Away from the first region, where primaries are: when that region dies, the system group still has its
        // leader and can record the loss at once.
        placement.preferred_leaders.reverse();
        Some(placement)
    }
}

fn numbered(reply: &SystemReply) -> Result<NodeId, MembersError> {
    match reply {
        SystemReply::Node(number) => Ok(*number),
        _ => Err(Unserved::Storage("the system group answered nothing".to_owned()).into()),
    }
}
