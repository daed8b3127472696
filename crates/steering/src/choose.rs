//! Regions in order for one client.

use crate::share::{draw, score};
use crate::verdict::Verdict;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Ordering;
use meridian_types::RegionName;
use serde::{Deserialize, Serialize};

/// How a service spreads its clients over regions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Steering {
    /// The first region serves, the next one when it cannot. Regions that are not named come last, by name.
    ActivePassive(Vec<RegionName>),
    /// The nearest region serves.
    Nearest,
    /// Regions serve by weight; a region without one has weight 0 and serves when no other can.
    Weighted(BTreeMap<RegionName, u32>),
    /// The nearest region serves; above the given load, in thousandths of its capacity, it passes the excess on to the next nearest.
    Load {
        /// The load above which clients are passed on.
        spill_permille: u32,
        /// The load of each region now; none counts as 0.
        permille: BTreeMap<RegionName, u32>,
    },
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Milliseconds to each region; one that is missing is farther than all others.
    pub distances: &'a BTreeMap<RegionName, u32>,
    /// Stands for the client where clients are shared out: a hash of its network, so that it keeps its region.
    pub key: u64,
}

/// Regions for a client, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// No lost region, unless all are.
    pub regions: Vec<RegionName>,
    /// Every region looks lost, so all are given: a judge that errs must not take the service down by itself.
    pub fail_open: bool,
}

/// Orders the regions of a service for a client. Healthy regions come before degraded ones, lost ones are left out while any
/// other is there; among equals the policy of the service decides.
#[must_use]
pub fn choose(steering: &Steering, verdicts: &BTreeMap<RegionName, Verdict>, client: Client<'_>) -> Choice {
    let mut regions: Vec<(&RegionName, Verdict)> =
        verdicts.iter().map(|(region, verdict)| (region, *verdict)).collect();
    let fail_open = !regions.is_empty() && regions.iter().all(|(_, verdict)| *verdict == Verdict::Lost);
    if !fail_open {
        regions.retain(|(_, verdict)| *verdict != Verdict::Lost);
    }
    regions.sort_by(|(a, of_a), (b, of_b)| {
        of_a.cmp(of_b).then_with(|| prefer(steering, a, b, client)).then_with(|| a.cmp(b))
    });
    Choice { regions: regions.into_iter().map(|(region, _)| region.clone()).collect(), fail_open }
}

fn prefer(steering: &Steering, a: &RegionName, b: &RegionName, client: Client<'_>) -> Ordering {
    let distance = |region| client.distances.get(region).copied().unwrap_or(u32::MAX);
    match steering {
        Steering::ActivePassive(order) => {
            let rank = |region| order.iter().position(|named| named == region).unwrap_or(usize::MAX);
            rank(a).cmp(&rank(b))
        }
        Steering::Nearest => distance(a).cmp(&distance(b)),
        Steering::Weighted(weights) => {
            let score = |region| score(client.key, region, weights.get(region).copied().unwrap_or(0));
            score(a).total_cmp(&score(b))
        }
        Steering::Load { spill_permille, permille } => {
            let passes_on = |region| {
                let load = permille.get(region).copied().unwrap_or(0);
                // So much of the load is too much: the same share of clients goes on.
                let excess = f64::from(load.saturating_sub(*spill_permille));
                excess > 0.0 && draw(client.key, region) <= excess / f64::from(load)
            };
            (passes_on(a), distance(a)).cmp(&(passes_on(b), distance(b)))
        }
    }
}
