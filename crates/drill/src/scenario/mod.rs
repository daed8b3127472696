//! Scenarios as data: what is broken, where, for how long, under which load, and what is good enough.
//!
//! The built-in ones are TOML files in `scenarios/`; any other text of the same form works too.

mod fault;
mod objectives;

pub use fault::{FaultKind, Scope};
pub use objectives::{Objectives, ObjectivesOf};

use crate::error::DrillError;
use meridian_types::{RegionName, Replication};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const BUILT_IN: [(&str, &str); 11] = [
    ("region-kill", include_str!("../../scenarios/region-kill.toml")),
    ("region-freeze", include_str!("../../scenarios/region-freeze.toml")),
    ("region-partition", include_str!("../../scenarios/region-partition.toml")),
    ("region-oneway", include_str!("../../scenarios/region-oneway.toml")),
    ("region-slow", include_str!("../../scenarios/region-slow.toml")),
    ("service-down", include_str!("../../scenarios/service-down.toml")),
    ("node-kill", include_str!("../../scenarios/node-kill.toml")),
    ("zone-kill", include_str!("../../scenarios/zone-kill.toml")),
    ("disk-full", include_str!("../../scenarios/disk-full.toml")),
    ("clock-skew", include_str!("../../scenarios/clock-skew.toml")),
    ("switchover", include_str!("../../scenarios/switchover.toml")),
];

/// One drill. Times are seconds, so that a file and a report use the same unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The drill's name.
    pub name: String,
    /// What is done.
    pub fault: FaultKind,
    /// How much of the region is hit.
    #[serde(default)]
    pub scope: Scope,
    /// For `slow`: how much longer each way takes, in milliseconds.
    #[serde(default = "default_delay_ms")]
    pub delay_ms: u64,
    /// For `clock-skew`: how far the clocks are ahead, in seconds; negative is behind.
    #[serde(default = "default_skew_s")]
    pub skew_s: i64,
    /// Where; a drill's options may say so instead.
    #[serde(default)]
    pub region: Option<RegionName>,
    /// How long each part takes.
    #[serde(default)]
    pub timing: Timing,
    /// What is good enough.
    #[serde(default)]
    pub objectives: Objectives,
    /// What is good enough for tables of one kind of replication, in place of `objectives`.
    #[serde(default)]
    pub objectives_of: ObjectivesOf,
    /// The load.
    #[serde(default)]
    pub workload: Workload,
}

fn default_delay_ms() -> u64 {
    150
}

fn default_skew_s() -> i64 {
    120
}

/// How long each part of a drill takes, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// Load before the fault: shows that the cluster was well, and what its latency was.
    pub warm_up_s: f64,
    /// From the fault to its undoing.
    pub hold_s: f64,
    /// Load after the undoing, at least.
    pub after_s: f64,
    /// How long the cluster may take after the undoing until every region serves again.
    pub settle_s: f64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { warm_up_s: 5.0, hold_s: 30.0, after_s: 5.0, settle_s: 60.0 }
    }
}

/// The load: through each region, the same number of lanes and readers.
///
/// A *lane* writes to one partition key, so that every group is likely to be written to through every region. It starts
/// a write each interval whether or not earlier ones have ended, up to a bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// Lanes that put a new item each time.
    pub put_lanes: u16,
    /// Lanes that append a number to a list.
    pub append_lanes: u16,
    /// Lanes that add 1 to a counter.
    pub counter_lanes: u16,
    /// Milliseconds between two starts of a lane.
    pub interval_ms: u64,
    /// Milliseconds after which a request is given up and its outcome unknown.
    pub deadline_ms: u64,
    /// Readers of each kind (consistent, eventual, with a token).
    pub readers: u16,
    /// Bytes of payload in a put item.
    pub payload_bytes: usize,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            put_lanes: 10,
            append_lanes: 6,
            counter_lanes: 4,
            interval_ms: 300,
            deadline_ms: 2_000,
            readers: 3,
            payload_bytes: 128,
        }
    }
}

/// The most tries of one lane under way at once.
const MAX_DEPTH: u64 = 4;

impl Workload {
    /// The time between two starts of a lane.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    /// The time after which a request is given up.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }

    /// How many requests of one lane may be under way at once.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.deadline_ms.div_ceil(self.interval_ms.max(1)).clamp(1, MAX_DEPTH)
    }
}

