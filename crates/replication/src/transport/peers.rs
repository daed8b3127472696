//! The live links by node.

use super::link::Link;
use crate::runtime;
use meridian_types::hlc::behind_most;
use meridian_types::{NodeId, NodeName};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Between looks for a link.
const LINK_POLL: Duration = Duration::from_millis(25);

/// How to reach a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its number.
    pub number: NodeId,
    /// Its name; its certificate must carry it.
    pub name: NodeName,
    /// `host:port` to dial.
    pub address: String,
}

#[derive(Debug, Default)]
struct Peer {
    link: Option<Arc<Link>>,
    last_up: Option<Instant>,
    /// When links went down lately, oldest first.
    downs: VecDeque<Instant>,
}

/// Losses of a peer that are remembered.
const DOWNS: usize = 8;

/// All links of this node. A peer has at most one: a new one replaces the old.
#[derive(Debug)]
pub struct Peers {
    own: NodeId,
    started: Instant,
    peers: Mutex<BTreeMap<NodeId, Peer>>,
}

impl Peers {
    /// No links yet.
    #[must_use]
    pub fn new(own: NodeId) -> Arc<Self> {
        Arc::new(Self { own, started: runtime::now(), peers: Mutex::default() })
    }

    /// This node.
    #[must_use]
    pub fn own(&self) -> NodeId {
        self.own
    }

    /// The link to a node, if one is up.
    #[must_use]
    pub fn link(&self, node: NodeId) -> Option<Arc<Link>> {
        self.lock().get(&node)?.link.clone()
    }

    /// As [`Self::link`], waiting up to `patience` for one to come up.
    pub async fn link_within(&self, node: NodeId, patience: Duration) -> Option<Arc<Link>> {
        let deadline = runtime::now() + patience;
        loop {
            match self.link(node) {
                None if runtime::now() < deadline => runtime::sleep(LINK_POLL).await,
                found => return found,
            }
        }
    }

    /// How long ago anything was heard from a node: since this node started when nothing ever was, and zero for
    /// this node itself.
    #[must_use]
    pub fn silence(&self, node: NodeId) -> Duration {
        if node == self.own {
            return Duration::ZERO;
        }
        match self.lock().get(&node) {
            Some(Peer { link: Some(link), .. }) => link.silence(),
            Some(Peer { last_up: Some(last_up), .. }) => runtime::since(*last_up),
            _ => runtime::since(self.started),
        }
    }

    /// For how long a node has answered without a gap; `None` when it has been silent for `patience` or more.
    #[must_use]
    pub fn healthy_for(&self, node: NodeId, patience: Duration) -> Option<Duration> {
        if node == self.own {
            return Some(runtime::since(self.started));
        }
        let link = self.link(node)?;
        (link.silence() < patience).then(|| link.age())
    }

    /// How often the link to a node went down `within` so long, up to a bound.
    #[must_use]
    pub fn losses(&self, node: NodeId, within: Duration) -> u32 {
        let peers = self.lock();
        let downs = peers
            .get(&node)
            .map(|peer| peer.downs.iter().filter(|at| runtime::since(**at) <= within).count());
        downs.and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
    }

    /// The nodes to which there is a link.
    #[must_use]
    pub fn linked(&self) -> Vec<NodeId> {
        self.lock().iter().filter(|(_, peer)| peer.link.is_some()).map(|(node, _)| *node).collect()
    }

    /// How far this node's wall clock is behind most of the cluster's, in milliseconds; negative when it is ahead.
    pub fn clock_behind_ms(&self) -> i64 {
        behind_most(self.lock().values().filter_map(|peer| peer.link.as_ref()?.clock_ahead_ms()))
    }

    /// Ends the link to a node, if there is one.
    pub fn cut(&self, node: NodeId) {
        if let Some(link) = self.link(node) {
            link.shut();
        }
    }

    pub(super) fn up(&self, link: &Arc<Link>) {
        let old = self.lock().entry(link.peer()).or_default().link.replace(Arc::clone(link));
        if let Some(old) = old {
            old.shut();
        }
        tracing::info!(peer = %link.peer(), "link up");
    }

    pub(super) fn down(&self, link: &Arc<Link>) {
        link.shut();
        let mut peers = self.lock();
        let peer = peers.entry(link.peer()).or_default();
        if peer.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
            peer.link = None;
            peer.last_up = runtime::now().checked_sub(link.silence());
            peer.downs.push_back(runtime::now());
            if peer.downs.len() > DOWNS {
                peer.downs.pop_front();
            }
            tracing::info!(peer = %link.peer(), "link down");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Peer>> {
        // Entries are replaced whole, so a panic elsewhere while the map was held does no harm.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
