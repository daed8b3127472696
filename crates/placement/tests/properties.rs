//! What must hold of every placement, over random clusters and every policy that can be declared on them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use meridian_placement::{
    CommitGate, CommitRule, Distances, Node, Placement, Topology, place, place_system, place_without,
    refound, sole_region,
};
use meridian_types::{
    ConflictRule, NodeId, NodeName, OnRegionLoss, Pattern, Policy, PolicyName, RegionName, Replication,
    ZoneName,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const NAMES: [&str; 7] =
    ["us-east-1", "eu-west-1", "ap-southeast-1", "eu-central-1", "mars-1", "us-west-2", "sa-east-1"];

fn region(index: usize) -> RegionName {
    RegionName::new(NAMES[index]).unwrap()
}

fn node(id: u64, at: usize, zone: u8) -> Node {
    Node {
        id: NodeId(id),
        name: NodeName::new(&format!("{}-{zone}-{id}", NAMES[at])).unwrap(),
        region: region(at),
        zone: ZoneName::new(&format!("z{zone}")).unwrap(),
        witness: false,
    }
}

/// A cluster in which each of the first `count` regions has one node or more, in random zones, joined in random order.
fn topology() -> impl Strategy<Value = Topology> {
    (1usize..=7)
        .prop_flat_map(|count| {
            let first = (0..count).map(|at| (Just(at), 0u8..3)).collect::<Vec<_>>();
            (first, proptest::collection::vec((0..count, 0u8..3), 0..12))
        })
        .prop_flat_map(|(first, more)| {
            let all: Vec<(usize, u8)> = first.into_iter().chain(more).collect();
            Just(all).prop_shuffle()
        })
        .prop_map(|all| Topology::new((1..).zip(all).map(|(id, (at, zone))| node(id, at, zone))).unwrap())
}

/// Every shape of policy over some regions of a cluster; always valid.
fn policy(topology: &Topology) -> impl Strategy<Value = Policy> + use<> {
    let regions = topology.regions();
    let all = regions.len();
    (Just(regions).prop_shuffle(), 1..=all, 0usize..8, 1u32..9, 0usize..4).prop_map(
        |(mut regions, count, shape, groups, listed)| {
            let spare = regions.split_off(count).pop();
            let wide = regions.len() > 2 || (regions.len() == 2 && spare.is_some());
            let (pattern, replication) = match shape {
                0 | 1 if wide => (Pattern::ActivePassive, Replication::Sync),
                2 if wide => (Pattern::ReadLocal, Replication::SemiSync),
                3 if wide => (Pattern::ActivePassive, Replication::SemiSync),
                4 if wide => (Pattern::ActiveActive, Replication::SemiSync),
                5 => (Pattern::ActiveActive, Replication::Async),
                _ => (Pattern::ActivePassive, Replication::Async),
            };
            let active = pattern == Pattern::ActiveActive;
            let two = regions.len() == 2 && replication != Replication::Async;
            Policy {
                name: PolicyName::new(&format!("p{shape}")).unwrap(),
                pattern,
                replication,
                primary: if active { vec![] } else { regions.iter().rev().take(listed).cloned().collect() },
                witness: spare.filter(|_| two),
                groups,
                on_region_loss: (replication == Replication::Sync).then_some(OnRegionLoss::Degrade),
                conflict: active.then_some(ConflictRule::Lww),
                auto_failover: false,
                failover_after: None,
                max_lag: None,
                failback: None,
                regions,
            }
        },
    )
}

fn case() -> impl Strategy<Value = (Topology, Policy)> {
    topology().prop_flat_map(|topology| (Just(topology.clone()), policy(&topology)))
}

/// Every placement of a policy, with the region that should lead it.
fn placements(policy: &Policy, topology: &Topology) -> Vec<(RegionName, Placement)> {
    let distances = Distances::new();
    let mut all = Vec::new();
    for ordinal in 0..policy.group_count() {
        let primary = policy.origin(ordinal).cloned();
        let primary = primary.unwrap_or_else(|| policy.primary_order().swap_remove(0));
        all.push((primary, place(policy, ordinal, topology, &distances).unwrap()));
    }
    all
}

fn column(node: NodeId) -> usize {
    usize::try_from(node.0 % 20).unwrap()
}

fn survives_any_region(placement: &Placement, topology: &Topology) -> bool {
    let mut votes: BTreeMap<&RegionName, usize> = BTreeMap::new();
    for voter in &placement.voters {
        *votes.entry(&topology.node(*voter).unwrap().region).or_default() += 1;
    }
    votes.values().all(|lost| placement.voters.len() - lost > placement.voters.len() / 2)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn data_stays_in_its_regions_and_everyone_there_has_it((topology, policy) in case()) {
        let cluster = topology.regions().into_iter().collect();
        prop_assert_eq!(policy.validate(&cluster), Ok(()));
        for (_, placement) in placements(&policy, &topology) {
            for (node, region) in &placement.data {
                prop_assert!(policy.regions.contains(region));
                prop_assert_eq!(&topology.node(*node).unwrap().region, region);
            }
            for node in topology.nodes().filter(|node| policy.regions.contains(&node.region)) {
                prop_assert!(placement.data.contains_key(&node.id));
            }
            for witness in &placement.witnesses {
                prop_assert_eq!(Some(&topology.node(*witness).unwrap().region), policy.witness.as_ref());
                prop_assert!(!placement.data.contains_key(witness));
                prop_assert!(!placement.preferred_leaders.contains(witness));
            }
            let data: BTreeSet<_> = placement.voters.difference(&placement.witnesses).chain(&placement.learners).collect();
            prop_assert_eq!(data, placement.data.keys().collect::<BTreeSet<_>>());
            prop_assert!(placement.voters.is_disjoint(&placement.learners));
        }
    }

    #[test]
    fn each_mode_votes_where_the_table_says((topology, policy) in case()) {
        for (primary, placement) in placements(&policy, &topology) {
            let voting: BTreeSet<_> =
                placement.voters.iter().map(|node| topology.node(*node).unwrap().region.clone()).collect();
            match policy.replication {
                Replication::Async => prop_assert_eq!(voting, BTreeSet::from([primary])),
                Replication::Sync => {
                    prop_assert_eq!(voting, policy.all_regions().cloned().collect::<BTreeSet<_>>());
                    prop_assert!(survives_any_region(&placement, &topology));
                }
                Replication::SemiSync => {
                    prop_assert!(voting.contains(&primary));
                    prop_assert_eq!(voting.len(), 3);
                    prop_assert!(survives_any_region(&placement, &topology));
                }
            }
            prop_assert!(placement.voters.len() % 2 == 1 || placement.voters.len() == policy.regions.len());
            prop_assert_eq!(placement.rule, CommitRule::from(policy.replication));
        }
    }

    #[test]
    fn the_primary_preference_is_honoured((topology, policy) in case()) {
        for (primary, placement) in placements(&policy, &topology) {
            prop_assert_eq!(&placement.data[&placement.preferred_leaders[0]], &primary);
            prop_assert!(placement.preferred_leaders.iter().all(|node| placement.voters.contains(node)));
            let order = policy.primary_order();
            let rank = |node: &NodeId| order.iter().position(|region| *region == placement.data[node]);
            if policy.pattern == Pattern::ActiveActive {
                prop_assert!(placement.preferred_leaders.iter().all(|node| placement.data[node] == primary));
            } else {
                prop_assert!(placement.preferred_leaders.is_sorted_by_key(rank));
                let voters = placement.voters.len() - placement.witnesses.len();
                prop_assert_eq!(placement.preferred_leaders.len(), voters);
                for listed in policy.primary.iter().take(3).filter(|_| policy.replication != Replication::Async) {
                    prop_assert!(placement.preferred_leaders.iter().any(|node| placement.data[node] == *listed));
                }
            }
        }
    }

    #[test]
    fn leaders_are_spread_over_the_zones_of_the_primary((topology, policy) in case()) {
        let mut load: BTreeMap<(RegionName, ZoneName), u32> = BTreeMap::new();
        for node in topology.nodes().filter(|node| policy.regions.contains(&node.region)) {
            load.insert((node.region.clone(), node.zone.clone()), 0);
        }
        let mut primaries = BTreeSet::new();
        for (primary, placement) in placements(&policy, &topology) {
            let leader = topology.node(placement.preferred_leaders[0]).unwrap();
            *load.get_mut(&(leader.region.clone(), leader.zone.clone())).unwrap() += 1;
            primaries.insert(primary);
        }
        for primary in primaries {
            let counts: Vec<u32> = load.iter().filter(|((region, _), _)| *region == primary).map(|(_, n)| *n).collect();
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
        }
    }

    #[test]
    fn adding_a_node_moves_only_what_it_must((topology, policy) in case(), at in 0usize..7, zone in 0u8..4) {
        let new = node(1_000, at, zone);
        let grown = Topology::new(topology.nodes().cloned().chain([new.clone()])).unwrap();
        let before = placements(&policy, &topology);
        let after = placements(&policy, &grown);
        let mut leaders_moved = 0;
        for ((_, old), (_, new_placement)) in before.iter().zip(&after) {
            prop_assert!(old.data.keys().all(|node| new_placement.data.contains_key(node)), "no data is dropped");
            if !policy.regions.contains(&new.region) {
                prop_assert_eq!(old, new_placement);
                continue;
            }
            if new_placement.voters.len() == old.voters.len() {
                prop_assert!(new_placement.voters.difference(&old.voters).all(|node| *node == new.id));
            } else {
                // A second vote in a region came with the node: votes are added (in two regions at most), none is moved.
                let kept = old.voters.intersection(&new_placement.voters).count();
                prop_assert!(kept >= old.voters.len() - 1, "{:?} {:?}", old.voters, new_placement.voters);
            }
            if old.preferred_leaders[0] != new_placement.preferred_leaders[0] {
                prop_assert_eq!(new_placement.preferred_leaders[0], new.id);
                leaders_moved += 1;
            }
        }
        let share = (policy.groups as usize).div_ceil(2);
        prop_assert!(leaders_moved <= share, "{} of {} groups changed leader", leaders_moved, policy.groups);
    }

    #[test]
    fn the_system_group_spreads_over_regions(topology in topology()) {
        let placement = place_system(&topology).unwrap();
        prop_assert!(placement.voters.len() % 2 == 1 && placement.voters.len() <= 5);
        prop_assert_eq!(placement.members().count(), topology.nodes().count());
        if topology.regions().len() >= 3 {
            prop_assert!(survives_any_region(&placement, &topology));
        }
        prop_assert_eq!(placement.rule, CommitRule::Majority);
    }

    #[test]
    fn an_answer_is_committed_monotone_and_on_every_disk_it_names(
        (topology, policy) in case(),
        matched in proptest::collection::vec(0u64..20, 20),
        more in proptest::collection::vec(0u64..20, 20),
        committed in 0u64..20,
        leader in 0usize..5,
        lost in proptest::collection::btree_set((0usize..7).prop_map(region), 0..3),
    ) {
        for (_, placement) in placements(&policy, &topology) {
            let leader = placement.preferred_leaders[leader % placement.preferred_leaders.len()];
            let gate = CommitGate::new(&placement, leader, &lost);
            let disk = |node: NodeId| matched[column(node)];
            let later = |node: NodeId| disk(node) + more[column(node)];
            let answerable = gate.answerable(committed, disk);
            prop_assert!(answerable <= committed);
            prop_assert!(gate.answerable(committed, later) >= answerable);
            prop_assert!(gate.answerable(committed + 3, disk) >= answerable);
            let has_it: BTreeSet<&RegionName> =
                placement.data.iter().filter(|(node, _)| disk(**node) >= answerable).map(|(_, region)| region).collect();
            match policy.replication {
                Replication::Sync => {
                    let required = policy.regions.iter().filter(|region| !lost.contains(*region));
                    prop_assert!(required.into_iter().all(|region| has_it.contains(region)));
                }
                Replication::SemiSync => {
                    let home = &placement.data[&leader];
                    let mut others = placement.data.values().filter(|region| *region != home);
                    let alone = others.clone().next().is_some() && others.all(|region| lost.contains(region));
                    let elsewhere = has_it.iter().any(|region| *region != home);
                    prop_assert!(answerable == 0 || elsewhere || alone);
                }
                Replication::Async => prop_assert_eq!(answerable, committed),
            }
        }
    }

    /// Without some regions, as long as a policy has another one, each group has a voter elsewhere that holds the data and may lead.
    #[test]
    fn active_active_groups_live_on_without_some_of_their_regions(
        (topology, policy, without) in topology()
            .prop_flat_map(|topology| (Just(topology.clone()), policy(&topology)))
            .prop_flat_map(|(topology, policy)| {
                let some = proptest::sample::subsequence(policy.regions.clone(), 0..=policy.regions.len() - 1);
                (Just(topology), Just(policy), some)
            })
    ) {
        let without: BTreeSet<RegionName> = without.into_iter().collect();
        let none = BTreeSet::new();
        for ordinal in 0..policy.group_count() {
            let usual = place(&policy, ordinal, &topology, &Distances::new()).unwrap();
            let there = place_without(&policy, ordinal, &topology, &Distances::new(), &none).unwrap();
            prop_assert_eq!(&there, &usual);
            let there = place_without(&policy, ordinal, &topology, &Distances::new(), &without).unwrap();
            if policy.pattern == Pattern::ActiveActive {
                prop_assert!(sole_region(&there).is_none_or(|region| !without.contains(region)));
                let mut leads = there.voters.iter().filter_map(|voter| there.data.get(voter));
                // Several at once may have a majority of the votes; that is refused.
                prop_assert!(without.len() > 1 || leads.any(|region| !without.contains(region)));
                prop_assert_eq!(there.data, usual.data);
            } else {
                prop_assert_eq!(there, usual);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_group_founded_anew_lives_in_the_seeds_region_and_keeps_its_regions((topology, policy) in case()) {
        prop_assume!(policy.replication == Replication::Async && policy.pattern == Pattern::ActivePassive);
        for ordinal in 0..policy.groups {
            let before = place(&policy, ordinal, &topology, &Distances::new()).unwrap();
            let lost = sole_region(&before).cloned();
            prop_assert_eq!(lost.is_some(), before.data_regions().len() > 1);
            for (seed, home) in before.data.iter().filter(|(_, region)| Some(*region) != lost.as_ref()) {
                let after = refound(&policy, ordinal, &topology, *seed).unwrap();
                prop_assert_eq!(&after.data, &before.data);
                prop_assert_eq!(after.preferred_leaders.first(), Some(seed));
                prop_assert!(after.voters.iter().all(|voter| after.data.get(voter) == Some(home)));
                prop_assert_eq!(after.voters.len() % 2, 1);
                prop_assert!(after.voters.is_disjoint(&after.learners));
                prop_assert!(after.preferred_leaders.iter().all(|leader| after.voters.contains(leader)));
                prop_assert_eq!(after.members().count(), before.members().count());
                if lost.is_some() {
                    prop_assert_eq!(sole_region(&after), Some(home));
                }
            }
        }
    }
}

fn single_primary(replication: Replication, regions: Vec<RegionName>) -> Policy {
    Policy {
        name: PolicyName::new("p").unwrap(),
        pattern: Pattern::ActivePassive,
        replication,
        primary: vec![regions[0].clone()],
        regions,
        witness: None,
        groups: 1,
        on_region_loss: None,
        conflict: None,
        auto_failover: false,
        failover_after: None,
        max_lag: None,
        failback: None,
    }
}

/// How many votes each region has in a cluster of `nodes` (region, zone).
fn votes(nodes: &[(usize, u8)], policy: &Policy) -> Vec<usize> {
    let topology = Topology::new((1..).zip(nodes).map(|(id, (at, zone))| node(id, *at, *zone))).unwrap();
    let placement = place(policy, 0, &topology, &Distances::new()).unwrap();
    let voters = || placement.voters.iter().map(|voter| topology.node(*voter).unwrap());
    let zones: BTreeSet<_> = voters().map(|node| (node.region.clone(), node.zone.clone())).collect();
    assert_eq!(zones.len(), placement.voters.len(), "each vote is in a zone of its own");
    policy.all_regions().map(|region| voters().filter(|node| node.region == *region).count()).collect()
}

#[test]
fn preferred_regions_have_a_second_vote_where_they_have_a_second_zone() {
    let regions = |count: usize| (0..count).map(region).collect::<Vec<_>>();
    let two_each: Vec<(usize, u8)> = (0..4).flat_map(|at| [(at, 0), (at, 1)]).collect();
    let one_each: Vec<(usize, u8)> = (0..4).map(|at| (at, 0)).collect();
    let sync = |count| single_primary(Replication::Sync, regions(count));
    assert_eq!(votes(&two_each, &sync(3)), [2, 2, 1]);
    assert_eq!(votes(&two_each, &sync(4)), [2, 1, 1, 1]);
    assert_eq!(votes(&one_each, &sync(3)), [1, 1, 1]);
    assert_eq!(votes(&one_each, &sync(4)), [1, 1, 1, 1], "every region of a sync policy votes");
    let mut two = sync(2);
    two.witness = Some(region(2));
    assert_eq!(votes(&two_each, &two), [2, 2, 1], "the witness region has one");
    assert_eq!(votes(&two_each, &single_primary(Replication::Async, regions(3))), [1, 0, 0], "an odd number");
}

#[test]
fn a_witness_node_holds_no_data_even_in_a_data_region() {
    let mut nodes: Vec<Node> = (0..3).map(|at| node(at as u64 + 1, at, 0)).collect();
    nodes.push(Node { witness: true, ..node(4, 0, 1) });
    let mut policy = single_primary(Replication::SemiSync, (0..3).map(region).collect());
    let topology = Topology::new(nodes.clone()).unwrap();
    let placement = place(&policy, 0, &topology, &Distances::new()).unwrap();
    assert!(placement.members().all(|member| member != NodeId(4)));
    nodes[0].witness = true;
    let topology = Topology::new(nodes.clone()).unwrap();
    let refused = place(&policy, 0, &topology, &Distances::new()).unwrap_err();
    assert!(refused.to_string().contains("region us-east-1 has no node that may hold data"), "{refused}");
    // As a witness region it serves, the node that is nothing else first.
    nodes[0].witness = false;
    let topology = Topology::new(nodes).unwrap();
    policy.regions.remove(0);
    policy.primary.clear();
    policy.witness = Some(region(0));
    let placement = place(&policy, 0, &topology, &Distances::new()).unwrap();
    assert_eq!(placement.witnesses, BTreeSet::from([NodeId(4)]));
}

#[test]
fn a_witness_never_counts_as_the_other_region() {
    let topology = Topology::new([node(1, 0, 0), node(2, 1, 0), node(3, 2, 0)]).unwrap();
    let mut policy = single_primary(Replication::SemiSync, vec![region(0), region(1)]);
    policy.witness = Some(region(2));
    let placement = place(&policy, 0, &topology, &Distances::new()).unwrap();
    assert_eq!(placement.witnesses, BTreeSet::from([NodeId(3)]));
    assert_eq!(placement.voters.len(), 3);
    let gate = CommitGate::new(&placement, NodeId(1), &BTreeSet::new());
    let disks = BTreeMap::from([(NodeId(1), 9), (NodeId(2), 4), (NodeId(3), 9)]);
    assert_eq!(gate.answerable(9, |node| disks[&node]), 4);
    let alone = CommitGate::new(&placement, NodeId(1), &BTreeSet::from([region(1)]));
    assert_eq!(alone.answerable(9, |node| disks[&node]), 9, "the survivor and the witness go on");
    let other = CommitGate::new(&placement, NodeId(1), &BTreeSet::from([region(0)]));
    assert_eq!(other.answerable(9, |node| disks[&node]), 4, "its own loss excuses nobody");
}

#[test]
fn semi_sync_votes_in_the_two_nearest_unless_others_are_listed() {
    // us-east-1 is 70 ms from eu-west-1, 93 from eu-central-1, 64 from us-west-2, 219 from ap-southeast-1.
    let topology = Topology::new([0, 2, 3, 1, 5].map(|at| node(at as u64 + 1, at, 0))).unwrap();
    let mut policy = single_primary(Replication::SemiSync, topology.regions());
    let leaders = |policy: &Policy| place(policy, 0, &topology, &Distances::new()).unwrap().preferred_leaders;
    assert_eq!(leaders(&policy), [NodeId(1), NodeId(2), NodeId(6)]);
    policy.primary.push(region(2));
    assert_eq!(leaders(&policy), [NodeId(1), NodeId(3), NodeId(6)]);
}

#[test]
fn what_cannot_be_placed_is_said_in_words() {
    let topology = Topology::new([node(1, 0, 0), node(2, 1, 0)]).unwrap();
    let mut policy = single_primary(Replication::Sync, vec![region(0), region(1), region(2)]);
    let said = |policy: &Policy| place(policy, 0, &topology, &Distances::new()).unwrap_err().to_string();
    assert!(
        said(&policy).contains("region ap-southeast-1 has no node that may hold data"),
        "{}",
        said(&policy)
    );
    policy.regions.pop();
    assert!(said(&policy).contains("sync needs three regions that vote and has 2"), "{}", said(&policy));
    policy.witness = Some(region(3));
    assert!(said(&policy).contains("witness region eu-central-1 has no node"), "{}", said(&policy));
    assert!(place_system(&Topology::default()).is_err());
}
