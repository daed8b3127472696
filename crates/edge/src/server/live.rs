//! The view as requests meet it: each backend with its connections, which outlive the view.

use super::lock;
use super::upstream::Upstream;
use crate::route::Routes;
use crate::view::{Locate, Served, View};
use meridian_types::{Backend, HostName, RegionName, ServiceName};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A service, and the backends that may be asked.
pub(super) struct LiveService {
    pub(super) served: Served,
    pub(super) usable: BTreeMap<RegionName, Vec<Arc<Upstream>>>,
}

/// What requests meet.
pub(super) struct Live {
    /// No other one has it.
    pub(super) number: u64,
    pub(super) services: BTreeMap<ServiceName, Arc<LiveService>>,
    pub(super) routes: Routes,
    pub(super) locate: Locate,
}

/// What is known of a backend: by itself, and by the name that its certificate must be for.
type Key = (Backend, HostName);

/// All backends.
pub(super) struct Upstreams {
    known: Mutex<BTreeMap<Key, Arc<Upstream>>>,
    workers: usize,
    /// How many views there were.
    views: AtomicU64,
}

impl Upstreams {
    /// Of an edge with so many workers.
    pub(super) fn new(workers: usize) -> Self {
        Self { known: Mutex::default(), workers, views: AtomicU64::new(0) }
    }

    /// Takes over a view. Backends that no service has any more are forgotten, and end with their last request.
    pub(super) fn live(&self, view: View, addresses: &BTreeMap<Backend, Vec<IpAddr>>) -> Live {
        let mut known = lock(&self.known);
        let mut kept: BTreeMap<Key, Arc<Upstream>> = BTreeMap::new();
        let mut services = BTreeMap::new();
        for (name, served) in view.services {
            let Some(host) = served.service.hosts.first().cloned() else { continue };
            let mut upstream = |backend: &Backend| {
                let key = (backend.clone(), host.clone());
                let fresh = || Arc::new(Upstream::new(backend.clone(), host.clone(), self.workers));
                let upstream = known.get(&key).cloned().unwrap_or_else(fresh);
                upstream.set_addresses(addresses.get(backend).map_or(&[], Vec::as_slice));
                kept.insert(key, Arc::clone(&upstream));
                upstream
            };
            // Those that may not be asked now keep what is known of them.
            served.service.backends.values().flatten().for_each(|backend| _ = upstream(backend));
            let usable = served
                .usable
                .iter()
                .map(|(region, backends)| (region.clone(), backends.iter().map(&mut upstream).collect()));
            let usable = usable.collect();
            services.insert(name, Arc::new(LiveService { served, usable }));
        }
        *known = kept;
        let number = self.views.fetch_add(1, Ordering::Relaxed);
        Live { number, services, routes: view.routes, locate: view.locate }
    }

    /// The one for a backend of a service that has this host.
    pub(super) fn find(&self, backend: &Backend, host: &HostName) -> Option<Arc<Upstream>> {
        lock(&self.known).get(&(backend.clone(), host.clone())).cloned()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Upstream>> {
        lock(&self.known).values().cloned().collect()
    }
}
