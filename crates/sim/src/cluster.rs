//! The cluster of a run: its nodes, and what can be done to them.

use crate::disk::{Bugs, Disk};
use crate::network::{Network, Port};
use crate::register::Registers;
use crate::rng::Rng;
use crate::shape::Shape;
use crate::tables::Evaluators;
use crate::trace::Trace;
use meridian::tables::ReplicatedTables;
use meridian_api::ServedBy;
use meridian_placement::{Node, Topology};
use meridian_replication::runtime::Process;
use meridian_replication::transport::PeerAddress;
use meridian_replication::{Evaluator, Founding, Network as Wire, Replication, ReplicationOptions};
use meridian_store::Store;
use meridian_types::{NodeId, RegionName};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinHandle;

/// By how many milliseconds a second clocks may differ, and one more.
const CLOCK_SPREAD: u64 = 101;

/// A node that is up.
#[derive(Clone)]
pub struct Up {
    /// Its process.
    pub process: Process,
    /// Its replication.
    pub replication: Arc<Replication>,
    /// Its store.
    pub store: Store,
    /// Its tables, in a run that has some.
    pub tables: Option<Arc<ReplicatedTables>>,
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
    /// Faults that happen now.
    faults: Arc<AtomicU64>,
    /// Marks of processes that are no more.
    marks: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl Cluster {
    /// A cluster whose nodes are all down.
    #[must_use]
    pub fn new(shape: Shape, bugs: Bugs, rng: &mut Rng, trace: &Trace) -> Self {
        let network = Network::new(rng.fork(), trace.clone(), shape.latencies());
        let frail = rng.pick(shape.nodes()).map_or(NodeId(1), |node| node.id);
        // In half of the runs the clocks run at rates of their own, of which any two differ by a tenth at most.
        let spread = if rng.chance(50) { CLOCK_SPREAD } else { 1 };
        let slots = shape.nodes().iter().map(|node| {
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
            faults: Arc::default(),
        }
    }

    /// Whether something goes wrong now.
    #[must_use]
    pub fn suffers(&self) -> bool {
        self.faults.load(Ordering::Relaxed) > 0
    }

    /// Counts a fault for as long as it goes on.
    pub async fn suffer<T>(&self, fault: impl Future<Output = T>) -> T {
        self.faults.fetch_add(1, Ordering::Relaxed);
        let came = fault.await;
        self.faults.fetch_sub(1, Ordering::Relaxed);
        came
    }

    /// Whether its nodes serve tables.
    #[must_use]
    pub fn has_tables(&self) -> bool {
        self.shape.has_tables()
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
        let evaluators = self.has_tables().then(Arc::<Evaluators>::default);
        let options = self.options(node, &process, store.clone(), evaluators.clone())?;
        let started = process.spawn(Replication::start(options)).await;
        let replication = match started {
            Ok(Ok(replication)) => replication,
            Ok(Err(error)) => return Err(format!("node {node} does not start: {error}")),
            Err(error) => return Err(format!("node {node} panicked as it started: {error}")),
        };
        let tables = evaluators
            .zip(self.here(node))
            .map(|(evaluators, here)| evaluators.serve(&process, &replication, here));
        let up = Up { process, replication, store, tables, disk_work: Arc::new(disk_work) };
        if let Some(slot) = self.slots().get_mut(&node) {
            slot.up = Some(up);
        }
        Ok(())
    }

    fn here(&self, own: NodeId) -> Option<ServedBy> {
        let nodes = self.shape.nodes().iter().cloned().chain(self.joined());
        let mut own = nodes.filter(|node| node.id == own);
        own.next().map(|node| ServedBy { region: node.region, node: node.name })
    }

    fn options(
        &self,
        own: NodeId,
        process: &Process,
        store: Store,
        evaluators: Option<Arc<Evaluators>>,
    ) -> Result<ReplicationOptions, String> {
        let joined = self.slots().get(&own).and_then(|slot| slot.joined.clone());
        let joins = joined.is_some();
        let nodes: Vec<Node> = self.shape.nodes().iter().cloned().chain(joined).collect();
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
            log: self.shape.log(),
            evaluator: match evaluators {
                Some(evaluators) => evaluators as Arc<dyn Evaluator>,
                None => Arc::new(Registers),
            },
            founding: Founding {
                cluster: "simulation".to_owned(),
                policies: self.shape.all_policies().cloned().collect(),
                credentials: Vec::new(),
            },
        })
    }

    /// Takes in a node that has joined; it is down.
    pub fn admit(&self, node: Node, rng: &mut Rng) {
        self.trace.event(format_args!("node {} joins {}", node.id, node.region));
        let disk = Disk::new(node.id, self.trace.clone(), self.bugs.lying_disks);
        let others: Vec<Node> = self.shape.nodes().iter().cloned().chain(self.joined()).collect();
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
        let nodes = self.shape.nodes().iter().cloned().chain(self.joined());
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
