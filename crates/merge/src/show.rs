//! What an attribute's state shows, and what it keeps out of sight.
//!
//! The newest assignment says what the attribute is. Where there is none, or a removal is the newest, what was added since and not
//! seen by it says so, the newest addition first.

use crate::node::{Element, Entry, Node, SetKind};
use crate::stamp::Stamp;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use meridian_dynamo::number::sum::sum;
use meridian_dynamo::{AttributeValue, Number};

/// What an attribute is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A value as a whole, no number.
    Whole,
    Number,
    Set(SetKind),
    Map,
}

impl Shape {
    /// The shape that the state of a typed value has.
    pub(crate) fn of(value: &AttributeValue) -> Self {
        match value {
            AttributeValue::N(_) => Self::Number,
            AttributeValue::M(_) => Self::Map,
            AttributeValue::Ss(_) => Self::Set(SetKind::Texts),
            AttributeValue::Ns(_) => Self::Set(SetKind::Numbers),
            AttributeValue::Bs(_) => Self::Set(SetKind::Binaries),
            _ => Self::Whole,
        }
    }
}

impl Node {
    /// The newest entry of the register that is not older than `cleared`.
    pub(crate) fn winner(&self, cleared: Option<Stamp>) -> Option<(Stamp, &Entry)> {
        let (stamp, entry) = self.register.last_key_value()?;
        cleared.is_none_or(|cleared| *stamp >= cleared).then_some((*stamp, entry))
    }

    /// What the attribute is, if it is anything.
    pub(crate) fn shape(&self, cleared: Option<Stamp>) -> Option<Shape> {
        match self.winner(cleared) {
            Some((_, Entry::Value(AttributeValue::N(_)))) => Some(Shape::Number),
            Some((_, Entry::Value(_))) => Some(Shape::Whole),
            Some((_, Entry::Set(kind))) => Some(Shape::Set(*kind)),
            Some((_, Entry::Map)) => Some(Shape::Map),
            Some((_, Entry::Absent)) | None => self.added(cleared).pop().map(|(_, value)| Shape::of(&value)),
        }
    }

    /// The value.
    pub(crate) fn show(&self, cleared: Option<Stamp>) -> Option<AttributeValue> {
        self.look(cleared).map(|(value, _)| value)
    }

    /// The value and the newest write of it. Looks at each child once.
    fn look(&self, cleared: Option<Stamp>) -> Option<(AttributeValue, Stamp)> {
        let Some((stamp, entry)) = self.winner(cleared).filter(|(_, entry)| **entry != Entry::Absent) else {
            return self.added(cleared).pop().map(|(stamp, value)| (value, stamp));
        };
        let (value, newest) = match entry {
            Entry::Value(AttributeValue::N(base)) => (self.number(Some(*base)), self.counter.newest()),
            Entry::Value(value) => (value.clone(), None),
            Entry::Set(kind) => {
                let (value, newest) = self.set(*kind)?;
                (value, Some(newest))
            }
            _ => {
                let (map, newest) = self.map(cleared);
                (AttributeValue::M(map), newest)
            }
        };
        Some((value, newest.map_or(stamp, |newest| newest.max(stamp))))
    }

    /// What was added beside the register and is seen by no assignment or removal, the newest last.
    pub(crate) fn added(&self, cleared: Option<Stamp>) -> Vec<(Stamp, AttributeValue)> {
        let mut added = Vec::new();
        let (map, newest) = self.map(cleared);
        added.extend(newest.map(|newest| (newest, AttributeValue::M(map))));
        for kind in [SetKind::Texts, SetKind::Numbers, SetKind::Binaries] {
            added.extend(self.set(kind).map(|(value, newest)| (newest, value)));
        }
        added.extend(self.counter.newest().map(|newest| (newest, self.number(None))));
        added.sort_by_key(|(newest, _)| *newest);
        added
    }

    fn number(&self, base: Option<Number>) -> AttributeValue {
        AttributeValue::N(sum(base.into_iter().chain(self.counter.terms())).nearest())
    }

    /// The members that show, and the newest write of them.
    pub(crate) fn map(&self, cleared: Option<Stamp>) -> (BTreeMap<String, AttributeValue>, Option<Stamp>) {
        let mut newest = None;
        let mut members = BTreeMap::new();
        for (name, child) in &self.children {
            if let Some((value, stamp)) = child.look(cleared) {
                members.insert(name.clone(), value);
                newest = newest.max(Some(stamp));
            }
        }
        (members, newest)
    }

    /// The members of one kind, and the newest write of them; nothing when there are none, since no set is empty.
    pub(crate) fn set(&self, kind: SetKind) -> Option<(AttributeValue, Stamp)> {
        let members = self.elements.iter().filter(|(element, _)| element.kind() == kind);
        let newest = members.clone().filter_map(|(_, stamps)| stamps.last()).max()?;
        let value = set_of(kind, members.map(|(element, _)| element));
        Some((value, *newest))
    }
}

fn set_of<'a>(kind: SetKind, members: impl Iterator<Item = &'a Element>) -> AttributeValue {
    let text = |element: &Element| if let Element::Text(text) = element { Some(text.clone()) } else { None };
    let number = |element: &Element| if let Element::Number(number) = element { Some(*number) } else { None };
    let binary =
        |element: &Element| if let Element::Binary(bytes) = element { Some(bytes.clone()) } else { None };
    match kind {
        SetKind::Texts => AttributeValue::Ss(members.filter_map(text).collect()),
        SetKind::Numbers => AttributeValue::Ns(members.filter_map(number).collect()),
        SetKind::Binaries => AttributeValue::Bs(members.filter_map(binary).collect()),
    }
}
