//! A point in the history of one group.

use crate::id::{GroupId, Incarnation};
use core::fmt;
use serde::{Deserialize, Serialize};

/// (group, incarnation, log index). Ordered within a group by incarnation, then index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The group whose log this points into.
    pub group: GroupId,
    /// The group's incarnation in which the index was given out.
    pub incarnation: Incarnation,
    /// The log index.
    pub index: u64,
}

impl Position {
    /// Whether state that has applied `applied` (same group) includes this position.
    ///
    /// # Panics
    /// When the groups differ: positions of different groups are not comparable.
    #[must_use]
    pub fn is_covered_by(&self, applied: &Position) -> bool {
        assert_eq!(self.group, applied.group, "positions of different groups are not comparable");
        (self.incarnation, self.index) <= (applied.incarnation, applied.index)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}.{}", self.group, self.incarnation, self.index)
    }
}
