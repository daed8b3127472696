//! Who is in the cluster: nodes join with a one-time token, leave, and are removed.
//!
//! Where every group lives after such a change is planned from the nodes as they will be, and committed in the same command. A plan
//! that something has overtaken changes nothing; whoever made it plans anew. Numbers are given out once and never again.

use super::command::{SystemError, SystemReply};
use super::state::{GroupInfo, NodeEntry, SystemState};
use meridian_placement::{Node, Placement, Topology};
use meridian_types::{GroupId, NodeId, NodeName, RegionName, ZoneName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most nodes of a cluster.
pub const MAX_NODES: usize = 256;
/// The most tokens that may be outstanding.
const MAX_TOKENS: usize = 64;

/// What a join token lets in. The token itself is not kept, only its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// The number of the node that joins with it; given out by the state machine.
    pub number: NodeId,
    /// The region that the node stands in.
    pub region: RegionName,
    /// Its zone.
    pub zone: ZoneName,
    /// Whether it only votes.
    pub witness: bool,
    /// The node that leaves as this one joins.
    pub replaces: Option<NodeId>,
    /// Milliseconds since 1970 from which on it lets nobody in.
    pub expires_ms: u64,
    /// The node that has joined with it.
    pub used_by: Option<NodeName>,
}

/// Where groups live from a change of nodes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The number of changes of nodes and placements that the plan knows of.
    pub at: u64,
    /// Every group that moves.
    pub placements: BTreeMap<GroupId, Placement>,
}

/// A node that takes up a join token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// The hash of its token.
    pub hash: String,
    /// What it is called; its certificate must carry the name.
    pub name: NodeName,
    /// `host:port` at which the other nodes reach it.
    pub peer: String,
    /// Milliseconds since 1970 at the node that was asked.
    pub now_ms: u64,
}

/// What a node says of itself when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its number.
    pub node: NodeId,
    /// The disk that it has, for good: a number whose disk is gone is not used again.
    pub disk: u64,
    /// The newest protocol that it speaks.
    pub protocol: u32,
    /// `host:port` at which the other nodes reach it; empty for a node that is alone.
    pub peer: String,
}

impl SystemState {
    /// Every node of the cluster, those that leave among them.
    #[must_use]
    pub fn everyone(&self) -> Topology {
        topology(self.nodes.values())
    }

    /// The nodes that stay: those on which groups are placed.
    #[must_use]
    pub fn staying(&self) -> Topology {
        topology(self.nodes.values().filter(|node| !node.leaving))
    }

    /// How many changes of nodes there have been.
    #[must_use]
    pub fn members_version(&self) -> u64 {
        self.members
    }

    /// How many changes of nodes and placements there have been.
    #[must_use]
    pub fn placed_version(&self) -> u64 {
        self.placed
    }

    /// The node of this name.
    #[must_use]
    pub fn node_named(&self, name: &NodeName) -> Option<&NodeEntry> {
        self.nodes.values().find(|node| node.name == *name)
    }

    /// Whether the number belonged to a node that is in the cluster no more. Once true it stays true.
    #[must_use]
    pub fn is_removed(&self, number: NodeId) -> bool {
        !self.nodes.contains_key(&number) && !self.may_yet_join(number)
    }

    /// Whether a node of this number may join later, or has joined without this replica of the state knowing.
    #[must_use]
    pub fn may_yet_join(&self, number: NodeId) -> bool {
        let promised = |token: &JoinToken| token.number == number && token.used_by.is_none();
        number > self.last_node || self.tokens.values().any(promised)
    }

    /// Where a group's data is, for its leader: with the leader itself, if it should lead no more, and with nodes that leave. They have
    /// the data in their regions until others there have it, which is when they are taken out of the group.
    #[must_use]
    pub fn placement_with(&self, group: &GroupInfo, leader: NodeId) -> Placement {
        let mut placement = group.placement.clone();
        let regions = placement.data_regions();
        let stays =
            |entry: &&NodeEntry| entry.number == leader || (entry.leaving && regions.contains(&entry.region));
        for entry in self.nodes.values().filter(|entry| !entry.witness).filter(stays) {
            placement.data.entry(entry.number).or_insert_with(|| entry.region.clone());
        }
        placement
    }

