//! How services stand, as the admin API and `/metrics` say it.

use super::admin::Serving;
use crate::admin::services::{BackendStatus, EdgeEvidence, PlaceStatus, ServiceStatus, ServicesStatus};
use crate::health::Health;
use crate::prometheus::family;
use meridian_edge::server::Server;
use meridian_replication::system::SystemState;
use meridian_steering::{Standing, Verdict};
use meridian_types::{NodeName, RegionName, Service};

pub(super) fn status(serving: &Serving, state: &SystemState, judge: &NodeName) -> ServicesStatus {
    let (findings, now_ms) = (serving.health.findings(), serving.health.now_ms());
    let standings = &findings.standings;
    let services = state.services().by_name.values().map(|service| {
        let places = standings.services.get(&service.name);
        let regions: Vec<PlaceStatus> =
            places.into_iter().flatten().map(|(region, standing)| place(region, standing, now_ms)).collect();
        let regions =
            regions.into_iter().map(|place| with_edge(place, service, &serving.edge)).collect::<Vec<_>>();
        ServiceStatus {
            name: service.name.clone(),
            hosts: service.hosts.clone(),
            policy: service.policy.clone(),
            fail_open: !regions.is_empty() && regions.iter().all(|place| place.verdict == Verdict::Lost),
            regions,
        }
    });
    ServicesStatus {
        judge: judge.clone(),
        services: services.collect(),
        regions: standings.regions.iter().map(|(region, standing)| place(region, standing, now_ms)).collect(),
    }
}

/// Adds what this node's edge has met.
fn with_edge(mut place: PlaceStatus, service: &Service, edge: &Server) -> PlaceStatus {
    let Some(host) = service.hosts.first() else { return place };
    for status in &mut place.backends {
        let Some(view) = edge.backend(&status.backend, host) else { continue };
        if view.out_for_ms > 0 {
            let (backend, fault) = (&status.backend, view.fault.unwrap_or("failures"));
            place.because.push(format!(
                "{backend}: left out by this node's edge for {} ms ({fault})",
                view.out_for_ms
            ));
        }
        status.edge = Some(EdgeEvidence {
            requests: view.requests,
            failures: view.failures,
            ejections: view.ejections,
            in_flight: view.in_flight,
            out_for_ms: view.out_for_ms,
            last_fault: view.fault.map(str::to_owned),
        });
    }
    place
}

#[expect(clippy::cast_precision_loss, reason = "seconds since the node started")]
fn place(region: &RegionName, standing: &Standing, now_ms: u64) -> PlaceStatus {
    let backends = standing.backends.iter().map(|(backend, ruling)| BackendStatus {
        backend: backend.clone(),
        verdict: ruling.judged.verdict,
        evidence: ruling.judged.evidence.clone(),
        details: ruling.details.clone(),
        edge: None,
    });
    PlaceStatus {
        region: region.clone(),
        verdict: standing.verdict,
        since_s: now_ms.saturating_sub(standing.since_ms) as f64 / 1_000.0,
        because: standing.because.clone(),
        backends: backends.collect(),
    }
}

/// Adds the metrics of services to the text.
pub(super) fn metrics(health: &Health, out: &mut String) {
    let findings = health.findings();
    let number = |verdict: Verdict| match verdict {
        Verdict::Healthy => 0,
        Verdict::Degraded => 1,
        Verdict::Lost => 2,
    };
    let standings = findings.standings.services.iter();
    let verdicts = standings.flat_map(|(service, places)| {
        places.iter().map(move |(region, standing)| {
            (format!("{{service=\"{service}\",region=\"{region}\"}}"), number(standing.verdict))
        })
    });
    family(
        out,
        "gauge",
        "meridian_service_verdict",
        "How a service stands in a region: 0 healthy, 1 degraded, 2 lost.",
        verdicts,
    );
    let probes = health.probes();
    let mut total = |name, help, value| family(out, "counter", name, help, [("", value)]);
    total("meridian_service_probes_total", "Probes of backends by this node.", probes.sent);
    total(
        "meridian_service_probes_failed_total",
        "Probes of backends by this node that failed.",
        probes.failed,
    );
}
