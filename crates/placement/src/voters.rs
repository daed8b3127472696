//! How a group's voters move to where placement wants them, without ever being unable to commit.

use crate::place::Placement;
use alloc::collections::BTreeSet;
use meridian_types::{NodeId, RegionName};

/// The voters to change to next, or `None` when nothing is to be done now.
///
/// `configurations` are the present ones (two during a change that was cut off), `caught_up` says of a member without a vote
/// whether it is close behind the leader. Voters are first added, once they have caught up, and the old ones leave when all of the new ones vote. The
/// leader keeps its vote until it has handed leadership to a voter that stays.
#[must_use]
pub fn next_voters(
    configurations: &[BTreeSet<NodeId>],
    desired: &BTreeSet<NodeId>,
    leader: NodeId,
    caught_up: impl Fn(NodeId) -> bool,
) -> Option<BTreeSet<NodeId>> {
    let voting: BTreeSet<NodeId> = configurations.iter().flatten().copied().collect();
    let ready = |node: &NodeId| voting.contains(node) || caught_up(*node);
    let mut target: BTreeSet<NodeId> = desired.iter().copied().filter(ready).collect();
    if target.len() < desired.len() {
        target.extend(voting);
    } else {
        target.insert(leader);
    }
    (configurations != [target.clone()]).then_some(target)
}

/// The members that may be taken out of a group now: those that `placement` does not name, once the voters are those that it does.
///
/// A member that holds the data is kept until another one of its region that stays has all that is known to be on its disk: what a policy
/// promises to have in a region is never there in fewer places than promised. `matched` tells the last index that a member has.
#[must_use]
pub fn may_leave(
    configurations: &[BTreeSet<NodeId>],
    members: &BTreeSet<NodeId>,
    placement: &Placement,
    region: impl Fn(NodeId) -> Option<RegionName>,
    matched: impl Fn(NodeId) -> Option<u64>,
) -> BTreeSet<NodeId> {
    if configurations != [placement.voters.clone()] {
        return BTreeSet::new();
    }
    let covered = |member: NodeId| {
        let region = region(member);
        let mut beside =
            placement.data.iter().filter(|(_, other)| Some(*other) == region.as_ref()).peekable();
        // A region that the group left altogether is promised nothing.
        beside.peek().is_none() || beside.any(|(other, _)| matched(*other) >= matched(member))
    };
    let stays: BTreeSet<NodeId> = placement.members().collect();
    members.iter().copied().filter(|member| !stays.contains(member) && covered(*member)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CommitRule;
    use alloc::vec::Vec;

    fn set(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().map(|id| NodeId(*id)).collect()
    }

    fn next(now: &[&[u64]], desired: &[u64], leader: u64, caught_up: &[u64]) -> Option<BTreeSet<NodeId>> {
        let now: alloc::vec::Vec<_> = now.iter().map(|ids| set(ids)).collect();
        next_voters(&now, &set(desired), NodeId(leader), |node| caught_up.contains(&node.0))
    }

    #[test]
    fn voters_come_before_others_leave_and_the_leader_leaves_last() {
        assert_eq!(next(&[&[1]], &[2], 1, &[]), None, "the new one is still behind");
        assert_eq!(next(&[&[1]], &[2], 1, &[2]), Some(set(&[1, 2])));
        assert_eq!(next(&[&[1, 2]], &[2], 1, &[2]), None, "the leader has to hand over first");
        assert_eq!(next(&[&[1, 2]], &[2], 2, &[]), Some(set(&[2])));
        assert_eq!(next(&[&[2]], &[2], 2, &[]), None);
    }

    #[test]
    fn those_that_are_ready_need_not_wait_for_the_others() {
        assert_eq!(next(&[&[1, 2, 3]], &[1, 4, 5], 1, &[4]), Some(set(&[1, 2, 3, 4])));
        assert_eq!(next(&[&[1, 2, 3, 4]], &[1, 4, 5], 1, &[5]), Some(set(&[1, 4, 5])));
    }

    #[test]
    fn a_change_that_was_cut_off_is_brought_to_its_end() {
        assert_eq!(next(&[&[1, 2], &[2, 3]], &[2, 3], 2, &[]), Some(set(&[2, 3])));
        assert_eq!(next(&[&[1, 2], &[2, 3]], &[2, 4], 2, &[]), Some(set(&[1, 2, 3])));
    }

    #[test]
    fn members_leave_when_others_of_their_region_have_what_they_had() {
        let name = |node: u64| RegionName::new(if node < 10 { "a" } else { "b" }).unwrap();
        let placement = Placement {
            voters: set(&[1, 11]),
            learners: set(&[2]),
            witnesses: set(&[]),
            preferred_leaders: Vec::new(),
            data: [1, 2, 11].into_iter().map(|node| (NodeId(node), name(node))).collect(),
            rule: CommitRule::EveryRegion,
        };
        let leaves = |voters: &[u64], members: &[u64], has: &[(u64, u64)]| {
            let matched =
                |node: NodeId| has.iter().find(|(other, _)| *other == node.0).map(|(_, index)| *index);
            may_leave(&[set(voters)], &set(members), &placement, |node| Some(name(node.0)), matched)
        };
        let has = [(1, 9), (2, 9), (3, 9), (11, 7), (12, 8)];
        assert_eq!(leaves(&[1, 11], &[1, 2, 3, 11], &has), set(&[3]));
        assert_eq!(leaves(&[1, 11, 3], &[1, 2, 3, 11], &has), set(&[]), "it still votes");
        assert_eq!(leaves(&[1, 11], &[1, 2, 11, 12], &has), set(&[]), "12 alone has entry 8 in its region");
        assert_eq!(leaves(&[1, 11], &[1, 2, 11, 13], &has), set(&[13]), "13 is lost, nothing is known of it");
    }
}
