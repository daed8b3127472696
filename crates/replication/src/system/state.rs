//! The system state and how commands change it.

use super::command::{SystemCommand, SystemError, SystemReply};
use super::members::JoinToken;
use super::moving::{Sweep, TableMove};
use super::refound::Refoundation;
use super::stored::Since2;
use meridian_placement::{Placement, sole_region};
use meridian_types::hash::group_ordinal;
use meridian_types::{
    GroupId, Incarnation, NodeId, NodeName, OnRegionLoss, Pattern, Policy, PolicyName, Position, RegionName,
    TableId, TableName, ZoneName,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// DynamoDB's default quota of tables an account and region.
const MAX_TABLES: usize = 2_500;
const MAX_POLICIES: usize = 64;
const MAX_CREDENTIALS: usize = 1_000;

/// A node as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Its number.
    pub number: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Where it is.
    pub region: RegionName,
    /// Its zone within the region.
    pub zone: ZoneName,
    /// Whether it only votes.
    pub witness: bool,
    /// `host:port` at which the other nodes reach it; empty for a node that is alone.
    pub peer: String,
    /// The disk that it has, once it has said so.
    pub disk: Option<u64>,
    /// The newest protocol that it speaks, by its own word; 0 until it has said so.
    pub protocol: u32,
    /// Whether it is on its way out: no group is placed on it any more.
    pub leaving: bool,
}

/// One placement group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupInfo {
    /// Its id; 0 in a command that asks for a new one.
    pub id: GroupId,
    /// The policy that owns it.
    pub policy: PolicyName,
    /// Which of the policy's groups it is, from 0.
    pub ordinal: u32,
    /// How often it was re-founded.
    pub incarnation: Incarnation,
    /// Who serves it, and how.
    pub placement: Placement,
    /// Each founding anew, oldest first.
    pub refoundations: Vec<Refoundation>,
    /// The voters with which it began, given by the state machine. Whoever founds it founds it with these, wherever it is to move by then:
    /// two different beginnings could both find a majority.
    pub founders: BTreeSet<NodeId>,
    /// Regions that the policy has named since, and that have not caught up yet: they are not waited for, or writes would stand still while
    /// the data is copied.
    pub arriving: BTreeSet<RegionName>,
}

/// A policy and the groups it owns, by ordinal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyEntry {
    /// The policy.
    pub policy: Policy,
    /// Its groups.
    pub groups: Vec<GroupId>,
}

/// Where a table is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TableStatus {
    /// Committed, but not yet known to every reachable node.
    Creating,
    /// Usable.
    Active,
    /// Refuses requests; its items are being deleted.
    Deleting,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    /// Its id; 0 in a command that asks for a new one.
    pub id: TableId,
    /// Its name.
    pub name: TableName,
    /// The policy that decides where its items live.
    pub policy: PolicyName,
    /// Where it is in its life.
    pub status: TableStatus,
    /// Milliseconds since 1970 when it was asked for.
    pub created_ms: u64,
    /// The front's own description of the table; opaque here.
    pub definition: Vec<u8>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// While deleting: groups that hold no item of it any more.
    pub purged: BTreeSet<GroupId>,
    /// Set while it is on its way to another policy.
    pub moving: Option<TableMove>,
    /// What groups still have to delete after a move.
    pub sweep: BTreeMap<GroupId, Sweep>,
    /// The last move that it has made, 0 when there was none: tells whether a request was sent to where it lives now.
    pub home: u64,
    /// After a move: the states of its groups that have everything from before it.
    pub arrived: BTreeMap<GroupId, Position>,
}

/// What a key may touch: names, where a trailing `*` stands for any ending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowList(pub Vec<String>);

/// A secret and what it allows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// What people call it.
    pub name: String,
    /// The secret access key.
    pub secret_access_key: String,
    /// Tables it may touch.
    pub tables: AllowList,
    /// DynamoDB actions it may call, such as `GetItem`.
    pub actions: AllowList,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret never reaches a log.
        f.debug_struct("Credential").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All that the system group agrees on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemState {
    /// The cluster's name; empty until founded.
    pub cluster: String,
    /// Nodes by number.
    pub nodes: BTreeMap<NodeId, NodeEntry>,
    /// Policies by name.
    pub policies: BTreeMap<PolicyName, PolicyEntry>,
    /// Groups by id.
    pub groups: BTreeMap<GroupId, GroupInfo>,
    /// Tables by name.
    pub tables: BTreeMap<TableName, TableEntry>,
    /// Credentials by access key id.
    pub credentials: BTreeMap<String, Credential>,
    /// Regions recorded as lost.
    pub lost_regions: BTreeSet<RegionName>,
    /// Regions that leaders are kept out of.
    pub drained_regions: BTreeSet<RegionName>,
    pub(super) next_group: u32,
    pub(super) next_table: u32,
    /// The highest number that was given to a node, or promised to one by a token.
    pub(super) last_node: NodeId,
    /// Join tokens by hash.
    pub(super) tokens: BTreeMap<String, JoinToken>,
    /// Changes of nodes so far.
    pub(super) members: u64,
    /// Changes of nodes and of placements so far.
    pub(super) placed: u64,
    pub(super) next_move: u64,
    /// What level 2 has brought; kept behind all this, see [`super::stored`].
    #[serde(skip)]
    pub(super) since_2: Since2,
}

