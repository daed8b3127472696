//! What the system group decides and remembers of groups that were founded anew.

use super::command::{SystemError, SystemReply};
use super::state::{GroupInfo, SystemState};
use crate::replica_id::ReplicaId;
use meridian_placement::Placement;
use meridian_types::{GroupId, Incarnation, NodeId, Pattern, PolicyName, Position, RegionName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A place in a group's log: the term of an entry, and its index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogPoint {
    /// The term of the leader that wrote the entry.
    pub term: u64,
    /// The entry's index.
    pub index: u64,
}

impl LogPoint {
    /// Whether a state cut here includes an entry of the same log that was ever committed.
    ///
    /// The cut is the end of one replica's log. A committed entry of its term or an earlier one is in that log if its index is; one of
    /// a later term never reached it.
    #[must_use]
    pub fn includes(&self, entry: LogPoint) -> bool {
        entry.index <= self.index && entry.term <= self.term
    }
}

/// What a leader said was on its region's disks alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtRisk {
    /// Acknowledged writes.
    pub writes: u64,
    /// The log entries that hold them.
    pub entries: u64,
    /// The age of the oldest of them, in milliseconds.
    pub ms: u64,
}

/// What was last heard of it before a region was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastHeard {
    /// What the leader said.
    pub at_risk: AtRisk,
    /// How long before the decision it said so, in milliseconds.
    pub ms_before: u64,
}

/// What a returned region had that the new incarnation has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SalvageCount {
    /// Writes above the cut.
    pub writes: u64,
    /// The items that they wrote.
    pub items: u64,
}

/// One founding anew of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refoundation {
    /// The incarnation that it begins.
    pub incarnation: Incarnation,
    /// The incarnation whose state it goes on from: the one before, or an earlier one when that was never founded.
    pub base: Incarnation,
    /// The region that was given up.
    pub from: RegionName,
    /// The node that founds the new incarnation from its own replica of the old one.
    pub seed: NodeId,
    /// How far the seed's replica was known to be when it was chosen.
    pub expected: LogPoint,
    /// Where the old log was cut: the end of the seed's replica. `None` until the seed has founded the new incarnation.
    pub cut: Option<LogPoint>,
    /// Milliseconds since 1970 at the system leader when it decided.
    pub decided_ms: u64,
    /// Whether no operator asked for it.
    pub automatic: bool,
    /// What the old leader last said was at risk, when anything was heard.
    pub last_heard: Option<LastHeard>,
    /// What the nodes of the old incarnation turned out to have above the cut, once they were back.
    pub salvage: BTreeMap<NodeId, SalvageCount>,
}

/// What a replica must have applied so that it includes a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Required {
    /// Of the present incarnation: everything up to this index.
    Applied(u64),
    /// The position is above the cut of its incarnation and so in no replica, or it is of an incarnation that this node has not heard
    /// of yet. The leader answers with what there is.
    Leader,
}

impl GroupInfo {
    /// The Raft group that serves it now.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        ReplicaId { group: self.id, incarnation: self.incarnation }
    }

    /// Whether a replica is of an incarnation of this group that was given up.
    #[must_use]
    pub fn replaces(&self, id: ReplicaId) -> bool {
        id.group == self.id && id.incarnation < self.incarnation
    }

    /// The founding that has been decided and is not done yet.
    #[must_use]
    pub fn unfounded(&self) -> Option<&Refoundation> {
        self.refoundations.last().filter(|last| last.cut.is_none())
    }

    /// The newest incarnation that has a state.
    #[must_use]
    pub fn founded(&self) -> Incarnation {
        self.unfounded().map_or(self.incarnation, |next| next.base)
    }

    /// Where the log of an older incarnation was cut.
    #[must_use]
    pub fn cut_of(&self, incarnation: Incarnation) -> Option<LogPoint> {
        self.refoundations.iter().rev().find(|next| next.base == incarnation).and_then(|next| next.cut)
    }

    /// What a replica of the present incarnation must have applied to include `position`.
    #[must_use]
    pub fn required(&self, position: Position) -> Required {
        if position.incarnation == self.incarnation {
            return Required::Applied(position.index);
        }
        let began = self.refoundations.last().and_then(|last| last.cut);
        match (self.cut_of(position.incarnation), began) {
            // Indexes go on behind the cut: who has the newest incarnation's beginning has all that came before it.
            (Some(cut), Some(began)) if position.index <= cut.index => Required::Applied(began.index),
            _ => Required::Leader,
        }
    }
}

