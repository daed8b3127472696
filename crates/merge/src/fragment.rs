//! What one origin knew of an item when it last wrote it, and the item that several of those are together.

use crate::context::Context;
use crate::node::{Node, join_dots, join_nodes};
use crate::rules::Rules;
use crate::stamp::Stamp;
use alloc::collections::BTreeMap;
use alloc::string::String;
use meridian_dynamo::Item;
use meridian_types::{ConflictRule, Hlc};

/// Whether the item is there, by a write that no other has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) present: bool,
    /// The put or delete that the write builds on; none when updates alone made the item.
    pub(crate) base: Option<Stamp>,
}

/// A whole view of one item: that of an origin at its last write, or the [join](Fragment::join) of several.
///
/// Equal states are equal values and [equal bytes](crate::codec). All fragments that are joined are of one item and were written
/// under one set of [`Rules`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    pub(crate) key: Item,
    pub(crate) context: Context,
    /// The newest put or delete seen, where that is above the floor: under `lww` it hides what was assigned before it.
    pub(crate) cleared: Option<Stamp>,
    pub(crate) presence: BTreeMap<Stamp, Presence>,
    pub(crate) attributes: BTreeMap<String, Node>,
}

impl Fragment {
    /// What is known of an item that nobody has written. `key` holds the key attributes and no others.
    #[must_use]
    pub fn new(key: Item) -> Self {
        let (context, presence, attributes) = Default::default();
        Self { key, context, cleared: None, presence, attributes }
    }

    /// The key attributes.
    #[must_use]
    pub fn key(&self) -> &Item {
        &self.key
    }

    /// Brings in what another fragment of the same item knows. Order and repetition make no difference.
    #[must_use]
    pub fn join(mut self, other: Fragment) -> Self {
        let (seen, their_seen) = (&self.context, &other.context);
        join_dots(&mut self.presence, seen, other.presence, their_seen);
        join_nodes(&mut self.attributes, seen, other.attributes, their_seen);
        self.context.join(&other.context);
        self.cleared = self.cleared.max(other.cleared).filter(|cleared| cleared.hlc > self.context.floor);
        self
    }

    /// No write that this knows of is later; every stamp of a later write must be.
    #[must_use]
    pub fn newest(&self) -> Hlc {
        self.context.newest()
    }

    /// The horizon that was known when it was written: every write up to it had been applied by every replica.
    #[must_use]
    pub fn floor(&self) -> Hlc {
        self.context.floor
    }

    /// Whether nothing of the item is here, and nothing here could bring any of it back.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.presence.values().all(|presence| !presence.present)
            && self.attributes.values().all(Node::is_dead)
    }

    /// Whether an origin may drop this fragment, its own, once the same is true of all fragments of the item that the node has.
    ///
    /// `horizon`: every replica has applied every write up to it, and every write that was evaluated before its origin had
    /// applied those. Whoever has applied such a drop writes with a floor of at least its horizon.
    #[must_use]
    pub fn can_drop(&self, horizon: Hlc) -> bool {
        self.is_tombstone() && self.newest() <= horizon
    }

    /// Whether nobody's newest write leaves the item there.
    pub(crate) fn is_gone(&self) -> bool {
        self.presence.values().all(|presence| !presence.present)
    }

    /// Whether the item is there.
    pub(crate) fn is_present(&self, rules: &Rules) -> bool {
        match rules.conflict {
            // A delete takes away what it has seen; who else wrote, keeps the item.
            ConflictRule::Crdt => self.presence.values().any(|presence| presence.present),
            ConflictRule::Lww | ConflictRule::Merge => {
                self.presence.last_key_value().is_some_and(|(_, presence)| presence.present)
            }
        }
    }

    /// The put or delete before which nothing assigned shows.
    pub(crate) fn hidden_before(&self, rules: &Rules) -> Option<Stamp> {
        self.cleared.filter(|_| rules.conflict == ConflictRule::Lww)
    }
}
