//! One run of a development cluster, from options to the last node's end.

use super::cluster_file::ClusterFile;
use super::control;
use super::folder::{Folder, FolderError};
use super::plan::{DevOptions, Plan, PlanError, PlannedNode};
use super::supervisor::{NodeState, Order, Secrets, Supervisor, SupervisorError};
use crate::shutdown::{Shutdown, Trigger};
use crate::wan::{StartError, Wan};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// How long the whole cluster may take to become ready.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How long a port that an earlier run used is tried again before it counts as taken.
const PORT_PATIENCE: Duration = Duration::from_secs(3);
const PORT_RETRY: Duration = Duration::from_millis(20);
/// How much of a failed node's log is shown.
const TAIL: u64 = 2000;

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The options make no cluster.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The relay cannot start.
    #[error(transparent)]
    Wan(#[from] StartError),
    /// A port is taken.
    #[error(
        "port {port} ({field} of {node}) cannot be used: {source}; free it, or choose others with --base-port"
    )]
    Port {
        /// The port.
        port: u16,
        /// What it is for.
        field: &'static str,
        /// Whose it is.
        node: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A node cannot be started.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// A node ended or stood still before it was ready.
    #[error("{node} was {state} before it was ready; the end of its log, {}:\n{tail}", log.display())]
    NodeEnded {
        /// The node.
        node: String,
        /// What became of it.
        state: NodeState,
        /// Its log.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// The cluster did not become ready.
    #[error("{node} was not ready after {READY_LIMIT:?}; see its log, {}", log.display())]
    NotReady {
        /// A node that was not.
        node: String,
        /// Its log.
        log: PathBuf,
    },
    /// The system refused something else.
    #[error("cannot start the supervisor: {0}")]
    Io(#[from] std::io::Error),
}

impl DevError {
    /// Whether the request, not the machine, is at fault.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        use FolderError::{OtherCluster, Unusable};
        matches!(self, Self::Plan(_) | Self::Folder(OtherCluster { .. } | Unusable { .. }))
    }
}

/// Runs a cluster until `shutdown`, calling `on_ready` once when every node is ready. Ends with every node ended.
///
/// # Errors
/// [`DevError`] when the cluster could not be made ready; nothing is left running then.
pub async fn run(
    options: DevOptions,
    trigger: &Trigger,
    shutdown: Shutdown,
    on_ready: impl FnOnce(&Plan, &ClusterFile),
) -> Result<(), DevError> {
    let mut plan = Plan::new(options)?;
    let folder = Folder::take(&plan.options.dir)?;
    let leftovers = folder.end_leftovers();
    if leftovers > 0 {
        tracing::warn!(count = leftovers, "ended nodes that an earlier run left behind");
    }
    // Processes that were killed a moment ago may still be closing their sockets.
    let patience = if folder.is_published() { PORT_PATIENCE } else { Duration::ZERO };
    folder.unpublish();
    if !plan.options.fresh {
        folder.restore(&mut plan)?;
    }
    for node in &plan.nodes {
        check_ports(node, patience).await?;
    }
    if plan.options.fresh {
        folder.discard()?;
    }
    let (credentials, authority) = folder.prepare(&plan)?;
    let wan = Wan::start(&plan.options.wan, &plan.wan_nodes()).await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let control = format!("http://{}", listener.local_addr()?);
    let binary = std::env::current_exe()?;
    let supervisor = Supervisor::new(plan, folder, wan, Secrets { binary, credentials, authority, control });
    let api = tokio::spawn(control::serve(listener, Arc::clone(&supervisor), shutdown.clone()));
    let outcome = tokio::select! {
        started = start(&supervisor) => started.map(Some),
        () = shutdown.requested() => Ok(None),
    };
    let result = match outcome {
        Ok(Some(file)) => {
            on_ready(&supervisor.plan(), &file);
            shutdown.requested().await;
            Ok(())
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    supervisor.unpublish();
    trigger.fire();
    // Orders that are under way end before the last stop, so that none starts a node after it.
    _ = api.await;
    supervisor.apps.end();
    let nodes = supervisor.plan().nodes.clone();
    let stopped = supervisor.carry_out(Order::Stop, &nodes).await;
    result?;
    Ok(stopped?)
}

/// Starts every node and waits until all are ready.
async fn start(supervisor: &Arc<Supervisor>) -> Result<ClusterFile, DevError> {
    let nodes = supervisor.plan().nodes.clone();
    let bar = progress(nodes.len());
    supervisor.carry_out(Order::Start, &nodes).await?;
    let wait = |node: PlannedNode| async move {
        let outcome = supervisor.ready(&node, READY_LIMIT).await;
        (node, outcome)
    };
    let mut waiting: FuturesUnordered<_> = nodes.into_iter().map(wait).collect();
    while let Some((node, outcome)) = waiting.next().await {
        let log = supervisor.folder().log(&node.id);
        match outcome {
            Ok(true) => bar.inc(1),
            Ok(false) => return Err(DevError::NotReady { node: node.id.to_string(), log }),
            Err(state) => {
                let tail = tail(&log, TAIL);
                return Err(DevError::NodeEnded { node: node.id.to_string(), state, log, tail });
            }
        }
    }
    bar.finish_and_clear();
    Ok(supervisor.publish()?)
}

/// A bar on standard error; hidden by itself when that is no terminal.
fn progress(nodes: usize) -> ProgressBar {
    let bar = ProgressBar::new(nodes as u64);
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} starting nodes {bar:20} {pos}/{len} ready  {elapsed}")
    {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Checks that every port that a node will open is free, before anything is started.
pub(super) async fn check_ports(node: &PlannedNode, patience: Duration) -> Result<(), DevError> {
    let deadline = Instant::now() + patience;
    for (field, address) in node.listen.opened() {
        // Binding as the node will: a port whose connections linger is free, one that is listened on is not.
        while let Err(source) = StdListener::bind::<SocketAddr>(address) {
            if Instant::now() < deadline {
                tokio::time::sleep(PORT_RETRY).await;
                continue;
            }
            let node = node.id.to_string();
            return Err(DevError::Port { port: address.port(), field, node, source });
        }
    }
    Ok(())
}

/// The last `bytes` of a file, from the start of a line; empty when it cannot be read.
pub(super) fn tail(path: &Path, bytes: u64) -> String {
    let read = || {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
        let mut text = Vec::new();
        file.take(bytes).read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let whole =
            if length > bytes { text.split_once('\n').map_or("", |(_, rest)| rest) } else { text.as_str() };
        Ok::<_, std::io::Error>(whole.trim_end().to_owned())
    };
    read().unwrap_or_default()
}
