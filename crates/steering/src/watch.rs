//! What one observer thinks of one target: up or down, and not at the first stumble.

use crate::damping::{Damping, DampingRules};
use serde::{Deserialize, Serialize};

/// How many results in a row turn an opinion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRules {
    /// Failures in a row until an up target counts as down; 0 counts as 1.
    pub fall: u32,
    /// Successes in a row until a down target counts as up; 0 counts as 1.
    pub rise: u32,
    /// What frequent changes cost.
    pub damping: DampingRules,
}

impl Default for WatchRules {
    /// Two failures, three successes: leaving a dead region late costs every request, returning late costs a detour.
    fn default() -> Self {
        Self { fall: 2, rise: 3, damping: DampingRules::default() }
    }
}

/// One observer's watch over one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// `None` before the first result.
    up: Option<bool>,
    /// Results in a row that contradict `up`.
    against: u32,
    damping: Damping,
}

impl Watch {
    /// Takes in the result of a probe at `now_ms`. The first one decides alone: nothing is known that it could contradict.
    pub fn saw(&mut self, success: bool, now_ms: u64, rules: &WatchRules) {
        let Some(up) = self.up else {
            self.up = Some(success);
            return;
        };
        if success == up {
            self.against = 0;
            return;
        }
        self.against += 1;
        let needed = if up { rules.fall } else { rules.rise };
        if self.against >= needed.max(1) {
            self.up = Some(success);
            self.against = 0;
            self.damping.changed(now_ms, &rules.damping);
        }
    }

    /// Whether the target counts as up; `None` when it was never probed. One that flaps counts as down until it is quiet.
    pub fn up(&mut self, now_ms: u64, rules: &WatchRules) -> Option<bool> {
        let flaps = self.damping.suppressed(now_ms, &rules.damping);
        self.up.map(|up| up && !flaps)
    }

    /// Whether the target is held down for flapping, although its last results were good.
    pub fn held_down(&mut self, now_ms: u64, rules: &WatchRules) -> bool {
        self.up == Some(true) && self.damping.suppressed(now_ms, &rules.damping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(results: &[bool]) -> Option<bool> {
        let (mut watch, rules) = (Watch::default(), WatchRules::default());
        let mut now = 0;
        for success in results {
            now += 1_000;
            watch.saw(*success, now, &rules);
        }
        watch.up(now, &rules)
    }

    #[test]
    fn it_takes_a_few_results_in_a_row_to_turn() {
        assert_eq!(after(&[]), None);
        assert_eq!(after(&[false]), Some(false));
        assert_eq!(after(&[true]), Some(true));
        assert_eq!(after(&[true, false]), Some(true), "one failure is not enough");
        assert_eq!(after(&[true, false, true, false]), Some(true), "nor are two that are not in a row");
        assert_eq!(after(&[true, false, false]), Some(false));
        assert_eq!(after(&[false, true, true]), Some(false));
        assert_eq!(after(&[false, true, true, true]), Some(true));
    }

    #[test]
    fn one_that_flaps_is_down_until_it_is_quiet() {
        let (mut watch, rules) = (Watch::default(), WatchRules::default());
        let mut now = 0;
        watch.saw(true, now, &rules);
        for _ in 0..4 {
            for success in [false, false, true, true, true] {
                now += 100;
                watch.saw(success, now, &rules);
            }
        }
        assert_eq!(watch.up(now, &rules), Some(false));
        assert!(watch.held_down(now, &rules));
        now += 4 * rules.damping.half_life_ms;
        assert_eq!(watch.up(now, &rules), Some(true));
        assert!(!watch.held_down(now, &rules));
    }
}
