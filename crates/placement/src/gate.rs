//! The answerable index: up to where a leader may acknowledge writes and serve consistent reads.

use crate::place::Placement;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use meridian_types::{NodeId, RegionName, Replication};
use serde::{Deserialize, Serialize};

/// What must hold of a log entry, besides its commit by a majority of the voters, before the leader answers for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommitRule {
    /// Nothing more (`async`: the voters are the zones of one region).
    Majority,
    /// A data region other than the leader's has it on disk (`semi-sync`). A witness does not count.
    OtherRegion,
    /// Every required region has it on disk (`sync`).
    EveryRegion,
}

impl From<Replication> for CommitRule {
    fn from(replication: Replication) -> Self {
        match replication {
            Replication::Async => Self::Majority,
            Replication::SemiSync => Self::OtherRegion,
            Replication::Sync => Self::EveryRegion,
        }
    }
}

/// A commit rule made ready for one leader: sets of nodes, of each of which one must have an entry before it is answered for.
///
/// Make it anew when the placement, the leader or the lost regions change. What a gate has let through is answered for, so
/// the caller keeps the highest index and never goes back behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitGate {
    one_of_each: Vec<Vec<NodeId>>,
}

impl CommitGate {
    /// The gate for a group led by `leader`, with the regions that the system group has recorded as `lost`.
    ///
    /// Lost regions are no longer required by `sync`. They make no difference to `semi-sync` as long as another data region is left;
    /// when all others are lost (two data regions and a witness) the majority is enough, as it then is the survivor and the
    /// witness. A gate that no node could ever satisfy (semi-sync with the data in one region) lets nothing through.
    #[must_use]
    pub fn new(placement: &Placement, leader: NodeId, lost: &BTreeSet<RegionName>) -> Self {
        let mut regions: BTreeMap<&RegionName, Vec<NodeId>> = BTreeMap::new();
        for (node, region) in &placement.data {
            regions.entry(region).or_default().push(*node);
        }
        let one_of_each = match placement.rule {
            CommitRule::Majority => Vec::new(),
            CommitRule::OtherRegion => {
                let home = placement.data.get(&leader);
                let others: Vec<_> =
                    regions.into_iter().filter(|(region, _)| Some(*region) != home).collect();
                let all_lost = !others.is_empty() && others.iter().all(|(region, _)| lost.contains(*region));
                let nodes = others.into_iter().flat_map(|(_, nodes)| nodes).collect();
                if all_lost { Vec::new() } else { Vec::from([nodes]) }
            }
            CommitRule::EveryRegion => regions
                .into_iter()
                .filter(|(region, _)| !lost.contains(*region))
                .map(|(_, nodes)| nodes)
                .collect(),
        };
        Self { one_of_each }
    }

    /// The highest index that may be answered for: at most `committed`, and never lower when a node has more.
    ///
    /// `matched` tells the last log index that a node is known to have on disk and to share with the leader; 0 for none.
    #[must_use]
    pub fn answerable(&self, committed: u64, matched: impl Fn(NodeId) -> u64) -> u64 {
        let least =
            self.one_of_each.iter().map(|set| set.iter().map(|node| matched(*node)).max().unwrap_or(0)).min();
        least.map_or(committed, |least| least.min(committed))
    }
}
