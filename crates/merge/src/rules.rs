//! What concurrent writes of a table mean.

use crate::node::Removals;
use alloc::collections::BTreeMap;
use alloc::string::String;
use meridian_types::ConflictRule;
use serde::{Deserialize, Serialize};

/// How concurrent writes of one attribute are resolved, where the table's rule should not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttributeRule {
    /// The largest of numbers, texts or binaries.
    Max,
    /// The smallest of numbers, texts or binaries.
    Min,
    /// The members of all sets.
    Union,
    /// The attribute behaves as under `crdt`: what several regions add to a number adds up.
    Sum,
    /// A list of all values, in the order of their writes.
    KeepBoth,
}

/// The conflict rule of a table, with the attributes that have their own. The same on every node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The rule of the table.
    pub conflict: ConflictRule,
    /// Rules of single attributes, by name; these are attributes of the item itself, not inside maps.
    pub attributes: BTreeMap<String, AttributeRule>,
}

/// How an attribute's state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Numbers count, sets and maps merge by member.
    Typed,
    /// One value as a whole, resolved by this rule when there are several.
    Whole(Option<AttributeRule>),
}

impl From<ConflictRule> for Rules {
    fn from(conflict: ConflictRule) -> Self {
        Self { conflict, attributes: BTreeMap::new() }
    }
}

impl Rules {
    pub(crate) fn mode(&self, attribute: &str) -> Mode {
        match (self.attributes.get(attribute), self.conflict) {
            (Some(AttributeRule::Sum), _) | (None, ConflictRule::Crdt) => Mode::Typed,
            (declared, _) => Mode::Whole(declared.copied()),
        }
    }

    pub(crate) fn removals(&self, attribute: &str) -> Removals {
        match self.mode(attribute) {
            Mode::Whole(Some(_)) => Removals::Lose,
            Mode::Whole(None) if self.keeps_conflicts() => Removals::Conflict,
            Mode::Whole(None) | Mode::Typed => Removals::Win,
        }
    }

    /// Whether conflicts are kept for the application.
    pub(crate) fn keeps_conflicts(&self) -> bool {
        self.conflict == ConflictRule::Merge
    }
}