    /// What a token lets in, by its hash.
    ///
    /// # Errors
    /// [`SystemError::BadToken`] when it was never made, is used or has expired.
    pub fn usable_token(&self, joining: &Joining) -> Result<&JoinToken, SystemError> {
        let bad = |why: String| SystemError::BadToken(why);
        let token = self.tokens.get(&joining.hash).ok_or_else(|| bad("is not known here".to_owned()))?;
        match &token.used_by {
            Some(name) => Err(bad(format!("was used by node {name}"))),
            None if joining.now_ms >= token.expires_ms => Err(bad("has expired".to_owned())),
            None => Ok(token),
        }
    }

    /// The node that has joined with just this request, when it is sent again.
    #[must_use]
    pub fn joined_with(&self, joining: &Joining) -> Option<&NodeEntry> {
        let token = self.tokens.get(&joining.hash)?;
        let node = self.nodes.get(&token.number)?;
        (token.used_by.as_ref() == Some(&joining.name) && node.peer == joining.peer).then_some(node)
    }

    pub(super) fn create_token(
        &mut self,
        hash: String,
        mut token: JoinToken,
        now_ms: u64,
    ) -> Result<SystemReply, SystemError> {
        self.tokens.retain(|_, token| now_ms < token.expires_ms);
        super::state::within("join tokens", self.tokens.len(), MAX_TOKENS)?;
        super::state::within("nodes", self.nodes.len(), MAX_NODES)?;
        if token.replaces.is_some_and(|old| !self.nodes.contains_key(&old)) {
            return Err(SystemError::StalePlan);
        }
        self.last_node = NodeId(self.last_node.0 + 1);
        token.number = self.last_node;
        self.tokens.insert(hash, token);
        Ok(SystemReply::Node(self.last_node))
    }

    pub(super) fn add_node(
        &mut self,
        joining: Joining,
        planned: Planned,
    ) -> Result<SystemReply, SystemError> {
        if let Some(node) = self.joined_with(&joining) {
            return Ok(SystemReply::Node(node.number));
        }
        let token = self.usable_token(&joining)?.clone();
        if self.node_named(&joining.name).is_some() {
            return Err(SystemError::NodeExists(joining.name));
        }
        super::state::within("nodes", self.nodes.len(), MAX_NODES)?;
        self.check_plan(&planned)?;
        let node = token.node(&joining);
        if let Some(token) = self.tokens.get_mut(&joining.hash) {
            token.used_by = Some(joining.name);
        }
        if let Some(old) = token.replaces.and_then(|old| self.nodes.get_mut(&old)) {
            old.leaving = true;
        }
        let number = node.number;
        self.nodes.insert(number, node);
        self.move_groups(planned);
        Ok(SystemReply::Node(number))
    }

    pub(super) fn drain_node(&mut self, node: NodeId, planned: Planned) -> Result<SystemReply, SystemError> {
        self.check_plan(&planned)?;
        let entry = self.nodes.get_mut(&node).ok_or(SystemError::StalePlan)?;
        entry.leaving = true;
        self.move_groups(planned);
        Ok(SystemReply::Done)
    }

    pub(super) fn remove_node(&mut self, node: NodeId) -> Result<SystemReply, SystemError> {
        let placed = self.groups.values().any(|group| group.placement.has_member(node));
        match self.nodes.get(&node) {
            None => Ok(SystemReply::Done),
            Some(entry) if !entry.leaving || placed => Err(SystemError::StalePlan),
            Some(_) => {
                self.nodes.remove(&node);
                let left: Vec<RegionName> = self.nodes.values().map(|entry| entry.region.clone()).collect();
                // A region without a node is neither lost nor drained, should it come back.
                self.lost_regions.retain(|region| left.contains(region));
                self.drained_regions.retain(|region| left.contains(region));
                self.members += 1;
                self.placed += 1;
                Ok(SystemReply::Done)
            }
        }
    }

    pub(super) fn node_started(&mut self, started: Started) -> Result<SystemReply, SystemError> {
        let entry = self.nodes.get_mut(&started.node).ok_or(SystemError::StalePlan)?;
        if entry.disk.is_some_and(|disk| disk != started.disk) {
            return Err(SystemError::OtherDisk(entry.name.clone()));
        }
        entry.disk = Some(started.disk);
        entry.protocol = started.protocol;
        entry.peer = started.peer;
        Ok(SystemReply::Done)
    }

    pub(super) fn check_plan(&self, planned: &Planned) -> Result<(), SystemError> {
        if planned.at == self.placed { Ok(()) } else { Err(SystemError::StalePlan) }
    }

    pub(super) fn move_groups(&mut self, planned: Planned) {
        for (id, placement) in planned.placements {
            if let Some(group) = self.groups.get_mut(&id) {
                group.placement = placement;
            }
        }
        self.members += 1;
        self.placed += 1;
    }
}

