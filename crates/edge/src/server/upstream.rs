//! One backend: its connections, what it is at, and how it does.

use super::body::AnyBody;
use super::dial::Io;
use super::{Edge, enter, lock};
use crate::outlier::Outlier;
use crate::retry::Fault;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use meridian_types::{Backend, HostName};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The most connections that wait for a request, of all workers.
const MAX_IDLE: usize = 256;
/// How long one waits. Servers close theirs after a while, and a request that crosses that is lost.
const IDLE: Duration = Duration::from_secs(30);
/// As [`IDLE`], for requests that cannot be sent again.
const IDLE_UNSAFE: Duration = Duration::from_secs(2);

type Sender = SendRequest<AnyBody>;
/// A connection that waits, and since when.
type Waiting = (Sender, Instant);

/// A backend.
pub(super) struct Upstream {
    pub(super) backend: Backend,
    /// The name that its certificate must be for.
    pub(super) name: HostName,
    addresses: Mutex<Arc<[IpAddr]>>,
    /// Connections that wait for a request, by worker: each is moved on by the thread that has made it.
    idle: Box<[Mutex<Vec<Waiting>>]>,
    in_flight: AtomicUsize,
    pub(super) outlier: Mutex<Outlier>,
    pub(super) requests: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) ejections: AtomicU64,
}

impl Upstream {
    pub(super) fn new(backend: Backend, name: HostName, workers: usize) -> Self {
        Self {
            backend,
            name,
            addresses: Mutex::new(Arc::from([])),
            idle: (0..workers).map(|_| Mutex::default()).collect(),
            in_flight: AtomicUsize::new(0),
            outlier: Mutex::default(),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
        }
    }

    /// Where its name leads, as the node's probes have found.
    pub(super) fn set_addresses(&self, found: &[IpAddr]) {
        *lock(&self.addresses) = Arc::from(found);
    }

    pub(super) fn addresses(&self) -> Arc<[IpAddr]> {
        Arc::clone(&lock(&self.addresses))
    }

    /// Requests that it is at.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Connections that wait for a request.
    pub(super) fn idle(&self) -> usize {
        self.idle.iter().map(|idle| lock(idle).len()).sum()
    }

    /// Forgets connections that have waited for too long.
    pub(super) fn sweep(&self) {
        let waits = |(sender, since): &Waiting| !sender.is_closed() && since.elapsed() < IDLE;
        self.idle.iter().for_each(|idle| lock(idle).retain(waits));
    }

    /// Counts one more request that it is at, unless it is at `most`.
    pub(super) fn enter(self: &Arc<Self>, most: usize) -> Option<InFlight> {
        enter(&self.in_flight, most).then(|| InFlight(Arc::clone(self)))
    }

    /// A connection of a worker that waits, the youngest first.
    fn reuse(&self, worker: usize, longest: Duration, now: Instant) -> Option<Sender> {
        let mut idle = lock(self.idle.get(worker)?);
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            let (sender, since) = idle.get(at)?;
            if sender.is_closed() {
                idle.swap_remove(at);
            } else if now.duration_since(*since) >= longest {
                return None;
            } else if sender.is_ready() {
                return Some(idle.swap_remove(at).0);
            }
        }
        None
    }

    fn keep(&self, worker: usize, sender: Sender) {
        let most = MAX_IDLE.div_ceil(self.idle.len());
        let Some(mut idle) = self.idle.get(worker).map(lock) else { return };
        if !sender.is_closed() && idle.len() < most {
            idle.push((sender, Instant::now()));
        }
    }
}

/// One request that a backend is at.
pub(super) struct InFlight(Arc<Upstream>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection in use.
pub(super) struct Lease {
    in_flight: InFlight,
    sender: Sender,
    worker: usize,
}

impl Lease {
    /// The response is over: the connection can take another request.
    pub(super) fn give_back(self) {
        self.in_flight.0.keep(self.worker, self.sender);
    }

    /// The connection is not HTTP's any more; the backend is still at it.
    pub(super) fn into_in_flight(self) -> InFlight {
        self.in_flight
    }
}

/// What came of an attempt without a response: why, and the body if it was not sent.
pub(super) type Missed = (Fault, Option<AnyBody>);

/// Sends a request to a backend, over a connection that waits or a new one.
pub(super) async fn exchange(
    in_flight: InFlight,
    mut request: Request<AnyBody>,
    edge: &Edge,
    once_only: bool,
    now: Instant,
) -> Result<(Response<Incoming>, Lease), Missed> {
    let upstream = Arc::clone(&in_flight.0);
    let longest = if once_only { IDLE_UNSAFE } else { IDLE };
    // A connection that waits may turn out to be gone, with the request unsent: a few of them, then a new one.
    for _ in 0..3 {
        let Some(mut sender) = upstream.reuse(edge.worker, longest, now) else { break };
        match sender.try_send_request(request).await {
            Ok(response) => return Ok((response, Lease { in_flight, sender, worker: edge.worker })),
            Err(mut error) => match error.take_message() {
                Some(unsent) => request = unsent,
                None => return Err((Fault::Unknown(words(error.error())), None)),
            },
        }
    }
    // As a rule there is a connection, and what it takes to make one would make every attempt larger.
    Box::pin(exchange_anew(in_flight, request, edge)).await
}

/// As [`exchange`], over a new connection.
async fn exchange_anew(
    in_flight: InFlight,
    request: Request<AnyBody>,
    edge: &Edge,
) -> Result<(Response<Incoming>, Lease), Missed> {
    let upstream = Arc::clone(&in_flight.0);
    let unsent = |what, request: Request<AnyBody>| (Fault::Unsent(what), Some(request.into_body()));
    let io = match timeout(edge.dialer.patience, edge.dialer.connect(&upstream)).await {
        Ok(Ok(io)) => io,
        Ok(Err(what)) => return Err(unsent(what, request)),
        Err(_) => return Err(unsent("no connection in time", request)),
    };
    let Ok(mut sender) = handshake(io).await else { return Err(unsent("no HTTP", request)) };
    match sender.try_send_request(request).await {
        Ok(response) => Ok((response, Lease { in_flight, sender, worker: edge.worker })),
        Err(mut error) => match error.take_message() {
            Some(request) => Err(unsent("closed at once", request)),
            None => Err((Fault::Unknown(words(error.error())), None)),
        },
    }
}

async fn handshake(io: Io) -> hyper::Result<Sender> {
    let (sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(128 << 10)
        .handshake::<_, AnyBody>(TokioIo::new(io))
        .await?;
    tokio::spawn(async move {
        // What breaks it is told to whoever waits for a response.
        _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

fn words(error: &hyper::Error) -> &'static str {
    match () {
        () if error.is_incomplete_message() => "closed without a response",
        () if error.is_parse() => "the response is no HTTP",
        () => "the connection broke",
    }
}