impl SystemState {
    /// Applies one command.
    ///
    /// # Errors
    /// [`SystemError`] when the command is refused; the state is then unchanged.
    pub fn apply(&mut self, command: SystemCommand) -> Result<SystemReply, SystemError> {
        self.check_level(&command)?;
        match command {
            SystemCommand::Found { cluster, nodes } => {
                if self.cluster.is_empty() {
                    self.cluster = cluster;
                    self.nodes = nodes.into_iter().map(|node| (node.number, node)).collect();
                    self.last_node = self.nodes.keys().last().copied().unwrap_or_default();
                    self.members += 1;
                    self.placed += 1;
                }
                Ok(SystemReply::Done)
            }
            SystemCommand::CreatePolicy { policy, groups, members } => {
                self.check_members(members)?;
                self.create_policy(policy, groups)
            }
            SystemCommand::CreateTable { table } => self.create_table(table),
            SystemCommand::ActivateTables(ids) => Ok(self.activate_tables(&ids)),
            SystemCommand::UpdateTable { name, definition, set_tags, remove_tags } => {
                let table = self.usable_table(&name)?;
                if let Some(definition) = definition {
                    table.definition = definition;
                }
                table.tags.extend(set_tags);
                table.tags.retain(|tag, _| !remove_tags.contains(tag));
                Ok(SystemReply::Table(Box::new(table.clone())))
            }
            SystemCommand::DeleteTable(name) => self.delete_table(name),
            SystemCommand::TablePurged { table, group } => {
                self.table_purged(table, group);
                self.swept(table, group);
                Ok(SystemReply::Done)
            }
            SystemCommand::MoveTable { name, to } => self.move_table(&name, to),
            SystemCommand::MoveProgressed { table, id, source, copied, ready } => {
                self.move_progressed(table, id, source, copied, ready);
                Ok(SystemReply::Done)
            }
            SystemCommand::MoveSealed { table, id, source, arrived } => {
                self.move_sealed(table, id, source, arrived);
                Ok(SystemReply::Done)
            }
            SystemCommand::CancelMove { name, id } => self.cancel_move(&name, id),
            SystemCommand::PutCredential { access_key_id, credential } => {
                within("keys", self.credentials.len(), MAX_CREDENTIALS)?;
                self.credentials.insert(access_key_id, credential);
                Ok(SystemReply::Done)
            }
            SystemCommand::DeleteCredential(id) => match self.credentials.remove(&id) {
                Some(_) => Ok(SystemReply::Done),
                None => Err(SystemError::NoSuchCredential(id)),
            },
            SystemCommand::ReplacePolicy { was, policy, groups, members } => {
                self.check_members(members)?;
                self.replace_policy(&was, policy, groups)
            }
            SystemCommand::DrainRegion { region, drained } => self.drain_region(region, drained),
            SystemCommand::MarkRegionLost(region) => {
                self.lost_regions.insert(region);
                Ok(SystemReply::Done)
            }
            SystemCommand::MarkRegionBack(region) => {
                self.lost_regions.remove(&region);
                Ok(SystemReply::Done)
            }
            SystemCommand::Refound { group, refoundation, placement } => {
                self.refound(group, *refoundation, placement)
            }
            SystemCommand::Founded { group, incarnation, cut } => self.founded(group, incarnation, cut),
            SystemCommand::SalvageFound { group, incarnation, node, count } => {
                self.salvage_found((group, incarnation), node, count)
            }
            SystemCommand::CreateJoinToken { hash, token, now_ms } => self.create_token(hash, token, now_ms),
            SystemCommand::AddNode { joining, planned } => self.add_node(joining, planned),
            SystemCommand::DrainNode { node, planned } => self.drain_node(node, planned),
            SystemCommand::RemoveNode { node } => self.remove_node(node),
            SystemCommand::NodeStarted(started) => self.node_started(started),
            SystemCommand::RegionArrived { group, region } => self.region_arrived(group, &region),
            SystemCommand::RaiseLevel(to) => self.raise_level(to),
            SystemCommand::PutService { service, new } => self.put_service(service, new),
            SystemCommand::RemoveService(name) => self.remove_service(name),
            SystemCommand::PurgeService { service, tag } => self.purge_service(service, tag),
            SystemCommand::AddSigningKey { id, key, rotates } => self.add_signing_key(id, key, rotates),
            SystemCommand::DeleteSigningKey(id) => self.delete_signing_key(id),
            SystemCommand::SetTimeToLive { name, attribute, enabled } => {
                self.set_time_to_live(&name, attribute, enabled)
            }
            SystemCommand::ExpelRegion(region) => self.expel_region(region),
            SystemCommand::ReadmitRegion { region, planned } => self.readmit_region(&region, planned),
        }
    }

