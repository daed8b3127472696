//! The requests: a few at once through each edge, and a few of the clients of each region by DNS. All are safe (GET), so that a
//! failure is one that a user of the service would see.

use super::figures::{self, ServiceFigures};
use super::resolver::Resolver;
use crate::client::{Connection, Endpoint};
use crate::cluster::ClusterFile;
use crate::error::DrillError;
use crate::measure::Marks;
use crate::sample::Micros;
use crate::target::Target;
use crate::workload::Shared;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use meridian_types::Service;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Users that go by DNS, of the clients of one region.
const BY_DNS: u8 = 4;
/// Between two requests of a user.
const INTERVAL: Duration = Duration::from_millis(50);
/// The most requests a second that can be sent through each edge.
pub const MAX_EDGE_RATE: u16 = 5_000;
/// How long a user waits.
const DEADLINE: Duration = Duration::from_secs(5);
/// The networks, of 24 bits, in which `meridian dev` looks for the clients of its regions, in their order.
pub const NETWORKS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(192, 0, 2, 0), Ipv4Addr::new(198, 51, 100, 0), Ipv4Addr::new(203, 0, 113, 0)];

/// The way of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Edge,
    Dns,
}

/// One request as its user saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub way: Way,
    /// The region whose clients it is of, as an index.
    pub region: u8,
    /// Which of them.
    pub lane: u8,
    pub invoked: Micros,
    pub returned: Micros,
    pub done: bool,
}

/// A running load. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct ServiceLoad {
    stop: watch::Sender<bool>,
    tasks: JoinSet<Vec<Sample>>,
}

/// What one user is told.
struct User {
    way: Way,
    region: u8,
    lane: u8,
    host: String,
    clock: Arc<Shared>,
    stop: watch::Receiver<bool>,
    /// Between two of its requests.
    interval: Duration,
}

impl ServiceLoad {
    /// Starts it: so many requests a second through the edge of each region that the fault leaves, and by DNS for the clients of every
    /// region.
    ///
    /// # Errors
    /// [`DrillError::Unfit`] when the cluster file names no edge or name server.
    pub(crate) fn start(
        cluster: &ClusterFile,
        service: &Service,
        (target, edges_fall): (&Target, bool),
        edge_rate: u16,
        clock: &Arc<Shared>,
    ) -> Result<Self, DrillError> {
        let unfit = |what: &str| {
            DrillError::Unfit(format!(
                "the cluster's file names no {what}; start it anew with `meridian dev`"
            ))
        };
        let host =
            service.hosts.first().map(ToString::to_string).ok_or_else(|| unfit("host of the service"))?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let nodes = || cluster.regions.iter().flat_map(|region| &region.nodes);
        let servers: Vec<SocketAddr> = nodes().filter_map(|node| node.dns).collect();
        if servers.is_empty() {
            return Err(unfit("name server"));
        }
        let (through_each, interval) = users_of(edge_rate);
        for (index, region) in (0u8..).zip(&cluster.regions) {
            let user = |way, lane, interval| User {
                way,
                region: index,
                lane,
                host: host.clone(),
                clock: Arc::clone(clock),
                stop: stopped.clone(),
                interval,
            };
            if !(edges_fall && index == target.path) {
                let edge = region.nodes.first().and_then(|node| node.edge.clone());
                let edge = edge.ok_or_else(|| unfit("edge"))?;
                for lane in 0..through_each {
                    let phase = interval * u32::from(lane) / u32::from(through_each);
                    tasks.spawn(through_edge(user(Way::Edge, lane, interval), edge.clone(), phase));
                }
            }
            let Some(network) = NETWORKS.get(usize::from(index)) else { continue };
            for lane in 0..BY_DNS {
                let resolver = Resolver::new(servers.clone(), &host, *network).map_err(DrillError::Unfit)?;
                tasks.spawn(by_dns(user(Way::Dns, lane, INTERVAL), resolver));
            }
        }
        Ok(Self { stop, tasks })
    }

    /// Stops it, and gives its figures.
    ///
    /// # Errors
    /// [`DrillError::Broken`] when a part of it panicked.
    pub(crate) async fn finish(mut self, marks: &Marks) -> Result<ServiceFigures, DrillError> {
        // With every task gone already there is nobody to tell.
        let _ = self.stop.send(true);
        let mut samples = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            samples.extend(ended.map_err(|error| DrillError::Broken(error.to_string()))?);
        }
        Ok(figures::of(&samples, marks))
    }
}

/// How many users make so many requests a second, and how often each of them does: every [`INTERVAL`], as near as whole users allow.
fn users_of(rate: u16) -> (u8, Duration) {
    let rate = rate.clamp(1, MAX_EDGE_RATE);
    let each = Duration::from_secs(1) / u32::from(rate);
    let users = INTERVAL.as_nanos().div_ceil(each.as_nanos());
    let users = u8::try_from(users).unwrap_or(u8::MAX);
    (users, each * u32::from(users))
}

async fn through_edge(user: User, edge: Endpoint, phase: Duration) -> Vec<Sample> {
    let mut connection = Connection::new(edge);
    let mut samples = Vec::new();
    let mut next = Instant::now() + phase;
    sleep_until(next).await;
    while !*user.stop.borrow() {
        let invoked = user.clock.now();
        let done = get(&mut connection, &user.host).await;
        samples.push(user.sample(invoked, done));
        next = user.pace(next).await;
    }
    samples
}

async fn by_dns(user: User, mut resolver: Resolver) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut connection: Option<Connection> = None;
    let mut next = Instant::now();
    while !*user.stop.borrow() {
        let invoked = user.clock.now();
        let done = match resolver.resolve().await {
            Ok(endpoints) => first_of(&endpoints, &mut connection, &user.host).await,
            Err(reason) => {
                tracing::debug!(reason, "not resolved");
                false
            }
        };
        samples.push(user.sample(invoked, done));
        next = user.pace(next).await;
    }
    samples
}

/// As browsers do: the connection that there is as long as it leads where it should, else the best endpoint.
async fn first_of(endpoints: &[SocketAddr], connection: &mut Option<Connection>, host: &str) -> bool {
    let Some(best) = endpoints.first() else { return false };
    let Ok(endpoint) = format!("http://{best}").parse::<Endpoint>() else { return false };
    if connection.as_ref().is_none_or(|open| *open.endpoint() != endpoint) {
        *connection = Some(Connection::new(endpoint));
    }
    match connection {
        Some(open) => get(open, host).await,
        None => false,
    }
}

async fn get(connection: &mut Connection, host: &str) -> bool {
    let request = Request::get("/").header(http::header::HOST, host).body(Full::new(Bytes::new()));
    let Ok(request) = request else { return false };
    connection.send(request, DEADLINE).await.is_ok_and(|response| response.status.is_success())
}

impl User {
    async fn pace(&self, due: Instant) -> Instant {
        let next = (due + self.interval).max(Instant::now());
        sleep_until(next).await;
        next
    }

    fn sample(&self, invoked: Micros, done: bool) -> Sample {
        let Self { way, region, lane, .. } = *self;
        Sample { way, region, lane, invoked, returned: self.clock.now(), done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_make_the_rate_that_was_asked_for() {
        for rate in [1, 7, 80, 500, 999, MAX_EDGE_RATE] {
            let (users, interval) = users_of(rate);
            let made = f64::from(users) / interval.as_secs_f64();
            assert!((made / f64::from(rate) - 1.0).abs() < 0.001, "{made} for {rate}");
            assert!(interval >= INTERVAL, "{rate}: {interval:?}");
        }
        assert_eq!(users_of(80), (4, INTERVAL));
    }
}