impl JoinToken {
    /// The node that joins with it.
    #[must_use]
    pub fn node(&self, joining: &Joining) -> NodeEntry {
        let node = Node {
            id: self.number,
            name: joining.name.clone(),
            region: self.region.clone(),
            zone: self.zone.clone(),
            witness: self.witness,
        };
        NodeEntry::new(node, joining.peer.clone())
    }
}

impl NodeEntry {
    /// A node that has not started yet, which the others reach at `peer`.
    #[must_use]
    pub fn new(node: Node, peer: String) -> Self {
        let Node { id: number, name, region, zone, witness } = node;
        Self { number, name, region, zone, witness, peer, disk: None, protocol: 0, leaving: false }
    }

    /// The node `n{number}` of a region, which nobody needs to reach, for tests.
    #[cfg(test)]
    pub(crate) fn example(number: u64, region: &str) -> Self {
        let node = Node {
            id: NodeId(number),
            name: NodeName::new(&format!("n{number}")).expect("a name"),
            region: RegionName::new(region).expect("a name"),
            zone: ZoneName::new("z").expect("a name"),
            witness: false,
        };
        Self::new(node, String::new())
    }

    /// The node as placement sees it.
    #[must_use]
    pub fn placed(&self) -> Node {
        Node {
            id: self.number,
            name: self.name.clone(),
            region: self.region.clone(),
            zone: self.zone.clone(),
            witness: self.witness,
        }
    }
}

