//! Every cell of the replication table: who votes, who learns, who should lead, and by which rule the leader answers.

use crate::distance::Distances;
use crate::gate::CommitRule;
use crate::refound::sole_region;
use crate::seats::seats;
use crate::spread::{Share, pick, pick_odd};
use crate::topology::{Node, Topology};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use meridian_types::{NodeId, Policy, PolicyName, RegionName, Replication};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The most voters of the system group.
const MAX_SYSTEM_VOTERS: usize = 5;
/// The most voters of a group that stays within one region.
const MAX_ZONE_VOTERS: usize = 3;
/// How many regions vote in a semi-sync group.
const SEMI_SYNC_REGIONS: usize = 3;

/// Who serves one group, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Nodes that vote, witnesses among them.
    pub voters: BTreeSet<NodeId>,
    /// Nodes that replicate the data without voting.
    pub learners: BTreeSet<NodeId>,
    /// Voters that keep no data, never lead, and never count as a region that has the data.
    pub witnesses: BTreeSet<NodeId>,
    /// Data voters that may lead, best first.
    pub preferred_leaders: Vec<NodeId>,
    /// The region of every node that holds the group's data: voters and learners, no witnesses.
    pub data: BTreeMap<NodeId, RegionName>,
    /// When the leader may answer.
    pub rule: CommitRule,
}

impl Placement {
    /// The regions that hold the group's data.
    #[must_use]
    pub fn data_regions(&self) -> BTreeSet<RegionName> {
        self.data.values().cloned().collect()
    }

    /// Every node of the group: voters (witnesses too) and learners.
    pub fn members(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.voters.union(&self.learners).copied()
    }

    /// Whether a node is one of [`Self::members`].
    #[must_use]
    pub fn has_member(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.learners.contains(&node)
    }
}

/// Why a policy cannot be placed on the cluster as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// A region of the policy has no node that may hold data.
    #[error(
        "policy {0}: region {1} has no node that may hold data; add one there or take the region out of `regions`"
    )]
    NoDataNode(PolicyName, RegionName),
    /// The witness region has no node.
    #[error("policy {0}: witness region {1} has no node; add one there or name another witness")]
    NoWitnessNode(PolicyName, RegionName),
    /// The replication mode needs three voting regions.
    #[error("policy {0}: {1} needs three regions that vote and has {2}; add a region or a `witness`")]
    TooFewVotingRegions(PolicyName, Replication, usize),
    /// The origin is not one of the policy's regions.
    #[error("policy {0}: origin {1} is not one of its `regions`")]
    UnknownOrigin(PolicyName, RegionName),
    /// No nodes at all.
    #[error("the cluster has no node that may hold data")]
    EmptyTopology,
}

/// Places group `ordinal` (from 0, of [`Policy::group_count`]) of a policy.
///
/// - `sync`: every region votes, the preferred ones with a second node where there is one, so that a zone can be lost
///   without the leader leaving its region.
/// - `semi-sync`: the primary region votes and two more: those listed next in `primary`, then the nearest.
/// - `async`: up to three nodes of the primary region vote, in different zones as far as there are; an odd number.
///
/// All other data nodes of the policy's regions learn. With two data regions the witness region gets the third vote.
///
/// A group of an active-active policy is placed as if its origin were the primary region, and leaders are pinned to the origin, where its
/// writes are evaluated. While the origin is lost another voter may lead, so that what was acknowledged there reaches everybody; it
/// takes no new writes.
///
/// # Errors
/// [`PlaceError`] when the cluster lacks nodes that the policy needs.
pub fn place(
    policy: &Policy,
    ordinal: u32,
    topology: &Topology,
    distances: &Distances,
) -> Result<Placement, PlaceError> {
    let Some(origin) = policy.origin(ordinal) else {
        let order = policy.primary_order();
        return Placer::new(policy, ordinal, topology)?.place(&order, &policy.primary, distances);
    };
    let others = policy.regions.iter().filter(|region| *region != origin);
    let order: Vec<_> = core::iter::once(origin).chain(others).cloned().collect();
    // The groups of all origins that share the same items are spread alike.
    let share = ordinal % policy.groups;
    let mut placement = Placer::new(policy, share, topology)?.place(&order, &[], distances)?;
    placement.preferred_leaders.retain(|node| placement.data.get(node) == Some(origin));
    Ok(placement)
}

