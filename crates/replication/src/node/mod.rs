//! The replication side of a node: its groups, its links, and the doors through which writes and reads come in.

mod changes;
mod client;
pub(crate) mod departed;
mod dispatch;
mod expel;
mod failover;
mod grants;
mod identity;
mod links;
mod members;
mod merged;
mod notices;
mod reseed;
mod risk;
mod roster;
mod salvage;
mod status;

pub use changes::Changes;
pub use client::{ReadConsistency, ReadDone, WriteDone};
pub use failover::{FailoverError, groups_of_region, origins_held_by};
pub use members::MembersError;
pub use merged::MergedRead;
pub use notices::{MAX_NOTICE, OnNotice};
pub use roster::Expelled;
pub(crate) use roster::{Roster, Seeds};

use crate::config::{LogLimits, Timing};
use crate::evaluate::Evaluator;
use crate::group::{Group, RegionLease, Replicas, Shared};
use crate::lag::Lag;
use crate::raft::{Pacer, refound};
use crate::replica_id::ReplicaId;
use crate::runtime::{self, Mistake, errs, mark, watch};
use crate::supervisor::{self, Founding};
use crate::system::SystemState;
use crate::transport::{self, Acceptor, Dial, Doorman, Handler, MtlsDialer, PeerAddress, PeerTls, Peers};
use grants::Grants;
use meridian_placement::{Distances, Topology};
use meridian_store::Store;
use meridian_types::{GroupId, Incarnation, NodeId, NodeName, RegionName};
use risk::HeardRisks;
use salvage::Retired;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// How a node reaches the others and is reached.
pub enum Network {
    /// A cluster of one node, which opens no peer port.
    Alone,
    /// gRPC streams over mTLS.
    Mtls {
        /// The nodes that this one starts with, itself among them.
        peers: Vec<PeerAddress>,
        /// This node's certificate.
        tls: PeerTls,
        /// Where peers connect.
        listener: TcpListener,
    },
    /// Frames are carried by somebody else, such as a simulation.
    Carried {
        /// The nodes that this one starts with, itself among them.
        peers: Vec<PeerAddress>,
        /// Opens streams to them.
        dialer: Arc<dyn Dial>,
        /// Gets what takes the streams that they open.
        door: Box<dyn FnOnce(Acceptor) + Send>,
    },
}

impl Network {
    /// The nodes that this one starts with, itself among them.
    fn peers(&self) -> &[PeerAddress] {
        match self {
            Self::Alone => &[],
            Self::Mtls { peers, .. } | Self::Carried { peers, .. } => peers,
        }
    }
}

/// What a node needs to take part in replication.
pub struct ReplicationOptions {
    /// This node's number.
    pub own: NodeId,
    /// The nodes that this one starts with: those that found a new cluster. What the cluster has recorded since counts for more.
    pub topology: Topology,
    /// Whether this node joins a cluster that runs, and so founds nothing.
    pub joins: bool,
    /// Round trips between regions, for placement.
    pub distances: Distances,
    /// How to reach the other nodes and be reached.
    pub network: Network,
    /// The engine.
    pub store: Store,
    /// Timings.
    pub timing: Timing,
    /// How long logs may grow.
    pub log: LogLimits,
    /// Evaluates requests.
    pub evaluator: Arc<dyn Evaluator>,
    /// What to found the cluster with, if it is new.
    pub founding: Founding,
}

/// A node's replication, running until it is dropped or [`Replication::shutdown`].
pub struct Replication {
    pub(crate) shared: Shared,
    pub(crate) distances: Distances,
    pub(crate) founding: Founding,
    groups: RwLock<BTreeMap<GroupId, Arc<Group>>>,
    publish_system: watch::Sender<Arc<SystemState>>,
    pub(crate) grants: Grants,
    pub(crate) heard_risks: HeardRisks,
    pub(crate) retired: Retired,
    /// How many damaged replicas were emptied.
    pub(crate) reseeded: AtomicU64,
    notices: notices::Notices,
    tasks: std::sync::Mutex<JoinSet<()>>,
}

impl Replication {
    /// Opens the groups that this node holds, connects to peers and starts the supervisor.
    ///
    /// # Errors
    /// When the engine cannot be read.
    pub async fn start(options: ReplicationOptions) -> io::Result<Arc<Self>> {
        let (publish_system, system) = watch::channel(Arc::default());
        let peers = Peers::new(options.own);
        let node_name =
            options.topology.node(options.own).map_or_else(String::new, |node| node.name.to_string());
        let cluster = options.founding.cluster.clone();
        let disk = identity::take_up(&options.store, options.own, &cluster).await?;
        let addresses = options.network.peers().to_vec();
        let seeds = Seeds { topology: options.topology, addresses, joins: options.joins };
        let roster = Roster::new(options.own, (cluster, disk), seeds, system.clone());
        let roster =
            roster.ok_or_else(|| io::Error::other("the node is not among the nodes that it starts with"))?;
        let region_lease = Arc::new(RegionLease::new(options.timing.region_lease()));
        let shared = Shared {
            store: options.store,
            peers: Arc::clone(&peers),
            timing: options.timing,
            pacer: Pacer::new(options.log.catch_up_rate),
            lag: Lag::new(Arc::clone(&peers)),
            log: options.log,
            evaluator: options.evaluator,
            system,
            region_lease,
            node_name,
            roster,
            replicas: Replicas::new(Arc::clone(&peers)),
        };
        let node = Arc::new(Self {
            shared,
            distances: options.distances,
            founding: options.founding,
            groups: RwLock::default(),
            publish_system,
            grants: Grants::default(),
            heard_risks: HeardRisks::default(),
            retired: Retired::default(),
            reseeded: AtomicU64::new(0),
            notices: notices::Notices::default(),
            tasks: std::sync::Mutex::default(),
        });
        node.shared.roster.serve(&node);
        node.open_group(GroupId::SYSTEM.into(), None).await?;
        node.connect(options.network);
        supervisor::start(&node);
        Ok(node)
    }

