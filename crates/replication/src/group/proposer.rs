//! Evaluates writes on the leader, one group at a time and in order, and proposes their results.
//!
//! Invariant 5 (a request id takes effect at most once): a write is evaluated only in a [`Session`], which begins when
//! a barrier of this leadership is applied, so all that was proposed before is decided and visible; every proposal names
//! the leadership that it was evaluated under and is refused by openraft under any other, and its number within the
//! session, so that it has no effect without those that it was evaluated on top of.

use super::gate::Answerable;
use super::overlay::Overlay;
use super::settle::{self, Unsettled};
use super::{Fence, LeaderId, Session, Shared, leadership, reach_elsewhere};
use crate::error::Unserved;
use crate::evaluate::{Evaluation, Neighbour, View, WallClock};
use crate::raft::{Command, MachineView, Raft, RaftTypes, WriteBatch, WritePlace, WriteRecord};
use crate::runtime::{self, Mistake, errs, mark, watch};
use bytes::Bytes;
use meridian_types::{GroupId, RequestId};
use openraft::async_runtime::WatchReceiver;
use openraft::impls::ProgressResponder;
use openraft::metrics::RaftMetrics;
use openraft::type_config::alias::WatchReceiverOf;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Writes waiting to be evaluated, per group. Over it the client hears that the node is overloaded.
const QUEUE: usize = 4_096;
/// Writes that share a log entry at most.
const BATCH: usize = 128;
/// Bytes of requests that share a log entry at most.
const BATCH_BYTES: usize = 1 << 20;
/// Entries proposed and not yet answered, per group.
const UNSETTLED: usize = 1_024;
/// How long writes gather at most while the entry before theirs is on its way to this node's disk. What would come to the
/// disk only after it shares an entry instead, at no cost in time; a disk that hangs must not hold back what others can commit.
const GATHER: Duration = Duration::from_millis(5);
/// Between tries to begin a session: openraft refuses a new leader's writes until a majority has answered it.
const RETRY_BARRIER: Duration = Duration::from_millis(20);
/// How long a new leader waits for its barrier before it tries again.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(5);

/// A write to be evaluated, and where its result goes.
#[derive(Debug)]
pub(crate) struct Submission {
    /// Set for writes that may be sent again.
    pub(crate) id: Option<RequestId>,
    pub(crate) request: Bytes,
    pub(crate) answer: oneshot::Sender<Result<WriteOutcome, Unserved>>,
}

/// A write that is answered for: its response, and the index whose state includes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WriteOutcome {
    pub(crate) response: Bytes,
    pub(crate) index: u64,
    /// Whether an entry was committed for it. Without one the response was only read from this node's state.
    pub(crate) entry: bool,
}

/// What the proposer needs.
pub(crate) struct Parts {
    pub(crate) id: GroupId,
    pub(crate) raft: Raft,
    pub(crate) view: MachineView,
    /// The newest batch of writes on this node's disk.
    pub(crate) on_disk: watch::Receiver<WritePlace>,
    pub(crate) answerable: watch::Receiver<Answerable>,
    pub(crate) fence: Fence,
    pub(crate) shared: Shared,
}

/// Starts the proposer and the task that settles its proposals; both end with the Raft.
pub(crate) fn start(parts: Parts) -> (mpsc::Sender<Submission>, watch::Receiver<Option<Session>>) {
    let (submissions, queue) = mpsc::channel(QUEUE);
    let (publish, session) = watch::channel(None);
    let (unsettled, settle_queue) = mpsc::channel(UNSETTLED);
    let (tell_broken, broken) = watch::channel(None);
    settle::start(settle_queue, parts.answerable.clone(), parts.fence.clone(), tell_broken);
    let proposer = Proposer {
        metrics: parts.raft.metrics(),
        parts,
        overlay: Arc::default(),
        unsettled,
        session: publish,
        broken,
        sequence: 0,
        number: 0,
        tried: None,
    };
    runtime::spawn(proposer.run(queue));
    (submissions, session)
}

struct Proposer {
    parts: Parts,
    /// The whole metrics: openraft publishes its parts before it.
    metrics: WatchReceiverOf<RaftTypes, RaftMetrics<RaftTypes>>,
    /// What is pending in the current session.
    overlay: Arc<Mutex<Overlay>>,
    unsettled: mpsc::Sender<Unsettled>,
    session: watch::Sender<Option<Session>>,
    /// The newest session one of whose proposals had no effect.
    broken: watch::Receiver<Option<Session>>,
    sequence: u64,
    /// Entries proposed in the current session.
    number: u64,
    /// When a session was last tried to begin, and under which leadership.
    tried: Option<(LeaderId, Instant)>,
}

