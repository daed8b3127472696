//! Scenarios as data: what is broken, where, for how long, under which load, and what is good enough.
//!
//! The built-in ones are TOML files in `scenarios/`; any other text of the same form works too.

use crate::cluster::Action;
use crate::error::DrillError;
use meridian_types::RegionName;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const BUILT_IN: [(&str, &str); 2] = [
    ("region-kill", include_str!("../../scenarios/region-kill.toml")),
    ("region-freeze", include_str!("../../scenarios/region-freeze.toml")),
];

/// What is done to every node of the target region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// SIGKILL, undone by starting the nodes again.
    Kill,
    /// SIGSTOP, undone by SIGCONT.
    Freeze,
}

impl FaultKind {
    /// The order that makes the fault.
    #[must_use]
    pub fn inject(self) -> Action {
        match self {
            Self::Kill => Action::Kill,
            Self::Freeze => Action::Freeze,
        }
    }

    /// The order that takes it back.
    #[must_use]
    pub fn undo(self) -> Action {
        match self {
            Self::Kill => Action::Start,
            Self::Freeze => Action::Thaw,
        }
    }
}

/// One drill. Times are seconds, so that a file and a report use the same unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The drill's name.
    pub name: String,
    /// What is done.
    pub fault: FaultKind,
    /// Where; a drill's options may say so instead.
    #[serde(default)]
    pub region: Option<RegionName>,
    /// How long each part takes.
    #[serde(default)]
    pub timing: Timing,
    /// What is good enough.
    #[serde(default)]
    pub objectives: Objectives,
    /// The load.
    #[serde(default)]
    pub workload: Workload,
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

/// What is good enough. `None` asks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Objectives {
    /// The longest time until writes succeed again through every surviving region.
    pub rto_s: Option<f64>,
    /// The greatest age of an acknowledged write that was lost. Left out, it is 0 for sync and semi-sync tables, and
    /// nothing is asked of async ones, which promise nothing.
    pub rpo_s: Option<f64>,
}

impl Default for Objectives {
    fn default() -> Self {
        Self { rto_s: Some(5.0), rpo_s: None }
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
        let checks = [
            seconds("timing.warm_up_s", warm_up_s, 1, 600),
            seconds("timing.hold_s", hold_s, 1, 3_600),
            seconds("timing.after_s", after_s, 1, 600),
            seconds("timing.settle_s", settle_s, 1, 600),
            objective("objectives.rto_s", self.objectives.rto_s),
            objective("objectives.rpo_s", self.objectives.rpo_s),
            whole("workload.put_lanes", load.put_lanes.into(), 1, 64),
            whole("workload.append_lanes", load.append_lanes.into(), 1, 64),
            whole("workload.counter_lanes", load.counter_lanes.into(), 1, 64),
            whole("workload.interval_ms", load.interval_ms, 50, 10_000),
            whole("workload.deadline_ms", load.deadline_ms, 100, 30_000),
            whole("workload.readers", load.readers.into(), 1, 16),
            whole("workload.payload_bytes", load.payload_bytes as u64, 0, 65_536),
        ];
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
            assert_ne!(scenario.fault.inject(), scenario.fault.undo());
        }
        let error = Scenario::built_in("region-melt").unwrap_err().to_string();
        assert!(error.contains("region-kill, region-freeze"), "{error}");
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
            ("targte = 'a'", "unknown field `targte`"),
        ] {
            let error = Scenario::parse(&format!("{base}{rest}")).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Scenario::parse("name = 'x'\nfault = 'flood'").is_err());
    }
}
