//! The simulated network: streams between nodes with latency, loss that only delays, partitions and resets.
//!
//! A stream is what TCP would be: in order, nothing doubled, bytes held back while they cannot pass. What a partition does to
//! it is silence, and everything at once when the partition ends. Streams are cut by the nodes when they fall silent, by
//! a node's end, and by resets; what was on its way is lost then.

use crate::rng::Rng;
use crate::trace::Trace;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use meridian_replication::runtime::Process;
use meridian_replication::transport::{
    Acceptor, Answered, Arrivals, Broken, Dial, Frame, Frames, Hello, PeerAddress,
};
use meridian_types::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

/// How long a node tries to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The first retransmission of a lost packet; each further one waits twice as long.
const RETRANSMIT: Duration = Duration::from_millis(200);

/// The network of one run. Clones are the same network.
#[derive(Clone)]
pub struct Network {
    trace: Trace,
    state: Arc<Mutex<State>>,
    /// Told when a block ends.
    opened: Arc<Notify>,
}

struct State {
    rng: Rng,
    /// One-way latency by ordered pair.
    latency: BTreeMap<(NodeId, NodeId), Duration>,
    blocked: BTreeSet<(NodeId, NodeId)>,
    /// What links take longer than their latency.
    slower: BTreeMap<(NodeId, NodeId), Duration>,
    loss_percent: u64,
    stretch: u32,
    hosts: BTreeMap<NodeId, Host>,
    streams: BTreeMap<u64, Stream>,
    next_stream: u64,
}

#[derive(Clone)]
struct Host {
    process: Process,
    acceptor: Acceptor,
}

#[derive(Clone)]
struct Stream {
    ends: (NodeId, NodeId),
    cut: Arc<Cut>,
}

/// Whether a stream is cut, and who waits to hear of it.
#[derive(Default)]
struct Cut {
    done: Mutex<bool>,
    told: Notify,
}

impl Cut {
    fn cut(&self) {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.told.notify_waiters();
    }

    async fn wait(&self) {
        loop {
            let told = self.told.notified();
            if *self.done.lock().unwrap_or_else(PoisonError::into_inner) {
                return;
            }
            told.await;
        }
    }
}

impl Network {
    /// A network where nobody is connected yet.
    #[must_use]
    pub fn new(rng: Rng, trace: Trace, latency: BTreeMap<(NodeId, NodeId), Duration>) -> Self {
        let state = State {
            rng,
            latency,
            blocked: BTreeSet::new(),
            slower: BTreeMap::new(),
            loss_percent: 0,
            stretch: 1,
            hosts: BTreeMap::new(),
            streams: BTreeMap::new(),
            next_stream: 0,
        };
        Self { trace, state: Arc::new(Mutex::new(state)), opened: Arc::default() }
    }

    /// Says how far a new node is from the others.
    pub fn place(&self, latencies: BTreeMap<(NodeId, NodeId), Duration>) {
        self.lock().latency.extend(latencies);
    }

    /// Puts a node's process on the network.
    pub fn plug(&self, node: NodeId, process: Process, acceptor: Acceptor) {
        self.lock().hosts.insert(node, Host { process, acceptor });
    }

    /// Takes a node off the network. `told`: its peers hear that its streams have ended, as when a process dies and its
    /// kernel lives; otherwise they only hear nothing any more.
    pub fn unplug(&self, node: NodeId, told: bool) {
        self.lock().hosts.remove(&node);
        if told {
            self.cut_streams(|ends| ends.0 == node || ends.1 == node);
        }
    }

    /// Cuts streams, as a middlebox that restarts does.
    pub fn cut_streams(&self, which: impl Fn((NodeId, NodeId)) -> bool) {
        let mut state = self.lock();
        let ids: Vec<u64> =
            state.streams.iter().filter(|(_, stream)| which(stream.ends)).map(|(id, _)| *id).collect();
        let cut: Vec<_> = ids.iter().filter_map(|id| state.streams.remove(id)).collect();
        drop(state);
        cut.iter().for_each(|stream| stream.cut.cut());
    }

