//! The state of one attribute, or of one member of a map: what was assigned, added and put inside, by whom.

use crate::context::Context;
use crate::counter::Counter;
use crate::stamp::Stamp;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use meridian_dynamo::{AttributeValue, Number};
use meridian_types::Hlc;

/// What an assignment or a removal left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Nothing: it was removed.
    Absent,
    /// A value as a whole. A number is what a counter counts from.
    Value(AttributeValue),
    /// A set, whose members are the node's elements.
    Set(SetKind),
    /// A map, whose members are the node's children.
    Map,
}

/// What a removal is that is newer than the assignments beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removals {
    /// It wins.
    Win,
    /// It is in conflict with them until somebody decides.
    Conflict,
    /// It loses: the attribute's own rule goes by values.
    Lose,
}

/// The types of sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SetKind {
    Texts,
    Numbers,
    Binaries,
}

/// A member of a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Element {
    Text(String),
    Number(Number),
    Binary(Vec<u8>),
}

impl Element {
    pub(crate) fn kind(&self) -> SetKind {
        match self {
            Self::Text(_) => SetKind::Texts,
            Self::Number(_) => SetKind::Numbers,
            Self::Binary(_) => SetKind::Binaries,
        }
    }
}

/// The members of a set, and of which kind they are; nothing when the value is no set.
pub(crate) fn elements_of(value: &AttributeValue) -> Option<(SetKind, Vec<Element>)> {
    match value {
        AttributeValue::Ss(set) => Some((SetKind::Texts, set.iter().cloned().map(Element::Text).collect())),
        AttributeValue::Ns(set) => {
            Some((SetKind::Numbers, set.iter().copied().map(Element::Number).collect()))
        }
        AttributeValue::Bs(set) => {
            Some((SetKind::Binaries, set.iter().cloned().map(Element::Binary).collect()))
        }
        _ => None,
    }
}

/// The parts live side by side, since regions may disagree on what the attribute is; which of them shows is in `show`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// Assignments and removals that have not seen each other.
    pub(crate) register: BTreeMap<Stamp, Entry>,
    /// What was added to the number.
    pub(crate) counter: Counter,
    /// Members of the set, with the writes that put them there and that no removal has seen.
    pub(crate) elements: BTreeMap<Element, BTreeSet<Stamp>>,
    /// Members of the map.
    pub(crate) children: BTreeMap<String, Node>,
}

impl Node {
    /// Whether it holds nothing, not even that something was removed.
    pub(crate) fn is_void(&self) -> bool {
        self.register.is_empty()
            && self.counter.is_empty()
            && self.elements.is_empty()
            && self.children.is_empty()
    }

    /// Whether nothing in it is there or could come to be.
    pub(crate) fn is_dead(&self) -> bool {
        self.register.values().all(|entry| *entry == Entry::Absent)
            && self.counter.newest().is_none()
            && self.elements.is_empty()
            && self.children.values().all(Node::is_dead)
    }

    /// Takes away all that is there, without a word of it in the register: what was not seen survives.
    pub(crate) fn clear(&mut self, at: Stamp) {
        self.register.clear();
        self.clear_parts(at);
    }

    /// Like [`Node::clear`], but for the register.
    pub(crate) fn clear_parts(&mut self, at: Stamp) {
        self.counter.reset(at);
        self.elements.clear();
        self.clear_children(at);
    }

    pub(crate) fn clear_children(&mut self, at: Stamp) {
        self.children.values_mut().for_each(|child| child.clear(at));
    }

    /// Removes it: an earlier assignment elsewhere loses against this.
    pub(crate) fn remove(&mut self, at: Stamp) {
        self.assign_whole(Entry::Absent, at);
    }

    /// Assigns, taking away what was there.
    pub(crate) fn assign_whole(&mut self, entry: Entry, at: Stamp) {
        self.clear(at);
        self.register.insert(at, entry);
    }

