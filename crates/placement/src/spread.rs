//! Which nodes of a region serve which group: an even, stable spread over zones and nodes.
//!
//! First choices are dealt so that every candidate is first for as many groups as any other (give or take one), and a new
//! candidate takes its share without anything else moving. Further choices follow by rendezvous hashing, where a new
//! candidate also only ever displaces, never reshuffles.

use crate::seats::seats;
use crate::topology::Node;
use alloc::vec;
use alloc::vec::Vec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// One group among its policy's: what the spread depends on besides the candidates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// The group's place among the policy's groups, from 0.
    pub(crate) ordinal: u32,
    /// How many groups the policy has.
    pub(crate) groups: u32,
    /// Tells policies apart, so that the first groups of all of them do not meet on one node.
    pub(crate) salt: u64,
}

/// Chooses `count` of `nodes` (one region's, by id): as many zones as possible first, then second nodes of those zones.
/// The first of the answer should lead.
pub(crate) fn pick<'a>(nodes: &[&'a Node], count: usize, share: Share) -> Vec<&'a Node> {
    let zones = by_zone(nodes);
    let zone_names: Vec<&[u8]> =
        zones.iter().filter_map(|zone| zone.first()).map(|node| node.zone.as_str().as_bytes()).collect();
    let ranked: Vec<Vec<&Node>> = rank(&zone_names, share)
        .into_iter()
        .map(|zone| {
            let members = &zones[zone];
            let names: Vec<&[u8]> = members.iter().map(|node| node.name.as_str().as_bytes()).collect();
            rank(&names, share).into_iter().map(|node| members[node]).collect()
        })
        .collect();
    let rounds = ranked.iter().map(Vec::len).max().unwrap_or(0);
    let in_rounds = (0..rounds).flat_map(|round| ranked.iter().filter_map(move |zone| zone.get(round)));
    in_rounds.take(count).copied().collect()
}

/// Chooses an odd number of `nodes` (one region's, by id), at most `max`: as many as leave a majority whichever zone is lost.
pub(crate) fn pick_odd<'a>(nodes: &[&'a Node], max: usize, share: Share) -> Vec<&'a Node> {
    let sizes: Vec<usize> = by_zone(nodes).iter().map(Vec::len).collect();
    pick(nodes, seats(&sizes, max).iter().sum(), share)
}

/// The nodes of each zone, zones by their oldest node.
fn by_zone<'a>(nodes: &[&'a Node]) -> Vec<Vec<&'a Node>> {
    let mut zones: Vec<Vec<&'a Node>> = Vec::new();
    for node in nodes {
        match zones.iter_mut().find(|zone| zone.first().is_some_and(|first| first.zone == node.zone)) {
            Some(zone) => zone.push(node),
            None => zones.push(vec![node]),
        }
    }
    zones
}

/// Orders `candidates` (given in order of joining) for one group; answers indices, best first.
fn rank(candidates: &[&[u8]], share: Share) -> Vec<usize> {
    let Some(first) = deal(candidates, share) else { return Vec::new() };
    let mut rest: Vec<usize> = (0..candidates.len()).filter(|candidate| *candidate != first).collect();
    rest.sort_by_key(|candidate| {
        (core::cmp::Reverse(score(candidates[*candidate], share.ordinal, share.salt)), *candidate)
    });
    rest.insert(0, first);
    rest
}

/// The first choice of one group. Replays the joining of the candidates: each takes its even share of groups from those that
/// have most, so a later join never moves a group between two earlier candidates.
fn deal(candidates: &[&[u8]], share: Share) -> Option<usize> {
    let mut owner = vec![0usize; share.groups.max(share.ordinal.saturating_add(1)) as usize];
    for (newcomer, name) in candidates.iter().enumerate().skip(1) {
        // Rounds up for some policies and down for others, or a policy of one group would never leave the oldest candidate.
        let joined = newcomer + 1;
        let rounding = usize::try_from(xxh3_64_with_seed(name, share.salt) % joined as u64).unwrap_or(0);
        for _ in 0..(owner.len() + rounding) / joined {
            let mut load = vec![0usize; joined];
            owner.iter().for_each(|candidate| load[*candidate] += 1);
            let most = load.iter().copied().max().unwrap_or(0);
            let taken = (0u32..)
                .zip(&owner)
                .filter(|(_, candidate)| load[**candidate] == most)
                .max_by_key(|(ordinal, _)| (score(name, *ordinal, share.salt), *ordinal))
                .map(|(ordinal, _)| ordinal as usize);
            if let Some(ordinal) = taken {
                owner[ordinal] = newcomer;
            }
        }
    }
    if candidates.is_empty() { None } else { owner.get(share.ordinal as usize).copied() }
}

fn score(name: &[u8], ordinal: u32, salt: u64) -> u64 {
    xxh3_64_with_seed(name, salt ^ (u64::from(ordinal) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::format;
    use alloc::string::String;
    use proptest::prelude::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("node-{n}")).collect()
    }

    fn ranked(names: &[String], groups: u32, salt: u64) -> Vec<Vec<usize>> {
        let names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
        (0..groups).map(|ordinal| rank(&names, Share { ordinal, groups, salt })).collect()
    }

    proptest! {
        #[test]
        fn first_choices_are_even(count in 1usize..8, groups in 1u32..40, salt: u64) {
            let mut load = vec![0u32; count];
            for order in ranked(&names(count), groups, salt) {
                load[order[0]] += 1;
            }
            prop_assert!(load.iter().max().unwrap() - load.iter().min().unwrap() <= 1, "{:?}", load);
        }

        #[test]
        fn a_newcomer_takes_its_share_and_nothing_else_moves(count in 1usize..7, groups in 1u32..40, salt: u64) {
            let before = ranked(&names(count), groups, salt);
            let after = ranked(&names(count + 1), groups, salt);
            let moved = before.iter().zip(&after).filter(|(old, new)| old[0] != new[0]).count();
            prop_assert!(moved <= (groups as usize).div_ceil(count + 1));
            for (old, new) in before.iter().zip(&after) {
                prop_assert!(new[0] == old[0] || new[0] == count);
                for top in 1..=count {
                    let old_top: BTreeSet<_> = old[..top].iter().collect();
                    let arrivals: Vec<_> = new[..top].iter().filter(|n| !old_top.contains(n)).collect();
                    prop_assert!(arrivals.is_empty() || arrivals == [&count], "{:?} {:?}", old, new);
                }
            }
        }
    }

    #[test]
    fn policies_of_one_group_do_not_all_meet_on_one_node() {
        let mut load = [0; 3];
        (0..300).for_each(|salt| load[ranked(&names(3), 1, salt * 7919)[0][0]] += 1);
        assert!(load.iter().all(|count| *count > 60), "{load:?}");
    }
}
