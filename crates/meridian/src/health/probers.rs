//! One prober a backend: again and again, jittered, bounded in time and number.

use super::{lock, probe};
use meridian_replication::runtime;
use meridian_steering::{Observation, Report, Target, Watch, WatchRules};
use meridian_types::{Backend, HealthCheck, HostName, Service, ServiceName};
use rand::Rng;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

/// From the beginning of one probe to that of the next, but for the jitter.
const INTERVAL: Duration = Duration::from_millis(500);
/// Probes of many nodes must not fall together: a tenth of the interval, either way.
const JITTER: f64 = 0.1;
/// How long a probe may take.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long what a name was resolved to is used.
const RESOLVED_FOR: Duration = Duration::from_secs(10);
/// Probes under way at once.
const AT_ONCE: usize = 256;

/// How many probes there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub sent: u64,
    /// Those that failed.
    pub failed: u64,
}

/// What a prober has found, and how to end it.
struct Seen {
    check: HealthCheck,
    host: HostName,
    watch: Watch,
    /// What the last failure was.
    fault: String,
    addresses: Vec<IpAddr>,
    task: AbortHandle,
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared {
    started: Instant,
    seen: Mutex<BTreeMap<Target, Seen>>,
    at_once: Semaphore,
    news: Arc<Notify>,
    sent: AtomicU64,
    failed: AtomicU64,
    rules: WatchRules,
}

/// The probers of all services.
pub(super) struct Probers {
    shared: Arc<Shared>,
    tls: Option<TlsConnector>,
}

impl Probers {
    /// None yet. `news` is told of every opinion that turns.
    pub(super) fn new(news: Arc<Notify>) -> Self {
        let tls = probe::connector();
        if let Err(error) = &tls {
            tracing::error!(%error, "https backends cannot be probed");
        }
        let shared = Shared {
            started: runtime::now(),
            seen: Mutex::default(),
            at_once: Semaphore::new(AT_ONCE),
            news,
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            rules: WatchRules::default(),
        };
        Self { shared: Arc::new(shared), tls: tls.ok() }
    }

    /// Probes just these services from now on.
    pub(super) fn follow(&self, services: &BTreeMap<ServiceName, Service>) {
        let Some(tls) = &self.tls else { return };
        let mut wanted: BTreeMap<Target, (&HealthCheck, &HostName)> = BTreeMap::new();
        for service in services.values() {
            let Some(host) = service.hosts.first() else { continue };
            for (region, backends) in &service.backends {
                for backend in backends {
                    let (service_name, region, backend) =
                        (service.name.clone(), region.clone(), backend.clone());
                    let target = Target::Backend { service: service_name, region, backend };
                    wanted.insert(target, (&service.health, host));
                }
            }
        }
        let mut seen = lock(&self.shared.seen);
        seen.retain(|target, seen| {
            wanted.get(target).is_some_and(|(check, host)| seen.check == **check && seen.host == **host)
        });
        for (target, (check, host)) in wanted {
            if seen.contains_key(&target) {
                continue;
            }
            let Target::Backend { backend, .. } = target.clone() else { continue };
            let prober = Prober {
                shared: Arc::clone(&self.shared),
                target: target.clone(),
                check: check.clone(),
                backend,
                host: host.clone(),
                tls: tls.clone(),
                resolved: None,
            };
            let task = tokio::spawn(prober.run()).abort_handle();
            let (check, host) = (check.clone(), host.clone());
            let (watch, fault, addresses) = (Watch::default(), String::new(), Vec::new());
            seen.insert(target, Seen { check, host, watch, fault, addresses, task });
        }
    }

    /// What all probers find. One that has not probed yet says nothing.
    pub(super) fn report(&self) -> Report {
        let now_ms = self.shared.now_ms();
        let rules = &self.shared.rules;
        let mut seen = lock(&self.shared.seen);
        let found = seen.iter_mut().filter_map(|(target, seen)| {
            let up = seen.watch.up(now_ms, rules)?;
            let detail = match () {
                () if seen.watch.held_down(now_ms, rules) => "up and down too often lately".to_owned(),
                () if up => String::new(),
                () => seen.fault.clone(),
            };
            Some((target.clone(), Observation { up, error_permille: None, detail }))
        });
        found.collect()
    }

    /// What the backends' names were last resolved to.
    pub(super) fn addresses(&self) -> BTreeMap<Backend, Vec<IpAddr>> {
        let seen = lock(&self.shared.seen);
        let found = seen.iter().filter_map(|(target, seen)| match target {
            Target::Backend { backend, .. } if !seen.addresses.is_empty() => {
                Some((backend.clone(), seen.addresses.clone()))
            }
            _ => None,
        });
        found.collect()
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            sent: self.shared.sent.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Probers {
    fn drop(&mut self) {
        lock(&self.shared.seen).clear();
    }
}

impl Shared {
    fn now_ms(&self) -> u64 {
        u64::try_from(runtime::since(self.started).as_millis()).unwrap_or(u64::MAX)
    }
}

struct Prober {
    shared: Arc<Shared>,
    target: Target,
    check: HealthCheck,
    backend: Backend,
    host: HostName,
    tls: TlsConnector,
    resolved: Option<(Instant, Vec<IpAddr>)>,
}

impl Prober {
    async fn run(mut self) {
        let mut due = runtime::now();
        loop {
            tokio::time::sleep_until(due).await;
            let start = runtime::now();
            let outcome = self.once().await;
            self.saw(outcome);
            let jitter = rand::rng().random_range(1.0 - JITTER..1.0 + JITTER);
            due = start + INTERVAL.mul_f64(jitter);
        }
    }

    async fn once(&mut self) -> Result<(), String> {
        // Never closed, so this only waits for its turn.
        let shared = Arc::clone(&self.shared);
        let _turn = shared.at_once.acquire().await;
        let limit = format!("timed out after {TIMEOUT:?}");
        tokio::time::timeout(TIMEOUT, self.probe()).await.unwrap_or(Err(limit))
    }

    async fn probe(&mut self) -> Result<(), String> {
        let stale = |(at, _): &(Instant, Vec<IpAddr>)| runtime::since(*at) >= RESOLVED_FOR;
        if self.resolved.as_ref().is_none_or(stale) {
            let addresses =
                probe::addresses(&self.backend).await.map_err(|error| format!("no address: {error}"))?;
            if addresses.is_empty() {
                return Err("no address".to_owned());
            }
            self.resolved = Some((runtime::now(), addresses));
        }
        let Some((_, addresses)) = &self.resolved else { return Err("no address".to_owned()) };
        if self.check == HealthCheck::Region {
            return Ok(());
        }
        let mut outcome = Err("no address".to_owned());
        for address in addresses {
            outcome = probe::probe(&self.check, &self.backend, *address, &self.host, &self.tls).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn saw(&self, outcome: Result<(), String>) {
        self.shared.sent.fetch_add(1, Ordering::Relaxed);
        if outcome.is_err() {
            self.shared.failed.fetch_add(1, Ordering::Relaxed);
        }
        let now_ms = self.shared.now_ms();
        let mut all = lock(&self.shared.seen);
        let Some(seen) = all.get_mut(&self.target) else { return };
        let before = seen.watch.up(now_ms, &self.shared.rules);
        seen.watch.saw(outcome.is_ok(), now_ms, &self.shared.rules);
        if let Err(fault) = outcome {
            seen.fault = fault;
        }
        if let Some((_, addresses)) = &self.resolved {
            seen.addresses.clone_from(addresses);
        }
        if seen.watch.up(now_ms, &self.shared.rules) != before {
            self.shared.news.notify_one();
        }
    }
}
