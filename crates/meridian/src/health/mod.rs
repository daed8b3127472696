//! Health of services: this node probes every backend, tells the other nodes what it finds, and judges by what all of them say.
//!
//! What is not here: the decisions, which are `meridian_steering`'s. Nothing here needs the system group: a node that is cut off goes on
//! with the services that it knows, by what it sees itself.

mod distances;
mod notice;
mod probe;
mod probers;
mod regions;

pub use distances::Distances;
pub use probers::Counts;

use crate::lock::lock;
use bytes::Bytes;
use meridian_replication::system::Services;
use meridian_replication::{Replication, runtime};
use meridian_steering::{Board, Observation, Report, Standings, Target, VerdictRules, World};
use meridian_types::{Backend, HostName, NodeId, RegionName};
use notice::Notice;
use probers::Probers;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How often everything is judged when there is no news: what was said may have become stale.
const TICK: Duration = Duration::from_millis(250);
/// How often the other nodes are told what has not changed.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// A node that has not reported for so long has no say.
const STALE_AFTER_MS: u64 = 3_000;

fn rules() -> VerdictRules {
    VerdictRules { stale_after_ms: STALE_AFTER_MS, ..VerdictRules::default() }
}

/// What steering goes by: replaced as a whole when any of it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How everything stands.
    pub standings: Standings,
    /// Round trips between regions.
    pub distances: Distances,
    /// What the names of backends were last resolved to.
    pub addresses: std::collections::BTreeMap<Backend, Vec<IpAddr>>,
}

/// Whether too many requests to a backend of the service with this first host fail; `None` when there are too few to tell.
pub type Traffic = Box<dyn Fn(&Backend, &HostName) -> Option<bool> + Send + Sync>;

/// This node's view of the health of all services.
pub struct Health {
    replication: Arc<Replication>,
    region: RegionName,
    started: Instant,
    probers: Probers,
    board: Mutex<Board>,
    distances: Mutex<distances::Reports>,
    regions: Mutex<regions::Regions>,
    news: Arc<Notify>,
    findings: watch::Sender<Arc<Findings>>,
    traffic: OnceLock<Traffic>,
}

impl Health {
    /// The view of a node that stands in `region`. Nothing is probed before [`Self::run`].
    #[must_use]
    pub fn new(replication: Arc<Replication>, region: RegionName) -> Arc<Self> {
        let news = Arc::new(Notify::new());
        let health = Arc::new(Self {
            replication,
            region,
            started: runtime::now(),
            probers: Probers::new(Arc::clone(&news)),
            board: Mutex::default(),
            distances: Mutex::default(),
            regions: Mutex::default(),
            news,
            findings: watch::Sender::default(),
            traffic: OnceLock::new(),
        });
        let listener = Arc::downgrade(&health);
        health.replication.on_notice(Arc::new(move |from, payload| {
            if let Some(health) = listener.upgrade() {
                health.hear(from, &payload);
            }
        }));
        health
    }

    /// Takes real traffic into account from now on, once: what this node's edge makes of backends.
    pub fn watch_traffic(&self, traffic: Traffic) {
        _ = self.traffic.set(traffic);
    }

