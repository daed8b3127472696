//! One connection of a client.

use super::handle::{Peer, handle};
use super::socket::set_up;
use super::{Edge, lock};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
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

/// What a connection is at.
#[derive(Default)]
struct Activity {
    requests: AtomicUsize,
    last_ms: AtomicU64,
    /// Of each request under way, since when a piece of its response waits for the client, which takes none over HTTP/2 for as long as it
    /// grants no window; [`NOTHING`] while none does.
    owed: Mutex<Vec<Weak<AtomicU64>>>,
}

/// No piece of a response waits.
const NOTHING: u64 = u64::MAX;

impl Activity {
    /// The longest that a piece has waited, in milliseconds.
    fn longest_wait(&self, now_ms: u64) -> u64 {
        let owed = lock(&self.owed);
        let since = owed.iter().filter_map(Weak::upgrade).map(|since| since.load(Ordering::Relaxed));
        since.filter(|since| *since != NOTHING).map(|since| now_ms.saturating_sub(since)).max().unwrap_or(0)
    }
}

/// A request that the connection is at, until the last of its response is sent.
pub(super) struct Working {
    edge: Edge,
    activity: Arc<Activity>,
    owed: Arc<AtomicU64>,
}

impl Working {
    fn new(edge: &Edge, activity: &Arc<Activity>) -> Self {
        activity.requests.fetch_add(1, Ordering::Relaxed);
        let owed = Arc::new(AtomicU64::new(NOTHING));
        let mut all = lock(&activity.owed);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&owed));
        drop(all);
        Self { edge: edge.clone(), activity: Arc::clone(activity), owed }
    }

    /// The connection asks for the next piece of the response: the last one is on its way.
    pub(super) fn asked(&self) {
        self.owed.store(NOTHING, Ordering::Relaxed);
    }

    /// It has been given one.
    pub(super) fn handed(&self) {
        self.owed.store(self.edge.now_ms(), Ordering::Relaxed);
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.activity.last_ms.store(self.edge.now_ms(), Ordering::Relaxed);
        self.activity.requests.fetch_sub(1, Ordering::Relaxed);
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
        .timer(TokioTimer::new())
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
    let activity = Arc::new(Activity::default());
    activity.last_ms.store(edge.now_ms(), Ordering::Relaxed);
    let service = {
        let (edge, activity) = (edge.clone(), Arc::clone(&activity));
        service_fn(move |request: Request<Incoming>| {
            let working = Working::new(&edge, &activity);
            let handled = Box::pin(handle(edge.clone(), peer.clone(), request, working));
            async move { Ok::<_, Infallible>(handled.await) }
        })
    };
    let io = TokioIo::new(Box::pin(stream));
    let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
    loop {
        tokio::select! {
            // What breaks it is the client's affair.
            _ = connection.as_mut() => return,
            () = edge.closing() => break,
            () = tokio::time::sleep(idle) => {
                let silent_ms = edge.now_ms().saturating_sub(activity.last_ms.load(Ordering::Relaxed));
                let at_work = activity.requests.load(Ordering::Relaxed) > 0;
                if !at_work && u128::from(silent_ms) >= idle.as_millis() {
                    break;
                }
                // It holds on to its backends, so it is not waited for.
                if u128::from(activity.longest_wait(edge.now_ms())) >= idle.as_millis() {
                    return;
                }
            }
        }
    }
    connection.as_mut().graceful_shutdown();
    _ = timeout(LAST, connection).await;
}
