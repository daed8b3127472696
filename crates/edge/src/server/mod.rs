//! The sockets of the edge: connections of clients, connections to backends, and the tasks between them.

mod admit;
mod body;
mod caching;
mod certificates;
mod connection;
mod counters;
mod dial;
mod forward;
mod handle;
mod kept;
mod last;
mod live;
mod options;
mod places;
mod reply;
mod socket;
mod status;
mod tally;
mod timers;
mod tunnel;
mod upstream;
mod workers;

pub use certificates::{CertificateError, CertificateFiles, Certificates};
pub use counters::Counters;
pub use options::{Boxed, Options, Plain, Sessions};
pub use status::BackendView;

use crate::budget::RetryBudget;
use crate::cache::{Key, Store, Usage};
use crate::view::View;
use caching::Flights;
use certificates::Held;
use connection::Peer;
use dial::Dialer;
use live::{Live, Upstreams};
use meridian_types::{Backend, ServiceName};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tally::{Counter, Share, Tally};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use workers::{Seat, Workers};

/// How often connections that have waited for too long are looked for.
const SWEEP: Duration = Duration::from_secs(10);
/// The most responses that are looked at anew behind clients' backs at once.
const MAX_REVALIDATIONS: usize = 64;
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";

/// All that requests share.
struct Inner {
    options: Options,
    live: RwLock<Arc<Live>>,
    upstreams: Upstreams,
    dialer: Dialer,
    budget: Mutex<RetryBudget>,
    counters: Counters,
    store: Mutex<Store>,
    flights: Flights,
    /// Looks behind clients' backs.
    revalidations: Arc<Semaphore>,
    /// Room for responses that are on their way into the cache: as much as the cache has.
    gathering: Arc<Semaphore>,
    sessions: Arc<dyn Sessions>,
    certificates: Arc<Held>,
    acceptor: TlsAcceptor,
    /// Connections by client.
    clients: Arc<Tally>,
    /// Requests by client.
    requests: Arc<Tally>,
    closing: watch::Sender<bool>,
    started: Instant,
    draws: AtomicU64,
}

impl Inner {
    fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn now_ms(&self) -> u64 {
        self.ms_at(Instant::now())
    }

