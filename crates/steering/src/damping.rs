//! Flap damping: who changes too often is held back until it has been quiet.
//!
//! Source: RFC 2439, "BGP Route Flap Damping": a penalty for every change, which decays exponentially, and two thresholds.

use serde::{Deserialize, Serialize};

/// How changes are punished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DampingRules {
    /// Added for every change.
    pub penalty: u32,
    /// Above this the target is held down.
    pub suppress: u32,
    /// Below this it is let up again.
    pub reuse: u32,
    /// Time in which the penalty halves, in milliseconds; at least 1.
    pub half_life_ms: u64,
    /// The penalty never exceeds this, so that the time in which it is forgiven has a bound.
    pub ceiling: u32,
}

impl Default for DampingRules {
    /// Held from the fourth change within a minute or so; forgiven within three minutes at the latest.
    fn default() -> Self {
        Self { penalty: 1_000, suppress: 3_000, reuse: 1_500, half_life_ms: 60_000, ceiling: 12_000 }
    }
}

/// The penalty of one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damping {
    penalty: u32,
    at_ms: u64,
    suppressed: bool,
}

impl Damping {
    /// The target has changed.
    pub fn changed(&mut self, now_ms: u64, rules: &DampingRules) {
        self.decay(now_ms, rules);
        self.penalty = self.penalty.saturating_add(rules.penalty).min(rules.ceiling);
        self.suppressed |= self.penalty > rules.suppress;
    }

    /// Whether the target is held down now.
    pub fn suppressed(&mut self, now_ms: u64, rules: &DampingRules) -> bool {
        self.decay(now_ms, rules);
        self.suppressed &= self.penalty >= rules.reuse;
        self.suppressed
    }

    fn decay(&mut self, now_ms: u64, rules: &DampingRules) {
        let half_life = rules.half_life_ms.max(1);
        let elapsed = now_ms.saturating_sub(self.at_ms);
        let halvings = u32::try_from(elapsed / half_life).unwrap_or(u32::MAX);
        let whole = u64::from(self.penalty.checked_shr(halvings).unwrap_or(0));
        // Straight between two halvings: what is decided does not depend on the curve.
        let part = whole * (elapsed % half_life) / half_life / 2;
        self.penalty = u32::try_from(whole - part).unwrap_or(u32::MAX);
        self.at_ms = self.at_ms.max(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_changes_are_free_many_are_not_and_quiet_heals() {
        let rules = DampingRules::default();
        let mut damping = Damping::default();
        for second in 0..3 {
            damping.changed(second * 1_000, &rules);
            assert!(!damping.suppressed(second * 1_000, &rules), "change {second}");
        }
        damping.changed(3_000, &rules);
        damping.changed(4_000, &rules);
        assert!(damping.suppressed(4_000, &rules));
        assert!(damping.suppressed(60_000, &rules), "half of it is left");
        assert!(!damping.suppressed(200_000, &rules));
        assert!(!damping.suppressed(200_001, &rules));
    }

    #[test]
    fn the_worst_is_forgiven_within_a_bound() {
        let rules = DampingRules::default();
        let mut damping = Damping::default();
        for change in 0..10_000 {
            damping.changed(change, &rules);
        }
        // The ceiling is three halvings above the threshold.
        assert!(damping.suppressed(10_000 + 2 * rules.half_life_ms, &rules));
        assert!(!damping.suppressed(10_000 + 4 * rules.half_life_ms, &rules));
    }

    #[test]
    fn a_clock_that_stands_still_or_an_age_of_silence_does_no_harm() {
        let rules = DampingRules { half_life_ms: 0, ..DampingRules::default() };
        let mut damping = Damping::default();
        damping.changed(5, &rules);
        assert!(!damping.suppressed(5, &rules));
        assert!(!damping.suppressed(u64::MAX, &rules));
        damping.changed(0, &rules);
        assert!(!damping.suppressed(u64::MAX, &rules));
    }
}