fn topology<'a>(nodes: impl Iterator<Item = &'a NodeEntry>) -> Topology {
    // Numbers are keys here, and a name that is taken is refused.
    Topology::new(nodes.map(NodeEntry::placed)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::SystemCommand;
    use super::*;
    use meridian_placement::CommitRule;
    use meridian_types::{Incarnation, Policy, PolicyName};

    fn name(text: &str) -> NodeName {
        NodeName::new(text).expect("a name")
    }

    fn entry(number: u64) -> NodeEntry {
        NodeEntry { peer: format!("n{number}:8005"), ..NodeEntry::example(number, "a") }
    }

    fn cluster() -> SystemState {
        let mut state = SystemState::default();
        let nodes = vec![entry(1), entry(2)];
        state.apply(SystemCommand::Found { cluster: "c".to_owned(), nodes }).expect("the first command");
        state
    }

    fn token(state: &mut SystemState, hash: &str, replaces: Option<u64>) -> Result<SystemReply, SystemError> {
        let entry = entry(1);
        let token = JoinToken {
            number: NodeId(0),
            region: entry.region,
            zone: entry.zone,
            witness: false,
            replaces: replaces.map(NodeId),
            expires_ms: 1_000,
            used_by: None,
        };
        state.apply(SystemCommand::CreateJoinToken { hash: hash.to_owned(), token, now_ms: 0 })
    }

    fn join(
        state: &mut SystemState,
        hash: &str,
        node: &str,
        now_ms: u64,
    ) -> Result<SystemReply, SystemError> {
        let planned = Planned { at: state.placed_version(), placements: BTreeMap::new() };
        let peer = format!("{node}:8005");
        let joining = Joining { hash: hash.to_owned(), name: name(node), peer, now_ms };
        state.apply(SystemCommand::AddNode { joining, planned })
    }

    fn bad(result: Result<SystemReply, SystemError>) -> String {
        match result {
            Err(error @ SystemError::BadToken(_)) => error.to_string(),
            other => panic!("the token was taken: {other:?}"),
        }
    }

    #[test]
    fn a_token_lets_one_node_in_before_it_expires() {
        let mut state = cluster();
        assert_eq!(token(&mut state, "x", None), Ok(SystemReply::Node(NodeId(3))));
        assert!(bad(join(&mut state, "y", "n9", 1)).contains("is not known"));
        assert!(bad(join(&mut state, "x", "n9", 1_000)).contains("has expired"));
        assert_eq!(join(&mut state, "x", "n2", 1), Err(SystemError::NodeExists(name("n2"))));
        assert_eq!(join(&mut state, "x", "n9", 1), Ok(SystemReply::Node(NodeId(3))));
        assert!(bad(join(&mut state, "x", "n10", 1)).contains("was used by node n9"));
        assert_eq!(join(&mut state, "x", "n9", 1), Ok(SystemReply::Node(NodeId(3))), "the answer was lost");
        assert_eq!(state.nodes.len(), 3);
    }

    #[test]
    fn numbers_are_never_given_out_twice() {
        let mut state = cluster();
        assert_eq!(token(&mut state, "x", Some(2)), Ok(SystemReply::Node(NodeId(3))));
        assert_eq!(token(&mut state, "y", None), Ok(SystemReply::Node(NodeId(4))));
        assert!(
            state.may_yet_join(NodeId(3)) && state.may_yet_join(NodeId(5)) && !state.is_removed(NodeId(4))
        );
        join(&mut state, "x", "n3", 1).expect("it is usable");
        assert!(state.nodes[&NodeId(2)].leaving, "the new one takes its place");
        assert_eq!(state.staying().nodes().count(), 2);
        state.apply(SystemCommand::RemoveNode { node: NodeId(2) }).expect("it leaves");
        assert!(state.is_removed(NodeId(2)) && !state.is_removed(NodeId(3)));
        assert_eq!(state.apply(SystemCommand::RemoveNode { node: NodeId(1) }), Err(SystemError::StalePlan));
        assert_eq!(token(&mut state, "z", None), Ok(SystemReply::Node(NodeId(5))));
    }

    #[test]
    fn a_plan_that_was_overtaken_changes_nothing() {
        let mut state = cluster();
        let stale = Planned { at: state.placed_version(), placements: BTreeMap::new() };
        token(&mut state, "x", None).expect("there is room");
        join(&mut state, "x", "n3", 1).expect("it is usable");
        let before = state.clone();
        let drain = SystemCommand::DrainNode { node: NodeId(1), planned: stale };
        assert_eq!(state.apply(drain), Err(SystemError::StalePlan));
        assert_eq!(state, before);
    }

    #[test]
    fn a_number_keeps_its_disk_for_good() {
        let mut state = cluster();
        let started = |disk| {
            let peer = "n1:8005".to_owned();
            SystemCommand::NodeStarted(Started { node: NodeId(1), disk, protocol: 1, peer })
        };
        assert_eq!(state.apply(started(7)), Ok(SystemReply::Done));
        assert_eq!(state.apply(started(7)), Ok(SystemReply::Done));
        assert_eq!(state.apply(started(8)), Err(SystemError::OtherDisk(name("n1"))));
        assert_eq!(state.nodes[&NodeId(1)].disk, Some(7));
    }

    #[test]
    fn a_region_that_a_policy_names_is_waited_for_once_it_has_caught_up() {
        let mut state = cluster();
        let region = |name: &str| RegionName::new(name).expect("a name");
        let group = |regions: &[&str]| {
            let data = (1u64..).zip(regions).map(|(node, name)| (NodeId(node), region(name)));
            GroupInfo {
                id: GroupId(0),
                policy: PolicyName::new("active-passive-async").expect("a name"),
                ordinal: 0,
                incarnation: Incarnation(0),
                placement: Placement {
                    voters: [NodeId(1)].into(),
                    learners: [].into(),
                    witnesses: [].into(),
                    preferred_leaders: vec![NodeId(1)],
                    data: data.collect(),
                    rule: CommitRule::EveryRegion,
                },
                refoundations: Vec::new(),
                founders: [].into(),
                arriving: [].into(),
            }
        };
        let policy = Policy::built_in(&[region("a")], None).remove(2);
        let (was, members) = (policy.clone(), state.members_version());
        let groups = vec![group(&["a"])];
        state.apply(SystemCommand::CreatePolicy { policy, groups, members }).expect("it is new");
        let policy = Policy { regions: vec![region("a"), region("b")], ..was.clone() };
        let groups = vec![group(&["a", "b"])];
        state
            .apply(SystemCommand::ReplacePolicy { was, policy, groups, members })
            .expect("nothing came between");
        let excused = |state: &SystemState| state.excused_regions(&state.groups[&GroupId(1)]);
        assert_eq!(state.groups[&GroupId(1)].founders, [NodeId(1)].into());
        assert_eq!(excused(&state), [region("b")].into());
        state
            .apply(SystemCommand::RegionArrived { group: GroupId(1), region: region("b") })
            .expect("it is there");
        assert_eq!(excused(&state), [].into());
        // A leader that leaves, and others that do, have the data until they are gone.
        state.nodes.get_mut(&NodeId(2)).expect("it is there").leaving = true;
        let placed = state.placement_with(&group(&["a"]), NodeId(1));
        assert_eq!(placed.data.keys().copied().collect::<Vec<_>>(), [NodeId(1), NodeId(2)]);
    }
}