impl Scenario {
    /// The names of the built-in drills.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// A built-in drill.
    ///
    /// # Errors
    /// [`DrillError::UnknownDrill`] with the names that there are.
    pub fn built_in(name: &str) -> Result<Self, DrillError> {
        match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Self::parse(text),
            None => Err(DrillError::UnknownDrill {
                name: name.to_owned(),
                known: Self::names().collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// Reads a scenario's TOML and checks it.
    ///
    /// # Errors
    /// [`DrillError::Scenario`] with the place and the reason.
    pub fn parse(text: &str) -> Result<Self, DrillError> {
        let scenario: Self = toml::from_str(text).map_err(|error| DrillError::Scenario(error.to_string()))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// What is good enough for tables of a kind of replication.
    #[must_use]
    pub fn objectives_for(&self, replication: Option<Replication>) -> Objectives {
        let own = replication.and_then(|replication| self.objectives_of.get(&replication));
        let mut objectives = own.copied().unwrap_or(self.objectives);
        if objectives.rpo_s.is_none() && replication != Some(Replication::Async) {
            objectives.rpo_s = Some(0.0);
        }
        objectives
    }

    /// Checks every bound; together they bound the memory and the connections that a drill uses.
    ///
    /// # Errors
    /// [`DrillError::Scenario`] naming the field and what it may be.
    pub fn check(&self) -> Result<(), DrillError> {
        let Timing { warm_up_s, hold_s, after_s, settle_s } = self.timing;
        let load = &self.workload;
        let whole = |name, value: u64, low: u64, high: u64| (name, (low..=high).contains(&value), low, high);
        let seconds = |name, value: f64, low: u32, high: u32| {
            (name, (f64::from(low)..=f64::from(high)).contains(&value), u64::from(low), u64::from(high))
        };
        let objective = |name, value: Option<f64>| seconds(name, value.unwrap_or(0.0), 0, 86_400);
        if self.scope != Scope::Region && !self.fault.is_of_nodes() {
            let reason = "`scope` must be \"region\" for a fault of links or a move of leadership";
            return Err(DrillError::Scenario(reason.to_owned()));
        }
        let mut checks = Vec::new();
        for one in std::iter::once(&self.objectives).chain(self.objectives_of.values()) {
            checks.extend([
                objective("objectives.rto_s", one.rto_s),
                objective("objectives.rpo_s", one.rpo_s),
                objective("objectives.read_rto_s", one.read_rto_s),
                objective("objectives.pause_s", one.pause_s),
                objective("objectives.edge_rto_s", one.edge_rto_s),
                objective("objectives.dns_rto_s", one.dns_rto_s),
            ]);
        }
        checks.extend([
            seconds("timing.warm_up_s", warm_up_s, 1, 600),
            seconds("timing.hold_s", hold_s, 1, 3_600),
            seconds("timing.after_s", after_s, 1, 600),
            seconds("timing.settle_s", settle_s, 1, 600),
            whole("delay_ms", self.delay_ms, 1, 10_000),
            whole("skew_s", self.skew_s.unsigned_abs(), 1, 86_400),
            whole("workload.put_lanes", load.put_lanes.into(), 1, 64),
            whole("workload.append_lanes", load.append_lanes.into(), 1, 64),
            whole("workload.counter_lanes", load.counter_lanes.into(), 1, 64),
            whole("workload.interval_ms", load.interval_ms, 50, 10_000),
            whole("workload.deadline_ms", load.deadline_ms, 100, 30_000),
            whole("workload.readers", load.readers.into(), 1, 16),
            whole("workload.payload_bytes", load.payload_bytes as u64, 0, 65_536),
        ]);
        match checks.iter().find(|(_, holds, ..)| !holds) {
            Some((name, _, low, high)) => {
                Err(DrillError::Scenario(format!("`{name}` must be {low} to {high}")))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_drills_parse_and_carry_their_own_names() {
        for name in Scenario::names() {
            let scenario = Scenario::built_in(name).unwrap();
            assert_eq!(scenario.name, name);
        }
        let error = Scenario::built_in("region-melt").unwrap_err().to_string();
        assert!(error.contains("region-kill, region-freeze, region-partition"), "{error}");
    }

    #[test]
    fn a_whole_scenario_round_trips_as_text() {
        let scenario = Scenario::built_in("region-kill").unwrap();
        let text = toml::to_string(&scenario).unwrap();
        assert_eq!(Scenario::parse(&text).unwrap(), scenario);
    }

    #[test]
    fn each_bad_field_is_named() {
        let base = "name = 'x'\nfault = 'kill'\n";
        for (rest, expected) in [
            ("[timing]\nhold_s = 0.0", "`timing.hold_s` must be 1 to 3600"),
            ("[timing]\nhold_s = nan", "`timing.hold_s`"),
            ("[objectives]\nrto_s = -1.0", "`objectives.rto_s`"),
            ("[workload]\nput_lanes = 0", "`workload.put_lanes`"),
            ("[workload]\ninterval_ms = 1", "`workload.interval_ms`"),
            ("[workload]\nlanes = 1", "unknown field `lanes`"),
            ("[objectives]\nrto_s = 'never'", "\"never\" is neither seconds nor \"none\""),
            ("[objectives_of.async]\nrpo_s = -1.0", "`objectives.rpo_s`"),
            ("skew_s = 0", "`skew_s`"),
            ("targte = 'a'", "unknown field `targte`"),
        ] {
            let error = Scenario::parse(&format!("{base}{rest}")).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Scenario::parse("name = 'x'\nfault = 'flood'").is_err());
        let error = Scenario::parse("name = 'x'\nfault = 'slow'\nscope = 'node'").unwrap_err().to_string();
        assert!(error.contains("`scope`"), "{error}");
    }

    #[test]
    fn objectives_depend_on_the_replication_where_the_scenario_says_so() {
        let scenario = Scenario::built_in("region-partition").unwrap();
        let of = |replication| scenario.objectives_for(replication);
        assert_eq!((of(None).rto_s, of(None).rpo_s), (Some(5.0), Some(0.0)));
        assert_eq!(of(Some(Replication::Sync)), of(None));
        assert_eq!((of(Some(Replication::Async)).rto_s, of(Some(Replication::Async)).rpo_s), (None, None));
    }
}