    /// Dials the peers and accepts them.
    fn connect(self: &Arc<Self>, network: Network) {
        let handler: Arc<dyn Handler> = Arc::new(dispatch::Dispatch::new(self));
        let door: Arc<dyn Doorman> = Arc::clone(&self.shared.roster) as _;
        let acceptor = Acceptor::new(Arc::clone(&self.shared.peers), Arc::clone(&handler), Arc::clone(&door));
        let dialer: Arc<dyn Dial> = match network {
            Network::Alone => return,
            Network::Mtls { tls, listener, .. } => {
                let dialer = Arc::new(MtlsDialer::new(tls.clone()));
                self.spawn(async move {
                    if let Err(error) = transport::serve(listener, tls, acceptor).await {
                        tracing::error!(%error, "the peer listener failed");
                    }
                });
                dialer
            }
            Network::Carried { dialer, door, .. } => {
                door(acceptor);
                dialer
            }
        };
        self.spawn(links::keep(Arc::downgrade(self), Arc::clone(&self.shared.peers), dialer, handler));
    }

    /// This node's number.
    #[must_use]
    pub fn own(&self) -> NodeId {
        self.shared.peers.own()
    }

    /// The timings, which are the same on every node of a cluster.
    #[must_use]
    pub fn timing(&self) -> &Timing {
        &self.shared.timing
    }

    /// Has peers be reached elsewhere than the cluster knows, by name: for links that this node alone must take.
    pub fn set_routes(&self, routes: BTreeMap<NodeName, String>) {
        self.shared.roster.set_routes(routes);
    }

    /// Waits until this node has no place in the cluster any more, and says why.
    pub async fn expelled(&self) -> Expelled {
        let mut expelled = self.shared.roster.watch_expelled();
        match expelled.wait_for(Option::is_some).await {
            Ok(Some(why)) => why,
            _ => std::future::pending().await,
        }
    }

    /// The system state as this node has applied it.
    #[must_use]
    pub fn system(&self) -> Arc<SystemState> {
        Arc::clone(&self.shared.system.borrow())
    }

    /// Follows [`Self::system`].
    #[must_use]
    pub fn watch_system(&self) -> watch::Receiver<Arc<SystemState>> {
        self.shared.system.clone()
    }

    /// The engine.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    pub(crate) fn group(&self, id: GroupId) -> Option<Arc<Group>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub(crate) fn groups(&self) -> Vec<Arc<Group>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The region that this node is in.
    pub(crate) fn own_region(&self) -> Option<RegionName> {
        self.everyone()
            .node(self.own())
            .or(self.shared.roster.seeds.topology.node(self.own()))
            .map(|node| node.region.clone())
    }

    /// Every node of the cluster, as this node knows it.
    pub(crate) fn everyone(&self) -> Arc<Topology> {
        self.shared.roster.everyone()
    }

    /// The nodes on which groups are placed: those that do not leave.
    pub(crate) fn staying(&self) -> Arc<Topology> {
        self.shared.roster.staying()
    }

    /// The replica that a message is for: none when this node has heard of a newer incarnation, or not yet of this one (invariant 4).
    pub(crate) fn addressed(&self, to: ReplicaId) -> Option<Arc<Group>> {
        let group = self.group(to.group)?;
        let same = group.incarnation == to.incarnation || errs(Mistake::DropIncarnationFence);
        (same && group.fence.is_current()).then_some(group)
    }

    /// Opens this node's replica of a group, once, and ends the one of an older incarnation. With a `base` this node is the seed: it
    /// founds the incarnation from its replica of that one.
    pub(crate) async fn open_group(&self, id: ReplicaId, base: Option<Incarnation>) -> io::Result<()> {
        if let Some(open) = self.group(id.group) {
            if open.incarnation >= id.incarnation {
                return Ok(());
            }
            open.close().await?;
        }
        if let Some(base) = base {
            let (store, own) = (self.shared.store.clone(), self.own());
            let founding = runtime::aside(move || refound::found(&store, id, base, own));
            let cut = founding.await??;
            mark("a seed founded its group anew");
            tracing::info!(group = %id, ?cut, "founded anew");
        }
        let publish = id.group.is_system().then(|| self.publish_system.clone());
        let departed = departed::of(&self.shared.store, id)?;
        let group = Group::open(id, &self.shared, publish, departed).await?;
        self.shared.replicas.opened(&group);
        self.groups.write().unwrap_or_else(PoisonError::into_inner).insert(id.group, group);
        Ok(())
    }

    /// Lets go of this node's replica of a group, which has been closed.
    pub(crate) fn forget_group(&self, id: ReplicaId) {
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        if groups.get(&id.group).is_some_and(|group| group.replica_id() == id) {
            groups.remove(&id.group);
        }
    }

    /// Runs a task for as long as the node runs.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        runtime::spawn_into(&mut self.tasks.lock().unwrap_or_else(PoisonError::into_inner), task);
    }

    /// Stops every task and group, then closes the engine.
    pub async fn shutdown(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        for group in self.groups() {
            let _ = group.raft.shutdown().await;
        }
    }
}
