//! Who wrote, and when.

use core::fmt;
use meridian_types::Hlc;
use serde::{Deserialize, Serialize};

/// An origin region by its number, the same on every node and for the life of the policy's groups. Breaks ties of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origin(pub u16);

/// The name of one write, and its place in the order of all writes: by time, then by origin.
///
/// Of one origin no two are equal, and each write's is later than those of all writes that it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// When.
    pub hlc: Hlc,
    /// Where.
    pub origin: Origin,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.hlc, self.origin.0)
    }
}
