//! A running node: the store, replication, the DynamoDB and Redis fronts and the admin API, put together from its configuration.

mod admin;
mod expel;
mod failover;
mod jwt;
mod keys;
mod members;
mod metrics;
mod scrub;
mod services;
mod status;
mod store;

pub use admin::{NodeAdmin, Serving};

use crate::admin as admin_api;
use crate::anycast::Anycast;
use crate::config::{AuthMode, ConfigError, Credentials, NodeConfig};
use crate::dns::{self, Dns, Files, FilesError};
use crate::edge::{self, Edge};
use crate::files;
use crate::health::Health;
use crate::listen::listen;
use crate::parent::{Pretence, Routes, Told};
use crate::shutdown::Shutdown;
use crate::tables::{Catalogs, DynamoEvaluator, Guard, ReplicatedTables, expire, moving, tend_active};
use meridian_api::ServedBy;
use meridian_api::dynamodb::{self, FrontConfig};
use meridian_api::redis::{self, RedisConfig};
use meridian_placement::{Distances, Node, Topology, TopologyError};
use meridian_replication::runtime;
use meridian_replication::system::{AllowList, Credential};
use meridian_replication::transport::{PeerAddress, PeerTls, TlsError};
use meridian_replication::{
    Evaluator, Expelled, Founding, LogLimits, Network, Replication, ReplicationOptions, Timing,
};
use meridian_store::{Store, StoreError};
use meridian_types::NodeName;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Why a node could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration names something unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The cluster's nodes contradict each other.
    #[error("cluster.nodes: {0}")]
    Topology(#[from] TopologyError),
    /// A certificate cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A port cannot be opened.
    #[error("cannot listen on {address} for {what}: {source}; free the port or change `listen.{what}`")]
    Listen {
        /// Which of the node's addresses.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A file of DNS cannot be used.
    #[error("dns: {0}")]
    Dns(#[from] FilesError),
    /// The HTTP edge cannot be set up.
    #[error("edge: {0}")]
    Edge(std::io::Error),
    /// The data folder cannot be made.
    #[error("cannot make node.data_dir {}: {source}; make it for this user, or name another", dir.display())]
    DataDir {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The data folder is another node's.
    #[error("{0}")]
    OtherNode(std::io::Error),
    /// The cluster has no place for this node (any more).
    #[error("{0}")]
    Expelled(String),
    /// The store cannot be opened.
    #[error("cannot open the store: {0}")]
    Store(#[from] StoreError),
    /// The store is damaged where it tells what the node has promised.
    #[error(
        "cannot open the store: {damage}. What this node has promised the others cannot be known any more, so it must not come back. Leave the \
         folder as it is, and put a new node in its place: `meridian node replace {node}`"
    )]
    Damaged {
        /// What was found.
        damage: StoreError,
        /// This node.
        node: NodeName,
    },
    /// The replicas cannot be opened.
    #[error("cannot open the node's groups: {0}")]
    Groups(std::io::Error),
    /// The store failed while running: the node stops rather than go on with a disk that it cannot trust.
    #[error("the node stops because its store failed: {0}")]
    StoreFailed(StoreError),
}

impl NodeError {
    /// Whether the configuration, not the machine, is at fault.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Config(_)
                | Self::Topology(_)
                | Self::Tls(_)
                | Self::Dns(_)
                | Self::Edge(_)
                | Self::DataDir { .. }
                | Self::OtherNode(_)
                | Self::Expelled(_)
        )
    }
}

/// How often the store's health is looked at.
const HEALTH_EVERY: std::time::Duration = std::time::Duration::from_millis(250);

