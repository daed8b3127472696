//! The node processes of a development cluster: started, killed, frozen, thawed and stopped on order, watched always.
//!
//! Every node's standard input is a pipe whose other end lives in this process. However this process ends, the kernel
//! closes that end, and the node (`--exit-with-parent`) ends too.

use super::apps::{Apps, AppsAnswer, Launch};
use super::cluster_file::{ClusterFile, CredentialsEntry, NodeEntry, RegionEntry, SupervisorEntry};
use super::folder::{Folder, FolderError};
use super::plan::{Plan, PlannedNode};
use crate::admin::AdminClient;
use crate::cert::Authority;
use crate::config::Credentials;
use crate::files::PRIVATE;
use crate::http::Endpoint;
use crate::parent::{Pretence, Routes};
use crate::wan::Wan;
use meridian_types::{NodeName, RegionName, ZoneName};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

/// How long a node may take to end after SIGTERM, before SIGKILL.
const STOP_LIMIT: Duration = Duration::from_secs(8);
/// How long the kernel may take to end a killed process.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// Time between two looks at a node that is not ready yet.
const POLL: Duration = Duration::from_millis(25);

/// What a node's process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// It runs.
    Running,
    /// It stands still (SIGSTOP), its sockets open.
    Frozen,
    /// It was killed on order, and stays dead until started.
    Killed,
    /// It was stopped on order.
    Stopped,
    /// It ended by itself; its log says why.
    Exited,
    /// It ended because it has left the cluster, and is not started again.
    Left,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Frozen => "frozen",
            Self::Killed => "killed",
            Self::Stopped => "stopped",
            Self::Exited => "exited",
            Self::Left => "gone",
        })
    }
}

/// A node as the control API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// The node.
    pub id: NodeName,
    /// Its region.
    pub region: RegionName,
    /// Its zone.
    pub zone: ZoneName,
    /// What its process does.
    pub state: NodeState,
    /// Its process, while it has one.
    pub pid: Option<u32>,
}

/// What can be done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// SIGKILL.
    Kill,
    /// A new process, and readiness if it comes soon.
    Start,
    /// SIGSTOP.
    Freeze,
    /// SIGCONT.
    Thaw,
    /// SIGTERM, then SIGKILL.
    Stop,
}

/// An order that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// The node is in no state for it.
    #[error("{id} is {state}, so it cannot be {order}")]
    State {
        /// The node.
        id: NodeName,
        /// What it does.
        state: NodeState,
        /// What was asked for, as in `frozen`.
        order: &'static str,
    },
    /// The node's process cannot be made.
    #[error("cannot start {id}: {source}")]
    Start {
        /// The node.
        id: NodeName,
        /// What the system said.
        source: std::io::Error,
    },
    /// The kernel refused a signal.
    #[error("cannot signal {id}: {source}")]
    Signal {
        /// The node.
        id: NodeName,
        /// What the system said.
        source: std::io::Error,
    },
    /// The node could not be told.
    #[error("{id} cannot be told what to take for true: {source}")]
    Untold {
        /// The node.
        id: NodeName,
        /// What the system said.
        source: std::io::Error,
    },
    /// The process is still there.
    #[error("{0} has not ended in time")]
    StillThere(NodeName),
    /// Its files cannot be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// A process and what was ordered for it.
struct Slot {
    state: watch::Sender<NodeState>,
    process: Option<Process>,
}

impl Slot {
    fn empty() -> Self {
        Self { state: watch::Sender::new(NodeState::Stopped), process: None }
    }
}

struct Process {
    pid: Pid,
    /// Told apart from a later process of the same node.
    number: u64,
    /// Closing this ends the node, and what is written to it is heard there.
    stdin: Arc<tokio::sync::Mutex<Option<ChildStdin>>>,
}

/// What a supervisor is given besides the cluster itself.
pub struct Secrets {
    /// The program of the nodes.
    pub binary: PathBuf,
    /// The first access key.
    pub credentials: Credentials,
    /// Makes the certificates of this run.
    pub authority: Authority,
    /// The URL of the control API.
    pub control: String,
}

/// All nodes of a development cluster.
pub struct Supervisor {
    plan: RwLock<Arc<Plan>>,
    folder: Folder,
    wan: Wan,
    secrets: Secrets,
    /// Held by the one order to add a node that may run.
    pub(super) adding: tokio::sync::Mutex<()>,
    slots: Mutex<BTreeMap<NodeName, Slot>>,
    /// The sample application, if it was asked for.
    pub(super) apps: Apps,
    /// Whether `cluster.json` is to be there; set when the cluster is ready, cleared when it stops.
    published: Mutex<bool>,
}