/// As [`place`], while some regions are given up for now (`without`): a group whose votes would all be in one of those lives in the first other
/// region of its policy instead.
///
/// # Errors
/// [`PlaceError`] when the cluster lacks nodes that the policy needs.
pub fn place_without(
    policy: &Policy,
    ordinal: u32,
    topology: &Topology,
    distances: &Distances,
    without: &BTreeSet<RegionName>,
) -> Result<Placement, PlaceError> {
    let placement = place(policy, ordinal, topology, distances)?;
    let away = policy.origin(ordinal).is_some()
        && sole_region(&placement).is_some_and(|region| without.contains(region));
    if !away {
        return Ok(placement);
    }
    let (gone, there): (Vec<_>, Vec<_>) =
        policy.regions.iter().cloned().partition(|region| without.contains(region));
    let order: Vec<_> = there.into_iter().chain(gone).collect();
    Placer::new(policy, ordinal % policy.groups, topology)?.place(&order, &[], distances)
}

/// Places the system group: up to five voters, an odd number, spread over the regions (or the zones of a single region);
/// every other node learns. Its state is metadata, so witness nodes are members like any other and may lead.
///
/// # Errors
/// [`PlaceError::EmptyTopology`] when there is no node.
pub fn place_system(topology: &Topology) -> Result<Placement, PlaceError> {
    let share = Share { ordinal: 0, groups: 1, salt: 0 };
    let nodes: Vec<&Node> = topology.nodes().collect();
    // Beyond the fifth region a region learns; the oldest ones vote, so that growing moves no vote.
    let regions = topology.regions().into_iter().take(MAX_SYSTEM_VOTERS);
    let domains: Vec<Vec<&Node>> =
        regions.map(|region| nodes.iter().filter(|node| node.region == region).copied().collect()).collect();
    let chosen: Vec<&Node> = if domains.len() == 1 {
        pick_odd(&nodes, MAX_SYSTEM_VOTERS, share)
    } else {
        let sizes: Vec<usize> = domains.iter().map(Vec::len).collect();
        domains
            .iter()
            .zip(seats(&sizes, MAX_SYSTEM_VOTERS))
            .flat_map(|(nodes, count)| pick(nodes, count, share))
            .collect()
    };
    let preferred_leaders: Vec<NodeId> = chosen.into_iter().map(|node| node.id).collect();
    if preferred_leaders.is_empty() {
        return Err(PlaceError::EmptyTopology);
    }
    let voters: BTreeSet<NodeId> = preferred_leaders.iter().copied().collect();
    let data: BTreeMap<_, _> = topology.nodes().map(|node| (node.id, node.region.clone())).collect();
    Ok(Placement {
        learners: data.keys().filter(|node| !voters.contains(node)).copied().collect(),
        voters,
        witnesses: BTreeSet::new(),
        preferred_leaders,
        data,
        rule: CommitRule::Majority,
    })
}

/// One group's placement in the making: the policy, its share of the spread, and the nodes it may use.
pub(crate) struct Placer<'a> {
    policy: &'a Policy,
    share: Share,
    data: BTreeMap<&'a RegionName, Vec<&'a Node>>,
    witnesses: Vec<&'a Node>,
}