    /// Assigns a value member by member: numbers to be counted from, sets and maps to be merged.
    pub(crate) fn assign_typed(&mut self, value: &AttributeValue, at: Stamp) {
        if let AttributeValue::M(map) = value {
            self.assign_whole(Entry::Map, at);
            for (name, value) in map {
                self.children.entry(name.clone()).or_default().assign_typed(value, at);
            }
        } else if let Some((kind, elements)) = elements_of(value) {
            self.assign_whole(Entry::Set(kind), at);
            self.elements.extend(elements.into_iter().map(|element| (element, [at].into())));
        } else {
            self.assign_whole(Entry::Value(value.clone()), at);
        }
    }

    /// Drops what every origin knows to be gone, and what shows nothing. `removals` says what becomes of removals that stand
    /// beside assignments.
    pub(crate) fn forget(&mut self, floor: Hlc, removals: Removals, at: Stamp) {
        self.counter.forget(floor);
        self.children.retain(|_, child| {
            child.forget(floor, removals, at);
            !child.is_void()
        });
        let contested = self.register.values().any(|entry| *entry != Entry::Absent);
        match self.register.last_key_value() {
            Some((stamp, Entry::Absent)) if stamp.hlc <= floor => match removals {
                Removals::Conflict if contested => {}
                Removals::Lose => self.register.retain(|_, entry| *entry != Entry::Absent),
                Removals::Conflict | Removals::Win => self.register.clear(),
            },
            // A set whose members were all removed.
            Some((_, Entry::Set(_))) if self.show(None).is_none() => {
                self.clear(at);
                self.counter.forget(floor);
            }
            _ => {}
        }
    }

    /// Brings in what another replica has: what one side has seen and does not hold is gone.
    pub(crate) fn join(&mut self, seen: &Context, other: Node, other_seen: &Context) {
        join_dots(&mut self.register, seen, other.register, other_seen);
        self.counter.join(seen, other.counter, other_seen);
        join_elements(&mut self.elements, seen, other.elements, other_seen);
        join_nodes(&mut self.children, seen, other.children, other_seen);
    }
}

/// Joins what is held by the writes themselves.
pub(crate) fn join_dots<T>(
    ours: &mut BTreeMap<Stamp, T>,
    seen: &Context,
    theirs: BTreeMap<Stamp, T>,
    their_seen: &Context,
) {
    ours.retain(|stamp, _| theirs.contains_key(stamp) || !their_seen.covers(*stamp));
    for (stamp, entry) in theirs {
        if !seen.covers(stamp) {
            ours.insert(stamp, entry);
        }
    }
}

fn join_elements(
    ours: &mut BTreeMap<Element, BTreeSet<Stamp>>,
    seen: &Context,
    theirs: BTreeMap<Element, BTreeSet<Stamp>>,
    their_seen: &Context,
) {
    ours.retain(|element, stamps| {
        let kept = theirs.get(element);
        stamps
            .retain(|stamp| kept.is_some_and(|stamps| stamps.contains(stamp)) || !their_seen.covers(*stamp));
        !stamps.is_empty() || kept.is_some()
    });
    for (element, stamps) in theirs {
        let stamps = stamps.into_iter().filter(|stamp| !seen.covers(*stamp));
        ours.entry(element).or_default().extend(stamps);
    }
    ours.retain(|_, stamps| !stamps.is_empty());
}

/// Joins nodes by name.
pub(crate) fn join_nodes(
    ours: &mut BTreeMap<String, Node>,
    seen: &Context,
    mut theirs: BTreeMap<String, Node>,
    their_seen: &Context,
) {
    ours.retain(|name, node| {
        node.join(seen, theirs.remove(name).unwrap_or_default(), their_seen);
        !node.is_void()
    });
    for (name, theirs) in theirs {
        let mut node = Node::default();
        node.join(seen, theirs, their_seen);
        if !node.is_void() {
            ours.insert(name, node);
        }
    }
}