/// Runs a node until `shutdown`. `parent` is what the process that started it tells it.
///
/// # Errors
/// [`NodeError`] when it cannot start, or when its store fails.
pub async fn run(config: NodeConfig, parent: Option<Told>, shutdown: Shutdown) -> Result<(), NodeError> {
    let listen = &config.listen;
    let dynamodb = open("dynamodb", listen.dynamodb)?;
    let admin = open("admin", listen.admin)?;
    let redis = open("redis", listen.redis)?;
    let peer = open("peer", listen.peer)?;
    let files = Files::load(&config.dns)?;
    let named = |source| NodeError::Listen { what: "dns", address: listen.dns, source };
    let name_server = dns::start(&config).map_err(named)?;
    // Items and the secrets of access keys are in it.
    let dir = &config.node.data_dir;
    files::private_dir(dir).map_err(|source| NodeError::DataDir { dir: dir.clone(), source })?;
    let store =
        Store::open(dir, &store::options(&config)).map_err(|error| unopened(error, &config.node.id))?;
    let here = ServedBy { region: config.node.region.clone(), node: config.node.id.clone() };

    let evaluator: Arc<LateEvaluator> = Arc::default();
    let options =
        replication_options(&config, store.clone(), peer, Arc::clone(&evaluator) as Arc<dyn Evaluator>)?;
    let replication = Replication::start(options).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidInput => NodeError::OtherNode(error),
        _ => NodeError::Groups(error),
    })?;
    let catalogs = Arc::new(Catalogs::new(replication.watch_system()));
    let guard = Guard { max_clock_offset: config.replication.max_clock_offset };
    evaluator.set(DynamoEvaluator::new(Arc::clone(&catalogs), guard));

    let tables =
        Arc::new(ReplicatedTables::new(Arc::clone(&replication), Arc::clone(&catalogs), here.clone()));
    let health = Health::new(Arc::clone(&replication), here.region.clone());
    let dns = Dns {
        server: Arc::clone(&name_server),
        section: config.dns.clone(),
        files,
        node: here.node.clone(),
        health: Arc::clone(&health),
        replication: Arc::clone(&replication),
    };
    let anycast = Anycast::new(
        config.anycast.clone(),
        Arc::clone(&health),
        Arc::clone(&replication),
        here.region.clone(),
    );
    let edge_server = edge::server(&config, &replication).map_err(NodeError::Edge)?;
    let edge = edge_of(&config, (&edge_server, &name_server), (&health, &replication));
    let node_admin = Arc::new(NodeAdmin::new(
        Arc::clone(&replication),
        catalogs,
        Arc::clone(&tables),
        here.clone(),
        Serving {
            health: Arc::clone(&health),
            name_server,
            edge: edge_server,
            anycast: Arc::clone(&anycast),
        },
    ));
    let scrubbed = node_admin.scrubbed();
    let (front, redis_front) = fronts(&config, here);
    tracing::info!(node = %config.node.id, region = %config.node.region, "the node is up");

    let (close, shutdown) = after_withdrawal(shutdown, Arc::clone(&anycast));
    let (pretence, routes) = parent.map(|told| (told.pretence, told.routes)).unzip();
    let stopping = shutdown.clone();
    let serve_dynamodb =
        dynamodb::serve(dynamodb, tables.clone(), front, async move { stopping.requested().await });
    let stopping = shutdown.clone();
    let serve_redis =
        redis::serve(redis, tables.clone(), redis_front.clone(), async move { stopping.requested().await });
    let serve_admin = admin_api::serve(admin, config.admin.token.clone(), node_admin, shutdown.clone());
    let outcome = tokio::select! {
        _ = async { tokio::join!(serve_dynamodb, serve_redis, serve_admin, Box::pin(edge.run(shutdown.clone()))) } => Ok(()),
        error = store_failure(&store) => Err(NodeError::StoreFailed(error)),
        expelled = replication.expelled() => match expelled {
            Expelled::Left(why) => {
                tracing::info!(why, "the node ends");
                Ok(())
            }
            Expelled::Refused(why) => Err(NodeError::Expelled(why)),
        },
        never = pretend(&store, pretence) => match never {},
        never = follow_routes(&replication, routes) => match never {},
        never = redis::sweep(tables.clone(), redis_front) => match never {},
        never = moving::run(Arc::clone(&replication)) => match never {},
        never = tend_active(Arc::clone(&tables)) => match never {},
        never = expire(Arc::clone(&tables), guard) => match never {},
        never = scrub::run(&store, config.store.scrub_rate.0, &scrubbed) => match never {},
        never = health.run() => match never {},
        never = anycast.run() => match never {},
        never = close => match never {},
        never = dns.run() => match never {},
    };
    replication.shutdown().await;
    if outcome.is_ok() {
        store.close()?;
    }
    outcome
}

/// The edge, which finds clients as the name server does, and tells of their requests.
fn edge_of(
    config: &NodeConfig,
    (server, name_server): (&Arc<meridian_edge::server::Server>, &Arc<meridian_dns::server::Server>),
    (health, replication): (&Arc<Health>, &Arc<Replication>),
) -> Edge {
    let traffic = Arc::clone(server);
    health.watch_traffic(Box::new(move |backend, host| traffic.backend(backend, host)?.too_many_errors));
    Edge {
        server: Arc::clone(server),
        listen: config.listen.edge,
        certificates: config.edge.certificate_files(),
        name_server: Arc::clone(name_server),
        health: Arc::clone(health),
        replication: Arc::clone(replication),
    }
}

/// What the fronts of DynamoDB and of Redis are told.
fn fronts(config: &NodeConfig, here: ServedBy) -> (FrontConfig, RedisConfig) {
    let auth = match config.auth.mode {
        AuthMode::Sigv4 => dynamodb::AuthMode::SigV4,
        AuthMode::None => dynamodb::AuthMode::None,
    };
    let (deadline, clock) = (config.replication.request_timeout, runtime::wall_clock as fn() -> SystemTime);
    let table = config.redis.table.clone();
    let sweep_after = config.redis.sweep_after;
    let redis = RedisConfig { deadline, clock, sweep_after, ..RedisConfig::new(table, here.clone(), auth) };
    (FrontConfig { deadline, clock, ..FrontConfig::new(here, auth) }, redis)
}

/// The end of a node's listeners: traffic goes elsewhere first. The future brings it about.
fn after_withdrawal(asked: Shutdown, anycast: Arc<Anycast>) -> (impl Future<Output = Infallible>, Shutdown) {
    let (trigger, shutdown) = Shutdown::new();
    let close = async move {
        asked.requested().await;
        anycast.end().await;
        trigger.fire();
        std::future::pending().await
    };
    (close, shutdown)
}

