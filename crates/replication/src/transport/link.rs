//! A link: the live stream to one peer, with calls waiting for their responses.

use super::hello::Hello;
use super::message::{Handler, Kind, Request};
use super::proto::{Envelope, Frame};
use super::{MAX_FRAME, MAX_PENDING, MAX_QUEUED, PING_INTERVAL, SILENCE_LIMIT};
use crate::replica_id::ReplicaId;
use crate::runtime::{self, mark};
use bytes::Bytes;
use futures_util::Stream;
use meridian_types::{GroupId, Incarnation, NodeId};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

const DONE: u32 = 1;
const FAILED: u32 = 2;
const DROPPED: u32 = 3;

/// Of an offset between clocks that has not been measured.
const UNKNOWN: i64 = i64::MIN;

/// How far a peer's clock that showed `theirs` is ahead of this one, which shows `now` a round trip after it was asked: at least that far,
/// wherever on the way it was read.
fn ahead_by(theirs: u64, now: u64, round_trip: Duration) -> i64 {
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let round_trip = i64::try_from(round_trip.as_millis()).unwrap_or(i64::MAX);
    let (low, high) = (
        signed(theirs).saturating_sub(signed(now)),
        signed(theirs).saturating_sub(signed(now)).saturating_add(round_trip),
    );
    if low > 0 { low } else { high.min(0) }
}

/// Why a call has no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Not sent: there is no link, or its queue is full. Nothing happened at the peer.
    #[error("no connection to the peer")]
    NotSent,
    /// Sent, but the link closed or the time ran out before a response. The peer may or may not have acted.
    #[error("the connection to the peer was lost before it answered")]
    Lost,
    /// The peer answered that it could not.
    #[error("{0}")]
    Refused(String),
}

type Pending = oneshot::Sender<Result<Bytes, CallError>>;

/// The sending half of a stream to a peer, shared by all that call it.
pub struct Link {
    peer: NodeId,
    outgoing: mpsc::Sender<Envelope>,
    pending: Mutex<BTreeMap<u64, Pending>>,
    next_id: AtomicU64,
    opened: Instant,
    heard_ms: AtomicU64,
    rtt_us: AtomicU64,
    /// How far the peer's wall clock is ahead of where this node's would be had it run evenly since the link was opened, in milliseconds;
    /// [`UNKNOWN`] before the first answer.
    ahead_ms: AtomicI64,
    speaks: AtomicU32,
    closed: AtomicBool,
    close: Notify,
}

impl Link {
    /// A link to `peer` and the frames that its owner must send.
    pub(super) fn new(peer: NodeId) -> (Arc<Link>, impl Stream<Item = Frame> + Send + 'static) {
        let (outgoing, queue) = mpsc::channel(MAX_QUEUED);
        let link = Arc::new(Link {
            peer,
            outgoing,
            pending: Mutex::default(),
            next_id: AtomicU64::new(1),
            opened: runtime::now(),
            heard_ms: AtomicU64::new(0),
            rtt_us: AtomicU64::new(0),
            ahead_ms: AtomicI64::new(UNKNOWN),
            speaks: AtomicU32::new(0),
            closed: AtomicBool::new(false),
            close: Notify::new(),
        });
        (link, frames(queue))
    }

    /// The node at the other end.
    #[must_use]
    pub fn peer(&self) -> NodeId {
        self.peer
    }

    /// The newest protocol that the peer speaks, by its greeting.
    #[must_use]
    pub fn speaks(&self) -> u32 {
        self.speaks.load(Ordering::Relaxed)
    }

    /// Notes what the peer has said of itself.
    pub(super) fn greeted(&self, hello: &Hello) {
        self.speaks.store(hello.newest, Ordering::Relaxed);
    }

