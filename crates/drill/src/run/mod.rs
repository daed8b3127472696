//! A drill from beginning to end: table, load, fault, undoing, verification, figures, report.

pub(crate) mod interrupt;
mod phases;
mod repeat;
mod table;

use crate::cluster::{ClusterFile, Status, Supervisor, reach};
use crate::error::DrillError;
use crate::measure::{Affected, measure};
use crate::orders::Orders;
use crate::progress::Progress;
use crate::report::{DrillReport, Subject};
use crate::scenario::{FaultKind, Objectives, Scenario};
use crate::service::{self, ServiceLoad};
use crate::target::Target;
use crate::verify::verify;
use crate::workload::Load;
use crate::workload::item::Items;
use interrupt::Interrupt;
use meridian_types::{PolicyName, RegionName, Service, ServiceName, TableName};
use phases::Phases;
pub use repeat::repeat;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use table::DrillTable;

/// What a drill is to do.
#[derive(Clone, Debug)]
pub struct DrillOptions {
    /// `cluster.json`.
    pub cluster: PathBuf,
    /// The scenario; [`Scenario::built_in`] has those that have a name.
    pub scenario: Scenario,
    /// The region that the fault is in; `None` takes the scenario's.
    pub region: Option<RegionName>,
    /// A table to use; `None` makes one and drops it in the end.
    pub table: Option<TableName>,
    /// The policy of the table that is made.
    pub policy: PolicyName,
    /// How long the fault stays; `None` takes the scenario's time.
    pub hold: Option<Duration>,
    /// The longest recovery that is good enough; `None` takes the scenario's.
    pub max_rto: Option<Duration>,
    /// The greatest loss that is good enough; `None` takes the scenario's.
    pub max_rpo: Option<Duration>,
    /// A service whose users are driven too, through the edges and by DNS; a fault of a service is in the sample application's when none
    /// is named.
    pub service: Option<ServiceName>,
    /// Requests a second of the service's users through each edge; at most [`MAX_EDGE_RATE`](crate::service::MAX_EDGE_RATE).
    pub edge_rate: u16,
    /// A folder for the report's files.
    pub report: Option<PathBuf>,
}

impl DrillOptions {
    /// The scenario with the options' own values in place of its own, checked.
    fn resolved(&self) -> Result<(Scenario, RegionName), DrillError> {
        let mut scenario = self.scenario.clone();
        let override_with = |place: &mut f64, value: Option<Duration>| {
            if let Some(value) = value {
                *place = value.as_secs_f64();
            }
        };
        override_with(&mut scenario.timing.hold_s, self.hold);
        let bounded = |own: &mut Objectives| {
            own.rto_s = self.max_rto.map(|max| max.as_secs_f64()).or(own.rto_s);
            own.rpo_s = self.max_rpo.map(|max| max.as_secs_f64()).or(own.rpo_s);
        };
        std::iter::once(&mut scenario.objectives)
            .chain(scenario.objectives_of.values_mut())
            .for_each(bounded);
        scenario.check()?;
        let region = self.region.clone().or_else(|| scenario.region.clone());
        let missing =
            || DrillError::Scenario("it names no region and none was given; use --region".to_owned());
        Ok((scenario, region.ok_or_else(missing)?))
    }
}

/// How long everything may take to be read back.
const VERIFY_LIMIT: Duration = Duration::from_secs(120);

