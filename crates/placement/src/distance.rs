//! How far regions are from one another: the built-in table, overridden by what is configured or measured.

use crate::wan;
use alloc::collections::BTreeMap;
use meridian_types::RegionName;

/// Round-trip time in milliseconds assumed between regions of which nothing is known: about the median of the built-in table,
/// so that an unknown region is taken for neither a neighbour nor the far end of the world.
pub const UNKNOWN_RTT_MS: u32 = 150;

/// Symmetric round-trip times between regions, in milliseconds.
///
/// A pair that was set answers what was set last; any other pair answers the table of [`wan`], or [`UNKNOWN_RTT_MS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distances {
    set: BTreeMap<(RegionName, RegionName), u32>,
}

impl Distances {
    /// The built-in table with no overrides.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Overrides a pair, in both directions. A pair of one region with itself stays 0.
    pub fn set(&mut self, a: &RegionName, b: &RegionName, rtt_ms: u32) {
        self.set.insert(pair(a, b), rtt_ms);
    }

    /// The round-trip time between two regions in milliseconds; 0 within one region.
    #[must_use]
    pub fn rtt_ms(&self, a: &RegionName, b: &RegionName) -> u32 {
        if a == b {
            return 0;
        }
        let set = self.set.get(&pair(a, b)).copied();
        set.or_else(|| wan::rtt_ms(a.as_str(), b.as_str())).unwrap_or(UNKNOWN_RTT_MS)
    }
}

fn pair(a: &RegionName, b: &RegionName) -> (RegionName, RegionName) {
    if a < b { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn the_fallback_is_near_the_median_of_the_table() {
        let mut all: Vec<u32> =
            wan::REGIONS.iter().flat_map(|a| wan::REGIONS.iter().filter_map(|b| wan::rtt_ms(a, b))).collect();
        all.retain(|rtt| *rtt > 0);
        all.sort_unstable();
        let median = all[all.len() / 2];
        assert!(median.abs_diff(UNKNOWN_RTT_MS) < 15, "{median}");
    }

    #[test]
    fn set_beats_measured_beats_unknown() {
        let region = |name: &str| RegionName::new(name).unwrap();
        let mut distances = Distances::new();
        assert_eq!(distances.rtt_ms(&region("us-east-1"), &region("eu-west-1")), 70);
        assert_eq!(distances.rtt_ms(&region("us-east-1"), &region("mars")), UNKNOWN_RTT_MS);
        distances.set(&region("us-east-1"), &region("eu-west-1"), 5);
        distances.set(&region("mars"), &region("mars"), 9);
        assert_eq!(distances.rtt_ms(&region("eu-west-1"), &region("us-east-1")), 5);
        assert_eq!(distances.rtt_ms(&region("mars"), &region("mars")), 0);
    }
}