    /// How long ago anything arrived from the peer.
    #[must_use]
    pub fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        runtime::since(self.opened).saturating_sub(heard)
    }

    /// How long the link has been up.
    #[must_use]
    pub fn age(&self) -> Duration {
        runtime::since(self.opened)
    }

    /// The last measured round trip; `None` before the first.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        Some(self.rtt_us.load(Ordering::Relaxed)).filter(|&us| us > 0).map(Duration::from_micros)
    }

    /// How far the peer's wall clock is ahead of this node's, in milliseconds, as well as the last round trip tells; `None` before the first. A jump of this
    /// node's clock since then counts at once.
    #[must_use]
    pub fn clock_ahead_ms(&self) -> Option<i64> {
        let ahead = Some(self.ahead_ms.load(Ordering::Relaxed)).filter(|&ms| ms != UNKNOWN)?;
        Some(ahead.saturating_sub(self.wall_over_steady()))
    }

    /// How far the wall clock is ahead of the steady one, which began with the link.
    fn wall_over_steady(&self) -> i64 {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let steady = u64::try_from(self.age().as_millis()).unwrap_or(u64::MAX);
        signed(runtime::wall_ms()).saturating_sub(signed(steady))
    }

    /// Sends a request now and hands back what to wait on: the order of calls is the order on the wire.
    pub fn send(self: &Arc<Self>, kind: Kind, to: impl Into<ReplicaId>, payload: Bytes) -> PendingCall {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (answer, wait) = oneshot::channel();
        let call = PendingCall { link: Arc::clone(self), id, wait };
        {
            let mut pending = self.pending();
            if self.closed.load(Ordering::Acquire) || pending.len() >= MAX_PENDING {
                let _ = answer.send(Err(CallError::NotSent));
                return call;
            }
            pending.insert(id, answer);
        }
        let ReplicaId { group: GroupId(group), incarnation: Incarnation(incarnation) } = to.into();
        let envelope = Envelope { id, kind: kind as u32, group, incarnation, outcome: 0, payload };
        if self.outgoing.try_send(envelope).is_err()
            && let Some(answer) = self.pending().remove(&id)
        {
            let _ = answer.send(Err(CallError::NotSent));
        }
        call
    }

    /// Sends a request and waits up to `timeout` for the response.
    ///
    /// # Errors
    /// [`CallError`], which says whether the peer may have acted.
    pub async fn call(
        self: &Arc<Self>,
        kind: Kind,
        to: impl Into<ReplicaId>,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        runtime::timeout(timeout, self.send(kind, to, payload)).await.unwrap_or(Err(CallError::Lost))
    }

    /// Reads frames until the stream ends, falls silent or is closed; then fails every waiting call.
    pub(super) async fn run<E>(
        self: &Arc<Self>,
        mut inbound: impl Stream<Item = Result<Frame, E>> + Unpin,
        handler: &dyn Handler,
    ) {
        use futures_util::StreamExt;
        let mut ping = runtime::interval(PING_INTERVAL);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // In this order: a busy stream must not keep the ticks from being served.
                biased;
                () = self.close.notified() => break,
                _ = ping.tick() => {
                    if self.silence() > SILENCE_LIMIT {
                        mark("a silent link was cut");
                        break;
                    }
                    self.ping();
                }
                frame = inbound.next() => {
                    let Some(Ok(frame)) = frame else { break };
                    self.touch();
                    for envelope in frame.envelopes {
                        self.receive(envelope, handler);
                    }
                }
            }
        }
        self.shut();
    }

    fn ping(self: &Arc<Self>) {
        let sent = runtime::now();
        let call = self.send(Kind::Ping, GroupId::SYSTEM, Bytes::new());
        let link = Arc::clone(self);
        runtime::spawn(async move {
            let Ok(answer) = call.await else { return };
            let round_trip = runtime::since(sent);
            let us = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
            link.rtt_us.store(us.max(1), Ordering::Relaxed);
            // A version that does not tell its time answers nothing.
            if let Some(theirs) = answer.first_chunk::<8>().map(|ms| u64::from_be_bytes(*ms)) {
                let ahead = ahead_by(theirs, runtime::wall_ms(), round_trip);
                link.ahead_ms.store(ahead.saturating_add(link.wall_over_steady()), Ordering::Relaxed);
            }
        });
    }

    fn receive(self: &Arc<Self>, envelope: Envelope, handler: &dyn Handler) {
        if envelope.outcome != 0 {
            if let Some(answer) = self.pending().remove(&envelope.id) {
                let result = match envelope.outcome {
                    DONE => Ok(envelope.payload),
                    DROPPED => Err(CallError::Lost),
                    _ => Err(CallError::Refused(String::from_utf8_lossy(&envelope.payload).into_owned())),
                };
                let _ = answer.send(result);
            }
            return;
        }
        let reply = Reply { link: Some(Arc::clone(self)), id: envelope.id };
        match Kind::from_wire(envelope.kind) {
            Some(Kind::Ping) => reply.done(Bytes::copy_from_slice(&runtime::wall_ms().to_be_bytes())),
            Some(kind) => {
                let request = Request {
                    from: self.peer,
                    kind,
                    to: ReplicaId {
                        group: GroupId(envelope.group),
                        incarnation: Incarnation(envelope.incarnation),
                    },
                    payload: envelope.payload,
                };
                handler.dispatch(request, reply);
            }
            None => reply.refuse("this node's version does not know the request"),
        }
    }

    fn touch(&self) {
        let now = u64::try_from(runtime::since(self.opened).as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(now, Ordering::Relaxed);
    }

    fn respond(&self, id: u64, outcome: u32, payload: Bytes) {
        let envelope = Envelope { id, outcome, payload, ..Envelope::default() };
        if self.outgoing.try_send(envelope).is_err() {
            // A peer that does not drain its responses is cut off: it dials again and retries.
            self.close.notify_one();
        }
    }

    /// Refuses further calls and fails those that wait.
    pub(super) fn shut(&self) {
        self.close.notify_one();
        let waiting = {
            let mut pending = self.pending();
            self.closed.store(true, Ordering::Release);
            std::mem::take(&mut *pending)
        };
        for answer in waiting.into_values() {
            let _ = answer.send(Err(CallError::Lost));
        }
    }

    fn pending(&self) -> MutexGuard<'_, BTreeMap<u64, Pending>> {
        // The map is never left half-changed, so a panic elsewhere while it was held does no harm.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// A call under way. Dropping it forgets the response.
#[derive(Debug)]
pub struct PendingCall {
    link: Arc<Link>,
    id: u64,
    wait: oneshot::Receiver<Result<Bytes, CallError>>,
}

impl Future for PendingCall {
    type Output = Result<Bytes, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.wait).poll(cx).map(|answer| answer.unwrap_or(Err(CallError::Lost)))
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        self.link.pending().remove(&self.id);
    }
}