    fn activate_tables(&mut self, ids: &[TableId]) -> SystemReply {
        let creating = |table: &&mut TableEntry| table.status == TableStatus::Creating;
        for table in self.tables.values_mut().filter(creating).filter(|table| ids.contains(&table.id)) {
            table.status = TableStatus::Active;
        }
        SystemReply::Done
    }

    fn delete_table(&mut self, name: TableName) -> Result<SystemReply, SystemError> {
        let table = self.usable_table(&name)?;
        if table.moving.is_some() {
            return Err(SystemError::TableBusy(name));
        }
        table.status = TableStatus::Deleting;
        Ok(SystemReply::Table(Box::new(table.clone())))
    }

    fn drain_region(&mut self, region: RegionName, drained: bool) -> Result<SystemReply, SystemError> {
        if !self.nodes.values().any(|node| node.region == region) {
            return Err(SystemError::NoSuchRegion(region));
        }
        if drained {
            self.drained_regions.insert(region);
        } else {
            self.drained_regions.remove(&region);
        }
        Ok(SystemReply::Done)
    }

    fn region_arrived(&mut self, group: GroupId, region: &RegionName) -> Result<SystemReply, SystemError> {
        let group = self.groups.get_mut(&group).ok_or(SystemError::NoSuchGroup(group))?;
        group.arriving.remove(region);
        Ok(SystemReply::Done)
    }

    /// Refuses groups that were placed on other nodes than those that there are now.
    fn check_members(&self, members: u64) -> Result<(), SystemError> {
        if members == self.members { Ok(()) } else { Err(SystemError::StalePlan) }
    }

    fn create_policy(&mut self, policy: Policy, groups: Vec<GroupInfo>) -> Result<SystemReply, SystemError> {
        within("policies", self.policies.len(), MAX_POLICIES)?;
        if self.policies.contains_key(&policy.name) {
            return Err(SystemError::PolicyExists(policy.name));
        }
        let mut ids = Vec::with_capacity(groups.len());
        for mut group in groups {
            self.next_group += 1;
            group.id = GroupId(self.next_group);
            group.founders = group.placement.voters.clone();
            ids.push(group.id);
            self.groups.insert(group.id, group);
        }
        self.placed += 1;
        let entry = PolicyEntry { policy, groups: ids.clone() };
        self.policies.insert(entry.policy.name.clone(), entry);
        Ok(SystemReply::Groups(ids))
    }

    fn replace_policy(
        &mut self,
        was: &Policy,
        policy: Policy,
        groups: Vec<GroupInfo>,
    ) -> Result<SystemReply, SystemError> {
        let entry = self
            .policies
            .get_mut(&policy.name)
            .ok_or_else(|| SystemError::NoSuchPolicy(policy.name.clone()))?;
        // A region that is added brings groups of its own, behind the others.
        if entry.policy != *was || entry.groups.len() > groups.len() {
            return Err(SystemError::PolicyChanged(policy.name));
        }
        entry.policy = policy;
        self.placed += 1;
        let known = entry.groups.len();
        for (place, mut new) in groups.into_iter().enumerate() {
            if place >= known {
                self.next_group += 1;
                new.id = GroupId(self.next_group);
                new.founders = new.placement.voters.clone();
                entry.groups.push(new.id);
                self.groups.insert(new.id, new);
            } else if let Some(group) = entry.groups.get(place).and_then(|id| self.groups.get_mut(id)) {
                let (before, after) = (group.placement.data_regions(), new.placement.data_regions());
                group.arriving.retain(|region| after.contains(region));
                group.arriving.extend(after.difference(&before).cloned());
                group.placement = new.placement;
            }
        }
        Ok(SystemReply::Groups(entry.groups.clone()))
    }

    fn create_table(&mut self, mut table: TableEntry) -> Result<SystemReply, SystemError> {
        if self.tables.contains_key(&table.name) {
            return Err(SystemError::TableExists(table.name));
        }
        within("tables", self.tables.len(), MAX_TABLES)?;
        if !self.policies.contains_key(&table.policy) {
            return Err(SystemError::NoSuchPolicy(table.policy));
        }
        self.next_table += 1;
        table.id = TableId(self.next_table);
        table.status = TableStatus::Creating;
        self.tables.insert(table.name.clone(), table.clone());
        Ok(SystemReply::Table(Box::new(table)))
    }

