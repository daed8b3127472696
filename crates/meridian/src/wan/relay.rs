//! All links of a cluster: the listeners that nodes dial, and the gates that a drill closes.

use super::connection::relay;
use super::link::{Gate, Link};
use super::model::{WanError, WanModel};
use super::timer::Timer;
use meridian_types::{NodeId, RegionName};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections at once from one node to another; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 256;

/// A node as the relay sees it.
#[derive(Clone, Debug)]
pub struct WanNode {
    /// Which node.
    pub number: NodeId,
    /// Where it stands.
    pub region: RegionName,
    /// Where it listens for its peers.
    pub peer: SocketAddr,
}

/// Why the relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The model lacks a pair.
    #[error(transparent)]
    Model(#[from] WanError),
    /// No thread, port or file descriptor left.
    #[error("cannot start the WAN relay: {0}")]
    Io(#[from] std::io::Error),
}

/// A running relay; dropping it ends every link.
pub struct Wan {
    gates: BTreeMap<(RegionName, RegionName), Gate>,
    routes: BTreeMap<(NodeId, NodeId), SocketAddr>,
    _listeners: JoinSet<()>,
}

impl Wan {
    /// Opens one loopback listener, at a port that the system chooses, for every ordered pair of nodes in different
    /// regions; none at all under [`WanModel::None`].
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(model: &WanModel, nodes: &[WanNode]) -> Result<Self, StartError> {
        let mut wan = Self { gates: BTreeMap::new(), routes: BTreeMap::new(), _listeners: JoinSet::new() };
        let mut links: BTreeMap<(NodeId, NodeId), Arc<Link>> = BTreeMap::new();
        for a in nodes {
            for b in nodes.iter().filter(|b| b.region != a.region) {
                let Some(spec) = model.link(&a.region, &b.region)? else { return Ok(wan) };
                let pair = (a.region.clone(), b.region.clone());
                let gate = wan.gates.entry(pair).or_insert_with(Gate::open).clone();
                links.insert((a.number, b.number), Arc::new(Link::new(spec, gate)));
            }
        }
        let timer = Timer::start()?;
        for (&(dialer, target), there) in &links {
            let back = links.get(&(target, dialer));
            let peer = nodes.iter().find(|node| node.number == target).map(|node| node.peer);
            let (Some(back), Some(peer)) = (back, peer) else { continue };
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            wan.routes.insert((dialer, target), listener.local_addr()?);
            wan._listeners.spawn(listen(listener, peer, Arc::clone(there), Arc::clone(back), timer.clone()));
        }
        Ok(wan)
    }

    /// What `dialer` dials to reach `target`; `None` when it dials directly.
    #[must_use]
    pub fn route(&self, dialer: NodeId, target: NodeId) -> Option<SocketAddr> {
        self.routes.get(&(dialer, target)).copied()
    }

    /// Whether there is any link, so that blocking one can have an effect.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        !self.gates.is_empty()
    }

    /// Blocks or opens the directions from `from` to `to`, where `None` stands for every region. Answers how many ordered
    /// pairs of regions it concerns.
    ///
    /// A blocked direction is a black hole: connections stay up, nothing passes, new ones hang. What was
    /// sent meanwhile passes once the direction opens.
    pub fn set_blocked(&self, from: Option<&RegionName>, to: Option<&RegionName>, blocked: bool) -> usize {
        self.chosen(from, to).map(|gate| gate.set_open(!blocked)).count()
    }

    /// Makes what departs from `from` to `to` from now on take `delay` longer than the model says; zero takes that back.
    /// `None` stands for every region. Answers how many ordered pairs of regions it concerns.
    pub fn set_delay(&self, from: Option<&RegionName>, to: Option<&RegionName>, delay: Duration) -> usize {
        self.chosen(from, to).map(|gate| gate.set_delay(delay)).count()
    }

    fn chosen(&self, from: Option<&RegionName>, to: Option<&RegionName>) -> impl Iterator<Item = &Gate> {
        let matches =
            |wanted: Option<&RegionName>, found: &RegionName| wanted.is_none_or(|name| name == found);
        let gates = self.gates.iter().filter(move |((a, b), _)| matches(from, a) && matches(to, b));
        gates.map(|(_, gate)| gate)
    }

    /// The ordered pairs of regions that are slowed down, and by how much.
    pub fn delayed(&self) -> impl Iterator<Item = (&RegionName, &RegionName, Duration)> {
        let delayed = self.gates.iter().filter(|(_, gate)| !gate.delay().is_zero());
        delayed.map(|((from, to), gate)| (from, to, gate.delay()))
    }

    /// The ordered pairs of regions that are blocked.
    pub fn blocked(&self) -> impl Iterator<Item = (&RegionName, &RegionName)> {
        self.gates.iter().filter(|(_, gate)| !gate.is_open()).map(|((from, to), _)| (from, to))
    }
}

async fn listen(listener: TcpListener, target: SocketAddr, there: Arc<Link>, back: Arc<Link>, timer: Timer) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((dialer, _)) => {
                let (there, back, timer) = (Arc::clone(&there), Arc::clone(&back), timer.clone());
                connections.spawn(async move {
                    relay(dialer, target, &there, &back, &timer).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the WAN relay cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

#[cfg(test)]
mod tests;
