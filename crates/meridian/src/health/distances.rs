//! Round trips between regions, as nodes measure them, steady enough to steer by.

use meridian_types::RegionName;
use std::collections::{BTreeMap, BTreeSet};

/// A measurement replaces the one before when it differs by more than this share of it, in percent, and by [`STEADY_MS`].
const STEADY_PERCENT: u32 = 20;
/// What two round trips may differ by and still count as equal, in milliseconds.
const STEADY_MS: u32 = 5;

/// Milliseconds from each region to each other one.
pub type Distances = BTreeMap<RegionName, BTreeMap<RegionName, u32>>;

/// The least of several round trips to each region.
pub(super) fn nearest(round_trips: impl Iterator<Item = (RegionName, u32)>) -> BTreeMap<RegionName, u32> {
    let mut nearest = BTreeMap::new();
    for (region, ms) in round_trips {
        nearest.entry(region).and_modify(|least: &mut u32| *least = (*least).min(ms)).or_insert(ms);
    }
    nearest
}

/// What nodes have measured.
#[derive(Debug, Default)]
pub(super) struct Reports(Distances);

impl Reports {
    /// Takes in what a node of `region` has measured. Both ways between two regions are the same.
    pub(super) fn hear(&mut self, region: &RegionName, to: &BTreeMap<RegionName, u32>) {
        for (other, ms) in to.iter().filter(|(other, _)| *other != region) {
            // Nothing is as near as home.
            let ms = (*ms).max(1);
            self.set(region, other, ms);
            self.set(other, region, ms);
        }
    }

    fn set(&mut self, from: &RegionName, to: &RegionName, ms: u32) {
        let known = self.0.entry(from.clone()).or_default().entry(to.clone()).or_insert(ms);
        let tolerance = STEADY_MS.max(*known / 100 * STEADY_PERCENT);
        if known.abs_diff(ms) > tolerance {
            *known = ms;
        }
    }

    /// The distances between these regions, each at no distance from itself; others are forgotten.
    pub(super) fn keep(&mut self, regions: &BTreeSet<RegionName>) -> Distances {
        self.0.retain(|region, _| regions.contains(region));
        let mut distances = self.0.clone();
        for region in regions {
            let own = distances.entry(region.clone()).or_default();
            own.retain(|other, _| regions.contains(other));
            own.insert(region.clone(), 0);
        }
        distances
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str) -> RegionName {
        RegionName::new(name).unwrap()
    }

    #[test]
    fn distances_go_both_ways_and_do_not_flutter() {
        let mut reports = Reports::default();
        let regions: BTreeSet<RegionName> = ["a", "b"].map(region).into();
        reports.hear(&region("a"), &[(region("b"), 80), (region("gone"), 1)].into());
        let first = reports.keep(&regions);
        assert_eq!(first[&region("b")], [(region("a"), 80), (region("b"), 0)].into());
        reports.hear(&region("c"), &[(region("d"), 0)].into());
        assert_eq!(reports.0[&region("c")][&region("d")], 1);
        assert_eq!(first[&region("a")].len(), 2, "regions that are no more are left out");
        for ms in [76, 85, 80] {
            reports.hear(&region("b"), &[(region("a"), ms)].into());
            assert_eq!(reports.keep(&regions), first);
        }
        reports.hear(&region("b"), &[(region("a"), 120)].into());
        assert_eq!(reports.keep(&regions)[&region("a")][&region("b")], 120);
    }

    #[test]
    fn the_nearest_node_of_a_region_counts() {
        let trips = [(region("a"), 5), (region("a"), 3), (region("b"), 9)];
        assert_eq!(nearest(trips.into_iter()), [(region("a"), 3), (region("b"), 9)].into());
    }
}
