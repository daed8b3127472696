//! What a cluster looks like.

use crate::rng::Rng;
use meridian_placement::{Distances, Node};
use meridian_replication::{LogLimits, Timing};
use meridian_types::{
    ConflictRule, NodeId, NodeName, OnRegionLoss, Pattern, Policy, PolicyName, RegionName, Span, ZoneName,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// The policy that tables have beside those of all runs.
const WIDE: &str = "wide";

/// What a cluster looks like, drawn from the seed.
#[derive(Clone, Debug)]
pub struct Shape {
    nodes: Vec<Node>,
    round_trips: BTreeMap<(RegionName, RegionName), Duration>,
    policies: Vec<Policy>,
    /// Behind those, for tables.
    more: Vec<Policy>,
    log: LogLimits,
}

fn name<T, E: std::fmt::Debug>(made: Result<T, E>) -> T {
    // Every name here is a literal or a number behind one, and short.
    made.unwrap_or_else(|error| unreachable!("a name of the simulation is refused: {error:?}"))
}

impl Shape {
    /// Draws a shape.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Self {
        let kind = rng.range(0..10);
        // Mostly three regions of one node, then bigger ones, two regions with a witness, and one region of three zones.
        match kind {
            0..=4 => Self::of(rng, 3, 1, false),
            5 | 6 => Self::of(rng, 3, 2, false),
            7 | 8 => {
                let nodes = rng.range(1..3);
                Self::of(rng, 2, nodes, true)
            }
            _ => Self::of(rng, 1, 3, false),
        }
    }

    /// A shape for drills: three regions of so many nodes, each in a zone of its own.
    #[must_use]
    pub fn of_drill(rng: &mut Rng, per_region: u64) -> Self {
        Self::of(rng, 3, per_region, false)
    }

    fn of(rng: &mut Rng, regions: u64, per_region: u64, witness: bool) -> Self {
        let region = |index: u64| name(RegionName::new(&format!("region-{index}")));
        let mut nodes = Vec::new();
        let all = regions + u64::from(witness);
        for index in 0..all {
            let is_witness = witness && index == regions;
            for place in 0..if is_witness { 1 } else { per_region } {
                let id = NodeId(nodes.len() as u64 + 1);
                nodes.push(Node {
                    id,
                    name: name(NodeName::new(&format!("node-{id}"))),
                    region: region(index),
                    zone: name(ZoneName::new(&format!("zone-{index}-{place}"))),
                    witness: is_witness,
                });
            }
        }
        let mut round_trips = BTreeMap::new();
        for a in 0..all {
            for b in 0..=a {
                let rtt = if a == b { rng.us(300..1_500) } else { rng.ms(5..250) };
                round_trips.insert((region(a), region(b)), rtt);
                round_trips.insert((region(b), region(a)), rtt);
            }
        }
        let data: Vec<RegionName> = (0..regions).map(region).collect();
        let policies = policies(rng, &data, witness.then(|| region(regions)).as_ref());
        // Short logs on some runs, so that members which were away need snapshots.
        let log = if rng.chance(50) {
            LogLimits { snapshot_every: 40, keep: 10, lag_threshold: 30, ..LogLimits::default() }
        } else {
            LogLimits::default()
        };
        Self { nodes, round_trips, policies, more: Vec::new(), log }
    }

    /// The same with what tables move between: one policy more, of two groups and with a primary region of its own. Every region's
    /// writes wait for another one in some runs.
    #[must_use]
    pub fn with_tables(mut self, rng: &mut Rng) -> Self {
        let regions = self.data_regions();
        let strict = usize::try_from(self.strict_groups()).unwrap_or(1);
        let like = rng.index(strict);
        if let Some(like) = self.policies.get(like).cloned() {
            let primary = rng.pick(&regions).cloned().into_iter().collect();
            self.more.push(Policy { name: name(PolicyName::new(WIDE)), groups: 2, primary, ..like });
        }
        let witness = self.policies.first().and_then(|policy| policy.witness.clone());
        if rng.chance(30) {
            for policy in self.policies.iter_mut().filter(|policy| policy.pattern == Pattern::ActiveActive) {
                policy.replication = meridian_types::Replication::SemiSync;
                policy.witness.clone_from(&witness);
            }
        }
        self
    }

    /// The same without the policy under which every region writes.
    #[must_use]
    pub fn without_active(mut self) -> Self {
        self.policies.retain(|policy| policy.pattern != Pattern::ActiveActive);
        self
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The regions, each once.
    #[must_use]
    pub fn regions(&self) -> Vec<RegionName> {
        let mut regions: Vec<RegionName> = self.nodes.iter().map(|node| node.region.clone()).collect();
        regions.dedup();
        regions
    }

    /// The regions that hold data, each once.
    #[must_use]
    pub fn data_regions(&self) -> Vec<RegionName> {
        let nodes = self.nodes.iter().filter(|node| !node.witness);
        let mut regions: Vec<RegionName> = nodes.map(|node| node.region.clone()).collect();
        regions.dedup();
        regions
    }

    /// The nodes of a region.
    #[must_use]
    pub fn nodes_of(&self, region: &RegionName) -> Vec<NodeId> {
        self.nodes.iter().filter(|node| node.region == *region).map(|node| node.id).collect()
    }

    /// The policies.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// All policies, those of tables behind the others.
    pub fn all_policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter().chain(&self.more)
    }

    /// Whether there are tables.
    #[must_use]
    pub fn has_tables(&self) -> bool {
        !self.more.is_empty()
    }

    /// How long logs grow.
    #[must_use]
    pub fn log(&self) -> LogLimits {
        self.log.clone()
    }

    /// The groups of policies with one primary region: the first ones, one a policy.
    #[must_use]
    pub fn single_groups(&self) -> u64 {
        let single = self.policies.iter().filter(|policy| policy.pattern != Pattern::ActiveActive);
        single.count() as u64
    }

    /// Those of them that lose nothing.
    #[must_use]
    pub fn strict_groups(&self) -> u64 {
        let single = self.single_groups();
        if single > 1 { single - 1 } else { single }
    }

    /// The timings that its longest round trip asks for.
    #[must_use]
    pub fn timing(&self) -> Timing {
        Timing::for_round_trip(self.round_trips.values().max().copied().unwrap_or_default())
    }

    /// One-way latencies between all nodes.
    #[must_use]
    pub fn latencies(&self) -> BTreeMap<(NodeId, NodeId), Duration> {
        self.nodes.iter().flat_map(|a| self.latencies_between(a, &self.nodes)).collect()
    }

    /// One-way latencies between a node and others, in both directions.
    pub(crate) fn latencies_between(
        &self,
        a: &Node,
        others: &[Node],
    ) -> BTreeMap<(NodeId, NodeId), Duration> {
        let mut latencies = BTreeMap::new();
        for b in others.iter().filter(|b| b.id != a.id) {
            let rtt = self.round_trips.get(&(a.region.clone(), b.region.clone()));
            latencies.insert((a.id, b.id), rtt.copied().unwrap_or_default() / 2);
            latencies.insert((b.id, a.id), rtt.copied().unwrap_or_default() / 2);
        }
        latencies
    }

    pub(crate) fn distances(&self) -> Distances {
        let mut distances = Distances::new();
        for ((a, b), rtt) in &self.round_trips {
            distances.set(a, b, u32::try_from(rtt.as_millis()).unwrap_or(u32::MAX));
        }
        distances
    }
}

