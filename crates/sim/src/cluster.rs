//! The cluster of a run: its shape, its nodes, and what can be done to them.

use crate::disk::{Bugs, Disk};
use crate::network::{Network, Port};
use crate::register::Registers;
use crate::rng::Rng;
use crate::trace::Trace;
use meridian_placement::{Distances, Node, Topology};
use meridian_replication::runtime::Process;
use meridian_replication::transport::PeerAddress;
use meridian_replication::{Founding, LogLimits, Network as Wire, Replication, ReplicationOptions, Timing};
use meridian_store::Store;
use meridian_types::{
    ConflictRule, NodeId, NodeName, OnRegionLoss, Pattern, Policy, PolicyName, RegionName, Span, ZoneName,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// By how many milliseconds a second clocks may differ, and one more.
const CLOCK_SPREAD: u64 = 101;

/// What a cluster looks like, drawn from the seed.
#[derive(Clone, Debug)]
pub struct Shape {
    nodes: Vec<Node>,
    round_trips: BTreeMap<(RegionName, RegionName), Duration>,
    policies: Vec<Policy>,
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
        Self { nodes, round_trips, policies, log }
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
    fn latencies_between(&self, a: &Node, others: &[Node]) -> BTreeMap<(NodeId, NodeId), Duration> {
        let mut latencies = BTreeMap::new();
        for b in others.iter().filter(|b| b.id != a.id) {
            let rtt = self.round_trips.get(&(a.region.clone(), b.region.clone()));
            latencies.insert((a.id, b.id), rtt.copied().unwrap_or_default() / 2);
            latencies.insert((b.id, a.id), rtt.copied().unwrap_or_default() / 2);
        }
        latencies
    }

    fn distances(&self) -> Distances {
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

/// A node that is up.
#[derive(Clone)]
pub struct Up {
    /// Its process.
    pub process: Process,
    /// Its replication.
    pub replication: Arc<Replication>,
    /// Its store.
    pub store: Store,
    disk_work: Arc<JoinHandle<()>>,
}

struct Slot {
    /// What the node is, if it joined later.
    joined: Option<Node>,
    /// Whether it has left, and is never started again.
    gone: bool,
    disk: Disk,
    up: Option<Up>,
    boots: u64,
    /// Milliseconds that the node's clock shows after a second.
    clock_rate: u32,
    rng: Rng,
}

/// All nodes of a run. Clones are the same cluster.
#[derive(Clone)]
pub struct Cluster {
    shape: Arc<Shape>,
    network: Network,
    trace: Trace,
    bugs: Bugs,
    /// The node whose disk flips bits, if any does.
    frail: NodeId,
    slots: Arc<Mutex<BTreeMap<NodeId, Slot>>>,
    /// Marks of processes that are no more.
    marks: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl Cluster {
    /// A cluster whose nodes are all down.
    #[must_use]
    pub fn new(shape: Shape, bugs: Bugs, rng: &mut Rng, trace: &Trace) -> Self {
        let network = Network::new(rng.fork(), trace.clone(), shape.latencies());
        let frail = rng.pick(&shape.nodes).map_or(NodeId(1), |node| node.id);
        // In half of the runs the clocks run at rates of their own, of which any two differ by a tenth at most.
        let spread = if rng.chance(50) { CLOCK_SPREAD } else { 1 };
        let slots = shape.nodes.iter().map(|node| {
            let disk = Disk::new(node.id, trace.clone(), bugs.lying_disks);
            let clock_rate = 1_000 + u32::try_from(rng.range(0..spread)).unwrap_or(0);
            trace.event(format_args!("clock of node {}: {clock_rate} ms a second", node.id));
            (
                node.id,
                Slot { joined: None, gone: false, disk, up: None, boots: 0, clock_rate, rng: rng.fork() },
            )
        });
        Self {
            slots: Arc::new(Mutex::new(slots.collect())),
            shape: Arc::new(shape),
            network,
            trace: trace.clone(),
            bugs,
            frail,
            marks: Arc::default(),
        }
    }

    /// Its shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Its network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The one node whose disk may flip bits.
    #[must_use]
    pub fn frail(&self) -> NodeId {
        self.frail
    }

    /// Its trace.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// A node, if it is up.
    #[must_use]
    pub fn up(&self, node: NodeId) -> Option<Up> {
        self.slots().get(&node)?.up.clone()
    }

    /// All nodes that are up.
    #[must_use]
    pub fn all_up(&self) -> Vec<(NodeId, Up)> {
        self.slots().iter().filter_map(|(node, slot)| Some((*node, slot.up.clone()?))).collect()
    }

    /// A node's disk.
    #[must_use]
    pub fn disk(&self, node: NodeId) -> Option<Disk> {
        self.slots().get(&node).map(|slot| slot.disk.clone())
    }

    /// Starts a node that is down.
    ///
    /// # Errors
    /// When its disk does not open, or its groups do not: that is a failure of the run.
    pub async fn start(&self, node: NodeId) -> Result<(), String> {
        let (disk, disk_rng, process) = {
            let mut slots = self.slots();
            let idle = |slot: &&mut Slot| slot.up.is_none() && !slot.gone;
            let Some(slot) = slots.get_mut(&node).filter(idle) else { return Ok(()) };
            slot.boots += 1;
            let (luck, disk_rng) = (slot.rng.draw(), slot.rng.fork());
            let process = Process::with_mistake(node.0, luck, self.trace.started(), self.bugs.mistake);
            process.set_clock_rate(slot.clock_rate);
            (slot.disk.clone(), disk_rng, process)
        };
        self.trace.event(format_args!("node {node} starts"));
        let (store, disk_work) = disk.open(disk_rng).map_err(|error| format!("node {node}: {error}"))?;
        let options = self.options(node, &process, store.clone())?;
        let started = process.spawn(Replication::start(options)).await;
        let replication = match started {
            Ok(Ok(replication)) => replication,
            Ok(Err(error)) => return Err(format!("node {node} does not start: {error}")),
            Err(error) => return Err(format!("node {node} panicked as it started: {error}")),
        };
        let up = Up { process, replication, store, disk_work: Arc::new(disk_work) };
        if let Some(slot) = self.slots().get_mut(&node) {
            slot.up = Some(up);
        }
        Ok(())
    }

    fn options(&self, own: NodeId, process: &Process, store: Store) -> Result<ReplicationOptions, String> {
        let joined = self.slots().get(&own).and_then(|slot| slot.joined.clone());
        let joins = joined.is_some();
        let nodes: Vec<Node> = self.shape.nodes.iter().cloned().chain(joined).collect();
        let topology = Topology::new(nodes.clone()).map_err(|error| error.to_string())?;
        let peers = nodes.iter().map(|node| PeerAddress {
            number: node.id,
            name: node.name.clone(),
            address: node.name.to_string(),
        });
        let (network, process) = (self.network.clone(), process.clone());
        let door = Box::new(move |acceptor| network.plug(own, process, acceptor));
        let dialer = Arc::new(Port::new(own, self.network.clone()));
        Ok(ReplicationOptions {
            own,
            topology,
            joins,
            distances: self.shape.distances(),
            network: Wire::Carried { peers: peers.collect(), dialer, door },
            store,
            timing: self.shape.timing(),
            log: self.shape.log.clone(),
            evaluator: Arc::new(Registers),
            founding: Founding {
                cluster: "simulation".to_owned(),
                policies: self.shape.policies.clone(),
                credentials: Vec::new(),
            },
        })
    }

    /// Takes in a node that has joined; it is down.
    pub fn admit(&self, node: Node, rng: &mut Rng) {
        self.trace.event(format_args!("node {} joins {}", node.id, node.region));
        let disk = Disk::new(node.id, self.trace.clone(), self.bugs.lying_disks);
        let others: Vec<Node> = self.shape.nodes.iter().cloned().chain(self.joined()).collect();
        self.network.place(self.shape.latencies_between(&node, &others));
        let id = node.id;
        let slot = Slot {
            joined: Some(node),
            gone: false,
            disk,
            up: None,
            boots: 0,
            clock_rate: 1_000,
            rng: rng.fork(),
        };
        self.slots().insert(id, slot);
    }

    fn joined(&self) -> Vec<Node> {
        self.slots().values().filter_map(|slot| slot.joined.clone()).collect()
    }

    /// Every node that has not left.
    #[must_use]
    pub fn members(&self) -> Vec<NodeId> {
        self.slots().iter().filter(|(_, slot)| !slot.gone).map(|(node, _)| *node).collect()
    }

    /// Whether a node has joined or was asked to leave.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        !self.joined().is_empty()
    }

    /// The nodes that may hold data, and their regions.
    #[must_use]
    pub fn holders(&self) -> BTreeMap<NodeId, RegionName> {
        let nodes = self.shape.nodes.iter().cloned().chain(self.joined());
        nodes.filter(|node| !node.witness).map(|node| (node.id, node.region)).collect()
    }

    /// Ends a node for good.
    pub fn retire(&self, node: NodeId) {
        self.kill(node, true);
        if let Some(slot) = self.slots().get_mut(&node) {
            slot.gone = true;
        }
    }

    /// Ends a node's process where it stands and takes the power from its disk. Peers are `told` or not.
    pub fn kill(&self, node: NodeId, told: bool) {
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(&node) else { return };
        let Some(up) = slot.up.take() else { return };
        self.trace.event(format_args!("node {node} dies, told {told}"));
        self.network.unplug(node, told);
        up.process.kill();
        up.disk_work.abort();
        slot.disk.crash(&mut slot.rng);
        self.keep_marks(&up.process);
    }

    /// The rare paths that were taken so far.
    #[must_use]
    pub fn marks(&self) -> BTreeMap<&'static str, u64> {
        for (_, up) in self.all_up() {
            self.keep_marks(&up.process);
        }
        self.lock_marks().clone()
    }

    /// Counts a rare path of the simulation's own.
    pub fn mark(&self, path: &'static str) {
        *self.lock_marks().entry(path).or_default() += 1;
    }

    fn keep_marks(&self, process: &Process) {
        let mut marks = self.lock_marks();
        for (path, count) in process.take_marks() {
            *marks.entry(path).or_default() += count;
        }
    }

    fn lock_marks(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        // One thread only; a panic ends the run.
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<NodeId, Slot>> {
        // One thread only; a panic ends the run.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