/// Carries out a drill. A report whose verdict is `fail` is an `Ok`: the drill worked, the cluster did not.
///
/// Whatever was injected is undone and whatever was made is dropped before this returns, on Ctrl-C (SIGINT) and SIGTERM too.
///
/// # Errors
/// [`DrillError`] when there is nothing to judge.
pub async fn run(options: DrillOptions, progress: impl Progress) -> Result<DrillReport, DrillError> {
    let (scenario, region) = options.resolved()?;
    let cluster = ClusterFile::read(&options.cluster)?;
    cluster.region_index(&region)?;
    let supervisor = Supervisor::of(&cluster)?;
    let interrupt = Interrupt::listen()?;
    let status = interrupt.or(reach(&cluster)).await??;
    let is_chosen = |policy| Target::choose(&cluster, &region, scenario.scope, &status, policy);
    let serves = is_chosen(&options.policy)?.serves(scenario.fault);
    if !serves && cluster.regions.len() < 2 {
        return Err(DrillError::NoSurvivor);
    }
    if scenario.fault.is_of_links() && !supervisor.has_links().await? {
        return Err(DrillError::Unfit(NO_LINKS.to_owned()));
    }
    let service = service_of(&options, &scenario, &cluster).await?;
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let run = u64::try_from(started.as_millis()).unwrap_or_default();
    let preparing = DrillTable::prepare(&cluster, options.table.as_ref(), &options.policy, run);
    // Not given up half-way: a table that is made while nobody waits would be left behind.
    let table = preparing.await?;
    let items = Items::new(table.shape.clone(), run, scenario.workload.payload_bytes);
    let planned = plan(&scenario, &region, &cluster, &table.policy).await;
    let (target, orders, status) = match planned {
        Ok(planned) => planned,
        Err(error) => {
            if let Some(left) = table.clean_up(&cluster, &items, &[]).await {
                progress.event(0.0, &left);
            }
            return Err(error);
        }
    };
    let used = target.used(&cluster, scenario.fault);
    let load = Load::start(&used, &items, scenario.workload);
    let shared = Arc::clone(load.shared());
    let edges_fall = scenario.fault.takes_away() && target.whole;
    let drive =
        |service| ServiceLoad::start(&cluster, &service, (&target, edges_fall), options.edge_rate, &shared);
    let users = service.map(drive).transpose();
    let mut phases = Phases::new(&used, &target, scenario.fault, &shared, &interrupt, &progress);
    let driven = match users {
        Ok(users) => phases.drive(orders, &scenario, &table.policy).await.map(|driven| (driven, users)),
        Err(error) => Err(error),
    };
    let timeline = phases.timeline();
    drop(phases);
    let samples = load.finish().await;
    let verified = match (&driven, &samples) {
        (Ok(_), Ok(samples)) => {
            progress.event(timeline.last().map_or(0.0, |event| event.at_s), "reading every write back");
            interrupt.or(verify(&cluster, &items, samples, VERIFY_LIMIT)).await.map(Some)
        }
        _ => Ok(None),
    };
    let leftover = table.clean_up(&cluster, &items, samples.as_deref().unwrap_or_default()).await;
    if let Some(left) = &leftover {
        // Said here too: with an error there is no report that could carry it.
        progress.event(timeline.last().map_or(0.0, |event| event.at_s), left);
    }
    let ((driven, users), samples) = (driven?, samples?);
    let service = match users {
        Some(users) => Some(users.finish(&driven.marks).await?),
        None => None,
    };
    let verification = verified?.unwrap_or_default();
    let mut marks = driven.marks;
    marks.end = samples.last().map_or(marks.end, |last| last.returned);
    let affected = Affected { path: target.path, serves: target.serves(scenario.fault) };
    let paths = u8::try_from(cluster.regions.len()).unwrap_or(u8::MAX);
    let measured = measure(&samples, paths, affected, &marks, &verification);
    let subject = Subject {
        objectives: scenario.objectives_for(status.replication_of(&table.policy)),
        scenario,
        target,
        table: table.shape.name.clone(),
        policy: table.policy.clone(),
        regions: cluster.regions.iter().map(|region| region.name.clone()).collect(),
        started_unix_s: started.as_secs(),
        settled: driven.settled,
        moved: driven.moved,
        final_refusals: shared.final_refusals(),
        leftover,
        service,
    };
    let report = DrillReport::new(&subject, &measured, &verification, timeline, &samples, &marks);
    if let Some(folder) = &options.report {
        report.write_to(folder)?;
    }
    Ok(report)
}

/// The service whose users are driven.
async fn service_of(
    options: &DrillOptions,
    scenario: &Scenario,
    cluster: &ClusterFile,
) -> Result<Option<Service>, DrillError> {
    let sample = || ServiceName::new(service::SAMPLE).map_err(|error| DrillError::Broken(error.to_string()));
    let name = match &options.service {
        Some(name) => name.clone(),
        None if scenario.fault == FaultKind::Service => sample()?,
        None => return Ok(None),
    };
    if scenario.fault == FaultKind::Service && name != sample()? {
        return Err(DrillError::Unfit(format!(
            "only the processes of the sample application can be killed, and {name} is another service; \
             start it with `meridian service demo --host HOST`, or drive {name} through another drill"
        )));
    }
    service::find(cluster, &name).await.map(Some)
}

const NO_LINKS: &str = "nodes dial each other directly under --wan none, so no link can be cut or slowed; start the cluster \
    with --wan 0ms for links without delay";

/// What is hit and how, once the table's policy is known and its groups are led.
async fn plan(
    scenario: &Scenario,
    region: &RegionName,
    cluster: &ClusterFile,
    policy: &PolicyName,
) -> Result<(Target, Orders, Status), DrillError> {
    let status = reach(cluster).await?;
    let target = Target::choose(cluster, region, scenario.scope, &status, policy)?;
    let orders = Orders::of(scenario, &target, cluster, &status, policy)?;
    Ok((target, orders, status))
}
