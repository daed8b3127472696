//! Service addresses that routers take to the nearest region that serves: announced to BGP speakers while this region is as good as any, and
//! taken back otherwise.
//!
//! What is not here: when an address is announced, which is `meridian_steering`'s to say, and the protocol, which is `meridian_anycast`'s.

mod peer;

use crate::admin::anycast::{AddressStatus, AnycastStatus, PeerStatus};
use crate::config::{AnycastSection, anycast_community};
use crate::health::Health;
use crate::lock::lock;
use crate::prometheus::family;
use ipnet::IpNet;
use meridian_replication::Replication;
use meridian_steering::{Announcement, announce};
use meridian_types::{NodeName, RegionName};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// How often it is looked whether the node has become ready.
const TICK: Duration = Duration::from_millis(200);
/// How long routers have to take traffic elsewhere before a node that ends stops listening.
const DRAIN: Duration = Duration::from_secs(1);

/// The announcements of one node.
pub struct Anycast {
    section: AnycastSection,
    health: Arc<Health>,
    replication: Arc<Replication>,
    region: RegionName,
    /// What the speakers should have; `None` once the node ends.
    wanted: watch::Sender<Option<BTreeSet<IpNet>>>,
    decided: Mutex<BTreeMap<IpNet, Announcement>>,
    peers: BTreeMap<SocketAddr, Mutex<PeerStatus>>,
}

impl Anycast {
    /// The announcements of a node in `region`. Nobody is spoken to before [`Self::run`].
    #[must_use]
    pub fn new(
        section: AnycastSection,
        health: Arc<Health>,
        replication: Arc<Replication>,
        region: RegionName,
    ) -> Arc<Self> {
        let peers = section.peers.iter().map(|peer| (*peer, Mutex::new(PeerStatus::new(*peer)))).collect();
        let (wanted, decided) = (watch::Sender::new(Some(BTreeSet::new())), Mutex::default());
        Arc::new(Self { section, health, replication, region, wanted, decided, peers })
    }

    /// Keeps every speaker up to date for as long as the node runs.
    pub async fn run(self: Arc<Self>) -> Infallible {
        let peers = self
            .peers
            .iter()
            .map(|(address, status)| peer::speak(*address, &self.section, self.wanted.subscribe(), status));
        let everyone = futures_util::future::join_all(peers);
        tokio::select! {
            never = self.decide() => never,
            _ = everyone => std::future::pending().await,
        }
    }

    /// Takes everything back, and waits until routers have had the time to send traffic elsewhere.
    pub async fn end(&self) {
        if self.section.is_used() {
            self.wanted.send_replace(None);
            tokio::time::sleep(DRAIN).await;
        }
    }

    async fn decide(&self) -> Infallible {
        let mut findings = self.health.follow();
        let mut ready = false;
        loop {
            ready |= self.replication.is_ready();
            let (now, state) = (self.health.findings(), self.replication.system());
            let mut decided = BTreeMap::new();
            for address in &self.section.addresses {
                let services = &state.services().by_name;
                let announcement = match ready {
                    true => announce(&now.standings, services, &self.region, &address.services),
                    false => Announcement { wanted: false, because: vec!["the node is starting".to_owned()] },
                };
                decided.insert(address.network, announcement);
            }
            self.tell(decided);
            _ = tokio::time::timeout(TICK, findings.changed()).await;
        }
    }

    fn tell(&self, decided: BTreeMap<IpNet, Announcement>) {
        let mut before = lock(&self.decided);
        for (network, now) in &decided {
            let was = before.get(network).is_some_and(|before| before.wanted);
            match (was, now.wanted) {
                (false, true) => tracing::info!(%network, "announced"),
                (true, false) => tracing::warn!(%network, because = now.because.join("; "), "taken back"),
                _ => {}
            }
        }
        let networks: BTreeSet<IpNet> =
            decided.iter().filter(|(_, now)| now.wanted).map(|(network, _)| *network).collect();
        *before = decided;
        drop(before);
        self.wanted.send_if_modified(|wanted| match wanted {
            Some(wanted) if *wanted != networks => {
                *wanted = networks;
                true
            }
            _ => false,
        });
    }

    /// What is announced to whom, and why not.
    #[must_use]
    pub fn status(&self, node: &NodeName) -> AnycastStatus {
        let decided = lock(&self.decided);
        let addresses = self.section.addresses.iter().map(|address| {
            let now = decided.get(&address.network).cloned().unwrap_or_default();
            AddressStatus {
                network: address.network,
                services: address.services.clone(),
                announced: now.wanted,
                because: now.because,
            }
        });
        AnycastStatus {
            node: node.clone(),
            addresses: addresses.collect(),
            peers: self.peers.values().map(|status| lock(status).clone()).collect(),
        }
    }

    /// Adds the metrics of announcements to the text.
    pub fn metrics(&self, out: &mut String) {
        let decided = lock(&self.decided);
        let addresses =
            decided.iter().map(|(network, now)| (format!("{{network=\"{network}\"}}"), u8::from(now.wanted)));
        family(
            out,
            "gauge",
            "meridian_anycast_announced",
            "Whether this node wants an address announced.",
            addresses,
        );
        drop(decided);
        let peers = self
            .peers
            .iter()
            .map(|(peer, status)| (format!("{{peer=\"{peer}\"}}"), u8::from(lock(status).established)));
        family(
            out,
            "gauge",
            "meridian_anycast_session_established",
            "Whether a BGP speaker takes announcements.",
            peers,
        );
    }
}

/// The communities of the section, which has been checked.
fn communities(section: &AnycastSection) -> Vec<u32> {
    section.communities.iter().filter_map(|text| anycast_community(text)).collect()
}
