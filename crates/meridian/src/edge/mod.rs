//! The node's HTTP edge: keeps what it serves by up to date with services, verdicts and certificates.
//!
//! What is not here: the edge itself, which is `meridian_edge`'s.

mod metrics;
mod sessions;
mod view;

pub use metrics::metrics;
pub use sessions::SystemSessions;

use crate::config::NodeConfig;
use crate::health::Health;
use crate::listen::listen;
use crate::shutdown::Shutdown;
use meridian_dns::server::Server as NameServer;
use meridian_edge::server::{CertificateFiles, Certificates, Server};
use meridian_replication::Replication;
use meridian_replication::system::Services;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;

/// How often files are looked at for changes, and a port that was taken is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Makes the node's edge, which serves nothing yet.
///
/// # Errors
/// When a certificate cannot be used, or TLS cannot be set up.
pub fn server(config: &NodeConfig, replication: &Arc<Replication>) -> io::Result<Arc<Server>> {
    let section = &config.edge;
    let sessions = Arc::new(SystemSessions::new(Arc::clone(replication)));
    let server = Server::new(section.options(descriptors()), sessions, rand::random())?;
    server.set_certificates(Certificates::load(&section.certificate_files()).map_err(io::Error::other)?);
    Ok(Arc::new(server))
}

/// How many files and sockets the process may have open: all that the system lets it.
fn descriptors() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// What the edge of one node is made from.
pub struct Edge {
    /// The edge.
    pub server: Arc<Server>,
    /// Where it listens.
    pub listen: SocketAddr,
    /// The files of its certificates.
    pub certificates: Vec<CertificateFiles>,
    /// Where clients are: the edge goes by what DNS goes by.
    pub name_server: Arc<NameServer>,
    /// How services stand.
    pub health: Arc<Health>,
    /// Where services are registered.
    pub replication: Arc<Replication>,
}

type Stamps = BTreeMap<PathBuf, Option<SystemTime>>;

impl Edge {
    /// Serves until the end is asked for. The port is opened once there is a service.
    pub async fn run(self, shutdown: Shutdown) {
        tokio::select! {
            () = self.follow() => {}
            () = self.serve(&shutdown) => {}
        }
    }

    async fn serve(&self, shutdown: &Shutdown) {
        let Some(listener) = self.listener(shutdown).await else { return };
        tracing::info!(address = %self.listen, "the edge is open");
        if let Err(error) = self.server.run(listener, shutdown.requested()).await {
            tracing::error!(%error, "the edge has no threads; look at how many the system allows (`ulimit -u`), then restart the node");
        }
    }

    /// The port, once it is needed and free.
    async fn listener(&self, shutdown: &Shutdown) -> Option<TcpListener> {
        let mut said = false;
        loop {
            if !self.replication.system().services().by_name.is_empty() {
                match listen(self.listen) {
                    Ok(listener) => return Some(listener),
                    Err(error) if !said => {
                        tracing::error!(address = %self.listen, %error, "the edge cannot listen; free the port or change `listen.edge`");
                        said = true;
                    }
                    Err(_) => {}
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY / 4) => {}
                () = shutdown.requested() => return None,
            }
        }
    }

    /// Follows every change for as long as the node runs.
    async fn follow(&self) {
        let mut findings = self.health.follow();
        let mut system = self.replication.watch_system();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stamps = stamps(&self.certificates);
        let mut version = None;
        // What was to be forgotten before the start was never kept.
        let mut purged = self.replication.system().services().purges.last().map_or(0, |last| last.number);
        loop {
            let state = self.replication.system();
            let services = state.services();
            if version.replace(services.version) != Some(services.version) {
                self.renew();
            }
            self.purge(services, &mut purged);
            tokio::select! {
                changed = findings.changed() => if changed.is_ok() { self.renew() },
                _ = system.changed() => {}
                _ = look.tick() => self.look_again(&mut stamps).await,
            }
        }
    }

    /// Carries out the orders behind `done`.
    fn purge(&self, services: &Services, done: &mut u64) {
        let Some(last) = services.purges.last().map(|last| last.number).filter(|last| last > done) else {
            return;
        };
        let missed = services.purges.first().is_some_and(|first| first.number > *done + 1);
        if missed {
            services.by_name.keys().for_each(|name| _ = self.server.purge(name, None));
        }
        for order in services.purges.iter().filter(|order| order.number > *done) {
            let count = self.server.purge(&order.service, order.tag.as_deref());
            tracing::info!(service = %order.service, tag = order.tag, count, "the edge has forgotten what it kept");
        }
        *done = last;
    }

    fn renew(&self) {
        let findings = self.health.findings();
        let made = view::make(&self.replication.system(), &findings, Arc::clone(&self.name_server));
        self.server.set_view(made, &findings.addresses);
    }

    /// Reads certificates again when a file has changed. Of files that cannot be used, what they said before stays.
    async fn look_again(&self, known: &mut Stamps) {
        if self.certificates.is_empty() {
            return;
        }
        let (before, files) = (known.clone(), self.certificates.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let now = stamps(&files);
            (now != before).then(|| (Certificates::load(&files), now))
        });
        match looked.await {
            Ok(Some((Ok(certificates), now))) => {
                self.server.set_certificates(certificates);
                *known = now;
                tracing::info!("the certificates of the edge were read again");
            }
            Ok(Some((Err(error), now))) => {
                tracing::error!(%error, "a certificate of the edge cannot be used; what was there before stays");
                *known = now;
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the certificates of the edge could not be looked at"),
        }
    }
}

fn stamps(files: &[CertificateFiles]) -> Stamps {
    let paths = files.iter().flat_map(|entry| [&entry.cert, &entry.key]);
    let changed = |path: &PathBuf| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    paths.map(|path| (path.clone(), changed(path))).collect()
}