impl Proposer {
    async fn run(mut self, mut queue: mpsc::Receiver<Submission>) {
        let mut retry = runtime::interval(RETRY_BARRIER);
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.metrics.borrow_and_update();
            self.follow_leadership().await;
            let missed = self.session.borrow().is_none() && self.leads().is_some();
            tokio::select! {
                biased;
                changed = self.metrics.changed() => if changed.is_err() { return },
                _ = self.broken.changed() => {}
                _ = retry.tick(), if missed => {}
                first = queue.recv() => {
                    let Some(first) = first else { return };
                    self.gather(&queue).await;
                    let batch = fill(first, &mut queue);
                    self.follow_leadership().await;
                    self.propose(batch).await;
                }
            }
        }
    }

    /// Begins a session when this node has begun to lead or a session was broken, ends it when it no longer leads.
    async fn follow_leadership(&mut self) {
        let leader = self.leads();
        let current = *self.session.borrow();
        let broken = *self.broken.borrow_and_update();
        if leader == current.map(|session| session.leader) && (current.is_none() || broken != current) {
            return;
        }
        self.session.send_replace(None);
        let Some(leader) = leader else { return };
        // Every refusal changes the metrics: without a pause this would try again at once, and again.
        if self.tried.is_some_and(|(of, at)| of == leader && runtime::since(at) < RETRY_BARRIER) {
            return;
        }
        self.tried = Some((leader, runtime::now()));
        match runtime::timeout(BARRIER_TIMEOUT, self.barrier(leader)).await {
            Ok(Some(barrier)) => {
                tracing::info!(group = %self.parts.id, ?leader, barrier, "leading");
                self.overlay = Arc::default();
                self.number = 0;
                self.session.send_replace(Some(Session { leader, barrier }));
            }
            Ok(None) => {}
            Err(_) => {
                mark("a new leader's barrier was not taken in time");
                tracing::warn!(group = %self.parts.id, "no majority has taken the new leader's barrier yet");
            }
        }
    }

    /// The leadership of this node, if it leads.
    fn leads(&self) -> Option<LeaderId> {
        leadership(&self.metrics.borrow_watched())
    }

    /// Commits and applies an entry of this leadership, and says its index.
    async fn barrier(&self, leader: LeaderId) -> Option<u64> {
        let (responder, done) = ProgressResponder::complete_only();
        let write = self.parts.raft.write(Command::Barrier).with_leader(leader).responder(responder);
        write.await.ok()?;
        done.await.ok()?.ok().map(|written| written.log_id.index)
    }

    /// Waits for the disk to have what was proposed last, unless an entry is full or that takes long.
    async fn gather(&mut self, queue: &mpsc::Receiver<Submission>) {
        let last = self.session.borrow().map(|session| (session.barrier, self.number));
        let Some(last) = last.filter(|(_, number)| *number > 0 && queue.len() < BATCH) else { return };
        let _ = runtime::timeout(GATHER, self.parts.on_disk.wait_for(|newest| *newest >= last)).await;
    }

    async fn propose(&mut self, batch: Vec<Submission>) {
        let Some(session) = *self.session.borrow() else {
            refuse(batch, &Unserved::NotLeader);
            return;
        };
        if self.parts.shared.store.space().low {
            mark("a write was refused for lack of space");
            refuse(batch, &Unserved::DiskFull(self.parts.shared.node_name.clone()));
            return;
        }
        let blocked_by = self.parts.shared.system.borrow().blocked_by(self.parts.id).cloned();
        if let Some(region) = blocked_by {
            mark("a write was refused, because the policy blocks without a lost region");
            refuse(batch, &Unserved::RegionLost(region));
            return;
        }
        if self.parts.fence.left().is_none() {
            refuse(batch, &Unserved::NoRegionLease);
            return;
        }
        if self.too_far_ahead() {
            refuse(batch, &Unserved::TooFarAhead);
            return;
        }
        self.sequence += 1;
        let mut writes = Vec::new();
        let mut answers = Vec::with_capacity(batch.len());
        for submission in batch {
            match self.evaluate(&submission) {
                Ok((evaluation, record)) => {
                    writes.extend(record);
                    answers.push((submission.answer, evaluation.response));
                }
                Err(error) => {
                    let _ = submission.answer.send(Err(error.into()));
                }
            }
        }
        let floor = self.parts.view.applied();
        let done = if writes.is_empty() {
            None
        } else {
            let (responder, done) = ProgressResponder::<RaftTypes, _>::complete_only();
            self.number += 1;
            let batch = WriteBatch {
                session: session.barrier,
                number: self.number,
                stamp_ms: runtime::wall_ms(),
                writes,
            };
            let write = self.parts.raft.write(Command::Write(batch)).with_leader(session.leader);
            if write.responder(responder).await.is_err() {
                let stopped = Unserved::Storage("the group has stopped on this node".to_owned());
                answers.into_iter().for_each(|(answer, _)| drop(answer.send(Err(stopped.clone()))));
                return;
            }
            Some(done)
        };
        let (sequence, overlay) = (self.sequence, Arc::clone(&self.overlay));
        let unsettled = Unsettled { sequence, session, overlay, floor, done, answers };
        // The queue is bounded: a slow majority slows the proposer, and then the clients.
        if self.unsettled.send(unsettled).await.is_err() {
            tracing::error!(group = %self.parts.id, "the task that answers writes has stopped");
        }
    }

    /// Whether other regions are further behind than the policy's `max_lag`.
    fn too_far_ahead(&self) -> bool {
        let Parts { id, shared, view, raft, .. } = &self.parts;
        let state = shared.system.borrow();
        let Some(group) = state.groups.get(id) else { return false };
        let policy = state.policies.get(&group.policy).map(|entry| &entry.policy);
        let Some(max_lag) = policy.and_then(|policy| policy.max_lag) else { return false };
        let metrics = raft.metrics();
        let placement = state.placement_with(group, shared.peers.own());
        let elsewhere = reach_elsewhere(&placement, shared.peers.own(), &metrics.borrow_watched());
        elsewhere.is_some_and(|elsewhere| view.risk.age_beyond(elsewhere) > max_lag.duration())
    }

    /// Evaluates one write on top of what is pending; what it changes becomes pending itself.
    fn evaluate(&self, submission: &Submission) -> io::Result<(Evaluation, Option<WriteRecord>)> {
        if let Some(response) = self.already_done(submission.id)? {
            return Ok((Evaluation { mutations: Vec::new(), response }, None));
        }
        let evaluator = &self.parts.shared.evaluator;
        let evaluation = evaluator.write(&submission.request, &PendingView { proposer: self })?;
        if evaluation.mutations.is_empty() {
            return Ok((evaluation, None));
        }
        let remember = submission.id.map(|id| (id, evaluation.response.clone()));
        lock(&self.overlay).add(self.sequence, &evaluation.mutations, remember.clone());
        let record = WriteRecord { remember, mutations: evaluation.mutations.clone() };
        Ok((evaluation, Some(record)))
    }

    fn already_done(&self, id: Option<RequestId>) -> io::Result<Option<Bytes>> {
        let Some(id) = id.filter(|_| !errs(Mistake::ForgetRequests)) else { return Ok(None) };
        let pending = lock(&self.overlay).response(id);
        let done = if pending.is_some() { pending } else { self.parts.view.remembered(id)? };
        if done.is_some() {
            mark("a write that came again was answered from memory");
        }
        Ok(done)
    }
}

