//! Founding a group anew without the region that held all of its votes: whether it is needed, from whose state, and where it then lives.

use crate::distance::Distances;
use crate::place::{PlaceError, Placement, Placer};
use crate::topology::Topology;
use alloc::vec::Vec;
use core::time::Duration;
use meridian_types::{NodeId, Policy, RegionName};

/// The region with which a group stands and falls: it has all the votes, and other regions have the data too. `None` when the group
/// elects its leaders across regions, or has its data in one region only.
#[must_use]
pub fn sole_region(placement: &Placement) -> Option<&RegionName> {
    let mut regions = placement.voters.iter().map(|voter| placement.data.get(voter));
    let first = regions.next()??;
    let alone = regions.all(|region| region == Some(first));
    let elsewhere = placement.data.values().any(|region| region != first);
    (alone && elsewhere).then_some(first)
}

/// What a replica outside the lost region has of the group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// The node that holds it.
    pub node: NodeId,
    /// The node's region.
    pub region: RegionName,
    /// The term of its last entry.
    pub term: u64,
    /// The index of its last entry.
    pub index: u64,
}

/// The survivor whose state a group goes on from: the one whose log is furthest, by term and then index, as in an election; it has
/// every write of the lost region that any of them has. Among equals the first in the `order` of regions, then the oldest node.
#[must_use]
pub fn choose_survivor<'a>(survivors: &'a [Survivor], order: &[RegionName]) -> Option<&'a Survivor> {
    let rank = |region: &RegionName| order.iter().position(|known| known == region).unwrap_or(usize::MAX);
    survivors.iter().max_by_key(|survivor| {
        let earlier = core::cmp::Reverse((rank(&survivor.region), survivor.node));
        (survivor.term, survivor.index, earlier)
    })
}

/// Where a group lives after it was founded anew by `seed`: as [`crate::place`] would place it with the seed's region as primary, and
/// the seed among the voters, first in line to lead. The lost region's nodes learn, once they are back.
///
/// # Errors
/// [`PlaceError`] when the seed is no node of the policy's regions, or the cluster lacks nodes that the policy needs.
pub fn refound(
    policy: &Policy,
    ordinal: u32,
    topology: &Topology,
    seed: NodeId,
) -> Result<Placement, PlaceError> {
    let region = topology.node(seed).map(|node| &node.region).ok_or(PlaceError::EmptyTopology)?;
    if !policy.regions.contains(region) {
        return Err(PlaceError::UnknownOrigin(policy.name.clone(), region.clone()));
    }
    let others = policy.primary_order().into_iter().filter(|other| other != region);
    let order: Vec<RegionName> = core::iter::once(region.clone()).chain(others).collect();
    // Where all votes are in one region, distances decide nothing.
    let share = ordinal.checked_rem(policy.groups).unwrap_or(ordinal);
    let mut placement = Placer::new(policy, share, topology)?.place(&order, &[], &Distances::new())?;
    if placement.voters.insert(seed)
        && let Some(last) = placement.preferred_leaders.pop()
    {
        placement.voters.remove(&last);
        placement.learners.insert(last);
    }
    placement.learners.remove(&seed);
    placement.preferred_leaders.retain(|node| *node != seed);
    placement.preferred_leaders.insert(0, seed);
    Ok(placement)
}

/// What decides whether a region is given up without an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// Whether the loss of the region is recorded.
    pub recorded: bool,
    /// How long the system leader has heard nothing from any of its nodes.
    pub silent_for: Duration,
    /// Whether a node elsewhere still hears one of its nodes.
    pub heard_by_others: bool,
}

/// Whether a region that is absent like this is given up under a policy that says so after `after` (`None`: an
/// operator decides).
#[must_use]
pub fn gives_up(absence: Absence, after: Option<Duration>) -> bool {
    absence.recorded && !absence.heard_by_others && after.is_some_and(|after| absence.silent_for >= after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn survivor(node: u64, region: &str, term: u64, index: u64) -> Survivor {
        Survivor { node: NodeId(node), region: RegionName::new(region).unwrap(), term, index }
    }

    fn chosen(survivors: &[Survivor]) -> Option<u64> {
        let order = ["a", "b", "c"].map(|name| RegionName::new(name).unwrap());
        choose_survivor(survivors, &order).map(|survivor| survivor.node.0)
    }

    #[test]
    fn the_furthest_log_wins_then_the_order_of_regions_then_age() {
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&[survivor(1, "b", 2, 9), survivor(2, "c", 2, 10)]), Some(2));
        assert_eq!(chosen(&[survivor(1, "b", 3, 9), survivor(2, "c", 2, 10)]), Some(1), "a later term");
        assert_eq!(chosen(&[survivor(1, "c", 2, 9), survivor(2, "b", 2, 9)]), Some(2));
        assert_eq!(chosen(&[survivor(3, "b", 2, 9), survivor(2, "b", 2, 9)]), Some(2));
        assert_eq!(chosen(&[survivor(3, "elsewhere", 2, 9), survivor(4, "c", 2, 9)]), Some(4));
    }

    proptest! {
        #[test]
        fn nobody_is_further_than_the_chosen_one(logs in proptest::collection::vec((0u64..4, 0u64..50), 1..8)) {
            let survivors: Vec<_> = (1u64..)
                .zip(["b", "c", "a"].into_iter().cycle())
                .zip(&logs)
                .map(|((node, region), (term, index))| survivor(node, region, *term, *index))
                .collect();
            let chosen = chosen(&survivors).unwrap();
            let best = survivors.iter().find(|survivor| survivor.node.0 == chosen).unwrap();
            prop_assert!(survivors.iter().all(|other| (other.term, other.index) <= (best.term, best.index)));
        }

        #[test]
        fn only_a_recorded_silence_of_that_length_gives_a_region_up(
            recorded: bool, heard_by_others: bool, silent in 0u64..30_000, after in proptest::option::of(0u64..30_000),
        ) {
            let absence = Absence { recorded, heard_by_others, silent_for: Duration::from_millis(silent) };
            let gives_up = gives_up(absence, after.map(Duration::from_millis));
            prop_assert_eq!(gives_up, recorded && !heard_by_others && after.is_some_and(|after| silent >= after));
        }
    }
}