impl Supervisor {
    /// A supervisor of nodes that do not run yet.
    pub fn new(plan: Plan, folder: Folder, wan: Wan, secrets: Secrets) -> Arc<Self> {
        let slots = Mutex::new(plan.nodes.iter().map(|node| (node.id.clone(), Slot::empty())).collect());
        Arc::new(Self {
            plan: RwLock::new(Arc::new(plan)),
            folder,
            wan,
            secrets,
            adding: tokio::sync::Mutex::default(),
            slots,
            apps: Apps::default(),
            published: Mutex::new(false),
        })
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the plan with a changed copy, which the folder remembers first.
    pub(super) fn change_plan(&self, change: impl FnOnce(&mut Plan)) -> Result<(), FolderError> {
        let mut held = self.plan.write().unwrap_or_else(PoisonError::into_inner);
        let mut plan = Plan::clone(&held);
        change(&mut plan);
        self.folder.remember(&plan)?;
        *held = Arc::new(plan);
        Ok(())
    }

    /// Makes room for the process of a node.
    pub(super) fn add_slot(&self, node: &PlannedNode) {
        self.slots().entry(node.id.clone()).or_insert_with(Slot::empty);
    }

    /// Makes a node's certificate.
    pub(super) fn certify(&self, node: &PlannedNode) -> Result<(), FolderError> {
        self.folder.certify(&self.secrets.authority, &node.id)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The WAN relay.
    #[must_use]
    pub fn wan(&self) -> &Wan {
        &self.wan
    }

    /// No code panics while it holds the lock, so poisoned slots are still whole.
    fn slots(&self) -> MutexGuard<'_, BTreeMap<NodeName, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every node, in port order.
    #[must_use]
    pub fn report(&self) -> Vec<NodeReport> {
        let slots = self.slots();
        let report = |node: &PlannedNode| {
            let slot = slots.get(&node.id)?;
            Some(NodeReport {
                id: node.id.clone(),
                region: node.region.clone(),
                zone: node.zone.clone(),
                state: *slot.state.borrow(),
                pid: slot.process.as_ref().map(|process| process.pid.as_raw_nonzero().get().cast_unsigned()),
            })
        };
        self.plan().nodes.iter().filter_map(report).collect()
    }

    /// Carries out `order` on all of `nodes` at once.
    ///
    /// # Errors
    /// The first [`SupervisorError`]; the order was tried on every node.
    pub async fn carry_out(
        self: &Arc<Self>,
        order: Order,
        nodes: &[PlannedNode],
    ) -> Result<(), SupervisorError> {
        // First every signal or start, so that a region falls in one instant; then the waiting.
        let sent: Vec<Result<(), SupervisorError>> =
            nodes.iter().map(|node| self.begin(order, node)).collect();
        let mut first_error = None;
        for (node, sent) in nodes.iter().zip(sent) {
            let done = match sent {
                Ok(()) => self.finish(order, node).await,
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                first_error.get_or_insert(error);
            }
        }
        self.publish_changes();
        first_error.map_or(Ok(()), Err)
    }

    /// Starts the sample application in these regions, and waits until it listens.
    ///
    /// # Errors
    /// When a process cannot be started, or does not listen in time; its log says why.
    pub(super) async fn start_apps(&self, regions: &[RegionName]) -> std::io::Result<AppsAnswer> {
        let plan = self.plan();
        for region in regions {
            let node = plan.nodes_of(region).map(|node| node.listen.dynamodb.port()).min();
            let Some(base) = node else { continue };
            let log = self.folder.app_log(region);
            self.apps.start(
                region,
                base,
                &Launch { binary: &self.secrets.binary, dir: self.folder.dir(), log },
            )?;
        }
        for region in regions {
            if !self.apps.ready(region).await {
                let log = self.folder.app_log(region);
                let why = format!("the application in {region} does not listen; see {}", log.display());
                return Err(std::io::Error::other(why));
            }
        }
        Ok(self.apps.report())
    }

    fn begin(self: &Arc<Self>, order: Order, node: &PlannedNode) -> Result<(), SupervisorError> {
        use NodeState::{Frozen, Killed, Running, Stopped};
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(&node.id) else { return Ok(()) };
        let state = *slot.state.borrow();
        let refuse = |order| Err(SupervisorError::State { id: node.id.clone(), state, order });
        let (signals, then): (&[Signal], NodeState) = match (order, state) {
            (Order::Start | Order::Thaw, Running) | (Order::Freeze, Frozen) => return Ok(()),
            (Order::Start, NodeState::Left) => return refuse("started; it has left the cluster"),
            (Order::Start, Frozen) => return refuse("started; thaw it instead"),
            (Order::Start, _) if slot.process.is_some() => return refuse("started before it has ended"),
            (Order::Start, _) => return self.spawn(slot, node),
            (Order::Kill, Running | Frozen) => (&[Signal::KILL], Killed),
            // A stopped or dead node that is killed stays what it is.
            (Order::Kill | Order::Stop, _) if slot.process.is_none() => return Ok(()),
            (Order::Freeze, Running) => (&[Signal::STOP], Frozen),
            (Order::Thaw, Frozen) => (&[Signal::CONT], Running),
            (Order::Stop, _) => (&[Signal::CONT, Signal::TERM], Stopped),
            (Order::Kill, _) => (&[Signal::KILL], Killed),
            (Order::Freeze, _) => return refuse("frozen"),
            (Order::Thaw, _) => return refuse("thawed"),
        };
        let Some(process) = &slot.process else { return Ok(()) };
        slot.state.send_replace(then);
        for signal in signals {
            // The process is not waited for before the slot is emptied, so its id is not used again.
            kill_process(process.pid, *signal)
                .map_err(|error| SupervisorError::Signal { id: node.id.clone(), source: error.into() })?;
        }
        Ok(())
    }

    /// Tells a running node what to take for true of its machine. A new process of the node has not been told.
    ///
    /// # Errors
    /// [`SupervisorError::State`] when the node has no process, [`SupervisorError::Untold`].
    pub async fn pretend(&self, node: &PlannedNode, pretence: Pretence) -> Result<(), SupervisorError> {
        self.tell(node, &pretence).await
    }

    /// Tells a running node where it reaches its peers, through the relay.
    ///
    /// # Errors
    /// As [`Supervisor::pretend`].
    pub(super) async fn tell_routes(
        &self,
        node: &PlannedNode,
        peers: &[PlannedNode],
    ) -> Result<(), SupervisorError> {
        let route = |peer: &PlannedNode| {
            Some((peer.id.clone(), self.wan.route(node.number, peer.number)?.to_string()))
        };
        self.tell(node, &Routes { routes: peers.iter().filter_map(route).collect() }).await
    }

    async fn tell(&self, node: &PlannedNode, what: &impl Serialize) -> Result<(), SupervisorError> {
        let (state, stdin) = {
            let slots = self.slots();
            let Some(slot) = slots.get(&node.id) else { return Ok(()) };
            (*slot.state.borrow(), slot.process.as_ref().map(|process| Arc::clone(&process.stdin)))
        };
        let told = async {
            let Some(stdin) = stdin else { return Ok(false) };
            let line = serde_json::to_string(what)? + "\n";
            let mut stdin = stdin.lock().await;
            let Some(stdin) = stdin.as_mut() else { return Ok(false) };
            stdin.write_all(line.as_bytes()).await?;
            stdin.flush().await?;
            Ok(true)
        };
        match told.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(SupervisorError::State { id: node.id.clone(), state, order: "told anything" }),
            Err(source) => Err(SupervisorError::Untold { id: node.id.clone(), source }),
        }
    }

    async fn finish(&self, order: Order, node: &PlannedNode) -> Result<(), SupervisorError> {
        match order {
            Order::Start | Order::Freeze | Order::Thaw => Ok(()),
            Order::Kill => self.ended(node, KILL_LIMIT).await,
            Order::Stop => {
                if self.ended(node, STOP_LIMIT).await.is_ok() {
                    return Ok(());
                }
                tracing::warn!(node = %node.id, "did not stop in {STOP_LIMIT:?}, killing it");
                self.signal(node, Signal::KILL);
                self.ended(node, KILL_LIMIT).await
            }
        }
    }

    fn signal(&self, node: &PlannedNode, signal: Signal) {
        if let Some(process) = self.slots().get(&node.id).and_then(|slot| slot.process.as_ref()) {
            // It may just have ended.
            _ = kill_process(process.pid, signal);
        }
    }

    async fn ended(&self, node: &PlannedNode, limit: Duration) -> Result<(), SupervisorError> {
        let deadline = Instant::now() + limit;
        while self.slots().get(&node.id).is_some_and(|slot| slot.process.is_some()) {
            if Instant::now() >= deadline {
                return Err(SupervisorError::StillThere(node.id.clone()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    fn spawn(self: &Arc<Self>, slot: &mut Slot, node: &PlannedNode) -> Result<(), SupervisorError> {
        let failed = |source| SupervisorError::Start { id: node.id.clone(), source };
        let config = self.folder.config(&node.id);
        self.folder.write_toml(&config, &self.plan().config(node, &self.folder, &self.wan), PRIVATE)?;
        let log = self.folder.open_log(&node.id)?;
        let mut child = Command::new(&self.secrets.binary)
            .args(["node", "--exit-with-parent", "--config"])
            .arg(&config)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            // Its own group, so that Ctrl-C in a terminal reaches the supervisor alone.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pid = pid.ok_or_else(|| failed(std::io::Error::other("the process ended at once")))?;
        // The raw id, as a number that no earlier process of this node had: ids repeat, instants do not.
        let number = NEXT_PROCESS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let stdin = Arc::new(tokio::sync::Mutex::new(child.stdin.take()));
        slot.process = Some(Process { pid, number, stdin });
        slot.state.send_replace(NodeState::Running);
        tokio::spawn(watch_over(Arc::downgrade(self), node.clone(), child, number));
        Ok(())
    }

    /// Notes that a process has ended.
    fn reaped(&self, node: &PlannedNode, number: u64, status: std::io::Result<ExitStatus>) {
        let left;
        {
            let mut slots = self.slots();
            let Some(slot) = slots.get_mut(&node.id) else { return };
            if slot.process.as_ref().is_none_or(|process| process.number != number) {
                return;
            }
            slot.process = None;
            let by_itself = matches!(*slot.state.borrow(), NodeState::Running | NodeState::Frozen);
            left = by_itself && status.as_ref().is_ok_and(ExitStatus::success);
            if left {
                slot.state.send_replace(NodeState::Left);
            } else if by_itself {
                let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                let log = self.folder.log(&node.id);
                tracing::warn!(node = %node.id, %how, log = %log.display(), "ended by itself");
                slot.state.send_replace(NodeState::Exited);
            }
        }
        if left {
            tracing::info!(node = %node.id, "has left the cluster");
            let leave = |plan: &mut Plan| {
                plan.nodes.retain(|other| other.id != node.id);
                plan.left.push(node.id.clone());
            };
            if let Err(error) = self.change_plan(leave) {
                tracing::warn!(%error, "the next run will not know that the node has left");
            }
        }
        self.publish_changes();
    }

    /// Waits until a node is ready. `Ok(false)` when `limit` passed first.
    ///
    /// # Errors
    /// The node's state, when it has no running process (any more).
    pub async fn ready(&self, node: &PlannedNode, limit: Duration) -> Result<bool, NodeState> {
        let deadline = Instant::now() + limit;
        let Ok(endpoint) = format!("http://{}", node.listen.admin).parse::<Endpoint>() else {
            return Ok(false);
        };
        let client = AdminClient::new(endpoint, None).with_timeout(Duration::from_secs(1));
        loop {
            let state = self.slots().get(&node.id).map(|slot| *slot.state.borrow());
            if let Some(state) = state.filter(|state| *state != NodeState::Running) {
                return Err(state);
            }
            if client.health().await.is_ok_and(|health| health.ready && health.node == node.id) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Writes `cluster.json` and keeps it up to date from now on.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn publish(&self) -> Result<ClusterFile, FolderError> {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.cluster_file();
        self.folder.publish(&file)?;
        *published = true;
        Ok(file)
    }

    /// Removes `cluster.json`.
    pub fn unpublish(&self) {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        *published = false;
        self.folder.unpublish();
    }

    fn publish_changes(&self) {
        let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        if *published && let Err(error) = self.folder.publish(&self.cluster_file()) {
            tracing::warn!(%error, "cluster.json is out of date");
        }
    }

    fn cluster_file(&self) -> ClusterFile {
        let reports: BTreeMap<_, _> =
            self.report().into_iter().map(|report| (report.id, report.pid)).collect();
        let entry = |node: &PlannedNode| NodeEntry {
            id: node.id.clone(),
            pid: reports.get(&node.id).copied().flatten(),
            zone: node.zone.clone(),
            dynamodb: format!("http://{}", node.listen.dynamodb),
            admin: format!("http://{}", node.listen.admin),
            redis: format!("redis://{}", node.listen.redis),
            edge: format!("http://{}", node.listen.edge),
            dns: node.listen.dns.to_string(),
            peer: node.listen.peer.to_string(),
        };
        let plan = self.plan();
        let region = |name: RegionName| RegionEntry {
            nodes: plan.nodes_of(&name).map(entry).collect(),
            name: name.clone(),
        };
        ClusterFile {
            regions: plan.regions().into_iter().map(region).collect(),
            credentials: CredentialsEntry {
                access_key_id: self.secrets.credentials.access_key_id.clone(),
                secret_access_key: self.secrets.credentials.secret_access_key.clone(),
            },
            supervisor: SupervisorEntry { pid: std::process::id(), control: self.secrets.control.clone() },
        }
    }
}

static NEXT_PROCESS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

async fn watch_over(
    supervisor: std::sync::Weak<Supervisor>,
    node: PlannedNode,
    mut child: Child,
    number: u64,
) {
    let status = child.wait().await;
    if let Some(supervisor) = supervisor.upgrade() {
        supervisor.reaped(&node, number, status);
    }
}