fn policies(rng: &mut Rng, regions: &[RegionName], witness: Option<&RegionName>) -> Vec<Policy> {
    use meridian_types::Replication::{Async, SemiSync, Sync};
    let policy = |text: &str, replication, on_region_loss| Policy {
        name: name(PolicyName::new(text)),
        pattern: Pattern::ActivePassive,
        replication,
        regions: regions.to_vec(),
        primary: regions.iter().take(1).cloned().collect(),
        witness: witness.cloned(),
        groups: 1,
        on_region_loss,
        conflict: None,
        auto_failover: false,
        failover_after: None,
        max_lag: None,
        failback: None,
    };
    if regions.len() == 1 {
        return vec![policy("local", Async, None)];
    }
    let loss = if rng.chance(75) { OnRegionLoss::Degrade } else { OnRegionLoss::Block };
    // Last: its group is given up with its region, and may lose what it had acknowledged.
    let loose = Policy {
        witness: None,
        auto_failover: true,
        failover_after: Some(Span::from_millis(500)),
        ..policy("async", Async, None)
    };
    // Behind all others, whose groups are numbered by their order.
    let active = Policy {
        pattern: Pattern::ActiveActive,
        primary: Vec::new(),
        witness: None,
        conflict: Some(ConflictRule::Crdt),
        ..policy("active", Async, None)
    };
    vec![policy("sync", Sync, Some(loss)), policy("semi-sync", SemiSync, None), loose, active]
}
