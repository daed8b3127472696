//! One run: found a cluster, work and break things, heal, and judge.

use crate::active::{self, Additions};
use crate::cluster::Cluster;
use crate::disk::Bugs;
use crate::faults::{self, Menu};
use crate::judge::{self, monitor, panics, replicas};
use crate::loose::{self, Acknowledged};
use crate::members;
use crate::register::{Request, Response, decode, encode};
use crate::rng::Rng;
use crate::script;
use crate::shape::Shape;
use crate::tables::Work;
use crate::trace::Trace;
use crate::workload::{Client, Notes, group_of, keys};
use meridian_drill::Scenario;
use meridian_drill::scenario::Scope;
use meridian_history::{FinalState, Key, Value};
use meridian_replication::{ReadConsistency, runtime};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a cluster may take to be founded, and to serve again once everything is healed.
pub(crate) const RECOVERY: Duration = Duration::from_secs(120);
/// How long replicas may take to hold the same.
const CONVERGENCE: Duration = Duration::from_secs(60);
/// How long a run may take beyond the time that things go wrong: far more than all of the above.
const REST: Duration = Duration::from_secs(1_200);
/// Between tries.
const RETRY: Duration = Duration::from_millis(200);
/// How long a try may take.
const TRY: Duration = Duration::from_secs(3);

/// What is asked of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long things go wrong, in virtual time.
    pub chaos: Duration,
    /// Which things go wrong.
    pub menu: Menu,
    /// A drill to carry out instead.
    pub drill: Option<Scenario>,
    /// Whether some items are written in every region at once.
    pub active: bool,
    /// Whether there are tables, which change their policies, and regions are expelled.
    pub tables: bool,
    /// How many clients work.
    pub clients: u32,
    /// What the cluster gets wrong on purpose.
    pub bugs: Bugs,
    /// Whether every event is printed.
    pub trace: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            chaos: Duration::from_secs(40),
            menu: Menu::default(),
            drill: None,
            active: false,
            tables: false,
            clients: 4,
            bugs: Bugs::default(),
            trace: false,
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The seed, which replays it.
    pub seed: u64,
    /// What is wrong; empty when nothing is.
    pub wrong: Vec<String>,
    /// A hash over everything that happened, and how much that was.
    pub digest: (u64, u64),
    /// How long it took, in virtual milliseconds.
    pub virtual_ms: u64,
    /// Operations of clients, by how they ended.
    pub ends: BTreeMap<&'static str, u64>,
    /// Rare paths taken, and how often.
    pub marks: BTreeMap<&'static str, u64>,
}

/// Runs one seed from beginning to end, on this thread and in virtual time.
#[must_use]
pub fn run(seed: u64, settings: &Settings) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let Ok(runtime) = runtime else {
        return Report { seed, wrong: vec!["no runtime could be made".to_owned()], ..Report::default() };
    };
    runtime.block_on(play(seed, settings))
}

async fn play(seed: u64, settings: &Settings) -> Report {
    panics::watch();
    let trace = Trace::new(settings.trace);
    let mut rng = Rng::new(seed);
    let mut luck = rng.fork();
    let shape = match &settings.drill {
        None => Shape::draw(&mut luck),
        Some(drill) => Shape::of_drill(&mut luck, if drill.scope == Scope::Region { 1 } else { 3 }),
    };
    let shape = if settings.active || settings.tables { shape } else { shape.without_active() };
    let shape = if settings.tables { shape.with_tables(&mut luck) } else { shape };
    trace.event(format_args!("shape {shape:?}"));
    let cluster = Cluster::new(shape, settings.bugs, &mut rng, &trace);
    let notes = Notes::default();
    let wrong_for = settings.drill.as_ref().map_or(settings.chaos, script::length);
    let run = timeout(wrong_for + REST, act(&cluster, &notes, &mut rng, settings, wrong_for)).await;
    let state = run.unwrap_or_else(|_| Err("the run did not end".to_owned()));
    let mut wrong = match state {
        Ok(state) => judge::judge(&notes, &state),
        Err(why) => {
            let mut wrong = notes.lock().broken.clone();
            wrong.push(format!("{why} ({})", positions(&cluster)));
            wrong
        }
    };
    wrong.extend(panics::seen());
    wrong.dedup();
    let ends = notes.lock().ends.clone();
    if !wrong.is_empty() {
        trace.event(format_args!("positions: {}", positions(&cluster)));
    }
    trace.event(format_args!("end {ends:?}"));
    Report {
        seed,
        wrong,
        digest: trace.digest(),
        virtual_ms: trace.now() / 1_000_000,
        ends,
        marks: cluster.marks(),
    }
}

