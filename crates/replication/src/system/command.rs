//! Commands of the system group and what they answer.

use super::members::{JoinToken, Joining, Planned, Started};
use super::refound::{LogPoint, Refoundation, SalvageCount};
use super::signing::SigningKey;
use super::state::{Credential, GroupInfo, NodeEntry, TableEntry};
use meridian_placement::Placement;
use meridian_types::{
    GroupId, HostName, Incarnation, NodeId, NodeName, PolicyName, Position, RegionName, Service, ServiceName,
    TableId, TableName,
};
use meridian_types::{Policy, PolicyError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A change to the system state. Applying one is deterministic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SystemCommand {
    /// The first command of a cluster: its name and its nodes. Later ones change nothing.
    Found {
        /// The cluster's name.
        cluster: String,
        /// Every node of the cluster.
        nodes: Vec<NodeEntry>,
    },
    /// Adds a policy with the placement of its groups, one entry an ordinal.
    CreatePolicy {
        /// The policy, already validated against the cluster.
        policy: Policy,
        /// Where each group lives; the ids are given out by the state machine.
        groups: Vec<GroupInfo>,
        /// The changes of nodes that the placement knows of; if there have been others, nothing happens.
        members: u64,
    },
    /// Adds a table in status `Creating`.
    CreateTable {
        /// The table; its id is given out by the state machine.
        table: TableEntry,
    },
    /// Marks tables usable once every reachable node knows them.
    ActivateTables(Vec<TableId>),
    /// Replaces what may change about a table: its opaque definition and its tags.
    UpdateTable {
        /// Which table.
        name: TableName,
        /// The new definition, if it changes.
        definition: Option<Vec<u8>>,
        /// Tags to set.
        set_tags: BTreeMap<String, String>,
        /// Tags to remove.
        remove_tags: Vec<String>,
    },
    /// Marks a table `Deleting`: no request is accepted for it any more.
    DeleteTable(TableName),
    /// Records that what a group was to delete of a table is gone; the last group's record forgets a deleted table.
    TablePurged {
        /// Which table.
        table: TableId,
        /// From which group.
        group: GroupId,
    },
    /// Starts moving a table to another policy; asking again changes nothing.
    MoveTable {
        /// Which table.
        name: TableName,
        /// Its new policy.
        to: PolicyName,
    },
    /// Says how far a source of a move is.
    MoveProgressed {
        /// Which table.
        table: TableId,
        /// Which move.
        id: u64,
        /// Which source.
        source: GroupId,
        /// Items copied so far.
        copied: u64,
        /// Whether little is left to copy.
        ready: bool,
    },
    /// Says that a source serves the table no more, and that all it had has arrived.
    MoveSealed {
        /// Which table.
        table: TableId,
        /// Which move.
        id: u64,
        /// Which source.
        source: GroupId,
        /// The states of the new groups that have everything of this source.
        arrived: Vec<Position>,
    },
    /// Ends a move before the table has changed its policy.
    CancelMove {
        /// Which table.
        name: TableName,
        /// Only this move.
        id: Option<u64>,
    },
    /// Adds or replaces a credential.
    PutCredential {
        /// The access key id.
        access_key_id: String,
        /// The secret and what it allows.
        credential: Credential,
    },
    /// Removes a credential.
    DeleteCredential(String),
    /// Replaces a policy and the placement of its groups.
    ReplacePolicy {
        /// The policy as it was when the change was planned; if it has changed since, nothing happens.
        was: Policy,
        /// The policy as it will be: same name, same number of groups.
        policy: Policy,
        /// Where each group lives from then on, by ordinal; their ids stay.
        groups: Vec<GroupInfo>,
        /// As for [`SystemCommand::CreatePolicy`].
        members: u64,
    },
    /// Keeps leaders out of a region, or lets them in again.
    DrainRegion {
        /// Which region.
        region: RegionName,
        /// Whether leaders are kept out.
        drained: bool,
    },
    /// Records that a region is lost: `sync` policies with `degrade` stop requiring it.
    MarkRegionLost(RegionName),
    /// Records that a lost region has caught up and is required again.
    MarkRegionBack(RegionName),
    /// Decides that a group goes on in a new incarnation without the region that had all of its votes.
    Refound {
        /// Which group.
        group: GroupId,
        /// From what it goes on; `cut` is still unknown.
        refoundation: Box<Refoundation>,
        /// Where it lives from now on.
        placement: Placement,
    },
    /// Says that the seed has founded an incarnation.
    Founded {
        /// Which group.
        group: GroupId,
        /// The new incarnation.
        incarnation: Incarnation,
        /// Where the old log was cut.
        cut: LogPoint,
    },
    /// Says what a node's replica of an old incarnation has above the cut.
    SalvageFound {
        /// Which group.
        group: GroupId,
        /// The old incarnation.
        incarnation: Incarnation,
        /// Whose replica.
        node: NodeId,
        /// How much.
        count: SalvageCount,
    },
    /// Makes a token with which one node may join.
    CreateJoinToken {
        /// The hash of the token, which nobody keeps.
        hash: String,
        /// What it lets in.
        token: JoinToken,
        /// Milliseconds since 1970 at the node that was asked.
        now_ms: u64,
    },
    /// Takes a node into the cluster.
    AddNode {
        /// The node and its token.
        joining: Joining,
        /// Where the groups live with it.
        planned: Planned,
    },
    /// Moves everything off a node, which is removed once nothing needs it.
    DrainNode {
        /// Which node.
        node: NodeId,
        /// Where the groups live without it.
        planned: Planned,
    },
    /// Forgets a node that is in no group any more.
    RemoveNode {
        /// Which node.
        node: NodeId,
    },
    /// Says with which disk and protocol a node runs.
    NodeStarted(Started),
    /// Records that a region which a group's policy has named has caught up, and is waited for from now on.
    RegionArrived {
        /// Which group.
        group: GroupId,
        /// Which region.
        region: RegionName,
    },
    /// Takes the cluster to its next level, which every node has said that it knows.
    RaiseLevel(u32),
    /// Adds or replaces a service, already validated.
    PutService {
        /// The service.
        service: Service,
        /// Whether one of that name is an error.
        new: bool,
    },
    /// Removes a service.
    RemoveService(ServiceName),
    /// Adds a key that signs tokens.
    AddSigningKey {
        /// Its id, as tokens name it.
        id: String,
        /// The key.
        key: SigningKey,
        /// Whether it takes over from those that there are; else it must be the first.
        rotates: bool,
    },
    /// Forgets a signing key; its tokens are refused from then on.
    DeleteSigningKey(String),
    /// Says by which attribute a table's items expire, or that they do no more.
    SetTimeToLive {
        /// Which table.
        name: TableName,
        /// The attribute.
        attribute: String,
        /// Whether they expire.
        enabled: bool,
    },
    /// Has the active-active policies go on without a region: nothing waits for it.
    ExpelRegion(RegionName),
    /// Takes an expelled region back.
    ReadmitRegion {
        /// Which region.
        region: RegionName,
        /// Where the groups live with it.
        planned: Planned,
    },
    /// Has every edge forget what it keeps of a service.
    PurgeService {
        /// Whose.
        service: ServiceName,
        /// What has this tag; everything when there is none.
        tag: Option<String>,
    },
}

/// What a committed command answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SystemReply {
    /// Done; nothing more to say.
    Done,
    /// The table as it is now.
    Table(Box<TableEntry>),
    /// The groups that the new policy owns.
    Groups(Vec<GroupId>),
    /// The number of the node.
    Node(NodeId),
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum SystemError {
    /// A table of that name exists (in any status).
    #[error("Table already exists: {0}")]
    TableExists(TableName),
    /// No table of that name.
    #[error("Table not found: {0}")]
    NoSuchTable(TableName),
    /// The table is being made or deleted, or moved to another policy.
    #[error("Table is being created, deleted or moved: {0}")]
    TableBusy(TableName),
    /// The table is not on its way to another policy.
    #[error("Table {0} is not being moved to another policy")]
    NotMoving(TableName),
    /// A policy of that name exists.
    #[error("policy {0} exists; choose another name")]
    PolicyExists(PolicyName),
    /// No policy of that name.
    #[error("policy {0} does not exist; `meridian policy list` shows those that do")]
    NoSuchPolicy(PolicyName),
    /// The policy is no longer what the change was planned for.
    #[error("policy {0} was changed at the same time; look at it and try again")]
    PolicyChanged(PolicyName),
    /// No region of that name.
    #[error("region {0} is not part of the cluster; `meridian status` shows those that are")]
    NoSuchRegion(RegionName),
    /// The policy is not valid for this cluster.
    #[error("{0}")]
    BadPolicy(String),
    /// No credential of that id.
    #[error("key {0} does not exist; `meridian key list` shows those that do")]
    NoSuchCredential(String),
    /// No group of that number.
    #[error("there is no group {0}; `meridian status` shows those that there are")]
    NoSuchGroup(GroupId),
    /// The group has been founded anew by somebody else meanwhile.
    #[error(
        "group {group} is at incarnation {incarnation} by now; look at `meridian status` before you try again"
    )]
    StaleRefounding {
        /// Which group.
        group: GroupId,
        /// Its present incarnation.
        incarnation: Incarnation,
    },
    /// Planned on nodes or placements that are no longer so.
    #[error("the cluster's nodes or policies were changed at the same time; try again")]
    StalePlan,
    /// A token that lets nobody in.
    #[error("the join token {0}; make a new one with `meridian node token create`")]
    BadToken(String),
    /// The name is taken.
    #[error("node {0} is in the cluster; choose another name")]
    NodeExists(NodeName),
    /// No node of that name.
    #[error("node {0} is not in the cluster; `meridian node list` shows those that are")]
    NoSuchNode(NodeName),
    /// A node that is said to be lost answers.
    #[error(
        "node {0} answers, so it is not lost; use `meridian node leave {0}`, which moves its data away first"
    )]
    NodeAnswers(NodeName),
    /// A node that is to leave does not answer.
    #[error(
        "node {0} does not answer; start it, or if its disk is gone for good use `meridian node remove {0} --lost`"
    )]
    NodeSilent(NodeName),
    /// A node that is to leave has what nobody has decided on.
    #[error(
        "node {0} has writes, or may have, that were lost when its region was given up; wait until it has caught up, and decide on them \
         first: `meridian salvage list`"
    )]
    HasSalvage(NodeName),
    /// A group has no state of its new incarnation yet.
    #[error("group {0} is being founded anew; try again when `meridian status` shows its leader")]
    BeingFounded(GroupId),
    /// The number came with another disk before.
    #[error(
        "node {0} was known by another disk: a node that lost its disk has forgotten its votes and must not come back under the \
         same number. Make a new one in its place with `meridian node replace {0}`"
    )]
    OtherDisk(NodeName),
    /// Too many of something.
    #[error("the cluster has {limit} {what}, the most allowed; delete one first")]
    Limit {
        /// What there are too many of.
        what: String,
        /// How many are allowed.
        limit: usize,
    },
    /// Not every node knows what is asked for.
    #[error(
        "this needs level {needs}, and the cluster is at level {level}: it gets there by itself once every node runs the newer version; \
         `meridian node list` shows who does not"
    )]
    LevelTooLow {
        /// The level that the command came with.
        needs: u32,
        /// The cluster's level.
        level: u32,
    },
    /// A service of that name exists.
    #[error("service {0} exists; replace it with `meridian service add --replace`, or choose another name")]
    ServiceExists(ServiceName),
    /// No service of that name.
    #[error("service {0} does not exist; `meridian service list` shows those that do")]
    NoSuchService(ServiceName),
    /// Two services cannot answer for one host.
    #[error("host {host} belongs to service {service}; remove that, or choose another host")]
    HostTaken {
        /// The host.
        host: HostName,
        /// Whose it is.
        service: ServiceName,
    },
    /// There is a signing key already.
    #[error("there is a signing key already; `meridian key jwt rotate` makes another that takes over")]
    SigningKeyExists,
    /// There is no signing key yet.
    #[error("there is no signing key; make the first with `meridian key jwt create`")]
    NoSigningKey,
    /// The region is needed.
    #[error(
        "region {region} cannot be expelled: policy {policy} would have too few regions left; readmit another one first"
    )]
    LastRegion {
        /// The region.
        region: RegionName,
        /// The policy.
        policy: PolicyName,
    },
    /// The region is not expelled.
    #[error("region {0} is not expelled; `meridian region list` shows those that are")]
    NotExpelled(RegionName),
    /// A region that is to be expelled is there.
    #[error(
        "region {0} answers, so nothing needs to go on without it: what it lacks it gets by itself, and tombstones are collected then"
    )]
    RegionAnswers(RegionName),
    /// A region that is to be taken back is away.
    #[error("no node of region {0} answers; start them, then readmit it")]
    RegionSilent(RegionName),
    /// Items expire already.
    #[error("TimeToLive is already enabled")]
    TimeToLiveEnabled,
    /// Items do not expire.
    #[error("TimeToLive is already disabled")]
    TimeToLiveDisabled,
    /// Items expire by another attribute.
    #[error("TimeToLive is active on a different AttributeName: current AttributeName is {0}")]
    TimeToLiveElsewhere(String),
    /// No signing key of that id.
    #[error("signing key {0} does not exist; `meridian key jwt list` shows those that do")]
    NoSuchSigningKey(String),
}

impl SystemError {
    /// Joins all that is wrong with a policy into one error.
    #[must_use]
    pub fn bad_policy(errors: &[PolicyError]) -> Self {
        Self::BadPolicy(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }
}
