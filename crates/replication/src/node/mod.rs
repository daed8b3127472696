//! The replication side of a node: its groups, its links, and the doors through which writes and reads come in.

mod client;
mod dispatch;
mod status;

pub use client::{ReadConsistency, ReadDone, WriteDone};

use crate::config::Timing;
use crate::evaluate::Evaluator;
use crate::group::{Group, Shared};
use crate::supervisor::{self, Founding};
use crate::system::SystemState;
use crate::transport::{self, PeerAddress, PeerTls, Peers};
use meridian_placement::{Distances, Topology};
use meridian_store::Store;
use meridian_types::{GroupId, NodeId};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What a node needs to take part in replication.
pub struct ReplicationOptions {
    /// This node's number.
    pub own: NodeId,
    /// Every node of the cluster.
    pub topology: Topology,
    /// Round trips between regions, for placement.
    pub distances: Distances,
    /// How to reach the other nodes.
    pub peers: Vec<PeerAddress>,
    /// This node's certificate; `None` only for a cluster of one node, which then opens no peer port.
    pub tls: Option<PeerTls>,
    /// Where peers connect.
    pub listener: TcpListener,
    /// The engine.
    pub store: Store,
    /// Timings.
    pub timing: Timing,
    /// Evaluates requests.
    pub evaluator: Arc<dyn Evaluator>,
    /// What to found the cluster with, if it is new.
    pub founding: Founding,
}

/// A node's replication, running until it is dropped or [`Replication::shutdown`].
pub struct Replication {
    pub(crate) shared: Shared,
    pub(crate) topology: Topology,
    pub(crate) distances: Distances,
    pub(crate) founding: Founding,
    groups: RwLock<BTreeMap<GroupId, Arc<Group>>>,
    publish_system: watch::Sender<Arc<SystemState>>,
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
        let shared = Shared {
            store: options.store,
            peers: Arc::clone(&peers),
            timing: options.timing,
            evaluator: options.evaluator,
            system,
            node_name,
            witnesses: Arc::new(options.topology.nodes().filter(|n| n.witness).map(|n| n.id).collect()),
        };
        let node = Arc::new(Self {
            shared,
            topology: options.topology,
            distances: options.distances,
            founding: options.founding,
            groups: RwLock::default(),
            publish_system,
            tasks: std::sync::Mutex::default(),
        });
        node.open_group(GroupId::SYSTEM).await?;
        let handler: Arc<dyn transport::Handler> = Arc::new(dispatch::Dispatch::new(&node));
        if let Some(tls) = options.tls {
            node.connect(options.listener, &tls, options.peers, &handler);
        }
        supervisor::start(&node);
        Ok(node)
    }

    /// Dials the peers with higher numbers and accepts the others.
    fn connect(
        &self,
        listener: TcpListener,
        tls: &PeerTls,
        known: Vec<PeerAddress>,
        handler: &Arc<dyn transport::Handler>,
    ) {
        let peers = &self.shared.peers;
        for peer in known.iter().filter(|peer| peer.number > peers.own()) {
            let dialling = Arc::clone(peers);
            self.spawn(dialling.keep_dialling(peer.clone(), tls.clone(), Arc::clone(handler)));
        }
        let (peers, tls, handler) = (Arc::clone(peers), tls.clone(), Arc::clone(handler));
        self.spawn(async move {
            if let Err(error) = transport::serve(listener, tls, &known, peers, handler).await {
                tracing::error!(%error, "the peer listener failed");
            }
        });
    }

    /// This node's number.
    #[must_use]
    pub fn own(&self) -> NodeId {
        self.shared.peers.own()
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

    /// Opens a group's replica on this node, once.
    pub(crate) async fn open_group(&self, id: GroupId) -> io::Result<()> {
        if self.group(id).is_some() {
            return Ok(());
        }
        let publish = id.is_system().then(|| self.publish_system.clone());
        let group = Group::open(id, &self.shared, publish).await?;
        self.groups.write().unwrap_or_else(PoisonError::into_inner).insert(id, group);
        Ok(())
    }

    /// Runs a task for as long as the node runs.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
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
