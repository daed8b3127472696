//! The phases of a drill under load: well before the fault, the fault, its undoing, well again.

use super::interrupt::Interrupt;
use crate::cluster::ClusterFile;
use crate::error::DrillError;
use crate::fault::Fault;
use crate::measure::Marks;
use crate::orders::Orders;
use crate::progress::Progress;
use crate::report::Event;
use crate::sample::{Micros, seconds};
use crate::scenario::{FaultKind, Scenario};
use crate::target::Target;
use crate::watch::Watch;
use crate::workload::{Live, Shared};
use meridian_types::{PolicyName, RegionName};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const TICK: Duration = Duration::from_millis(500);
/// How long a region must be without an error to count as serving before the fault, and as settled after it.
const CALM: Duration = Duration::from_secs(2);
/// How long the readers of a region that is coming back read without pause.
const HURRY: Duration = Duration::from_secs(3);
/// The readers are hurried this long before the undoing, so that requests wait at the door of a frozen node.
const HURRY_AHEAD: Duration = Duration::from_millis(500);

/// What the phases leave behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Driven {
    pub(super) marks: Marks,
    /// Whether every region served again within the time.
    pub(super) settled: bool,
    /// Whether leadership was where a planned move ordered it before that was taken back.
    pub(super) moved: bool,
}

/// The state of a drill under way.
pub(super) struct Phases<'a, P> {
    cluster: &'a ClusterFile,
    target: &'a Target,
    shared: Arc<Shared>,
    watch: Watch,
    interrupt: &'a Interrupt,
    progress: &'a P,
    fault_at: Option<Micros>,
    events: Vec<(Micros, String)>,
}

impl<'a, P: Progress> Phases<'a, P> {
    pub(super) fn new(
        cluster: &'a ClusterFile,
        target: &'a Target,
        fault: FaultKind,
        shared: &Arc<Shared>,
        interrupt: &'a Interrupt,
        progress: &'a P,
    ) -> Self {
        let watch = Watch::start(cluster, &target.region, |region| target.leaves(region, fault), shared);
        let shared = Arc::clone(shared);
        Self { cluster, target, shared, watch, interrupt, progress, fault_at: None, events: Vec::new() }
    }

    /// Goes through all phases. On an error the fault, if there is one, has been undone.
    /// A planned move takes `policy`'s leadership.
    pub(super) async fn drive(
        &mut self,
        orders: Orders,
        scenario: &Scenario,
        policy: &PolicyName,
    ) -> Result<Driven, DrillError> {
        let timing = scenario.timing;
        let settle = Duration::from_secs_f64(timing.settle_s);
        self.event("load started");
        if !self.wait_for(settle, Self::calm).await? {
            return Err(DrillError::NotReady(self.complaint()));
        }
        self.event("every region serves");
        self.pause(Duration::from_secs_f64(timing.warm_up_s)).await?;
        if !self.wait_for(settle, Self::calm).await? {
            return Err(DrillError::NotReady(self.complaint()));
        }
        self.watch.arm();
        let fault_at = self.shared.now();
        self.fault_at = Some(fault_at);
        self.event("fault injected");
        let home = orders.home.clone();
        let injecting = Fault::inject(orders);
        let fault = self.interrupt.or(injecting).await??;
        self.event("fault in force");
        let hold = Duration::from_secs_f64(timing.hold_s);
        self.pause(hold.saturating_sub(HURRY_AHEAD)).await?;
        self.shared.hurry(self.target.path, true);
        self.pause(hold.min(HURRY_AHEAD)).await?;
        let moved = home.is_none() || self.is_led_from(policy, &self.target.region);
        let undone = self.shared.now();
        self.event(scenario.fault.undone());
        fault.undo().await?;
        self.pause(HURRY).await?;
        self.shared.hurry(self.target.path, false);
        self.pause(Duration::from_secs_f64(timing.after_s)).await?;
        let is_well = |phases: &Self| {
            let is_home = home.as_ref().is_none_or(|home| phases.is_led_from(policy, home));
            is_home && phases.calm() && phases.watch.all_healthy()
        };
        let settled = self.wait_for(settle, is_well).await?;
        self.event(if settled { "every region serves again" } else { "not every region serves again" });
        let detected = self.watch.noticed();
        if let Some(at) = detected {
            self.events.push((at, "noticed by a surviving region".to_owned()));
        }
        let marks = Marks { fault: fault_at, undone, end: self.shared.now(), detected };
        Ok(Driven { marks, settled, moved })
    }

    /// Whether every group of the policy is led from the region, as far as the status says.
    fn is_led_from(&self, policy: &PolicyName, region: &RegionName) -> bool {
        self.watch.latest().unwrap_or_default().is_led_from(policy, region)
    }

    /// What happened so far, in order of time, seconds from the fault.
    pub(super) fn timeline(&self) -> Vec<Event> {
        let zero = self.fault_at.unwrap_or(0);
        let mut events = self.events.clone();
        events.sort_by_key(|(at, _)| *at);
        events.into_iter().map(|(at, event)| Event { at_s: seconds(zero, at), event }).collect()
    }

    fn event(&mut self, text: &str) {
        let now = self.shared.now();
        self.progress.event(seconds(self.fault_at.unwrap_or(0), now), text);
        self.events.push((now, text.to_owned()));
    }

    fn calm(&self) -> bool {
        self.paths().all(|path| self.shared.serves(path, CALM))
    }

    fn paths(&self) -> impl Iterator<Item = u8> + use<P> {
        0..u8::try_from(self.cluster.regions.len()).unwrap_or(u8::MAX)
    }

    /// Which region is not well, in words.
    fn complaint(&self) -> String {
        let ill = self.paths().find(|path| !self.shared.serves(*path, CALM)).unwrap_or(0);
        let Live { done, errors } = self.shared.live(ill);
        let name = self.cluster.regions.get(usize::from(ill)).map_or("", |region| region.name.as_str());
        let latest =
            self.shared.latest_reason(ill).map_or(String::new(), |reason| format!("; the latest: {reason}"));
        format!("region {name} did not serve all requests ({done} were answered, {errors} failed{latest})")
    }

    async fn pause(&self, span: Duration) -> Result<(), DrillError> {
        self.wait_for(span, |_| false).await.map(|_| ())
    }

    /// Waits until `holds`, at most `limit`, and says whether it does.
    async fn wait_for(&self, limit: Duration, holds: impl Fn(&Self) -> bool) -> Result<bool, DrillError> {
        let end = Instant::now() + limit;
        let mut next_tick = Instant::now();
        loop {
            let now = Instant::now();
            if holds(self) {
                return Ok(true);
            }
            if now >= end {
                return Ok(false);
            }
            if now >= next_tick {
                next_tick = now + TICK;
                self.tick();
            }
            let step = (end - now).min(Duration::from_millis(50));
            self.interrupt.or(sleep(step)).await?;
        }
    }

    fn tick(&self) {
        let names = self.cluster.regions.iter().map(|region| region.name.as_str());
        let live: Vec<_> = names.zip(self.paths().map(|path| self.shared.live(path))).collect();
        self.progress.tick(Duration::from_micros(self.shared.now()), &live);
    }
}
