//! How a group's voters move to where placement wants them, without ever being unable to commit.

use alloc::collections::BTreeSet;
use meridian_types::NodeId;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
