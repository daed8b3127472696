//! One connection of a client.

use super::admit::Site;
use super::handle::{Order, handle};
use super::last::Last;
use super::socket::set_up;
use super::tally::Counter;
use super::timers::Timers;
use super::{Edge, Place, lock};
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;

/// The first byte of TLS: a handshake record.
const TLS: u8 = 0x16;
/// How long TLS may take to be agreed on.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The most requests at once over one connection of HTTP/2.
const MAX_STREAMS: u32 = 128;
/// A connection that was told to end has so long for what is under way.
const LAST: Duration = Duration::from_secs(300);

/// Serves a connection to its end.
pub(super) async fn serve(edge: Edge, stream: std::net::TcpStream, mut peer: Peer) {
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let idle = edge.options.idle_timeout;
    let mut first = [0];
    let peeked = tokio::select! {
        peeked = timeout(idle, stream.peek(&mut first)) => peeked,
        () = edge.closing() => return,
    };
    if !matches!(peeked, Ok(Ok(1))) {
        return;
    }
    set_up(&stream);
    if first != [TLS] {
        return http(edge, stream, peer).await;
    }
    peer.tls = true;
    match timeout(HANDSHAKE, edge.acceptor.accept(stream)).await {
        Ok(Ok(stream)) => http(edge, stream, peer).await,
        Ok(Err(_)) | Err(_) => _ = edge.counters.tls_failures.fetch_add(1, Ordering::Relaxed),
    }
}

/// The other end of a connection.
pub(super) struct Peer {
    pub(super) address: IpAddr,
    pub(super) tls: bool,
    /// What counts the connection, for as long as it lives in whatever form.
    pub(super) place: Arc<Place>,
}

/// A connection as its requests know it.
pub(super) struct Connection {
    pub(super) edge: Edge,
    pub(super) peer: Peer,
    /// What counts the client's requests.
    pub(super) requests: Counter,
    pub(super) timers: Timers,
    pub(super) site: Last<Site>,
    pub(super) order: Last<Order>,
    under_way: AtomicUsize,
    last_ms: AtomicU64,
    /// Of each request under way, since when a piece of its response waits for the client, which takes none over HTTP/2 for as long as it
    /// grants no window; [`NOTHING`] while none does. Those that no request holds are used again.
    owed: Mutex<Vec<Arc<AtomicU64>>>,
}

/// How a connection is to end that does not end by itself.
enum End {
    /// With what is under way.
    Soon,
    Now,
}

/// No piece of a response waits.
const NOTHING: u64 = u64::MAX;

impl Connection {
    fn new(edge: Edge, peer: Peer) -> Self {
        Self {
            requests: edge.counter(&edge.requests, peer.address),
            timers: Timers::default(),
            site: Last::default(),
            order: Last::default(),
            under_way: AtomicUsize::new(0),
            last_ms: AtomicU64::new(edge.now_ms()),
            owed: Mutex::default(),
            edge,
            peer,
        }
    }

    /// Waits until it has done nothing for so long.
    async fn end(&self, idle: Duration) -> End {
        loop {
            tokio::time::sleep(idle).await;
            let now_ms = self.edge.now_ms();
            let silent_ms = now_ms.saturating_sub(self.last_ms.load(Ordering::Relaxed));
            let at_work = self.under_way.load(Ordering::Relaxed) > 0;
            if !at_work && u128::from(silent_ms) >= idle.as_millis() {
                return End::Soon;
            }
            // It holds on to its backends, so it is not waited for.
            if u128::from(self.longest_wait(now_ms)) >= idle.as_millis() {
                return End::Now;
            }
        }
    }

    /// The longest that a piece has waited, in milliseconds.
    fn longest_wait(&self, now_ms: u64) -> u64 {
        let owed = lock(&self.owed);
        let since = owed.iter().map(|since| since.load(Ordering::Relaxed));
        since.filter(|since| *since != NOTHING).map(|since| now_ms.saturating_sub(since)).max().unwrap_or(0)
    }
}

/// A request that the connection is at, until the last of its response is sent.
pub(super) struct Working {
    pub(super) connection: Arc<Connection>,
    owed: Arc<AtomicU64>,
}

impl Working {
    fn new(connection: &Arc<Connection>) -> Self {
        connection.under_way.fetch_add(1, Ordering::Relaxed);
        let mut all = lock(&connection.owed);
        let free = all.iter().find(|owed| Arc::strong_count(owed) == 1).cloned();
        let owed = free.unwrap_or_else(|| {
            let new = Arc::new(AtomicU64::new(NOTHING));
            all.push(Arc::clone(&new));
            new
        });
        drop(all);
        Self { connection: Arc::clone(connection), owed }
    }

    /// The connection asks for the next piece of the response: the last one is on its way.
    pub(super) fn asked(&self) {
        self.owed.store(NOTHING, Ordering::Relaxed);
    }

    /// It has been given one.
    pub(super) fn handed(&self) {
        self.owed.store(self.connection.edge.now_ms(), Ordering::Relaxed);
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.asked();
        self.connection.last_ms.store(self.connection.edge.now_ms(), Ordering::Relaxed);
        self.connection.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn http<S: AsyncRead + AsyncWrite + Send + 'static>(edge: Edge, stream: S, peer: Peer) {
    let options = &edge.options;
    let idle = options.idle_timeout;
    let mut stream = TimeoutStream::new(stream);
    // A client that does not read would hold on to its backend.
    stream.set_write_timeout(Some(idle));
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .header_read_timeout(idle)
        .max_headers(options.max_headers)
        .max_buf_size(options.max_header_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(idle))
        .keep_alive_timeout(idle)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(options.max_header_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(256 << 10);
    let known = Arc::new(Connection::new(edge.clone(), peer));
    builder.http1().timer(known.timers.clone());
    let service = {
        let known = Arc::clone(&known);
        service_fn(move |request: Request<Incoming>| {
            let handled = Box::pin(handle(Working::new(&known), request));
            async move { Ok::<_, Infallible>(handled.await) }
        })
    };
    let io = TokioIo::new(Box::pin(stream));
    let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
    let end = async {
        tokio::select! {
            () = edge.closing() => End::Soon,
            end = known.end(idle) => end,
        }
    };
    // Woken by itself, so that it is not asked whenever the connection is.
    let mut end: FuturesUnordered<_> = [end].into_iter().collect();
    tokio::select! {
        biased;
        // What breaks it is the client's affair.
        _ = connection.as_mut() => return,
        Some(end) = end.next() => if matches!(end, End::Now) {
            return;
        },
    }
    connection.as_mut().graceful_shutdown();
    _ = timeout(LAST, connection).await;
}
