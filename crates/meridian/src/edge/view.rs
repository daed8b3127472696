//! Makes the edge's view from what is known; decides nothing.

use crate::health::Findings;
use meridian_dns::geo::ClientNetwork;
use meridian_dns::server::Server as NameServer;
use meridian_edge::route::Routes;
use meridian_edge::{Served, View};
use meridian_replication::system::SystemState;
use meridian_steering::{Verdict, usable};
use meridian_types::service::Scheme;
use meridian_types::{RegionName, Service};
use std::collections::BTreeMap;
use std::sync::Arc;

type Distances = Arc<BTreeMap<RegionName, BTreeMap<RegionName, u32>>>;

pub(super) fn make(state: &SystemState, findings: &Findings, name_server: Arc<NameServer>) -> View {
    let distances = Arc::new(findings.distances.clone());
    let services = &state.services().by_name;
    let served = services.values().filter(|service| speaks_http(service));
    let served = served.map(|service| (service.name.clone(), of(service, findings, &distances)));
    View {
        services: served.collect(),
        routes: Routes::new(services),
        locate: Arc::new(move |address| name_server.view().locator.locate(ClientNetwork::of(address)).region),
    }
}

/// What only speaks TCP is for DNS.
fn speaks_http(service: &Service) -> bool {
    service.backends.values().flatten().any(|backend| backend.scheme != Scheme::Tcp)
}

fn of(service: &Service, findings: &Findings, distances: &Distances) -> Served {
    let standings = findings.standings.services.get(&service.name);
    let standing = |region: &RegionName| standings.and_then(|places| places.get(region));
    // Before anything is judged every region is as good as the others.
    let verdict = |region: &RegionName| {
        (region.clone(), standing(region).map_or(Verdict::Degraded, |standing| standing.verdict))
    };
    let backends = |region: &RegionName| {
        let backends = usable(service, region, standing(region)).into_iter().cloned();
        (region.clone(), backends.filter(|backend| backend.scheme != Scheme::Tcp).collect())
    };
    Served {
        service: service.clone(),
        verdicts: service.backends.keys().map(verdict).collect(),
        usable: service.backends.keys().map(backends).collect(),
        distances: Arc::clone(distances),
    }
}