    fn ms_at(&self, moment: Instant) -> u64 {
        u64::try_from(moment.duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    /// A number that differs each time.
    fn draw(&self) -> u64 {
        self.draws.fetch_add(1, Ordering::Relaxed)
    }

    /// A client's count; proxies that are trusted are not counted.
    fn counter(&self, tally: &Arc<Tally>, from: IpAddr) -> Counter {
        if self.options.trusts(from) { Counter::free() } else { tally.of(from) }
    }

    /// Keeps nothing of an address any more, whoever is just fetching it.
    fn forget(&self, key: &Key) {
        lock(&self.store).forget(key);
    }

    /// Waits until the end is asked for.
    async fn closing(&self) {
        // The sender lives as long as this does.
        _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }
}

/// What requests share, as a worker has it.
#[derive(Clone)]
struct Edge {
    inner: Arc<Inner>,
    /// The worker's number.
    worker: usize,
}

impl Deref for Edge {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

/// An HTTP edge.
pub struct Server {
    inner: Arc<Inner>,
}

impl Server {
    /// One that serves nothing yet. `seed` makes its choices differ from those of others.
    ///
    /// # Errors
    /// When the authority of backends cannot be read, or TLS cannot be set up.
    pub fn new(options: Options, sessions: Arc<dyn Sessions>, seed: u64) -> io::Result<Self> {
        let certificates = Arc::new(Held::default());
        let upstreams = Upstreams::new(options.threads);
        let inner = Inner {
            live: RwLock::new(Arc::new(upstreams.live(View::default(), &BTreeMap::new()))),
            upstreams,
            dialer: Dialer::new(options.backend_ca.as_deref(), options.connect_timeout)?,
            budget: Mutex::new(RetryBudget::new(options.retry_permille)),
            counters: Counters::default(),
            store: Mutex::new(Store::new(options.cache_bytes)),
            flights: Flights::default(),
            revalidations: Arc::new(Semaphore::new(MAX_REVALIDATIONS)),
            gathering: Arc::new(Semaphore::new(
                (options.cache_bytes / caching::ROOM).min(Semaphore::MAX_PERMITS),
            )),
            sessions,
            acceptor: certificates::acceptor(Arc::clone(&certificates)).map_err(io::Error::other)?,
            certificates,
            clients: Tally::new(options.max_connections_per_client),
            // However slowly it reads, one client does not keep a backend from all others.
            requests: Tally::new((options.max_in_flight / 2).max(1)),
            closing: watch::Sender::new(false),
            started: Instant::now(),
            draws: AtomicU64::new(seed),
            options,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Serves by this from now on. `addresses`: where the names of backends lead.
    pub fn set_view(&self, view: View, addresses: &BTreeMap<Backend, Vec<IpAddr>>) {
        let live = Arc::new(self.inner.upstreams.live(view, addresses));
        *self.inner.live.write().unwrap_or_else(PoisonError::into_inner) = live;
    }

    /// New connections get these certificates.
    pub fn set_certificates(&self, certificates: Certificates) {
        self.inner.certificates.set(certificates);
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// Forgets what is kept of a service: all of it, or what has a tag. Answers how many addresses that was.
    pub fn purge(&self, service: &ServiceName, tag: Option<&str>) -> usize {
        let mut store = lock(&self.inner.store);
        match tag {
            Some(tag) => store.purge_tag(service, tag),
            None => store.purge(service),
        }
    }

    /// How full the cache is.
    #[must_use]
    pub fn cache_usage(&self) -> Usage {
        lock(&self.inner.store).usage()
    }

    /// Serves connections until `shutdown`, then lets requests finish for as long as the options say.
    ///
    /// # Errors
    /// When its threads cannot be started.
    pub async fn run(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let inner = &self.inner;
        let workers = Workers::start(inner.options.threads)?;
        let most = inner.options.max_connections;
        let permits = Arc::new(Semaphore::new(most));
        let accept = async {
            loop {
                match listener.accept().await {
                    Ok((stream, from)) => self.take(stream, from.ip().to_canonical(), &permits, &workers),
                    Err(error) => {
                        // Out of file descriptors, as a rule: give others the time to close some.
                        tracing::warn!(%error, "the edge cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        };
        let sweep = async {
            loop {
                tokio::time::sleep(SWEEP).await;
                inner.upstreams.all().iter().for_each(|upstream| upstream.sweep());
            }
        };
        tokio::select! {
            () = accept => {}
            () = sweep => {}
            () = shutdown => {}
        }
        drop(listener);
        inner.closing.send_replace(true);
        let all = u32::try_from(most).unwrap_or(u32::MAX);
        _ = tokio::time::timeout(inner.options.drain, permits.acquire_many(all)).await;
        Ok(())
    }

    fn take(&self, stream: TcpStream, from: IpAddr, permits: &Arc<Semaphore>, workers: &Workers) {
        let inner = Arc::clone(&self.inner);
        let permit = Arc::clone(permits).try_acquire_owned();
        let share = inner.counter(&inner.clients, from).enter();
        let (Ok(permit), Some(share)) = (permit, share) else {
            inner.counters.refused.fetch_add(1, Ordering::Relaxed);
            // If it is not taken at once, closing says as much.
            _ = stream.try_write(FULL);
            return;
        };
        // Of a socket that cannot change hands, nothing is to be had.
        let (Some(Seat { worker, handle, held }), Ok(stream)) = (workers.seat(), stream.into_std()) else {
            return;
        };
        let counted = Counted::new(&inner);
        let place = Arc::new(Place { _permit: permit, _share: share, _counted: counted, _seat: held });
        let edge = Edge { inner, worker };
        handle.spawn(connection::serve(edge, stream, Peer { address: from, tls: false, place }));
    }
}

/// A connection's share of what is bounded.
struct Place {
    _permit: OwnedSemaphorePermit,
    _share: Share,
    _counted: Counted,
    _seat: Arc<()>,
}

/// One connection that is counted as open.
struct Counted(Arc<Inner>);

impl Counted {
    fn new(inner: &Arc<Inner>) -> Self {
        inner.counters.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(inner))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.counters.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts one more, unless there are `most`.
fn enter(count: &AtomicUsize, most: usize) -> bool {
    let more = |now: usize| (now < most).then_some(now + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept under these locks is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
