//! Where leadership belongs, and when it is worth moving: home to the primary region once that region is steadily well.
//!
//! This is about comfort, not safety: losing a leader is Raft's election. A wrong answer here costs a pause, never a write.

use crate::place::Placement;
use alloc::collections::BTreeMap;
use meridian_types::NodeId;

/// What the leader knows of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberHealth {
    /// For how long the member has answered without a gap, in milliseconds; `None` when it does not answer now.
    pub healthy_for_ms: Option<u64>,
    /// How many log entries the member is behind the leader.
    pub lag: u64,
    /// How often the member has gone silent within [`FLAPPING_WINDOW_MS`].
    pub losses: u32,
}

/// How far back losses of a member are counted, in milliseconds.
pub const FLAPPING_WINDOW_MS: u64 = 60_000;
/// Each loss doubles how long a member must be well, up to so many times.
const MOST_DOUBLINGS: u32 = 3;

/// How sure one must be before leadership moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferRules {
    /// The target has been healthy for at least this long, in milliseconds; twice as long for each loss but the first, so that a region
    /// that comes and goes is not followed.
    pub min_healthy_ms: u64,
    /// The present leader has led for at least this long, in milliseconds, so that two regions never play ball.
    pub min_led_ms: u64,
    /// The target is at most this many entries behind: the transfer waits for them.
    pub max_lag: u64,
}

impl Default for TransferRules {
    /// Five seconds of health, five seconds of leading, at most 64 entries behind.
    fn default() -> Self {
        Self { min_healthy_ms: 5_000, min_led_ms: 5_000, max_lag: 64 }
    }
}

impl TransferRules {
    /// How long a member that has gone silent so often must have been healthy.
    fn steady_ms(&self, losses: u32) -> u64 {
        self.min_healthy_ms << losses.saturating_sub(1).min(MOST_DOUBLINGS)
    }
}

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderChoice {
    /// Leadership is where it belongs, or nothing better is sure enough yet.
    Stay,
    /// Hand leadership to this node.
    Transfer(NodeId),
}

/// Decides for the leader of one group, which has led for `led_for_ms`.
///
/// The best is the first of the preferred leaders that is healthy, steady and caught up. A leader moves only to a better
/// one, or to any when it should not lead at all (it is not among the preferred).
#[must_use]
pub fn leader_choice(
    placement: &Placement,
    leader: NodeId,
    led_for_ms: u64,
    members: &BTreeMap<NodeId, MemberHealth>,
    rules: &TransferRules,
) -> LeaderChoice {
    if led_for_ms < rules.min_led_ms {
        return LeaderChoice::Stay;
    }
    let fit = |node: &NodeId| {
        members.get(node).is_some_and(|member| {
            member.lag <= rules.max_lag
                && member.healthy_for_ms.is_some_and(|healthy| healthy >= rules.steady_ms(member.losses))
        })
    };
    let better = placement.preferred_leaders.iter().take_while(|node| **node != leader);
    better.copied().find(|node| fit(node)).map_or(LeaderChoice::Stay, LeaderChoice::Transfer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CommitRule;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    const WELL: MemberHealth = MemberHealth { healthy_for_ms: Some(60_000), lag: 0, losses: 0 };

    fn choice(leader: u64, led_for_ms: u64, change: (u64, MemberHealth)) -> LeaderChoice {
        let placement = Placement {
            voters: BTreeSet::new(),
            learners: BTreeSet::new(),
            witnesses: BTreeSet::new(),
            preferred_leaders: Vec::from([NodeId(1), NodeId(2)]),
            data: BTreeMap::new(),
            rule: CommitRule::OtherRegion,
        };
        let mut members: BTreeMap<_, _> = (1..=3).map(|id| (NodeId(id), WELL)).collect();
        members.insert(NodeId(change.0), change.1);
        leader_choice(&placement, NodeId(leader), led_for_ms, &members, &TransferRules::default())
    }

    #[test]
    fn leadership_goes_home_once_home_is_steady_and_caught_up() {
        let steady = |ms| MemberHealth { healthy_for_ms: Some(ms), ..WELL };
        let behind = MemberHealth { lag: 65, ..WELL };
        let gone = MemberHealth { healthy_for_ms: None, ..WELL };
        assert_eq!(choice(2, 9_000, (1, WELL)), LeaderChoice::Transfer(NodeId(1)));
        assert_eq!(choice(2, 4_999, (1, WELL)), LeaderChoice::Stay, "it has only just taken over");
        assert_eq!(choice(2, 9_000, (1, steady(4_999))), LeaderChoice::Stay, "home has only just come back");
        assert_eq!(choice(2, 9_000, (1, behind)), LeaderChoice::Stay, "home is behind");
        assert_eq!(choice(2, 9_000, (1, gone)), LeaderChoice::Stay, "home is gone");
        assert_eq!(choice(1, 9_000, (2, WELL)), LeaderChoice::Stay, "it is home");
        assert_eq!(
            choice(3, 9_000, (1, gone)),
            LeaderChoice::Transfer(NodeId(2)),
            "it should not lead at all"
        );
    }
    #[test]
    fn a_member_that_comes_and_goes_must_be_well_for_longer_each_time() {
        let after =
            |losses, ms| choice(2, 9_000, (1, MemberHealth { healthy_for_ms: Some(ms), losses, lag: 0 }));
        for (losses, ms) in [(0, 5_000), (1, 5_000), (2, 10_000), (3, 20_000), (4, 40_000), (99, 40_000)] {
            assert_eq!(after(losses, ms - 1), LeaderChoice::Stay, "{losses} losses");
            assert_eq!(after(losses, ms), LeaderChoice::Transfer(NodeId(1)), "{losses} losses");
        }
    }
}