    fn table_purged(&mut self, id: TableId, group: GroupId) {
        let policies = &self.policies;
        self.tables.retain(|_, table| {
            if table.id != id || table.status != TableStatus::Deleting {
                return true;
            }
            table.purged.insert(group);
            let named = table.policies();
            let entries = named.iter().filter_map(|name| policies.get(name));
            let mut owned = entries.flat_map(|entry| &entry.groups).chain(table.sweep.keys());
            !owned.all(|group| table.purged.contains(group))
        });
        let tables = &self.tables;
        self.since_2.time_to_live.retain(|of, _| *of != id || tables.values().any(|table| table.id == id));
    }

    pub(super) fn usable_table(&mut self, name: &TableName) -> Result<&mut TableEntry, SystemError> {
        match self.tables.get_mut(name) {
            None => Err(SystemError::NoSuchTable(name.clone())),
            Some(table) if table.status == TableStatus::Active => Ok(table),
            Some(_) => Err(SystemError::TableBusy(name.clone())),
        }
    }

    /// The group that holds items of this hash under a policy; of an active-active one, those that its first region has written.
    #[must_use]
    pub fn group_for(&self, policy: &PolicyName, hash: u64) -> Option<&GroupInfo> {
        let entry = self.policies.get(policy)?;
        let ordinal = group_ordinal(hash, Some(entry.policy.groups).filter(|&count| count > 0)?);
        self.groups.get(entry.groups.get(ordinal as usize)?)
    }

    /// The groups that hold items of this hash under an active-active policy, each with the region that writes to it; empty for any other policy.
    #[must_use]
    pub fn origins_for(&self, policy: &PolicyName, hash: u64) -> Vec<(&RegionName, GroupId)> {
        let Some(entry) = self.policies.get(policy) else { return Vec::new() };
        let (policy, count) = (&entry.policy, entry.policy.groups.max(1));
        let shares = entry.groups.iter().zip(0..).skip(group_ordinal(hash, count) as usize);
        let origins = shares.step_by(count as usize);
        origins.filter_map(|(group, ordinal)| Some((policy.origin(ordinal)?, *group))).collect()
    }

    /// Whether every region writes to a group of its own, under the policy that owns this one.
    #[must_use]
    pub fn is_active_active(&self, group: &GroupInfo) -> bool {
        let entry = self.policies.get(&group.policy);
        entry.is_some_and(|entry| entry.policy.pattern == Pattern::ActiveActive)
    }

    /// The region with which a group stands and falls: should it be lost, the group stands still until it is founded anew elsewhere. `None` for a group of an
    /// active-active policy: the other regions go on writing to theirs, and a severed one to its own.
    #[must_use]
    pub fn sole_region<'a>(&self, group: &'a GroupInfo) -> Option<&'a RegionName> {
        sole_region(&group.placement).filter(|_| !self.is_active_active(group))
    }

    /// The regions that `group` may go on without: those that have not caught up since its policy named them, and those that are lost unless its policy
    /// says to block.
    #[must_use]
    pub fn excused_regions(&self, group: &GroupInfo) -> BTreeSet<RegionName> {
        let lost = self.lost_regions.iter().filter(|_| !self.blocks(group));
        lost.chain(&group.arriving).cloned().collect()
    }

    /// The lost region for which `group` takes no writes, if its policy says to block.
    #[must_use]
    pub fn blocked_by(&self, group: GroupId) -> Option<&RegionName> {
        let group = self.groups.get(&group).filter(|group| self.blocks(group))?;
        let holds = |region: &RegionName| group.placement.data.values().any(|data| data == region);
        self.lost_regions.iter().find(|region| holds(region))
    }

    fn blocks(&self, group: &GroupInfo) -> bool {
        let entry = self.policies.get(&group.policy);
        entry.is_some_and(|entry| entry.policy.on_region_loss == Some(OnRegionLoss::Block))
    }

    /// The preferred leaders that are not in a drained region; all of them when no other is left.
    #[must_use]
    pub fn undrained(&self, preferred: &[NodeId]) -> Vec<NodeId> {
        let drained = |node: &NodeId| self.region_of(*node).is_some_and(|r| self.drained_regions.contains(r));
        let left: Vec<NodeId> = preferred.iter().copied().filter(|node| !drained(node)).collect();
        if left.is_empty() { preferred.to_vec() } else { left }
    }

    /// The region of a node.
    #[must_use]
    pub fn region_of(&self, node: NodeId) -> Option<&RegionName> {
        self.nodes.get(&node).map(|entry| &entry.region)
    }
}

pub(super) fn within(what: &str, count: usize, limit: usize) -> Result<(), SystemError> {
    if count < limit { Ok(()) } else { Err(SystemError::Limit { what: what.to_owned(), limit }) }
}