    /// Blocks everything from the first of each pair to the second.
    pub fn block(&self, pairs: &[(NodeId, NodeId)]) {
        self.lock().blocked.extend(pairs);
    }

    /// Ends the blocks of these pairs.
    pub fn open(&self, pairs: &[(NodeId, NodeId)]) {
        let mut state = self.lock();
        for pair in pairs {
            state.blocked.remove(pair);
        }
        drop(state);
        self.opened.notify_waiters();
    }

    /// Has everything from the first of each pair to the second take so much longer.
    pub fn slow(&self, pairs: &[(NodeId, NodeId)], longer: Duration) {
        let mut state = self.lock();
        state.slower.extend(pairs.iter().map(|pair| (*pair, longer)));
    }

    /// Multiplies all latencies.
    pub fn stretch(&self, factor: u32) {
        self.lock().stretch = factor;
    }

    /// Loses so many of a hundred packets.
    pub fn lose(&self, percent: u64) {
        self.lock().loss_percent = percent;
    }

    /// Ends every fault of the network.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.blocked.clear();
        state.slower.clear();
        state.stretch = 1;
        state.loss_percent = 0;
        drop(state);
        self.opened.notify_waiters();
    }

    /// How long the next packet takes.
    fn delay(&self, from: NodeId, to: NodeId) -> Duration {
        let mut state = self.lock();
        let longer = state.slower.get(&(from, to)).copied().unwrap_or_default();
        let base = state.latency.get(&(from, to)).copied().unwrap_or_default() * state.stretch + longer;
        let jitter = u64::try_from(base.as_micros()).unwrap_or(0) / 10 + 50;
        let mut delay = base + state.rng.us(0..jitter);
        let mut repeat = RETRANSMIT + base;
        let percent = state.loss_percent;
        while percent > 0 && delay < Duration::from_secs(5) && state.rng.chance(percent) {
            delay += repeat;
            repeat *= 2;
        }
        delay
    }

    /// Waits until packets pass from one node to the other.
    async fn passes(&self, from: NodeId, to: NodeId) {
        loop {
            let opened = self.opened.notified();
            if !self.lock().blocked.contains(&(from, to)) {
                return;
            }
            opened.await;
        }
    }

    async fn cross(&self, from: NodeId, to: NodeId) {
        self.passes(from, to).await;
        sleep(self.delay(from, to)).await;
    }

    async fn connect(self, from: NodeId, to: NodeId, hello: Hello, outgoing: Frames) -> Answered {
        let refused = || Broken("the peer does not listen".to_owned());
        self.cross(from, to).await;
        let host = self.lock().hosts.get(&to).cloned();
        let Some(host) = host else {
            self.cross(to, from).await;
            return Err(refused().into());
        };
        let (id, cut) = self.register(from, to);
        let forth = self.pipe(from, to, id, Arc::clone(&cut), outgoing);
        let (answer, answered) = oneshot::channel();
        let back = {
            let (acceptor, network, cut) = (host.acceptor.clone(), self.clone(), Arc::clone(&cut));
            // Runs in the peer's process: a frozen peer does not answer.
            host.process.spawn(async move {
                let accepted = acceptor.accept(&hello, forth);
                let piped = accepted.map(|(own, frames)| (own, network.pipe(to, from, id, cut, frames)));
                drop(answer.send(piped));
            })
        };
        drop(back);
        let answered = answered.await.map_err(|_| refused())?;
        self.cross(to, from).await;
        Ok(answered?)
    }

    fn register(&self, from: NodeId, to: NodeId) -> (u64, Arc<Cut>) {
        let mut state = self.lock();
        let id = state.next_stream;
        state.next_stream += 1;
        let cut = Arc::<Cut>::default();
        state.streams.insert(id, Stream { ends: (from, to), cut: Arc::clone(&cut) });
        (id, cut)
    }

    /// One direction of a stream. To be called in the sender's process.
    fn pipe(&self, from: NodeId, to: NodeId, id: u64, cut: Arc<Cut>, mut frames: Frames) -> Arrivals {
        let (send, receive) = mpsc::unbounded_channel::<(Instant, Frame)>();
        let network = self.clone();
        let sender_cut = Arc::clone(&cut);
        let pump = async move {
            let mut last = Instant::now();
            loop {
                let frame = tokio::select! {
                    biased;
                    () = sender_cut.wait() => break,
                    () = send.closed() => break,
                    frame = frames.next() => frame,
                };
                let Some(frame) = frame else { break };
                last = last.max(Instant::now() + network.delay(from, to));
                if send.send((last, frame)).is_err() {
                    break;
                }
            }
            network.ended(id);
        };
        match Process::current() {
            Some(process) => drop(process.spawn(pump)),
            None => drop(tokio::spawn(pump)),
        }
        let (deliver, delivered) = mpsc::unbounded_channel();
        // Outside of any process: what has arrived is in the receiver's kernel, whether its process runs or not.
        tokio::spawn(self.clone().carry(from, to, Arc::clone(&cut), receive, deliver));
        futures_util::stream::unfold((delivered, cut), move |(mut delivered, cut)| async move {
            let frame = tokio::select! {
                biased;
                () = cut.wait() => None,
                frame = delivered.recv() => frame,
            };
            frame.map(|frame| (Ok(frame), (delivered, cut)))
        })
        .boxed()
    }

    /// Moves the frames of one direction to where they are read.
    async fn carry(
        self,
        from: NodeId,
        to: NodeId,
        cut: Arc<Cut>,
        mut sent: mpsc::UnboundedReceiver<(Instant, Frame)>,
        deliver: mpsc::UnboundedSender<Frame>,
    ) {
        loop {
            let arrives = async {
                let Some((at, frame)) = sent.recv().await else {
                    // The sender is no more, but whether the news of it comes is the network's.
                    return std::future::pending().await;
                };
                sleep_until(at).await;
                self.passes(from, to).await;
                frame
            };
            let frame: Frame = tokio::select! {
                biased;
                () = cut.wait() => return,
                () = deliver.closed() => return,
                frame = arrives => frame,
            };
            self.trace.bytes(format_args!("net {from}>{to} {}", frame.describe()), &frame.bytes());
            if deliver.send(frame).is_err() {
                return;
            }
        }
    }

    /// One side has ended the stream: the other hears of it.
    fn ended(&self, id: u64) {
        let stream = {
            let mut state = self.lock();
            let Some(Stream { ends: (from, to), .. }) = state.streams.get(&id) else { return };
            // From a machine without power no news comes.
            if !state.hosts.contains_key(from) || !state.hosts.contains_key(to) {
                return;
            }
            state.streams.remove(&id)
        };
        let Some(stream) = stream else { return };
        let network = self.clone();
        // The news travels too.
        tokio::spawn(async move {
            let (from, to) = stream.ends;
            network.cross(from, to).await;
            stream.cut.cut();
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // One thread only; a panic ends the run.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One node's side of the network.
pub struct Port {
    node: NodeId,
    network: Network,
}

impl Port {
    /// The side of `node`.
    #[must_use]
    pub fn new(node: NodeId, network: Network) -> Self {
        Self { node, network }
    }
}

impl Dial for Port {
    fn dial(&self, peer: PeerAddress, hello: Hello, outgoing: Frames) -> BoxFuture<'static, Answered> {
        let (network, own) = (self.network.clone(), self.node);
        async move {
            let connect = network.connect(own, peer.number, hello, outgoing);
            let timely = tokio::time::timeout(CONNECT_TIMEOUT, connect).await;
            timely.unwrap_or_else(|_| Err(Broken("the peer did not answer in time".to_owned()).into()))
        }
        .boxed()
    }
}
