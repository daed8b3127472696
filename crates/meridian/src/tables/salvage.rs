//! Salvage: what a lost region had alone, beside what is there now, and written again by the same path as any other write.

use super::evaluate::{GroupRead, decode, encode};
use super::moving::{Place, capture};
use bytes::Bytes;
use meridian_dynamo::codec::decode_item;
use meridian_dynamo::value::Item;
use meridian_replication::{Evaluation, Mutation, View, is_salvaged, salvage_done, salvage_mark};
use meridian_types::{Hlc, Incarnation};
use serde::{Deserialize, Serialize};
use std::io;

/// One item to be looked up in its group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Look {
    pub(super) incarnation: Incarnation,
    pub(super) key: Bytes,
    /// The index of its last write in the old log.
    pub(super) index: u64,
}

/// What the group has of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Whether somebody has decided on it.
    pub(super) done: bool,
    pub(super) current: Option<Bytes>,
    /// The index of the newest entry that changed it.
    pub(super) changed_at: u64,
    /// Of an active-active item, up to where deletes may have been forgotten; `current` is what all origins have.
    pub(super) horizon: Hlc,
}

/// A decision on one item, as the leader evaluates it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SalvageWrite {
    pub(super) place: Place,
    pub(super) look: Look,
    /// Where the old log was cut.
    pub(super) cut: u64,
    pub(super) act: Act,
}

/// What to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Act {
    /// Give the item this value, or delete it.
    Apply {
        value: Option<Bytes>,
        force: bool,
    },
    Discard,
}

/// What the leader made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Decided {
    Done,
    /// The item has changed since the cut.
    Changed,
    /// The item's table lives in other groups by now, or is about to.
    Moved,
}

/// The request that looks items up.
pub(super) fn read(looks: Vec<Look>) -> GroupRead<'static> {
    GroupRead::Salvage(looks)
}

/// Looks items up; `merged` tells what there is of an active-active one.
pub(super) fn look(
    looks: &[Look],
    view: &dyn View,
    merged: impl Fn(&Bytes) -> io::Result<Option<(Option<Bytes>, Hlc)>>,
) -> io::Result<Bytes> {
    let seen: Vec<Seen> = looks
        .iter()
        .map(|look| {
            let mark = view.get(&salvage_mark(look.incarnation, &look.key))?;
            let done = is_salvaged(mark.as_ref(), look.index);
            let (current, horizon) = match merged(&look.key)? {
                Some(merged) => merged,
                None => (view.get(&look.key)?, Hlc::default()),
            };
            Ok(Seen { done, current, changed_at: view.changed_at(&look.key)?, horizon })
        })
        .collect::<io::Result<_>>()?;
    encode(&seen)
}

/// What an item is given by a decision, or why not.
pub(super) type Applied = Result<Vec<Mutation>, Decided>;

/// Evaluates a decision: the item and the mark that it is decided are written as one, so a repetition changes nothing. `apply` gives the item a value.
pub(super) fn evaluate(
    write: &SalvageWrite,
    view: &dyn View,
    apply: impl FnOnce(Option<&Bytes>, bool) -> io::Result<Applied>,
) -> io::Result<Evaluation> {
    let SalvageWrite { look, act, .. } = write;
    let mark_key = salvage_mark(look.incarnation, &look.key);
    let answer = |decided: Decided, mutations: Vec<Mutation>| {
        Ok(Evaluation { mutations, response: encode(&decided)? })
    };
    if is_salvaged(view.get(&mark_key)?.as_ref(), look.index) {
        return answer(Decided::Done, Vec::new());
    }
    let mut mutations = vec![Mutation { key: mark_key, value: Some(salvage_done(look.index)) }];
    if let Act::Apply { value, force } = act {
        match apply(value.as_ref(), *force)? {
            Ok(items) => mutations.extend(items),
            Err(why) => return answer(why, Vec::new()),
        }
    }
    answer(Decided::Done, mutations)
}

/// Gives a value to an item that its group has to itself.
pub(super) fn apply_plain(
    write: &SalvageWrite,
    (value, force): (Option<&Bytes>, bool),
    view: &dyn View,
) -> io::Result<Applied> {
    let SalvageWrite { place, look, cut, .. } = write;
    let (changed_at, current) = (view.changed_at(&look.key)?, view.get(&look.key)?);
    if !force && has_changed(changed_at, Some(*cut), current.as_ref(), value) {
        return Ok(Err(Decided::Changed));
    }
    let item = Mutation { key: look.key.clone(), value: value.cloned() };
    Ok(capture(view, *place, vec![item])?.ok_or(Decided::Moved))
}

