//! All links of a cluster: the listeners that nodes dial, and the gates that a drill closes.

use super::connection::relay;
use super::link::{Gate, Link};
use super::model::{WanError, WanModel};
use super::timer::Timer;
use meridian_types::{NodeId, RegionName};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    model: WanModel,
    links: Mutex<Links>,
}

#[derive(Default)]
struct Links {
    nodes: Vec<WanNode>,
    gates: BTreeMap<(RegionName, RegionName), Gate>,
    routes: BTreeMap<(NodeId, NodeId), SocketAddr>,
    timer: Option<Timer>,
    listeners: JoinSet<()>,
}

impl Links {
    fn gate(&mut self, from: &RegionName, to: &RegionName) -> Gate {
        self.gates.entry((from.clone(), to.clone())).or_insert_with(Gate::open).clone()
    }

    fn timer(&mut self) -> std::io::Result<Timer> {
        match &self.timer {
            Some(timer) => Ok(timer.clone()),
            None => Ok(self.timer.insert(Timer::start()?).clone()),
        }
    }
}

impl Wan {
    /// Opens one loopback listener, at a port that the system chooses, for every ordered pair of nodes in different
    /// regions; none at all under [`WanModel::None`].
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(model: &WanModel, nodes: &[WanNode]) -> Result<Self, StartError> {
        let wan = Self { model: model.clone(), links: Mutex::default() };
        for node in nodes {
            wan.add(node.clone()).await?;
        }
        Ok(wan)
    }

    /// Opens the links between a node and those that are there.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn add(&self, node: WanNode) -> Result<(), StartError> {
        let others: Vec<WanNode> = self.links().nodes.clone();
        for other in others.iter().filter(|other| other.region != node.region) {
            let link = |from: &WanNode, to: &WanNode| -> Result<Option<Arc<Link>>, StartError> {
                let Some(spec) = self.model.link(&from.region, &to.region)? else { return Ok(None) };
                Ok(Some(Arc::new(Link::new(spec, self.links().gate(&from.region, &to.region)))))
            };
            let (Some(there), Some(back)) = (link(&node, other)?, link(other, &node)?) else { break };
            self.open(&node, other, &there, &back).await?;
            self.open(other, &node, &back, &there).await?;
        }
        self.links().nodes.push(node);
        Ok(())
    }

    async fn open(
        &self,
        dialer: &WanNode,
        target: &WanNode,
        there: &Arc<Link>,
        back: &Arc<Link>,
    ) -> Result<(), StartError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut links = self.links();
        let timer = links.timer()?;
        links.routes.insert((dialer.number, target.number), address);
        links.listeners.spawn(listen(listener, target.peer, Arc::clone(there), Arc::clone(back), timer));
        Ok(())
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        // Entries are put in whole, so a panic elsewhere leaves none half-made.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `dialer` dials to reach `target`; `None` when it dials directly.
    #[must_use]
    pub fn route(&self, dialer: NodeId, target: NodeId) -> Option<SocketAddr> {
        self.links().routes.get(&(dialer, target)).copied()
    }

    /// Whether there is any link, so that blocking one can have an effect.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        !self.links().gates.is_empty()
    }

    /// Blocks or opens the directions from `from` to `to`, where `None` stands for every region. Answers how many ordered
    /// pairs of regions it concerns.
    ///
    /// A blocked direction is a black hole: connections stay up, nothing passes, new ones hang. What was
    /// sent meanwhile passes once the direction opens.
    pub fn set_blocked(&self, from: Option<&RegionName>, to: Option<&RegionName>, blocked: bool) -> usize {
        self.chosen(from, to, |gate| gate.set_open(!blocked))
    }

    /// Makes what departs from `from` to `to` from now on take `delay` longer than the model says; zero takes that back.
    /// `None` stands for every region. Answers how many ordered pairs of regions it concerns.
    pub fn set_delay(&self, from: Option<&RegionName>, to: Option<&RegionName>, delay: Duration) -> usize {
        self.chosen(from, to, |gate| gate.set_delay(delay))
    }

    fn chosen(&self, from: Option<&RegionName>, to: Option<&RegionName>, change: impl Fn(&Gate)) -> usize {
        let matches =
            |wanted: Option<&RegionName>, found: &RegionName| wanted.is_none_or(|name| name == found);
        let links = self.links();
        let gates = links.gates.iter().filter(|((a, b), _)| matches(from, a) && matches(to, b));
        gates.map(|(_, gate)| change(gate)).count()
    }

    /// The ordered pairs of regions that are slowed down, and by how much.
    #[must_use]
    pub fn delayed(&self) -> Vec<(RegionName, RegionName, Duration)> {
        let links = self.links();
        let delayed = links.gates.iter().filter(|(_, gate)| !gate.delay().is_zero());
        delayed.map(|((from, to), gate)| (from.clone(), to.clone(), gate.delay())).collect()
    }

    /// The ordered pairs of regions that are blocked.
    #[must_use]
    pub fn blocked(&self) -> Vec<(RegionName, RegionName)> {
        let links = self.links();
        let blocked = links.gates.iter().filter(|(_, gate)| !gate.is_open());
        blocked.map(|(pair, _)| pair.clone()).collect()
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