    /// Follows the findings.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Arc<Findings>> {
        self.findings.subscribe()
    }

    /// The present findings.
    #[must_use]
    pub fn findings(&self) -> Arc<Findings> {
        Arc::clone(&self.findings.borrow())
    }

    /// Milliseconds of the clock by which [`meridian_steering::Standing::since_ms`] counts.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(runtime::since(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    /// How many probes were sent, and how many failed.
    #[must_use]
    pub fn probes(&self) -> Counts {
        self.probers.counts()
    }

    /// Probes, reports and judges as long as the node runs.
    pub async fn run(self: Arc<Self>) -> Infallible {
        let mut said: Option<(Instant, Bytes)> = None;
        loop {
            _ = tokio::time::timeout(TICK, self.news.notified()).await;
            let state = self.replication.system();
            self.probers.follow(&state.services().by_name);
            let notice = self.notice();
            if let Ok(encoded) = notice.encode() {
                let due = said
                    .as_ref()
                    .is_none_or(|(at, last)| runtime::since(*at) >= REPORT_EVERY || *last != encoded);
                if due {
                    self.replication.notify(&encoded);
                    said = Some((runtime::now(), encoded));
                }
            }
            self.take(self.replication.own(), self.region.clone(), notice);
            self.judge();
        }
    }

    /// What this node observes.
    fn notice(&self) -> Notice {
        let state = self.replication.system();
        let mut report = self.probers.report();
        self.add_traffic(&mut report, state.services());
        let regions: BTreeSet<&RegionName> = state.nodes.values().map(|node| &node.region).collect();
        let mut watched = lock(&self.regions);
        watched.keep(|region| regions.contains(region));
        for region in regions {
            let mut nodes = state.nodes.values().filter(|node| node.region == *region);
            let own = *region == self.region;
            let heard = own || nodes.any(|node| self.replication.hears(node.number));
            let (up, flaps) = watched.look(region, heard, self.now_ms());
            let unready = own && !self.replication.is_ready();
            let detail = match (up, flaps, unready) {
                (false, true, _) => "heard and silent too often lately",
                (false, false, _) => "silent",
                (true, _, true) => "a group has no leader",
                (true, _, false) => "",
            };
            let seen =
                Observation { up, error_permille: unready.then_some(1_000), detail: detail.to_owned() };
            report.push((Target::Region(region.clone()), seen));
        }
        drop(watched);
        let round_trips = self.replication.round_trips();
        let to_regions = round_trips
            .into_iter()
            .filter_map(|(node, rtt)| Some((state.region_of(node)?.clone(), rtt)))
            .map(|(region, rtt)| (region, u32::try_from(rtt.as_millis()).unwrap_or(u32::MAX)));
        Notice::new(report, distances::nearest(to_regions))
    }

    /// Adds how requests fare to what probes say. Where probes fail too it says nothing: the way there may be what is broken.
    fn add_traffic(&self, report: &mut Report, services: &Services) {
        let Some(traffic) = self.traffic.get() else { return };
        for (target, seen) in report.iter_mut().filter(|(_, seen)| seen.up) {
            let Target::Backend { service, backend, .. } = target else { continue };
            let host = services.by_name.get(service).and_then(|service| service.hosts.first());
            let Some(failing) = host.and_then(|host| traffic(backend, host)) else { continue };
            seen.error_permille = Some(if failing { 1_000 } else { 0 });
            if failing {
                "too many of its requests fail".clone_into(&mut seen.detail);
            }
        }
    }

    /// Takes a notice off a link.
    fn hear(&self, from: NodeId, payload: &[u8]) {
        let state = self.replication.system();
        match (state.region_of(from), Notice::decode(payload)) {
            (Some(region), Ok(notice)) => {
                if self.take(from, region.clone(), notice) {
                    self.news.notify_one();
                }
            }
            (None, _) => tracing::debug!(%from, "a report of a node that is not known"),
            (_, Err(error)) => tracing::debug!(%from, %error, "a report that cannot be read"),
        }
    }

    /// Answers whether the node says anything new.
    fn take(&self, from: NodeId, region: RegionName, notice: Notice) -> bool {
        lock(&self.distances).hear(&region, &notice.round_trips_ms);
        lock(&self.board).hear(from, region, notice.report, self.now_ms())
    }

    fn judge(&self) {
        let state = self.replication.system();
        let regions: BTreeSet<RegionName> = state.nodes.values().map(|node| node.region.clone()).collect();
        let world = World {
            regions: &regions,
            drained: &state.drained_regions,
            lost: &state.lost_regions,
            services: &state.services().by_name,
        };
        let before = self.findings();
        let standings = {
            let mut board = lock(&self.board);
            board.keep(&state.nodes.keys().copied().collect());
            Standings::judge(&board, world, self.now_ms(), &rules(), &before.standings)
        };
        log_changes(&before.standings, &standings);
        let distances = lock(&self.distances).keep(&regions);
        let found = Findings { standings, distances, addresses: self.probers.addresses() };
        self.findings.send_if_modified(|findings| {
            let changed = **findings != found;
            if changed {
                *findings = Arc::new(found);
            }
            changed
        });
    }
}

fn log_changes(before: &Standings, now: &Standings) {
    for (service, places) in &now.services {
        for (region, standing) in places {
            let old = before.services.get(service).and_then(|places| places.get(region));
            if old.is_none_or(|old| old.verdict != standing.verdict) {
                let (verdict, because) = (standing.verdict, standing.because.join("; "));
                tracing::info!(%service, %region, %verdict, because, "a verdict has changed");
            }
        }
    }
}
