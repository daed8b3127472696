//! The processes of the sample application: one beside the nodes of each region, which shares the region's fate.

use super::supervisor::Order;
use crate::lock::lock;
use meridian_types::RegionName;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// Its port, counted from the first one of its region's first node.
const PORT: u16 = 6;
/// How long a process may take to listen.
const READY_LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// `GET /v1/apps`, and the answer to every order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppsAnswer {
    /// The processes.
    pub apps: Vec<AppReport>,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppReport {
    /// Its region.
    pub region: RegionName,
    /// Where it listens.
    pub url: String,
    /// Its process, while it has one.
    pub pid: Option<u32>,
}

/// All processes of the application.
#[derive(Debug, Default)]
pub struct Apps {
    running: Mutex<BTreeMap<RegionName, App>>,
}

#[derive(Debug)]
struct App {
    listen: SocketAddr,
    child: Option<Child>,
}

impl App {
    /// The process, if it has not ended.
    fn pid(&mut self) -> Option<u32> {
        let child = self.child.as_mut()?;
        if matches!(child.try_wait(), Ok(None)) { child.id() } else { None }
    }

    fn signal(&mut self, signal: Signal) -> io::Result<()> {
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        pid.map_or(Ok(()), |pid| Ok(kill_process(pid, signal)?))
    }
}

/// What a process is started with.
pub(super) struct Launch<'a> {
    pub binary: &'a Path,
    pub dir: &'a Path,
    pub log: PathBuf,
}

impl Apps {
    /// Starts the application in a region whose first port is `base`, if it does not run there.
    pub(super) fn start(&self, region: &RegionName, base: u16, launch: &Launch<'_>) -> io::Result<()> {
        let mut running = self.running();
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, base + PORT));
        let app = running.entry(region.clone()).or_insert(App { listen, child: None });
        if app.pid().is_none() {
            app.child = Some(spawn(region, listen, launch)?);
        }
        Ok(())
    }

    /// Whether the application runs, or has run, in a region.
    pub(super) fn knows(&self, region: &RegionName) -> bool {
        self.running().contains_key(region)
    }

    /// Has the process of a region share what is done to the region.
    pub(super) fn order(&self, region: &RegionName, order: Order) -> io::Result<()> {
        let mut running = self.running();
        let Some(app) = running.get_mut(region) else { return Ok(()) };
        match order {
            // By `start`, which knows how.
            Order::Start => Ok(()),
            Order::Freeze => app.signal(Signal::STOP),
            Order::Thaw => app.signal(Signal::CONT),
            // It keeps nothing that it could lose.
            Order::Kill | Order::Stop => app.signal(Signal::KILL),
        }
    }

    /// Waits until the process of a region listens; whether it does in time.
    pub(super) async fn ready(&self, region: &RegionName) -> bool {
        let listen = self.running().get(region).map(|app| app.listen);
        let Some(listen) = listen else { return false };
        let deadline = Instant::now() + READY_LIMIT;
        while Instant::now() < deadline {
            if tokio::net::TcpStream::connect(listen).await.is_ok() {
                return true;
            }
            tokio::time::sleep(POLL).await;
        }
        false
    }

    /// Every process.
    #[must_use]
    pub fn report(&self) -> AppsAnswer {
        let mut running = self.running();
        let apps = running.iter_mut().map(|(region, app)| AppReport {
            region: region.clone(),
            url: format!("http://{}", app.listen),
            pid: app.pid(),
        });
        AppsAnswer { apps: apps.collect() }
    }

    /// Ends all of them.
    pub(super) fn end(&self) {
        // Killed as they are dropped.
        self.running().clear();
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<RegionName, App>> {
        // Each change is one insertion or one assignment.
        lock(&self.running)
    }
}

fn spawn(region: &RegionName, listen: SocketAddr, launch: &Launch<'_>) -> io::Result<Child> {
    let log: File = OpenOptions::new().append(true).create(true).open(&launch.log)?;
    Command::new(launch.binary)
        .args(["service", "run-demo", "--region", region.as_str(), "--listen", &listen.to_string(), "--dir"])
        .arg(launch.dir)
        // Its end ends the process, however this one ends.
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}
