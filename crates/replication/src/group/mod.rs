//! One group on this node: its Raft, the proposer that evaluates writes, the gate that decides when they are
//! answered, and reads.
//!
//! Order on the leader, per group: acknowledged ≤ answerable ≤ applied ≤ committed.

mod append;
mod fence;
mod freshness;
mod gate;
mod guests;
mod lease;
mod overlay;
mod promise;
mod proposer;
mod read;
mod replicas;
mod risk;
mod session;
mod settle;
mod snapshots;
mod would_vote;

pub(crate) use append::{AppendQueue, accept};
pub(crate) use fence::{Fence, RegionLease};
pub(crate) use freshness::Freshness;
pub(crate) use gate::Answerable;
pub(crate) use guests::Guests;
pub(crate) use lease::AckClock;
pub(crate) use promise::Promise;
pub(crate) use proposer::{Submission, WriteOutcome};
pub(crate) use read::ReadOutcome;
pub(crate) use replicas::Replicas;
pub(crate) use risk::{Risk, RiskLog, reach_elsewhere};
pub(crate) use session::Session;
pub(crate) use snapshots::SnapshotQueue;

use crate::config::{LogLimits, Timing};
use crate::evaluate::Evaluator;
use crate::lag::{Lag, ReplicaLag};
use crate::node::Roster;
use crate::node::departed::Departed;
use crate::raft::reseed::Owed;
use crate::raft::{DurableEnd, GroupNetworks, Hold, LogStore, Machine, MachineView, Pacer, Raft, RaftTypes};
use crate::replica_id::ReplicaId;
use crate::runtime::{self, Mistake, errs, watch};
use crate::system::SystemState;
use crate::transport::Peers;
use meridian_placement::quorum_reached;
use meridian_store::{GroupStore, Store};
use meridian_types::{GroupId, Incarnation, NodeId, Position};
use openraft::async_runtime::WatchReceiver;
use openraft::metrics::RaftMetrics;
use openraft::type_config::alias::{CommittedLeaderIdOf, WatchReceiverOf};
use openraft::vote::RaftLeaderId;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Between looks whether all writes are answered; only a planned move looks.
const ANSWERED_POLL: Duration = Duration::from_millis(2);

/// Identifies one leadership: a term and its leader.
pub(crate) type LeaderId = CommittedLeaderIdOf<RaftTypes>;

/// How long a replica that ends may take for what it has begun.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What every group of a node shares.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) peers: Arc<Peers>,
    pub(crate) timing: Timing,
    pub(crate) log: LogLimits,
    /// Paces what is sent to members that are far behind.
    pub(crate) pacer: Arc<Pacer>,
    /// Follows how late others' writes come here.
    pub(crate) lag: Arc<Lag>,
    pub(crate) evaluator: Arc<dyn Evaluator>,
    pub(crate) system: watch::Receiver<Arc<SystemState>>,
    /// The lease of this node's region.
    pub(crate) region_lease: Arc<RegionLease>,
    pub(crate) node_name: String,
    /// Who is in the cluster, and who holds no items.
    pub(crate) roster: Arc<Roster>,
    /// The groups that are open here.
    pub(crate) replicas: Arc<Replicas>,
}

/// A group that this node is a member of.
pub(crate) struct Group {
    pub(crate) id: GroupId,
    /// The incarnation that this replica takes part in.
    pub(crate) incarnation: Incarnation,
    own: NodeId,
    /// Whether this node is a witness.
    witness: bool,
    /// Whether this node had a replica before, which it gave up: then it founds nothing.
    pub(crate) reborn: bool,
    pub(crate) raft: Raft,
    pub(crate) store: GroupStore,
    pub(crate) view: MachineView,
    pub(crate) appends: AppendQueue,
    pub(crate) snapshots: SnapshotQueue,
    pub(crate) freshness: Freshness,
    pub(crate) lag: Arc<ReplicaLag>,
    pub(crate) pacer: Arc<Pacer>,
    pub(crate) promise: Arc<Promise>,
    /// How far its log is on the disk.
    pub(crate) durable: DurableEnd,
    /// What this replica has lost to its disk and must have again before it votes.
    owed: Option<Owed>,
    /// openraft's whole metrics.
    pub(crate) metrics: WatchReceiverOf<RaftTypes, RaftMetrics<RaftTypes>>,
    pub(crate) timing: Timing,
    pub(crate) opened: Instant,
    pub(crate) submissions: mpsc::Sender<Submission>,
    /// Held by the one change of voters that may run.
    pub(crate) changing: Arc<tokio::sync::Semaphore>,
    /// Who is kept, or made, a member for a while, although placement does not name it.
    pub(crate) guests: Guests,
    answerable: watch::Receiver<Answerable>,
    session: watch::Receiver<Option<Session>>,
    pub(crate) acks: Arc<AckClock>,
    /// The leadership that was offered to another node, which may take it at any time from then on.
    offered: Mutex<Option<LeaderId>>,
    pub(crate) fence: Fence,
    /// Held once by every write that this node has been given and has not answered.
    pub(crate) unanswered: Arc<()>,
    evaluator: Arc<dyn Evaluator>,
    replicas: Arc<Replicas>,
}

