//! What nodes ask of each other besides Raft.

use crate::error::Unserved;
use crate::system::{
    AtRisk, GroupInfo, LastHeard, LogPoint, SystemCommand, SystemError, SystemReply, SystemState,
};
use bytes::Bytes;
use meridian_types::{GroupId, Incarnation, NodeId, PolicyName, Position, RegionName, RequestId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A write sent to the leader.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ForwardWrite {
    pub(crate) id: RequestId,
    pub(crate) request: Bytes,
}

/// How a read is to be served.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ReadMode {
    /// By the leader.
    Consistent,
    /// By whichever replica gets it, once it has applied the position, if there is one.
    Local(Option<Position>),
    /// As one of these, with the states of other groups beside it, each of which has applied its position.
    Beside(Beside, Vec<Position>),
}

/// How a read that looks at several groups is served by the one that it is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Beside {
    /// By its leader.
    Leader,
    /// By whichever replica gets it.
    Replica,
}

/// A read sent to a replica.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ForwardRead {
    pub(crate) mode: ReadMode,
    pub(crate) request: Bytes,
    /// How long the sender still waits, in milliseconds.
    pub(crate) timeout_ms: u64,
}

/// A response and what it has seen.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Served {
    pub(crate) response: Bytes,
    pub(crate) position: Position,
}

pub(crate) type ServedOr = Result<Served, Unserved>;

/// A system command sent to the system leader.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ForwardSystem(pub(crate) SystemCommand);

pub(crate) type SystemAnswer = Result<(Result<SystemReply, SystemError>, u64), Unserved>;

/// What a node knows about one of its groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// The group.
    pub group: GroupId,
    /// Its incarnation as this node knows it.
    pub incarnation: Incarnation,
    /// Raft's term.
    pub term: u64,
    /// Who this replica thinks leads.
    pub leader: Option<NodeId>,
    /// What remains of the lease, in milliseconds, when this replica leads and holds it.
    pub lease_ms: Option<u64>,
    /// Highest index known to be committed.
    pub committed: u64,
    /// Highest index applied.
    pub applied: u64,
    /// Highest index that may be answered for, when this replica leads.
    pub answerable: u64,
    /// The members of the group and whether each votes, when this replica leads and no change of them is under way.
    pub members: Option<BTreeMap<NodeId, bool>>,
    /// The highest index of each member, when this replica leads.
    pub matched: BTreeMap<NodeId, u64>,
    /// An upper bound on how stale this replica is, in milliseconds, when one is known.
    pub stale_ms: Option<u64>,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node.
    pub node: NodeId,
    /// Its replicas.
    pub replicas: Vec<ReplicaStatus>,
    /// Nodes that it has not heard from for longer than a region may be silent.
    pub silent: Vec<NodeId>,
    /// Bytes free on its disk.
    pub free_bytes: u64,
    /// Whether it refuses writes for lack of space.
    pub disk_low: bool,
    /// Replicas on its disk, besides that of the system group: open, of old incarnations, or being given up.
    pub stored: u64,
    /// Those of them that are of incarnations which were given up.
    pub old: u64,
    /// What regions have alone, as this node measures it or last heard of it.
    pub at_risk: Vec<RiskReport>,
}

impl NodeStatus {
    /// Whether the node has a replica of an incarnation that `state` has given up, which the node itself may be still to hear of.
    pub(crate) fn has_old(&self, state: &SystemState) -> bool {
        let newest = |group: &GroupId| state.groups.get(group).map(|info| info.incarnation);
        self.old > 0 || self.replicas.iter().any(|replica| newest(&replica.group) > Some(replica.incarnation))
    }
}

/// What a group that stands and falls with one region has there alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskReport {
    /// The group.
    pub group: GroupId,
    /// The incarnation that its leader leads.
    pub incarnation: Incarnation,
    /// The leader, which measured it.
    pub leader: NodeId,
    /// How much.
    pub at_risk: AtRisk,
    /// How long ago the leader said so, in milliseconds; 0 from the leader itself.
    pub heard_ms: u64,
}

