//! Numeric identities. Names people type live in [`crate::name`].

use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number_id! {
    /// A node, unique for the life of the cluster; never reused after the node leaves.
    NodeId(u64)
}
number_id! {
    /// A placement group: one Raft group. Group 0 is the system group.
    GroupId(u32)
}
number_id! {
    /// How often a group was re-founded by a forced failover. Fences the incarnation before it.
    Incarnation(u32)
}
number_id! {
    /// A table, unique for the life of the cluster: a table made again under an old name gets a new id.
    TableId(u32)
}

impl From<u64> for NodeId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl GroupId {
    /// The system group: nodes, policies, tables, placement, credentials.
    pub const SYSTEM: GroupId = GroupId(0);

    /// Whether this is the system group.
    #[must_use]
    pub fn is_system(self) -> bool {
        self == Self::SYSTEM
    }
}

/// Names one write so that it takes effect at most once, however often it is retried or forwarded.
///
/// 128 random bits drawn by the node that accepted the client's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u128);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