/// The leadership that a node's metrics tell of. The vote alone does not: after a restart it still names the leadership of
/// the process before, which is over.
pub(crate) fn leadership(metrics: &RaftMetrics<RaftTypes>) -> Option<LeaderId> {
    let leader = metrics.vote.leader_id();
    let leads = metrics.state == openraft::ServerState::Leader;
    let own = leader.node_id() == &metrics.id && metrics.vote.is_committed();
    (leads && own).then(|| leader.to_committed())
}

/// The last index that a leader's metrics know a member to have on its disk; `None` before the first answer.
pub(crate) fn matched(metrics: &RaftMetrics<RaftTypes>, member: NodeId) -> Option<u64> {
    let matched = metrics.replication.as_ref()?.get(&member)?.as_ref()?;
    Some(matched.index)
}

impl Group {
    /// Opens the group's replica on this node and starts its tasks, which end when the Raft does.
    pub(crate) async fn open(
        id: ReplicaId,
        shared: &Shared,
        publish_system: Option<watch::Sender<Arc<SystemState>>>,
        departed: Option<Departed>,
    ) -> io::Result<Arc<Self>> {
        let store = id.store(&shared.store)?;
        if let Some(vote) = departed.as_ref().and_then(|departed| departed.vote.clone())
            && store.vote().map_err(io::Error::other)?.is_none()
        {
            let store = store.clone();
            runtime::aside(move || store.save_vote(&vote)).await?.map_err(io::Error::other)?;
        }
        let owed = Owed::load(&store)?;
        let had_state = store.vote().map_err(io::Error::other)?.is_some();
        let (machine, view) = match publish_system {
            Some(publish) => Machine::open_system(store.clone(), publish)?,
            None => Machine::open(store.clone(), id.incarnation)?,
        };
        let lag = ReplicaLag::new(&shared.lag);
        let hold = Hold::new(id, &shared.pacer, &shared.store);
        let machine = machine.in_group(&lag, &hold);
        let config =
            Arc::new(shared.timing.raft_config(id, &shared.log).validate().map_err(io::Error::other)?);
        let acks = Arc::<AckClock>::default();
        let promise = Promise::new(had_state, departed.as_ref().map(|departed| departed.floor));
        let networks = GroupNetworks::new(id, shared, Arc::clone(&acks), store.clone());
        let log = LogStore::new(store.clone()).held(&hold);
        let durable = log.durable();
        let raft =
            Raft::new(shared.peers.own(), config, networks, log, machine).await.map_err(io::Error::other)?;
        let fence = Fence::new(id, shared.system.clone(), Arc::clone(&shared.region_lease));
        let answerable = gate::follow(id.group, raft.clone(), shared.system.clone(), shared.peers.own());
        let (submissions, session) = proposer::start(proposer::Parts {
            id: id.group,
            raft: raft.clone(),
            view: view.clone(),
            on_disk: durable.follow_writes(),
            answerable: answerable.clone(),
            fence: fence.clone(),
            shared: shared.clone(),
        });
        let snapshots = SnapshotQueue::start(raft.clone(), store.clone());
        Ok(Arc::new(Self {
            id: id.group,
            incarnation: id.incarnation,
            own: shared.peers.own(),
            witness: shared.roster.is_witness(shared.peers.own()).unwrap_or(false),
            reborn: departed.is_some(),
            appends: AppendQueue::start(raft.clone(), Arc::clone(&promise)),
            metrics: raft.metrics(),
            raft,
            store,
            view,
            snapshots,
            freshness: Freshness::default(),
            lag,
            pacer: Arc::clone(&shared.pacer),
            promise,
            durable,
            owed,
            timing: shared.timing.clone(),
            opened: runtime::now(),
            submissions,
            changing: Arc::new(tokio::sync::Semaphore::new(1)),
            guests: Guests::default(),
            answerable,
            session,
            acks,
            offered: Mutex::default(),
            fence,
            unanswered: Arc::default(),
            evaluator: Arc::clone(&shared.evaluator),
            replicas: Arc::clone(&shared.replicas),
        }))
    }

    /// The session in which this node may serve now: it leads and has applied all that came before.
    pub(crate) fn session(&self) -> Option<Session> {
        let session = (*self.session.borrow())?;
        if !self.fence.is_current() {
            return None;
        }
        (self.held_leadership()? == session.leader).then_some(session)
    }

    /// Whether this replica has the state; a witness follows the log without it.
    pub(crate) fn holds_items(&self) -> bool {
        self.id.is_system() || !self.witness
    }

    /// Whether this replica leads under a lease, and so has the latest state.
    pub(crate) fn serves(&self) -> bool {
        self.session().is_some() && self.lease().is_some()
    }

