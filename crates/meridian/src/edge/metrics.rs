//! What the edge counts, in the Prometheus text format.

use crate::prometheus::family;
use meridian_edge::server::{BackendView, Server};
use meridian_replication::system::Services;
use std::sync::atomic::{AtomicU64, Ordering};

/// Adds the edge's metrics to the text.
pub fn metrics(server: &Server, services: &Services, out: &mut String) {
    let counters = server.counters();
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut one = |kind: &str, name: &str, help: &str, rows: &[(String, u64)]| {
        let rows = rows.iter().map(|(labels, value)| (labels, value));
        family(out, kind, &format!("meridian_edge_{name}"), help, rows);
    };
    let plain = |counter: &AtomicU64| [(String::new(), read(counter))];
    one("gauge", "connections", "Connections of clients that are open.", &plain(&counters.connections));
    one(
        "gauge",
        "tunnels",
        "Connections that have changed to another protocol, such as WebSocket.",
        &plain(&counters.tunnels),
    );
    one(
        "counter",
        "connections_refused_total",
        "Connections turned away for their number.",
        &plain(&counters.refused),
    );
    one(
        "counter",
        "tls_failures_total",
        "Connections that ended before TLS was agreed on.",
        &plain(&counters.tls_failures),
    );
    let classes = (1..).zip(&counters.responses);
    let classes: Vec<_> =
        classes.map(|(class, counter)| (format!("{{class=\"{class}xx\"}}"), read(counter))).collect();
    one("counter", "responses_total", "Responses by the class of their status.", &classes);
    one("counter", "retries_total", "Requests sent again after a failure.", &plain(&counters.retries));
    one(
        "counter",
        "hedges_total",
        "Requests sent to a second region because the first was slow.",
        &plain(&counters.hedges),
    );
    one("counter", "cache_hits_total", "Requests served from the cache.", &plain(&counters.hits));
    one(
        "counter",
        "cache_collapsed_total",
        "Requests that waited for another one's response.",
        &plain(&counters.collapsed),
    );
    let usage = server.cache_usage();
    one("gauge", "cache_bytes", "Bytes that the cache keeps.", &[(String::new(), usage.bytes as u64)]);
    one(
        "gauge",
        "cache_entries",
        "Responses that the cache keeps.",
        &[(String::new(), usage.entries as u64)],
    );
    one(
        "counter",
        "cache_evicted_total",
        "Responses that had to go to make room.",
        &[(String::new(), usage.evicted)],
    );
    let mut backends: Vec<(String, BackendView)> = Vec::new();
    for service in services.by_name.values() {
        let Some(host) = service.hosts.first() else { continue };
        for (region, backend) in
            service.backends.iter().flat_map(|(region, all)| all.iter().map(move |b| (region, b)))
        {
            if let Some(view) = server.backend(backend, host) {
                let name = &service.name;
                backends.push((
                    format!("{{service=\"{name}\",region=\"{region}\",backend=\"{backend}\"}}"),
                    view,
                ));
            }
        }
    }
    let rows = |value: fn(&BackendView) -> u64| -> Vec<(String, u64)> {
        backends.iter().map(|(labels, view)| (labels.clone(), value(view))).collect()
    };
    one("counter", "backend_requests_total", "Attempts at a backend.", &rows(|view| view.requests));
    one(
        "counter",
        "backend_failures_total",
        "Attempts at a backend without a usable response.",
        &rows(|view| view.failures),
    );
    one(
        "counter",
        "backend_ejections_total",
        "How often a backend was left out for its failures.",
        &rows(|view| view.ejections),
    );
    one("gauge", "backend_in_flight", "Requests that a backend is at.", &rows(|view| view.in_flight as u64));
    one(
        "gauge",
        "backend_ejected",
        "1 while a backend is left out for its failures.",
        &rows(|view| u64::from(view.out_for_ms > 0)),
    );
}