impl SystemState {
    /// Decides that a group goes on without the region that holds it: from now on no node accepts anything of the incarnation before.
    pub(super) fn refound(
        &mut self,
        group: GroupId,
        refoundation: Refoundation,
        placement: Placement,
    ) -> Result<SystemReply, SystemError> {
        let info = self.groups.get_mut(&group).ok_or(SystemError::NoSuchGroup(group))?;
        let next = Incarnation(info.incarnation.0 + 1);
        let follows = refoundation.incarnation == next && refoundation.base == info.founded();
        if !follows || next > ReplicaId::LAST_INCARNATION {
            return Err(SystemError::StaleRefounding { group, incarnation: info.incarnation });
        }
        // Planned on nodes of which one is gone by now: whoever planned it looks again.
        if placement.members().any(|member| !self.nodes.contains_key(&member)) {
            return Err(SystemError::StalePlan);
        }
        let (seed, policy) = (refoundation.seed, info.policy.clone());
        self.placed += 1;
        info.incarnation = next;
        info.placement = placement;
        info.refoundations.push(refoundation);
        if self.policies.get(&policy).is_none_or(|entry| entry.policy.pattern != Pattern::ActiveActive) {
            self.prefer_region_of(seed, &policy);
        }
        self.cancel_moves_through(group);
        Ok(SystemReply::Done)
    }

    /// Makes the seed's region the policy's first primary: going back to the old one is a planned change, once it has caught up.
    fn prefer_region_of(&mut self, seed: NodeId, policy: &PolicyName) {
        let region = self.region_of(seed).cloned();
        if let (Some(region), Some(entry)) = (region, self.policies.get_mut(policy)) {
            entry.policy.primary.retain(|other| *other != region);
            entry.policy.primary.insert(0, region);
        }
    }

    /// Records that the seed has founded an incarnation, and where it cut the old log.
    pub(super) fn founded(
        &mut self,
        group: GroupId,
        incarnation: Incarnation,
        cut: LogPoint,
    ) -> Result<SystemReply, SystemError> {
        let info = self.groups.get_mut(&group).ok_or(SystemError::NoSuchGroup(group))?;
        match info.refoundations.last_mut() {
            Some(last) if last.incarnation == incarnation && info.incarnation == incarnation => {
                last.cut.get_or_insert(cut);
                Ok(SystemReply::Done)
            }
            _ => Err(SystemError::StaleRefounding { group, incarnation: info.incarnation }),
        }
    }