fn unopened(error: StoreError, node: &NodeName) -> NodeError {
    match error {
        damage @ StoreError::Corrupt { .. } => NodeError::Damaged { damage, node: node.clone() },
        error => error.into(),
    }
}

/// Makes the node take for true what it is told.
async fn pretend(store: &Store, pretence: Option<watch::Receiver<Pretence>>) -> Infallible {
    if let Some(mut pretence) = pretence {
        while pretence.changed().await.is_ok() {
            let now = *pretence.borrow_and_update();
            tracing::warn!(
                clock_shift_ms = now.clock_shift_ms,
                disk_full = now.disk_full,
                "told for a drill"
            );
            runtime::shift_wall_clock(now.clock_shift_ms);
            store.pretend_full(now.disk_full);
        }
    }
    std::future::pending().await
}

/// Has peers be reached where the node is told.
async fn follow_routes(replication: &Replication, routes: Option<watch::Receiver<Routes>>) -> Infallible {
    if let Some(mut routes) = routes {
        while routes.changed().await.is_ok() {
            replication.set_routes(routes.borrow_and_update().routes.clone());
        }
    }
    std::future::pending().await
}

fn open(what: &'static str, address: SocketAddr) -> Result<TcpListener, NodeError> {
    listen(address).map_err(|source| NodeError::Listen { what, address, source })
}

/// Resolves when the store has failed (invariant 10: a failed fsync stops the node).
async fn store_failure(store: &Store) -> StoreError {
    loop {
        tokio::time::sleep(HEALTH_EVERY).await;
        if let Err(error) = store.health() {
            return error;
        }
    }
}

fn timing(config: &NodeConfig) -> Timing {
    let section = &config.replication;
    Timing {
        heartbeat: section.heartbeat_interval,
        lease: section.election_timeout,
        region_lost_after: (section.heartbeat_interval * 5).max(section.election_timeout.mul_f64(1.5)),
    }
}

fn replication_options(
    config: &NodeConfig,
    store: Store,
    listener: TcpListener,
    evaluator: Arc<dyn Evaluator>,
) -> Result<ReplicationOptions, NodeError> {
    let nodes = config.cluster.nodes.iter();
    let topology = Topology::new(nodes.clone().map(|node| Node {
        id: node.number,
        name: node.id.clone(),
        region: node.region.clone(),
        zone: node.zone.clone(),
        witness: config.cluster.witness.as_ref() == Some(&node.region),
    }))?;
    let peers = nodes.map(|node| PeerAddress {
        number: node.number,
        name: node.id.clone(),
        address: node.peer.clone(),
    });
    let tls = config.tls.as_ref().map(|tls| PeerTls::load(&tls.ca, &tls.cert, &tls.key)).transpose()?;
    let network = match tls {
        Some(tls) => Network::Mtls { peers: peers.collect(), tls, listener },
        None => Network::Alone,
    };
    let joins = config.cluster.joins;
    let policies = config.all_policies().into_iter();
    let policies = policies.filter(|_| !joins);
    Ok(ReplicationOptions {
        own: config.node.number,
        topology,
        joins,
        distances: Distances::new(),
        network,
        store,
        timing: timing(config),
        log: LogLimits { catch_up_rate: config.replication.catch_up_rate.0, ..LogLimits::default() },
        evaluator,
        founding: Founding {
            cluster: config.cluster.name.clone(),
            policies: policies.collect(),
            credentials: first_key(config)?.into_iter().collect(),
        },
    })
}

/// The key that the configuration hands out, which may do everything.
fn first_key(config: &NodeConfig) -> Result<Option<(String, Credential)>, NodeError> {
    let Some(path) = &config.auth.bootstrap_credentials else { return Ok(None) };
    let credentials = Credentials::load(path)?;
    let everything = || AllowList(vec!["*".to_owned()]);
    let credential = Credential {
        name: "bootstrap".to_owned(),
        secret_access_key: credentials.secret_access_key.expose().to_owned(),
        tables: everything(),
        actions: everything(),
    };
    Ok(Some((credentials.access_key_id, credential)))
}

/// An evaluator that is set once the catalogs that it reads exist, which need replication, which needs an evaluator.
/// Until then requests fail, and are tried again by those that sent them.
#[derive(Default)]
struct LateEvaluator(std::sync::OnceLock<DynamoEvaluator>);

impl LateEvaluator {
    fn set(&self, evaluator: DynamoEvaluator) {
        // Set once, right after the start.
        let _ = self.0.set(evaluator);
    }

    fn get(&self) -> std::io::Result<&DynamoEvaluator> {
        self.0
            .get()
            .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::NotConnected, "the node is starting"))
    }
}

impl Evaluator for LateEvaluator {
    fn write(
        &self,
        request: &[u8],
        view: &dyn meridian_replication::View,
    ) -> std::io::Result<meridian_replication::Evaluation> {
        self.get()?.write(request, view)
    }

    fn read(&self, request: &[u8], view: &dyn meridian_replication::View) -> std::io::Result<bytes::Bytes> {
        self.get()?.read(request, view)
    }
}