/// How far a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Survey {
    /// The end of its log; `None` when it has none.
    pub(crate) end: Option<LogPoint>,
    /// Whether it takes part with a vote, and so could lead.
    pub(crate) votes: bool,
}

/// An item of an old incarnation that has writes beyond the cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostWrite {
    /// The group.
    pub group: GroupId,
    /// The old incarnation.
    pub incarnation: Incarnation,
    /// The index of the last of them in the old log.
    pub index: u64,
    /// Which of that entry's writes it is.
    pub part: u32,
    /// The item's key.
    pub key: Bytes,
    /// What the item was after it; `None`: deleted.
    pub value: Option<Bytes>,
    /// How many there are.
    pub writes: u64,
    /// Milliseconds since 1970 at the old leader when it took the last; 0 when that is not known.
    pub stamp_ms: u64,
}

impl LostWrite {
    /// Where it stands among all of them.
    #[must_use]
    pub fn at(&self) -> SalvageAt {
        (self.group, self.incarnation, self.index, self.part)
    }
}

/// A place in the order of all lost writes.
pub type SalvageAt = (GroupId, Incarnation, u64, u32);

/// An order to give a region up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverOrder {
    /// The region.
    pub from: RegionName,
    /// Only the groups of this policy.
    pub policy: Option<PolicyName>,
    /// Whether no operator gave it.
    pub automatic: bool,
}

/// What became of one group of a region that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupFailover {
    /// The group.
    pub group: GroupId,
    /// Its policy.
    pub policy: PolicyName,
    /// Its incarnation now.
    pub incarnation: Incarnation,
    /// The node from whose replica it goes on.
    pub seed: Option<NodeId>,
    /// Where the old log was cut; `None` when the seed has not said so yet.
    pub cut: Option<LogPoint>,
    /// What the old leader last said was at risk.
    pub last_heard: Option<LastHeard>,
    /// Why it was not founded anew.
    pub error: Option<String>,
}

impl GroupFailover {
    /// Nothing has been done yet.
    pub(crate) fn of(group: &GroupInfo) -> Self {
        Self {
            group: group.id,
            policy: group.policy.clone(),
            incarnation: group.incarnation,
            seed: None,
            cut: None,
            last_heard: None,
            error: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_placement::{CommitRule, Placement};

    fn group(incarnation: u32) -> GroupInfo {
        GroupInfo {
            id: GroupId(1),
            policy: PolicyName::new("p").expect("a name"),
            ordinal: 0,
            incarnation: Incarnation(incarnation),
            placement: Placement {
                voters: [NodeId(1)].into(),
                learners: [].into(),
                witnesses: [].into(),
                preferred_leaders: vec![NodeId(1)],
                data: BTreeMap::new(),
                rule: CommitRule::Majority,
            },
            refoundations: Vec::new(),
            founders: [NodeId(1)].into(),
            arriving: [].into(),
        }
    }

    fn status(incarnation: u32, old: u64) -> NodeStatus {
        let replica = ReplicaStatus {
            group: GroupId(1),
            incarnation: Incarnation(incarnation),
            term: 1,
            leader: None,
            lease_ms: None,
            committed: 0,
            applied: 0,
            answerable: 0,
            members: None,
            matched: BTreeMap::new(),
            stale_ms: None,
        };
        NodeStatus {
            node: NodeId(1),
            replicas: vec![replica],
            silent: Vec::new(),
            free_bytes: 0,
            disk_low: false,
            stored: 1,
            old,
            at_risk: Vec::new(),
        }
    }

    #[test]
    fn a_node_that_has_not_heard_of_an_incarnation_has_an_old_one() {
        let mut state = SystemState::default();
        assert!(!status(0, 0).has_old(&state), "nothing is known of the group");
        state.groups.insert(GroupId(1), group(1));
        assert!(status(0, 0).has_old(&state));
        assert!(!status(1, 0).has_old(&state));
        assert!(status(1, 1).has_old(&state), "what it says itself counts");
    }
}
