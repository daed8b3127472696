//! Who stands for election first when a leader is gone.
//!
//! Members that stand at the same moment split the votes and all wait again. So they take turns: the best that is alive
//! first, each next one a while later, and only if nobody leads by then. A wrong guess of who is alive costs a turn, never
//! safety: votes are Raft's.

use crate::place::Placement;
use meridian_types::NodeId;

/// How many members take their turn before `own`: those that are alive and preferred to it as leaders. `None` when it
/// must not stand, because it holds no data.
#[must_use]
pub fn election_turn(placement: &Placement, own: NodeId, alive: impl Fn(NodeId) -> bool) -> Option<u32> {
    if placement.witnesses.contains(&own) {
        return None;
    }
    let preferred = &placement.preferred_leaders;
    let others = placement.voters.iter().filter(|node| !preferred.contains(node));
    let order = preferred.iter().chain(others).filter(|node| !placement.witnesses.contains(node));
    let before = order.take_while(|node| **node != own).filter(|node| alive(**node)).count();
    Some(u32::try_from(before).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CommitRule;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    fn turn(own: u64, dead: &[u64]) -> Option<u32> {
        let placement = Placement {
            voters: (1..=5).map(NodeId).collect(),
            learners: [NodeId(6)].into(),
            witnesses: [NodeId(5)].into(),
            preferred_leaders: Vec::from([NodeId(3), NodeId(1)]),
            data: BTreeMap::new(),
            rule: CommitRule::OtherRegion,
        };
        election_turn(&placement, NodeId(own), |node| !dead.contains(&node.0))
    }

    #[test]
    fn the_living_take_turns_by_preference_and_a_witness_has_none() {
        let turns = |dead: &[u64]| [3, 1, 2, 4].map(|own| turn(own, dead));
        assert_eq!(turns(&[]), [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!(turns(&[3]), [Some(0), Some(0), Some(1), Some(2)], "the dead take no turn");
        assert_eq!(turns(&[3, 1, 2]), [Some(0), Some(0), Some(0), Some(0)]);
        assert_eq!(turn(5, &[]), None);
    }
}