    /// Whether clients may be shown its state: one that is being filled again would show them an old one, or none.
    pub(crate) fn may_be_read(&self) -> bool {
        self.holds_items() && !self.owes()
    }

    /// The leadership of this node, as far as it knows.
    pub(crate) fn leading(&self) -> Option<LeaderId> {
        leadership(&self.metrics.borrow_watched())
    }

    /// The leadership of this node, unless it was offered to another.
    pub(crate) fn held_leadership(&self) -> Option<LeaderId> {
        let leading = self.leading()?;
        let offered = *self.lock_offered() == Some(leading) && !errs(Mistake::KeepOfferedLease);
        (!offered).then_some(leading)
    }

    /// What remains of the leader's lease, with the allowed clock drift subtracted; `None` when it has ended. It ends no later than
    /// that of the region, for a group that stands and falls with one.
    pub(crate) fn lease(&self) -> Option<Duration> {
        if errs(Mistake::TrustOpenraftLease) {
            let acked = self.raft.as_leader().ok()?.last_quorum_acked()?;
            return self.timing.holder_lease().checked_sub(openraft::Instant::elapsed(&acked));
        }
        let of_group = self.timing.holder_lease().checked_sub(runtime::since(self.majority_sent()?))?;
        Some(of_group.min(self.fence.left()?))
    }

    /// When the newest message that a majority has answered under this leadership was sent.
    pub(crate) fn majority_sent(&self) -> Option<Instant> {
        let leading = self.leading()?;
        let now = runtime::now();
        let metrics = self.metrics.borrow_watched();
        quorum_reached(metrics.membership_config.membership().get_joint_config(), |member| {
            if member == self.own { Some(now) } else { self.acks.last(member, leading) }
        })
    }

    /// Ends the use of this leadership for good, before another node is let be elected within its lease: the offer
    /// may be taken up late, whatever became of the hand-over.
    pub(crate) fn offer(&self, leader: LeaderId) {
        *self.lock_offered() = Some(leader);
    }

    /// Waits until every write that this node has been given is answered, at most for `patience`.
    pub(crate) async fn answer_all(&self, patience: Duration) {
        let deadline = runtime::now() + patience;
        while Arc::strong_count(&self.unanswered) > 1 && runtime::now() < deadline {
            runtime::sleep(ANSWERED_POLL).await;
        }
    }

    fn lock_offered(&self) -> std::sync::MutexGuard<'_, Option<LeaderId>> {
        self.offered.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether this node has a vote, by the newest membership that it has heard of.
    pub(crate) fn votes(&self) -> bool {
        let metrics = self.metrics.borrow_watched();
        metrics.membership_config.membership().voter_ids().any(|voter| voter == self.own)
    }

    /// The members, and whether each votes, by a membership that is committed and final; `None` while it changes.
    pub(crate) fn settled_members(&self) -> Option<BTreeMap<NodeId, bool>> {
        let metrics = self.metrics.borrow_watched();
        let config = &metrics.membership_config;
        let committed = metrics.cluster_committed.as_ref()?;
        let settled = config.log_id().as_ref().is_some_and(|at| at.index <= committed.index)
            && config.membership().get_joint_config().len() == 1;
        let voters: BTreeSet<NodeId> = config.membership().voter_ids().collect();
        let member = |id: &NodeId| (*id, voters.contains(id));
        settled.then(|| config.membership().nodes().map(|(id, _)| member(id)).collect())
    }

    /// Whether this replica lacks entries that it has acknowledged, and so must not vote.
    pub(crate) fn owes(&self) -> bool {
        let last = || self.raft.data_metrics().borrow_watched().last_log;
        self.owed.is_some_and(|owed| owed.is_open(last().as_ref())) && !errs(Mistake::VoteDespiteLoss)
    }

    /// Whether this replica was thrown away once.
    pub(crate) fn is_reseeded(&self) -> bool {
        self.owed.is_some()
    }

    /// Which Raft group this is a replica of.
    pub(crate) fn replica_id(&self) -> ReplicaId {
        ReplicaId { group: self.id, incarnation: self.incarnation }
    }

    /// A position of this group.
    pub(crate) fn position(&self, index: u64) -> Position {
        Position { group: self.id, incarnation: self.incarnation, index }
    }

    /// Ends this replica: once this returns, nothing more goes into its log or its state.
    pub(crate) async fn close(&self) -> io::Result<()> {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(group = %self.replica_id(), %error, "the replica did not end cleanly");
        }
        // The state machine works on a task of its own, and goes with it.
        let mut applied = self.view.watch_applied();
        let gone = async { while applied.changed().await.is_ok() {} };
        runtime::timeout(CLOSE_TIMEOUT, gone).await.map_err(io::Error::other)
    }

    /// Highest index that this leader may answer for; 0 when it does not lead.
    pub(crate) fn answerable(&self) -> u64 {
        self.answerable.borrow().index
    }
}
