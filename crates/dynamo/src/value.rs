//! Attribute values and items: what a table holds.
//!
//! What is not here: the JSON form ([`crate::json`]), the disk form ([`crate::codec`]) and sizes ([`crate::size`]).

use crate::number::Number;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// An item: attribute names and values, in name order, so that equal items have equal bytes everywhere.
pub type Item = BTreeMap<String, AttributeValue>;

/// A value of one of the ten types. Sets are kept in order: text and binary by bytes, numbers by value.
///
/// The derived serialisation is for messages between nodes; clients speak the form of [`crate::json`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttributeValue {
    /// Text.
    S(String),
    /// A number of up to 38 digits.
    N(Number),
    /// Bytes.
    B(Vec<u8>),
    /// True or false.
    Bool(bool),
    /// The null value.
    Null,
    /// A map of names to values.
    M(BTreeMap<String, AttributeValue>),
    /// A list.
    L(Vec<AttributeValue>),
    /// A set of texts, never empty when it comes from a client.
    Ss(BTreeSet<String>),
    /// A set of numbers, never empty when it comes from a client.
    Ns(BTreeSet<Number>),
    /// A set of byte strings, never empty when it comes from a client.
    Bs(BTreeSet<Vec<u8>>),
}

/// The ten types, as the API names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AttributeType {
    /// Text.
    S,
    /// Number.
    N,
    /// Binary.
    B,
    /// Boolean.
    Bool,
    /// Null.
    Null,
    /// Map.
    M,
    /// List.
    L,
    /// Set of texts.
    Ss,
    /// Set of numbers.
    Ns,
    /// Set of binaries.
    Bs,
}

impl AttributeType {
    /// All ten.
    pub const ALL: [AttributeType; 10] =
        [Self::S, Self::N, Self::B, Self::Bool, Self::Null, Self::M, Self::L, Self::Ss, Self::Ns, Self::Bs];

    /// The type descriptor of the API, such as `BOOL`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::S => "S",
            Self::N => "N",
            Self::B => "B",
            Self::Bool => "BOOL",
            Self::Null => "NULL",
            Self::M => "M",
            Self::L => "L",
            Self::Ss => "SS",
            Self::Ns => "NS",
            Self::Bs => "BS",
        }
    }

    /// The type with this descriptor; descriptors are matched exactly.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl AttributeValue {
    /// The value's type.
    #[must_use]
    pub fn kind(&self) -> AttributeType {
        match self {
            Self::S(_) => AttributeType::S,
            Self::N(_) => AttributeType::N,
            Self::B(_) => AttributeType::B,
            Self::Bool(_) => AttributeType::Bool,
            Self::Null => AttributeType::Null,
            Self::M(_) => AttributeType::M,
            Self::L(_) => AttributeType::L,
            Self::Ss(_) => AttributeType::Ss,
            Self::Ns(_) => AttributeType::Ns,
            Self::Bs(_) => AttributeType::Bs,
        }
    }

    /// How many maps and lists are wrapped around the value's deepest part: 0 for a scalar or a set, 1 for a map of
    /// scalars. Values are bounded when they are made, so the walk is too.
    #[must_use]
    pub fn depth(&self) -> usize {
        match self {
            Self::M(map) => 1 + map.values().map(Self::depth).max().unwrap_or(0),
            Self::L(list) => 1 + list.iter().map(Self::depth).max().unwrap_or(0),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn every_type_is_found_by_its_own_name_only() {
        for kind in AttributeType::ALL {
            assert_eq!(AttributeType::from_name(kind.name()), Some(kind));
        }
        assert_eq!(AttributeType::from_name("Bool"), None);
    }

    #[test]
    fn depth_counts_wrappers() {
        assert_eq!(AttributeValue::Null.depth(), 0);
        assert_eq!(AttributeValue::L(vec![]).depth(), 1);
        let map = BTreeMap::from([("a".into(), AttributeValue::L(vec![AttributeValue::Null]))]);
        assert_eq!(AttributeValue::M(map).depth(), 2);
    }

    #[test]
    fn values_stay_small() {
        assert!(size_of::<AttributeValue>() <= 32);
    }
}
