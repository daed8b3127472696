//! What the system leader does once: names the cluster, its nodes, its first policies and its first key.

use crate::node::Replication;
use crate::system::{Credential, GroupInfo, NodeEntry, SystemCommand, SystemError};
use meridian_placement::{PlaceError, place_without};
use meridian_types::{GroupId, Incarnation, Policy};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a new cluster starts with.
#[derive(Clone, Debug, Default)]
pub struct Founding {
    /// The cluster's name.
    pub cluster: String,
    /// Policies that must exist: the built-in ones and those of the configuration.
    pub policies: Vec<Policy>,
    /// Keys that must exist, by access key id.
    pub credentials: Vec<(String, Credential)>,
}

impl Replication {
    /// The command that creates a policy, with its groups placed on this cluster.
    ///
    /// # Errors
    /// When the policy is not valid or cannot be placed.
    pub fn place_policy(&self, policy: &Policy) -> Result<SystemCommand, SystemError> {
        let members = self.system().members_version();
        let groups = self.place_groups(policy)?;
        Ok(SystemCommand::CreatePolicy { policy: policy.clone(), groups, members })
    }

    /// Where each group of a policy lives, by ordinal; without ids.
    pub(super) fn place_groups(&self, policy: &Policy) -> Result<Vec<GroupInfo>, SystemError> {
        let (nodes, state) = (self.staying(), self.system());
        let regions = nodes.regions().into_iter().collect();
        policy.validate(&regions).map_err(|errors| SystemError::bad_policy(&errors))?;
        (0..policy.group_count())
            .map(|ordinal| {
                Ok(GroupInfo {
                    id: GroupId(0),
                    policy: policy.name.clone(),
                    ordinal,
                    incarnation: Incarnation(0),
                    placement: place_without(policy, ordinal, &nodes, &self.distances, state.expelled())?,
                    refoundations: Vec::new(),
                    founders: BTreeSet::new(),
                    arriving: BTreeSet::new(),
                })
            })
            .collect::<Result<_, PlaceError>>()
            .map_err(|error| SystemError::BadPolicy(error.to_string()))
    }
}

/// Proposes what is missing, when this node leads the system group.
pub(super) async fn round(node: &Arc<Replication>) {
    if node.group(GroupId::SYSTEM).is_none_or(|group| group.session().is_none()) {
        return;
    }
    let state = node.system();
    let mut commands = Vec::new();
    if state.cluster.is_empty() {
        commands.push(Ok(found(node)));
    }
    let missing = |policy: &&Policy| !state.policies.contains_key(&policy.name) && state.may_declare(policy);
    commands.extend(node.founding.policies.iter().filter(missing).map(|policy| node.place_policy(policy)));
    for (access_key_id, credential) in &node.founding.credentials {
        // Once only: a first key that was deleted stays deleted.
        if state.cluster.is_empty() {
            commands.push(Ok(SystemCommand::PutCredential {
                access_key_id: access_key_id.clone(),
                credential: credential.clone(),
            }));
        }
    }
    for command in commands {
        let done = match command {
            Ok(command) => node.system_write_here(command).await.map(|(reply, _)| reply),
            Err(refused) => Ok(Err(refused)),
        };
        match done {
            // After the latter the next round plans on the nodes that have just been recorded.
            Ok(Ok(_) | Err(SystemError::StalePlan)) => {}
            Ok(Err(refused)) => tracing::warn!(%refused, "part of the founding was refused"),
            Err(error) => {
                tracing::debug!(%error, "the founding goes on later");
                return;
            }
        }
    }
}

fn found(node: &Replication) -> SystemCommand {
    let seeds = &node.shared.roster.seeds;
    let address = |id| seeds.addresses.iter().find(|peer| peer.number == id).map(|peer| peer.address.clone());
    let nodes = seeds.topology.nodes();
    let nodes = nodes.map(|node| NodeEntry::new(node.clone(), address(node.id).unwrap_or_default()));
    SystemCommand::Found { cluster: node.founding.cluster.clone(), nodes: nodes.collect() }
}