/// Takes what is waiting, up to the bounds of a log entry.
fn fill(first: Submission, queue: &mut mpsc::Receiver<Submission>) -> Vec<Submission> {
    let mut bytes = first.request.len();
    let mut batch = vec![first];
    while batch.len() < BATCH && bytes < BATCH_BYTES {
        let Ok(next) = queue.try_recv() else { break };
        bytes += next.request.len();
        batch.push(next);
    }
    batch
}

fn refuse(batch: Vec<Submission>, why: &Unserved) {
    for submission in batch {
        let _ = submission.answer.send(Err(why.clone()));
    }
}

/// The applied state with the pending images on top.
struct PendingView<'a> {
    proposer: &'a Proposer,
}

impl View for PendingView<'_> {
    fn group(&self) -> GroupId {
        self.proposer.parts.id
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        // The overlay first: an entry leaves it only after it has been applied.
        if let Some(image) = lock(&self.proposer.overlay).get(key) {
            return Ok(image);
        }
        Ok(self.proposer.parts.view.get(key)?.map(|stored| stored.bytes))
    }

    fn changed_at(&self, key: &[u8]) -> io::Result<u64> {
        // What is pending has no index yet, and will have a higher one than all that is applied.
        match lock(&self.proposer.overlay).get(key) {
            Some(_) => Ok(u64::MAX),
            None => self.proposer.parts.view.changed_at(key),
        }
    }

    fn scan(
        &self,
        _start: &[u8],
        _end: &[u8],
        _reverse: bool,
        _row: &mut dyn FnMut(&[u8], &Bytes) -> bool,
    ) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "a write reads only the keys that it names"))
    }

    fn neighbour(&self, group: GroupId) -> Option<Neighbour<'_>> {
        self.proposer.parts.shared.replicas.neighbour(group)
    }

    fn clock(&self) -> WallClock {
        self.proposer.parts.shared.replicas.clock()
    }
}

pub(super) fn lock(overlay: &Mutex<Overlay>) -> MutexGuard<'_, Overlay> {
    // A panic while the lock is held ends the group's task, and with it the use of the overlay.
    overlay.lock().unwrap_or_else(PoisonError::into_inner)
}