/// Where the response to one request goes. Dropping it unanswered tells the peer that it may or may not be done.
#[derive(Debug)]
pub struct Reply {
    link: Option<Arc<Link>>,
    id: u64,
}

impl Reply {
    /// Answers with a result.
    pub fn done(mut self, payload: Bytes) {
        if let Some(link) = self.link.take() {
            link.respond(self.id, DONE, payload);
        }
    }

    /// Answers that it could not be done, and why.
    pub fn refuse(mut self, why: &str) {
        if let Some(link) = self.link.take() {
            link.respond(self.id, FAILED, Bytes::copy_from_slice(why.as_bytes()));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            link.respond(self.id, DROPPED, Bytes::new());
        }
    }
}

/// Packs whatever is ready into one frame: under load many groups share a frame, an idle link waits for nothing.
fn frames(queue: mpsc::Receiver<Envelope>) -> impl Stream<Item = Frame> + Send + 'static {
    futures_util::stream::unfold((queue, None), |(mut queue, held): (_, Option<Envelope>)| async move {
        let first = match held {
            Some(envelope) => envelope,
            None => queue.recv().await?,
        };
        let mut size = first.payload.len();
        let mut envelopes = vec![first];
        while let Ok(next) = queue.try_recv() {
            size += next.payload.len();
            if size > MAX_FRAME {
                return Some((Frame { envelopes }, (queue, Some(next))));
            }
            envelopes.push(next);
        }
        Some((Frame { envelopes }, (queue, None)))
    })
}