async fn act(
    cluster: &Cluster,
    notes: &Notes,
    rng: &mut Rng,
    settings: &Settings,
    wrong_for: Duration,
) -> Result<FinalState, String> {
    for node in cluster.shape().nodes() {
        cluster.start(node.id).await?;
    }
    until(RECOVERY, "the cluster was not founded", async || {
        cluster.all_up().iter().all(|(_, up)| up.replication.is_ready())
    })
    .await?;
    cluster.trace().event(format_args!("founded"));

    let end = Instant::now() + wrong_for;
    let onlooker = tokio::spawn(monitor::watch(cluster.clone(), notes.clone()));
    let healer = tokio::spawn(faults::watch_stores(cluster.clone(), notes.clone(), rng.fork()));
    let nodes = cluster.shape().nodes();
    let clients: Vec<_> = (0..settings.clients)
        .filter_map(|id| {
            let home = nodes.get(id as usize % nodes.len())?.id;
            Some(tokio::spawn(Client::new(id, home, cluster, notes, rng.fork()).run(end)))
        })
        .collect();
    let changes = tokio::spawn(members::change(cluster.clone(), rng.fork(), end));
    let farewell = tokio::spawn(members::let_go(cluster.clone()));
    let acknowledged = Acknowledged::default();
    let writer = tokio::spawn(loose::write(cluster.clone(), acknowledged.clone(), rng.fork(), end));
    let additions = Additions::default();
    let regions = settings
        .active
        .then(|| tokio::spawn(active::work(cluster.clone(), additions.clone(), rng.fork(), end)));
    let tables = match settings.tables {
        true => Some(Work::begin(cluster, notes, rng.fork(), end).await?),
        false => None,
    };
    match &settings.drill {
        None => faults::bring(cluster, settings.menu, rng.fork(), end).await?,
        Some(drill) => script::play(cluster, drill, rng.fork()).await?,
    }
    changes.await.map_err(|error| error.to_string())??;
    faults::heal(cluster).await?;
    for client in clients {
        client.await.map_err(|error| error.to_string())?;
    }
    writer.await.map_err(|error| error.to_string())?;
    if let Some(regions) = regions {
        regions.await.map_err(|error| error.to_string())?;
    }
    let tables = match tables {
        Some(tables) => Some(tables.end(cluster).await?),
        None => None,
    };
    let state = read_back(cluster).await?;
    until(CONVERGENCE, "the replicas did not become equal", async || {
        replicas::differences(cluster).is_empty()
    })
    .await
    .map_err(|why| format!("{why}: {}", replicas::differences(cluster).join("; ")))?;
    for lost in loose::missing(cluster, &acknowledged).await {
        notes.broken(cluster.trace().now(), &lost);
    }
    for what in active::wrong(cluster, &additions).await {
        notes.broken(cluster.trace().now(), &what);
    }
    if let Some(tables) = tables {
        for what in tables.wrong(cluster).await? {
            notes.broken(cluster.trace().now(), &what);
        }
    }
    healer.abort();
    farewell.abort();
    onlooker.abort();
    Ok(state)
}

/// Reads every key consistently, and so shows that every group serves again.
async fn read_back(cluster: &Cluster) -> Result<FinalState, String> {
    let (registers, lists) = keys(cluster.shape().strict_groups());
    let mut state = FinalState::default();
    for key in registers {
        if let Some(value) = read(cluster, &key).await?.first() {
            state.registers.insert(key, *value);
        }
    }
    for key in lists {
        let values = read(cluster, &key).await?;
        state.lists.insert(key, values);
    }
    Ok(state)
}

async fn read(cluster: &Cluster, key: &Key) -> Result<Vec<Value>, String> {
    let mut found = None;
    let what = format!("{key} cannot be read");
    until(RECOVERY, &what, async || {
        for (_, up) in cluster.all_up() {
            let replication = Arc::clone(&up.replication);
            let Ok(request) = encode(&Request::Read(key.to_string())) else { return false };
            let group = group_of(key);
            let task = up.process.spawn(async move {
                let deadline = runtime::now() + TRY;
                replication.read(group, request, ReadConsistency::Consistent, deadline).await
            });
            if let Ok(Ok(done)) = task.await
                && let Ok(Response::Saw(values)) = decode(&done.response)
            {
                found = Some(values.into_iter().map(Value).collect());
                return true;
            }
        }
        false
    })
    .await?;
    found.ok_or(what)
}

/// What every node says of its replicas, for a person who wonders why nothing moves.
fn positions(cluster: &Cluster) -> String {
    let mut lines = Vec::new();
    for (node, up) in cluster.all_up() {
        for replica in up.process.within(|| up.replication.status_here()).replicas {
            let meridian_replication::ReplicaStatus {
                group,
                incarnation,
                term,
                leader,
                lease_ms,
                committed,
                applied,
                members,
                matched,
                ..
            } = replica;
            let leader = leader.map_or_else(|| "nobody".to_owned(), |leader| format!("node {leader}"));
            lines.push(format!(
                "node {node} group {group}/{incarnation}: term {term}, follows {leader}, lease {lease_ms:?}, committed {committed}, applied {applied}, members {members:?}, matched {matched:?}"
            ));
        }
    }
    lines.join("; ")
}

pub(crate) async fn until(
    patience: Duration,
    what: &str,
    mut done: impl AsyncFnMut() -> bool,
) -> Result<(), String> {
    let end = Instant::now() + patience;
    while !done().await {
        if Instant::now() > end {
            return Err(what.to_owned());
        }
        sleep(RETRY).await;
    }
    Ok(())
}
