//! The node's name server: keeps what it answers from up to date with services, verdicts and files.
//!
//! What is not here: answers, which are `meridian_dns`'s.

mod files;
mod view;

pub use files::{Files, FilesError};

use crate::config::{DnsSection, NodeConfig};
use crate::health::Health;
use crate::prometheus::family;
use files::Aliases;
use meridian_dns::dnssec::Made;
use meridian_dns::server::{Options, Server};
use meridian_replication::Replication;
use meridian_types::NodeName;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often files are looked at for changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Opens the node's DNS port.
///
/// # Errors
/// When it cannot be opened.
pub fn start(config: &NodeConfig) -> io::Result<Arc<Server>> {
    let options = Options {
        listen: config.listen.dns,
        threads: config.dns.threads,
        rate_limit: config.dns.rate_limit,
        seed: rand::random(),
    };
    Server::start(options).map(Arc::new)
}

/// What the name server of one node is made from.
pub struct Dns {
    /// The port.
    pub server: Arc<Server>,
    /// What the node is told.
    pub section: DnsSection,
    /// What its files say.
    pub files: Files,
    /// Which node.
    pub node: NodeName,
    /// How services stand.
    pub health: Arc<Health>,
    /// Where services are registered.
    pub replication: Arc<Replication>,
}

impl Dns {
    /// Follows every change for as long as the node runs.
    pub async fn run(mut self) -> Infallible {
        let mut findings = self.health.follow();
        let mut aliases = Aliases::default();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.renew(&aliases);
        loop {
            let changed = tokio::select! {
                changed = findings.changed() => changed.is_ok(),
                _ = look.tick() => {
                    let files = self.files.look_again(&self.section).await;
                    let resolved = aliases.resolve(&self.files).await;
                    files || resolved
                }
            };
            if changed {
                self.renew(&aliases);
            }
        }
    }

    fn renew(&self, aliases: &Aliases) {
        let state = self.replication.system();
        let findings = self.health.findings();
        let made = view::make(&view::Source {
            section: &self.section,
            files: &self.files,
            node: &self.node,
            state: &state,
            findings: &findings,
            aliases: aliases.found(),
            listen: self.server.listen().ip(),
        });
        self.server.set_view(Arc::new(made));
    }
}

/// Adds the server's metrics to the text.
pub fn metrics(server: &Server, out: &mut String) {
    let counters = server.counters();
    let mut counter = |name: &str, help: &str, rows: &[(&str, &AtomicU64)]| {
        let rows = rows.iter().map(|(labels, value)| (labels, value.load(Ordering::Relaxed)));
        family(out, "counter", &format!("meridian_dns_{name}"), help, rows);
    };
    counter(
        "messages_total",
        "Messages that came in.",
        &[("{transport=\"udp\"}", &counters.udp), ("{transport=\"tcp\"}", &counters.tcp)],
    );
    counter(
        "responses_total",
        "Responses by what they are.",
        &[
            ("{kind=\"answer\"}", &counters.answers),
            ("{kind=\"negative\"}", &counters.negatives),
            ("{kind=\"refused\"}", &counters.refused),
            ("{kind=\"error\"}", &counters.errors),
        ],
    );
    counter("ignored_total", "Messages that deserve no response.", &[("", &counters.ignored)]);
    counter("truncated_total", "Responses that did not fit a datagram.", &[("", &counters.truncated)]);
    counter("limited_total", "Responses withheld to keep to the rate.", &[("", &counters.limited)]);
    counter(
        "fail_open_total",
        "Answers that name every region because all look lost.",
        &[("", &counters.fail_open)],
    );
    let view = server.view();
    let made = |count: fn(Made) -> u64| {
        AtomicU64::new(view.zones.signers().map(|signer| count(signer.made())).sum())
    };
    counter(
        "signatures_total",
        "Signatures of answers from signed zones, by where they came from.",
        &[("{from=\"key\"}", &made(|made| made.signed)), ("{from=\"cache\"}", &made(|made| made.found))],
    );
    counter("streams_refused_total", "Streams turned away.", &[("", &counters.streams_refused)]);
}
