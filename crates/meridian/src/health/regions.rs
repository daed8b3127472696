//! Which regions this node hears, not flapping at every gap.

use meridian_steering::{Watch, WatchRules};
use meridian_types::RegionName;
use std::collections::BTreeMap;

/// Looks at a region that are closer together count as one, in milliseconds.
const LOOK_EVERY_MS: u64 = 200;

/// A watch over each region. Silence counts only after many heartbeats, so one look is enough to believe it.
#[derive(Debug)]
pub(super) struct Regions {
    watches: BTreeMap<RegionName, (u64, Watch)>,
    rules: WatchRules,
}

impl Default for Regions {
    fn default() -> Self {
        Self { watches: BTreeMap::new(), rules: WatchRules { fall: 1, ..WatchRules::default() } }
    }
}

impl Regions {
    /// Takes in whether a region is heard now; answers whether it counts as up, and whether that is for flapping only.
    pub(super) fn look(&mut self, region: &RegionName, heard: bool, now_ms: u64) -> (bool, bool) {
        let (at_ms, watch) = self.watches.entry(region.clone()).or_insert((now_ms, Watch::default()));
        let fresh = watch.up(now_ms, &self.rules).is_none();
        if fresh || now_ms.saturating_sub(*at_ms) >= LOOK_EVERY_MS {
            *at_ms = now_ms;
            watch.saw(heard, now_ms, &self.rules);
        }
        let up = watch.up(now_ms, &self.rules).unwrap_or(heard);
        (up, watch.held_down(now_ms, &self.rules))
    }

    /// Forgets regions that are no more.
    pub(super) fn keep(&mut self, known: impl Fn(&RegionName) -> bool) {
        self.watches.retain(|region, _| known(region));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_believed_at_once_and_a_return_after_a_while() {
        let mut regions = Regions::default();
        let region = RegionName::new("a").unwrap();
        let mut up_at = |now_ms, heard| regions.look(&region, heard, now_ms).0;
        assert!(up_at(0, true));
        assert!(up_at(50, false), "too soon after the last look");
        assert!(!up_at(250, false));
        assert!(!up_at(500, true) && !up_at(750, true));
        assert!(!up_at(800, true), "this is no look of its own");
        assert!(up_at(1_000, true));
    }

    #[test]
    fn one_that_flaps_is_held_down() {
        let mut regions = Regions::default();
        let region = RegionName::new("a").unwrap();
        let mut now_ms = 0;
        for _ in 0..4 {
            for heard in [true, true, true, false] {
                now_ms += 250;
                regions.look(&region, heard, now_ms);
            }
        }
        for _ in 0..3 {
            now_ms += 250;
            regions.look(&region, true, now_ms);
        }
        assert_eq!(regions.look(&region, true, now_ms), (false, true));
        regions.keep(|_| false);
        assert_eq!(regions.look(&region, true, now_ms), (true, false));
    }
}
