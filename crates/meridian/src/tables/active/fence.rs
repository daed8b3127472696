//! What a replica must have applied of the other origins' groups before anybody may look at it beside them.
//!
//! Tombstones go once every replica that is waited for has applied the promises (see [`collect`](super::collect)). So that this holds for those
//! too that are not waited for, of a region that was expelled or a node that is new, each group keeps what was waited for: the positions
//! of the promises are a *fence* in its log, ahead of all that is dropped by them. Whoever has a drop has the fence, and sees by his own
//! replicas whether he has what was waited for.

use super::notes::{self, Note};
use crate::tables::evaluate::{decode, encode};
use bytes::Bytes;
use meridian_replication::runtime::mark;
use meridian_replication::system::{GroupInfo, Required, SystemState};
use meridian_replication::{Mutation, View};
use meridian_types::{GroupId, Position};
use std::collections::BTreeMap;
use std::io;

/// The fence that a group keeps.
pub(super) fn kept(view: &dyn View) -> io::Result<Vec<Position>> {
    view.get(&notes::single(Note::Fence))?.map_or(Ok(Vec::new()), |stored| decode(&stored))
}

/// Raises a group's fence to these positions; nothing when there are none.
pub(super) fn raise(view: &dyn View, positions: &[Position]) -> io::Result<Option<Mutation>> {
    if positions.is_empty() {
        return Ok(None);
    }
    let mut newest: BTreeMap<GroupId, Position> = BTreeMap::new();
    for position in kept(view)?.into_iter().chain(positions.iter().copied()) {
        let known = newest.entry(position.group).or_insert(position);
        *known = (*known).max(position);
    }
    let value: Bytes = encode(&newest.into_values().collect::<Vec<_>>())?;
    Ok(Some(Mutation { key: notes::single(Note::Fence), value: Some(value) }))
}

/// Whether replicas that have applied `have` of their groups may be looked at together, by the fences of all of them.
///
/// # Errors
/// `NotConnected` when one of them has not what the others rely on.
pub(super) fn check(system: &SystemState, have: &[Position], fences: &[Vec<Position>]) -> io::Result<()> {
    let there = |have: &Position| system.groups.get(&have.group).is_some_and(|group| has_begun(group, *have));
    let passed = |wanted: &Position| {
        let group = system.groups.get(&wanted.group);
        let have = have.iter().find(|have| have.group == wanted.group);
        group.zip(have).is_some_and(|(group, have)| includes(group, *wanted, *have))
    };
    let late = have.iter().find(|have| !there(have));
    let late = late.or_else(|| fences.iter().flatten().find(|wanted| !passed(wanted)));
    late.map_or(Ok(()), |position| {
        mark("replicas were not looked at together, because one lacked what a fence names");
        let group = position.group;
        Err(io::Error::new(
            io::ErrorKind::NotConnected,
            format!("this node's replica of group {group} is not filled again yet; try again"),
        ))
    })
}

/// Whether a replica has all with which its incarnation began.
fn has_begun(group: &GroupInfo, have: Position) -> bool {
    let began = group.refoundations.last().map_or(Some(0), |last| last.cut.map(|cut| cut.index));
    have.incarnation == group.incarnation && began.is_some_and(|began| have.index >= began)
}

fn includes(group: &GroupInfo, wanted: Position, have: Position) -> bool {
    match group.required(wanted) {
        Required::Applied(index) => have.incarnation == group.incarnation && have.index >= index,
        // Lost with a region, so it is in no replica; or this node has not heard of the incarnation yet.
        Required::Leader => wanted.incarnation < group.incarnation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_placement::{CommitRule, Placement};
    use meridian_replication::system::{LogPoint, Refoundation};
    use meridian_types::{Incarnation, NodeId, PolicyName, RegionName};

    fn at(group: u32, incarnation: u32, index: u64) -> Position {
        Position { group: GroupId(group), incarnation: Incarnation(incarnation), index }
    }

    /// Group 1 is as it began; group 2 was founded anew at index 50.
    fn state(cut: Option<u64>) -> SystemState {
        let group = |id: u32| GroupInfo {
            id: GroupId(id),
            policy: PolicyName::new("p").unwrap(),
            ordinal: 0,
            incarnation: Incarnation(0),
            placement: Placement {
                voters: [].into(),
                learners: [].into(),
                witnesses: [].into(),
                preferred_leaders: Vec::new(),
                data: [].into(),
                rule: CommitRule::Majority,
            },
            refoundations: Vec::new(),
            founders: [].into(),
            arriving: [].into(),
        };
        let next = Refoundation {
            incarnation: Incarnation(1),
            base: Incarnation(0),
            from: RegionName::new("a").unwrap(),
            seed: NodeId(1),
            expected: LogPoint::default(),
            cut: cut.map(|index| LogPoint { term: 1, index }),
            decided_ms: 0,
            automatic: false,
            last_heard: None,
            salvage: [].into(),
        };
        let anew = GroupInfo { incarnation: Incarnation(1), refoundations: vec![next], ..group(2) };
        let mut state = SystemState::default();
        state.groups.extend([(GroupId(1), group(1)), (GroupId(2), anew)]);
        state
    }

    #[test]
    fn replicas_are_looked_at_together_once_each_has_what_the_others_rely_on() {
        let passes =
            |have: [Position; 2], fences: &[Vec<Position>]| check(&state(Some(50)), &have, fences).is_ok();
        assert!(passes([at(1, 0, 0), at(2, 1, 50)], &[]));
        assert!(!passes([at(1, 0, 0), at(2, 1, 49)], &[]), "its incarnation has begun with more");
        assert!(!passes([at(1, 0, 0), at(2, 0, 99)], &[]), "of an incarnation that was given up");
        let fence = [vec![], vec![at(1, 0, 7), at(2, 1, 60)]];
        assert!(passes([at(1, 0, 7), at(2, 1, 60)], &fence));
        assert!(!passes([at(1, 0, 6), at(2, 1, 60)], &fence) && !passes([at(1, 0, 7), at(2, 1, 59)], &fence));
        // Up to the cut the old positions count; what was lost behind it is in no replica.
        let before = |index| [vec![at(2, 0, index)]];
        assert!(
            passes([at(1, 0, 0), at(2, 1, 50)], &before(50))
                && passes([at(1, 0, 0), at(2, 1, 50)], &before(51))
        );
        assert!(!passes([at(1, 0, 0), at(2, 1, 50)], &[vec![at(2, 2, 1)]]), "this node is behind");
        assert!(check(&state(None), &[at(2, 1, 99)], &[]).is_err(), "nobody has founded it yet");
        assert!(!passes([at(1, 0, 0), at(2, 1, 50)], &[vec![at(3, 0, 1)]]), "a group that is not here");
    }
}