    /// Records what a node of an old incarnation has above its cut.
    pub(super) fn salvage_found(
        &mut self,
        old: (GroupId, Incarnation),
        node: NodeId,
        count: SalvageCount,
    ) -> Result<SystemReply, SystemError> {
        let (group, base) = old;
        let info = self.groups.get_mut(&group).ok_or(SystemError::NoSuchGroup(group))?;
        let next = info.refoundations.iter_mut().rev().find(|next| next.base == base && next.cut.is_some());
        if let Some(next) = next {
            next.salvage.insert(node, count);
        }
        Ok(SystemReply::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::super::NodeEntry;
    use super::*;
    use meridian_placement::CommitRule;
    use proptest::prelude::*;

    fn point(term: u64, index: u64) -> LogPoint {
        LogPoint { term, index }
    }

    fn placement() -> Placement {
        Placement {
            voters: [NodeId(1)].into(),
            learners: [NodeId(2)].into(),
            witnesses: [].into(),
            preferred_leaders: vec![NodeId(1)],
            data: BTreeMap::new(),
            rule: CommitRule::Majority,
        }
    }

    fn state() -> SystemState {
        let info = GroupInfo {
            id: GroupId(3),
            policy: PolicyName::new("p").expect("a name"),
            ordinal: 0,
            incarnation: Incarnation(0),
            placement: placement(),
            refoundations: Vec::new(),
            founders: [NodeId(1)].into(),
            arriving: [].into(),
        };
        let mut state = SystemState::default();
        for number in [NodeId(1), NodeId(2)] {
            state.nodes.insert(number, NodeEntry::example(number.0, "elsewhere"));
        }
        state.groups.insert(info.id, info);
        state
    }

    fn step(incarnation: u32, base: u32) -> Refoundation {
        Refoundation {
            incarnation: Incarnation(incarnation),
            base: Incarnation(base),
            from: RegionName::new("a").expect("a name"),
            seed: NodeId(2),
            expected: point(1, 9),
            cut: None,
            decided_ms: 0,
            automatic: false,
            last_heard: None,
            salvage: BTreeMap::new(),
        }
    }

    fn at(incarnation: u32, index: u64) -> Position {
        Position { group: GroupId(3), incarnation: Incarnation(incarnation), index }
    }

    #[test]
    fn a_founding_follows_the_newest_incarnation_that_has_a_state() {
        let mut state = state();
        let mut refound = |next: Refoundation| state.refound(GroupId(3), next, placement()).is_ok();
        assert!(!refound(step(2, 0)), "it would skip one");
        assert!(refound(step(1, 0)));
        assert!(!refound(step(1, 0)), "a second time");
        assert!(!refound(step(2, 1)), "the first has no state yet");
        assert!(refound(step(2, 0)), "its seed may be lost: another one begins from the same state");
        assert!(state.founded(GroupId(3), Incarnation(1), point(1, 10)).is_err(), "the lost seed comes late");
        assert!(state.founded(GroupId(3), Incarnation(2), point(1, 12)).is_ok());
        assert!(
            state.founded(GroupId(3), Incarnation(2), point(1, 99)).is_ok(),
            "repeated, it changes nothing"
        );
        let info = &state.groups[&GroupId(3)];
        assert_eq!((info.founded(), info.cut_of(Incarnation(0))), (Incarnation(2), Some(point(1, 12))));
    }

    #[test]
    fn positions_of_older_incarnations_are_met_up_to_the_cut() {
        let mut state = state();
        state.refound(GroupId(3), step(1, 0), placement()).expect("it follows");
        assert_eq!(
            state.groups[&GroupId(3)].required(at(0, 5)),
            Required::Leader,
            "the cut is not known yet"
        );
        state.founded(GroupId(3), Incarnation(1), point(1, 10)).expect("it is the newest");
        state.refound(GroupId(3), step(2, 1), placement()).expect("it follows");
        state.founded(GroupId(3), Incarnation(2), point(4, 30)).expect("it is the newest");
        let required = |position| state.groups[&GroupId(3)].required(position);
        assert_eq!(required(at(2, 40)), Required::Applied(40));
        assert_eq!(required(at(1, 30)), Required::Applied(30));
        assert_eq!(required(at(1, 31)), Required::Leader, "lost");
        assert_eq!(required(at(0, 10)), Required::Applied(30));
        assert_eq!(required(at(0, 11)), Required::Leader, "lost");
        assert_eq!(required(at(3, 1)), Required::Leader, "this node is behind");
    }

    #[test]
    fn an_entry_of_a_later_term_never_reached_the_cut() {
        let cut = point(5, 105);
        assert!(cut.includes(point(5, 105)) && cut.includes(point(4, 100)));
        assert!(!cut.includes(point(6, 104)) && !cut.includes(point(5, 106)));
    }

    proptest! {
        /// Tokens of any age either wait for something that replicas reach, or are answered by the leader at once.
        #[test]
        fn no_position_waits_beyond_what_the_group_has(
            cuts in proptest::collection::vec(1u64..100, 0..5),
            incarnation in 0u32..7,
            index in 0u64..1_000,
        ) {
            let mut state = state();
            let mut last = 0;
            for (base, cut) in (0u32..).zip(&cuts) {
                last += cut;
                state.refound(GroupId(3), step(base + 1, base), placement()).expect("it follows");
                state.founded(GroupId(3), Incarnation(base + 1), point(1, last)).expect("it is the newest");
            }
            let info = &state.groups[&GroupId(3)];
            match info.required(at(incarnation, index)) {
                Required::Applied(wanted) if incarnation == info.incarnation.0 => prop_assert_eq!(wanted, index),
                Required::Applied(wanted) => prop_assert_eq!(wanted, last),
                Required::Leader => prop_assert!(incarnation != info.incarnation.0),
            }
        }
    }
}
