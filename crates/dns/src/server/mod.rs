//! The loops around [`crate::respond`]: threads of their own for datagrams, tasks for streams.
//!
//! Threads, so that a flood takes its share of the machine and not the runtime's: the node's heartbeats go on.

mod recent;
mod tcp;
mod udp;

use crate::View;
use crate::respond::{Kind, Outcome, Transport, respond};
use recent::Recent;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// What a server listens for and how much it takes.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The address, for datagrams and streams. With port 0 the kernel chooses one that is free for streams.
    pub listen: SocketAddr,
    /// Threads for datagrams.
    pub threads: usize,
    /// Answers to one network a second, over which they are dropped; 0 for no limit.
    pub rate_limit: u32,
    /// Any number that strangers do not know.
    pub seed: u64,
}

/// How often something happened.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages in datagrams.
    pub udp: AtomicU64,
    /// Messages on streams.
    pub tcp: AtomicU64,
    /// Responses with records.
    pub answers: AtomicU64,
    /// Responses that there is nothing.
    pub negatives: AtomicU64,
    /// Responses that it is not ours to say.
    pub refused: AtomicU64,
    /// Responses that a message makes no sense, or that we failed.
    pub errors: AtomicU64,
    /// Messages without a response.
    pub ignored: AtomicU64,
    /// Responses that did not fit.
    pub truncated: AtomicU64,
    /// Responses that were not sent, or not whole, to keep to the rate.
    pub limited: AtomicU64,
    /// Answers that name every region because all look lost.
    pub fail_open: AtomicU64,
    /// Streams that were turned away because there were too many.
    pub streams_refused: AtomicU64,
}

impl Counters {
    fn message(&self, transport: Transport) {
        let counter = match transport {
            Transport::Udp => &self.udp,
            Transport::Tcp => &self.tcp,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what became of a message; `None` when there is nothing to send.
    fn outcome(&self, outcome: Outcome) -> Option<Kind> {
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let Outcome::Reply { kind, truncated, fail_open } = outcome else {
            count(&self.ignored);
            return None;
        };
        count(match kind {
            Kind::Answer => &self.answers,
            Kind::Negative => &self.negatives,
            Kind::Refused => &self.refused,
            Kind::Error => &self.errors,
        });
        if truncated {
            count(&self.truncated);
        }
        if fail_open {
            count(&self.fail_open);
        }
        Some(kind)
    }
}

#[derive(Debug)]
struct Shared {
    view: RwLock<Arc<View>>,
    /// How often the view was replaced.
    version: AtomicU64,
    counters: Counters,
    stopped: AtomicBool,
}

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    streams: AbortHandle,
    listen: SocketAddr,
}

impl Server {
    /// Opens the sockets and serves an empty view, which refuses everything. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When a socket cannot be opened or a thread cannot be started.
    pub fn start(options: Options) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            view: RwLock::default(),
            version: AtomicU64::new(0),
            counters: Counters::default(),
            stopped: AtomicBool::new(false),
        });
        let listener = tcp_listener(options.listen)?;
        let listen = listener.local_addr()?;
        let sockets: Vec<Socket> =
            (0..options.threads.max(1)).map(|_| udp_socket(listen)).collect::<io::Result<_>>()?;
        // The kernel shares networks out over the threads, so each gets its part of the limit.
        let threads = u32::try_from(sockets.len()).unwrap_or(u32::MAX);
        let rate = options.rate_limit.div_ceil(threads);
        let streams = tokio::spawn(tcp::serve(listener, Arc::clone(&shared))).abort_handle();
        let server = Self { shared, streams, listen };
        for (number, socket) in sockets.into_iter().enumerate() {
            let (shared, seed) = (Arc::clone(&server.shared), options.seed);
            thread::Builder::new()
                .name(format!("dns-{number}"))
                .spawn(move || udp::serve(&socket.into(), &shared, rate, seed))?;
        }
        Ok(server)
    }

    /// Serves another view from now on.
    pub fn set_view(&self, view: Arc<View>) {
        *self.shared.view.write().unwrap_or_else(PoisonError::into_inner) = view;
        // Behind it, so that no answer of the old view has the new version.
        self.shared.version.fetch_add(1, Ordering::Release);
    }

    /// The view that is served.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.shared.view()
    }

    /// The address that it listens on.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.streams.abort();
    }
}

impl Shared {
    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers a message into `out` and counts it; `None` when there is nothing to send.
    fn respond(&self, message: &[u8], from: IpAddr, transport: Transport, out: &mut Vec<u8>) -> Option<Kind> {
        self.counters.message(transport);
        let outcome = respond(&self.view(), message, from, transport, now_s(), out);
        self.counters.outcome(outcome)
    }

    /// The same of a datagram, for a thread that remembers its answers.
    fn respond_again(
        &self,
        recent: &mut Recent,
        message: &[u8],
        from: IpAddr,
        out: &mut Vec<u8>,
    ) -> Option<Kind> {
        self.counters.message(Transport::Udp);
        let (view, now_s) = (self.version.load(Ordering::Acquire), now_s());
        let known = recent.find(from, message, view, now_s, out);
        let outcome = known.unwrap_or_else(|| {
            let outcome = respond(&self.view(), message, from, Transport::Udp, now_s, out);
            recent.keep(out, outcome, view, now_s);
            outcome
        });
        self.counters.outcome(outcome)
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

fn udp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    // Threads of this process share the address; another process of the same user could as well, but the stream's port keeps it out.
    socket.set_reuse_port(true)?;
    socket.set_read_timeout(Some(udp::STOP_WITHIN))?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn tcp_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(tcp::BACKLOG)?;
    TcpListener::from_std(socket.into())
}