impl<'a> Placer<'a> {
    pub(crate) fn new(policy: &'a Policy, ordinal: u32, topology: &'a Topology) -> Result<Self, PlaceError> {
        let nodes_of = |region: &RegionName, witness_too: bool| -> Vec<&'a Node> {
            topology.nodes().filter(|node| node.region == *region && (witness_too || !node.witness)).collect()
        };
        let data: BTreeMap<_, _> =
            policy.regions.iter().map(|region| (region, nodes_of(region, false))).collect();
        if let Some((region, _)) = data.iter().find(|(_, nodes)| nodes.is_empty()) {
            return Err(PlaceError::NoDataNode(policy.name.clone(), (*region).clone()));
        }
        let mut witnesses = Vec::new();
        if let Some(region) = &policy.witness {
            witnesses = nodes_of(region, true);
            // A node that is a witness and nothing else goes first: it has less to lose.
            witnesses.sort_by_key(|node| (!node.witness, node.id));
            if witnesses.is_empty() {
                return Err(PlaceError::NoWitnessNode(policy.name.clone(), region.clone()));
            }
        }
        let share = Share { ordinal, groups: policy.groups, salt: xxh3_64(policy.name.as_str().as_bytes()) };
        Ok(Self { policy, share, data, witnesses })
    }

    pub(crate) fn place(
        &self,
        order: &[RegionName],
        listed: &[RegionName],
        distances: &Distances,
    ) -> Result<Placement, PlaceError> {
        let (leaders, witnesses) = match self.policy.replication {
            Replication::Async => (self.voters_within(order), Vec::new()),
            Replication::Sync => self.voters_across(order)?,
            Replication::SemiSync => {
                let voting = self.nearest(order, listed, distances);
                let in_order: Vec<_> =
                    order.iter().filter(|region| voting.contains(region)).cloned().collect();
                self.voters_across(&in_order)?
            }
        };
        let data: BTreeMap<NodeId, RegionName> =
            self.data.values().flatten().map(|node| (node.id, node.region.clone())).collect();
        let voters: BTreeSet<NodeId> = leaders.iter().chain(&witnesses).copied().collect();
        Ok(Placement {
            learners: data.keys().filter(|node| !voters.contains(node)).copied().collect(),
            voters,
            witnesses: witnesses.into_iter().collect(),
            preferred_leaders: leaders,
            data,
            rule: self.policy.replication.into(),
        })
    }

    /// An odd number of voters in the first region of `order`.
    fn voters_within(&self, order: &[RegionName]) -> Vec<NodeId> {
        let nodes = order.first().and_then(|region| self.data.get(region)).map_or(&[][..], Vec::as_slice);
        pick_odd(nodes, MAX_ZONE_VOTERS, self.share).into_iter().map(|node| node.id).collect()
    }

    /// At least one voter in each region of `order`, and the witness: (data voters in order of preference, witnesses).
    fn voters_across(&self, order: &[RegionName]) -> Result<(Vec<NodeId>, Vec<NodeId>), PlaceError> {
        let domains: Vec<&[&Node]> =
            order.iter().filter_map(|region| self.data.get(region)).map(Vec::as_slice).collect();
        let witness = usize::from(!self.witnesses.is_empty());
        let voting = domains.len() + witness;
        if voting < 3 {
            let replication = self.policy.replication;
            return Err(PlaceError::TooFewVotingRegions(self.policy.name.clone(), replication, voting));
        }
        let mut sizes: Vec<usize> = domains.iter().map(|nodes| nodes.len()).collect();
        sizes.extend((witness == 1).then_some(1));
        // An odd number of regions takes two extra votes, an even number one: the next odd total that any region's loss leaves
        // with a majority. Where the nodes do not allow it every region has one vote.
        let mut dealt = seats(&sizes, voting + 1 + voting % 2);
        if dealt.contains(&0) {
            dealt = vec![1; voting];
        }
        let leaders = domains.iter().zip(&dealt).flat_map(|(nodes, count)| pick(nodes, *count, self.share));
        let leaders = leaders.map(|node| node.id).collect();
        Ok((leaders, self.witnesses.iter().take(witness).map(|node| node.id).collect()))
    }

    /// The regions that vote in a semi-sync group: the first of `order`, those listed after it, then the nearest to it.
    fn nearest(&self, order: &[RegionName], listed: &[RegionName], distances: &Distances) -> Vec<RegionName> {
        let Some((primary, others)) = order.split_first() else { return Vec::new() };
        let (mut voting, mut rest): (Vec<_>, Vec<_>) =
            others.iter().cloned().partition(|region| listed.contains(region));
        // The sort is stable: among equals the policy's order decides.
        rest.sort_by_key(|region| distances.rtt_ms(primary, region));
        voting.insert(0, primary.clone());
        voting.append(&mut rest);
        voting.truncate(SEMI_SYNC_REGIONS);
        voting
    }
}
