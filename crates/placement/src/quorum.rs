//! What a majority has reached: the base of leases and of everything that must outlive an election.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use meridian_types::NodeId;

/// The latest time (or any other ordered mark) that a majority of every configuration has reached; `None` when a
/// majority of one has reached nothing, or there is no configuration.
///
/// During a change of members there are two configurations, and a majority of each is needed (Raft, section 6).
#[must_use]
pub fn quorum_reached<T: Ord + Copy>(
    configurations: &[BTreeSet<NodeId>],
    reached: impl Fn(NodeId) -> Option<T>,
) -> Option<T> {
    let of_one = |voters: &BTreeSet<NodeId>| -> Option<T> {
        let mut marks: Vec<Option<T>> = voters.iter().map(|voter| reached(*voter)).collect();
        marks.sort_unstable_by(|a, b| b.cmp(a));
        marks.get(voters.len() / 2).copied().flatten()
    };
    configurations.iter().map(of_one).min().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    fn voters(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().map(|id| NodeId(*id)).collect()
    }

    fn reached(configurations: &[BTreeSet<NodeId>], marks: &[(u64, u32)]) -> Option<u32> {
        let marks: BTreeMap<NodeId, u32> = marks.iter().map(|(id, mark)| (NodeId(*id), *mark)).collect();
        quorum_reached(configurations, |node| marks.get(&node).copied())
    }

    #[test]
    fn it_is_what_the_slowest_of_the_fastest_majority_has_reached() {
        assert_eq!(reached(&[voters(&[1, 2, 3])], &[(1, 9), (2, 5), (3, 2)]), Some(5));
        assert_eq!(reached(&[voters(&[1, 2, 3])], &[(1, 9), (2, 5)]), Some(5));
        assert_eq!(reached(&[voters(&[1, 2, 3])], &[(1, 9)]), None);
        assert_eq!(reached(&[voters(&[1, 2, 3, 4])], &[(1, 9), (2, 5)]), None, "two of four are no majority");
        assert_eq!(reached(&[voters(&[1, 2, 3, 4])], &[(1, 9), (2, 5), (3, 4)]), Some(4));
        assert_eq!(reached(&[voters(&[1])], &[(1, 9)]), Some(9));
        assert_eq!(reached(&[], &[(1, 9)]), None);
    }

    #[test]
    fn both_configurations_of_a_change_count() {
        let change = [voters(&[1, 2, 3]), voters(&[3, 4, 5])];
        assert_eq!(reached(&change, &[(1, 9), (2, 8), (3, 7), (4, 6)]), Some(6));
        assert_eq!(reached(&change, &[(1, 9), (2, 8), (3, 7)]), None);
    }
}