/// Whether an item has become another since the cut, or since ever when none is known. A write that was sent again after the failover
/// is there twice, and is the same.
pub(super) fn has_changed(
    changed_at: u64,
    cut: Option<u64>,
    current: Option<&Bytes>,
    lost: Option<&Bytes>,
) -> bool {
    cut.is_none_or(|cut| changed_at > cut) && current != lost
}

/// What a leader answered.
pub(super) fn decided(response: &[u8]) -> io::Result<Decided> {
    decode(response)
}

/// An item as it is stored.
pub(super) fn item(stored: Option<&Bytes>) -> Option<Item> {
    stored.and_then(|stored| decode_item(stored).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_replication::{Neighbour, WallClock, table_of};
    use meridian_types::{GroupId, TableId};
    use std::collections::BTreeMap;

    #[derive(Default)]
    struct State(BTreeMap<Bytes, (u64, Option<Bytes>)>);

    impl View for State {
        fn group(&self) -> GroupId {
            GroupId(1)
        }

        fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
            Ok(self.0.get(key).and_then(|(_, value)| value.clone()))
        }
        fn changed_at(&self, key: &[u8]) -> io::Result<u64> {
            Ok(self.0.get(key).map_or(0, |(index, _)| *index))
        }
        fn scan(
            &self,
            _: &[u8],
            _: &[u8],
            _: bool,
            _: &mut dyn FnMut(&[u8], &Bytes) -> bool,
        ) -> io::Result<()> {
            Ok(())
        }

        fn neighbour(&self, _: GroupId) -> Option<Neighbour<'_>> {
            None
        }

        fn clock(&self) -> WallClock {
            WallClock::default()
        }
    }

    impl State {
        fn decide(&mut self, index: u64, act: Act) -> Decided {
            let look = Look { incarnation: Incarnation(0), key: Bytes::from_static(b"key"), index };
            let write = SalvageWrite { place: Place { table: TableId(1), home: 0 }, look, cut: 10, act };
            let apply = |value: Option<&Bytes>, force| apply_plain(&write, (value, force), self);
            let evaluation = evaluate(&write, self, apply).unwrap();
            for Mutation { key, value } in evaluation.mutations {
                self.0.insert(key, (100, value));
            }
            decided(&evaluation.response).unwrap()
        }

        fn value(&self) -> Option<Bytes> {
            self.get(b"key").unwrap()
        }
    }

    fn apply(value: &'static str, force: bool) -> Act {
        Act::Apply { value: Some(Bytes::from_static(value.as_bytes())), force }
    }

    fn with(index: u64, value: Option<&'static str>) -> State {
        State([(Bytes::from_static(b"key"), (index, value.map(Bytes::from)))].into())
    }

    #[test]
    fn what_has_not_changed_since_the_cut_is_written_once() {
        let mut state = with(10, Some("now"));
        assert_eq!(state.decide(12, apply("lost", false)), Decided::Done);
        assert_eq!(state.value(), Some("lost".into()));
        assert_eq!(state.decide(12, apply("again", true)), Decided::Done);
        assert_eq!(state.value(), Some("lost".into()), "it is decided");
        assert_eq!(state.decide(13, apply("later", true)), Decided::Done);
        assert_eq!(state.value(), Some("later".into()), "a replica that had more came back");
    }

    #[test]
    fn what_has_changed_is_left_alone_unless_forced() {
        for mut state in [with(11, Some("now")), with(11, None)] {
            let before = state.value();
            assert_eq!(state.decide(12, apply("lost", false)), Decided::Changed);
            assert_eq!(state.value(), before);
            assert_eq!(state.decide(12, apply("lost", true)), Decided::Done);
            assert_eq!(state.value(), Some("lost".into()));
        }
    }

    #[test]
    fn what_is_discarded_changes_nothing_and_is_decided() {
        let mut state = with(11, Some("now"));
        assert_eq!(state.decide(12, Act::Discard), Decided::Done);
        assert_eq!(state.decide(12, apply("lost", true)), Decided::Done);
        assert_eq!(state.value(), Some("now".into()));
    }

    #[test]
    fn an_item_and_its_mark_do_not_meet_the_items_of_a_table() {
        let key = super::super::keys::item(
            TableId(7),
            1,
            &meridian_dynamo::key::ItemKey { partition: b"p".to_vec(), sort: vec![] },
        );
        assert_eq!(table_of(&key), Some(TableId(7)));
        assert_eq!(table_of(&salvage_mark(Incarnation(3), &key)), Some(TableId(0)));
    }
}
