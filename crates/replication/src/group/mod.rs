//! One group on this node: its Raft, the proposer that evaluates writes, the gate that decides when they are
//! answered, and reads.
//!
//! Order on the leader, per group: acknowledged ≤ answerable ≤ applied ≤ committed.

mod append;
mod freshness;
mod gate;
mod overlay;
mod proposer;
mod read;
mod settle;

pub(crate) use append::AppendQueue;
pub(crate) use freshness::Freshness;
pub(crate) use gate::Answerable;
pub(crate) use proposer::{Submission, WriteOutcome};

use crate::config::Timing;
use crate::evaluate::Evaluator;
use crate::raft::{GroupNetworks, LogStore, Machine, MachineView, Raft, SnapshotReceiver};
use crate::system::SystemState;
use crate::transport::Peers;
use meridian_store::{GroupStore, Store};
use meridian_types::{GroupId, Incarnation, NodeId, Position};
use openraft::Instant as _;
use openraft::type_config::alias::CommittedLeaderIdOf;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Identifies one leadership: a term and its leader.
pub(crate) type LeaderId = CommittedLeaderIdOf<crate::raft::RaftTypes>;

/// What every group of a node shares.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) peers: Arc<Peers>,
    pub(crate) timing: Timing,
    pub(crate) evaluator: Arc<dyn Evaluator>,
    pub(crate) system: watch::Receiver<Arc<SystemState>>,
    pub(crate) node_name: String,
    /// Nodes that vote and hold no items.
    pub(crate) witnesses: Arc<BTreeSet<NodeId>>,
}

/// A group that this node is a member of.
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) raft: Raft,
    pub(crate) store: GroupStore,
    pub(crate) view: MachineView,
    pub(crate) appends: AppendQueue,
    pub(crate) snapshots: SnapshotReceiver,
    pub(crate) freshness: Freshness,
    pub(crate) timing: Timing,
    pub(crate) opened: Instant,
    /// Whether this replica had a vote on disk when it was opened.
    pub(crate) had_state: bool,
    pub(crate) submissions: mpsc::Sender<Submission>,
    answerable: watch::Receiver<Answerable>,
    session: watch::Receiver<Option<LeaderId>>,
    /// Set while leadership is being handed over: the lease must not be used any more.
    handing_over: AtomicBool,
    system: watch::Receiver<Arc<SystemState>>,
    evaluator: Arc<dyn Evaluator>,
}

impl Group {
    /// Opens the group's replica on this node and starts its tasks, which end when the Raft does.
    pub(crate) async fn open(
        id: GroupId,
        shared: &Shared,
        publish_system: Option<watch::Sender<Arc<SystemState>>>,
    ) -> io::Result<Arc<Self>> {
        let store = shared.store.group(id);
        let had_state = store.vote().map_err(io::Error::other)?.is_some();
        let (machine, view) = match publish_system {
            Some(publish) => Machine::open_system(store.clone(), publish)?,
            None => Machine::open(store.clone())?,
        };
        let config = Arc::new(shared.timing.raft_config(id).validate().map_err(io::Error::other)?);
        let networks = GroupNetworks::new(id, Arc::clone(&shared.peers), Arc::clone(&shared.witnesses));
        let log = LogStore::new(store.clone());
        let raft =
            Raft::new(shared.peers.own(), config, networks, log, machine).await.map_err(io::Error::other)?;
        if !id.is_system() && shared.witnesses.contains(&shared.peers.own()) {
            // Without the items it could not serve, so it never stands for election.
            raft.runtime_config().elect(false);
        }
        let answerable = gate::follow(id, raft.clone(), shared.system.clone(), shared.peers.own());
        let (submissions, session) = proposer::start(proposer::Parts {
            id,
            raft: raft.clone(),
            view: view.clone(),
            answerable: answerable.clone(),
            shared: shared.clone(),
        });
        Ok(Arc::new(Self {
            id,
            appends: AppendQueue::start(raft.clone()),
            raft,
            store,
            view,
            snapshots: SnapshotReceiver::default(),
            freshness: Freshness::default(),
            timing: shared.timing.clone(),
            opened: Instant::now(),
            had_state,
            submissions,
            answerable,
            session,
            handing_over: AtomicBool::new(false),
            system: shared.system.clone(),
            evaluator: Arc::clone(&shared.evaluator),
        }))
    }

    /// The leadership under which this node may serve now: it leads and has applied all that came before it led.
    pub(crate) fn session(&self) -> Option<LeaderId> {
        let session = (*self.session.borrow())?;
        let leading = self.raft.as_leader().ok()?;
        (leading.to_committed_leader_id() == session && !self.handing_over.load(Ordering::Acquire))
            .then_some(session)
    }

    /// What remains of the leader's lease, with the allowed clock drift subtracted; `None` when it has ended.
    ///
    /// Invariant 3: counted on this node's monotonic clock from the moment a majority's heartbeat was *sent*.
    /// Followers count the whole lease from the moment they received it, so theirs ends later even if their clocks
    /// run faster by the allowed drift.
    pub(crate) fn lease(&self) -> Option<Duration> {
        let leading = self.raft.as_leader().ok()?;
        let lease = self.timing.holder_lease();
        if self.raft.voter_ids().take(2).count() == 1 {
            // The only voter is its own majority.
            return Some(lease);
        }
        lease.checked_sub(leading.last_quorum_acked()?.elapsed())
    }

    /// Stops using the lease, before a hand-over lets another node be elected within it.
    pub(crate) fn begin_hand_over(&self) {
        self.handing_over.store(true, Ordering::Release);
    }

    /// After a hand-over was given up or leadership returned.
    pub(crate) fn end_hand_over(&self) {
        self.handing_over.store(false, Ordering::Release);
    }

    /// The group's incarnation, as far as this node knows.
    pub(crate) fn incarnation(&self) -> Incarnation {
        self.system.borrow().groups.get(&self.id).map_or(Incarnation(0), |group| group.incarnation)
    }

    /// A position of this group.
    pub(crate) fn position(&self, index: u64) -> Position {
        Position { group: self.id, incarnation: self.incarnation(), index }
    }

    /// Highest index that this leader may answer for; 0 when it does not lead.
    pub(crate) fn answerable(&self) -> u64 {
        self.answerable.borrow().index
    }
}
