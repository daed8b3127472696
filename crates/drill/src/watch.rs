//! Watches the status that the surviving regions report, to see when the cluster itself notices a fault.

use crate::client::Connection;
use crate::cluster::{ClusterFile, Status, status};
use crate::sample::Micros;
use crate::workload::Shared;
use meridian_types::RegionName;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The time between two looks; a detection is known no more exactly than this.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOOK_LIMIT: Duration = Duration::from_millis(500);

/// Looks at every surviving region until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    views: Vec<Arc<Mutex<View>>>,
    _tasks: JoinSet<()>,
}

/// What one region's status shows.
#[derive(Debug, Default)]
struct View {
    latest: Option<Status>,
    /// How it was when the watch was armed.
    before: Option<Status>,
    noticed: Option<Micros>,
}

impl Watch {
    /// Begins to look for trouble in `lost`, through the first node of each region that `serves`.
    pub(crate) fn start(
        cluster: &ClusterFile,
        lost: &RegionName,
        serves: impl Fn(&RegionName) -> bool,
        clock: &Arc<Shared>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let mut views = Vec::new();
        for region in cluster.regions.iter().filter(|region| serves(&region.name)) {
            let Some(node) = region.nodes.first() else { continue };
            let view = Arc::new(Mutex::new(View::default()));
            let connection = Connection::new(node.admin.clone());
            tasks.spawn(look(connection, lost.clone(), Arc::clone(&view), Arc::clone(clock)));
            views.push(view);
        }
        Self { views, _tasks: tasks }
    }

    /// Takes what is seen now as normal; what differs from it later is a detection.
    pub(crate) fn arm(&self) {
        for view in &self.views {
            let mut view = lock(view);
            view.before = view.latest.clone();
        }
    }

    /// When the first region noticed.
    pub(crate) fn noticed(&self) -> Option<Micros> {
        self.views.iter().filter_map(|view| lock(view).noticed).min()
    }

    /// Whether every view that there is calls every region healthy.
    pub(crate) fn all_healthy(&self) -> bool {
        self.views.iter().all(|view| lock(view).latest.as_ref().is_none_or(Status::all_healthy))
    }

    /// The latest status of any region.
    pub(crate) fn latest(&self) -> Option<Status> {
        self.views.iter().find_map(|view| lock(view).latest.clone())
    }
}

async fn look(mut connection: Connection, lost: RegionName, view: Arc<Mutex<View>>, clock: Arc<Shared>) {
    loop {
        if let Ok(seen) = status(&mut connection, LOOK_LIMIT).await {
            let now = clock.now();
            let mut view = lock(&view);
            let noticed = view.before.as_ref().is_some_and(|before| seen.has_noticed(&lost, before));
            if noticed && view.noticed.is_none() {
                view.noticed = Some(now);
            }
            view.latest = Some(seen);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn lock(view: &Mutex<View>) -> std::sync::MutexGuard<'_, View> {
    view.lock().unwrap_or_else(PoisonError::into_inner)
}
