//! What a client of a group can be told.

use meridian_types::RegionName;
use serde::{Deserialize, Serialize};

/// Why a request was not served. Says whether a retry is safe and whether anything may have happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Unserved {
    /// This node does not lead the group. Nothing happened.
    #[error("this node does not lead the group")]
    NotLeader,
    /// Nobody leads the group, or the leader could not be reached in time. Nothing happened.
    #[error("no leader could be reached in time; retry")]
    NoLeader,
    /// The leader's region has no lease from the system group: another region may be about to take over. Nothing happened.
    #[error("the leader's region has lost touch with the others and may no longer take writes; retry")]
    NoRegionLease,
    /// Too much is on the disks of the leader's region alone, by the policy's `max_lag`. Nothing happened.
    #[error(
        "other regions are more than the policy's max_lag behind: writes are refused until they catch up; retry"
    )]
    TooFarAhead,
    /// The node does not hold the group. Nothing happened.
    #[error("this node does not hold the group")]
    NoReplica,
    /// A queue is full. Nothing happened.
    #[error("the node has more requests than it can serve; retry with backoff")]
    Overloaded,
    /// The disk of the node that leads is almost full. Nothing happened.
    #[error("the disk of {0} is almost full: writes are refused until space is freed; reads go on")]
    DiskFull(String),
    /// A region is lost, and the policy says to take no write without it. Nothing happened.
    #[error(
        "region {0} is lost, and the table's policy takes no write without it (on_region_loss = \"block\")"
    )]
    RegionLost(RegionName),
    /// The write may or may not have taken effect: leadership was lost, or time ran out, after it was proposed.
    #[error("it is not known whether the write took effect; read before you retry")]
    Unknown,
    /// The engine failed.
    #[error("storage failed: {0}")]
    Storage(String),
}

impl Unserved {
    /// Whether another try may find a leader that serves, and nothing happened in this one.
    pub(crate) fn try_again(&self) -> bool {
        matches!(self, Self::NotLeader | Self::NoLeader | Self::NoReplica | Self::NoRegionLease)
    }
}

impl From<std::io::Error> for Unserved {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            // An evaluation lacks a replica that it needs; it has done nothing.
            std::io::ErrorKind::NotConnected => Self::NoReplica,
            _ => Self::Storage(error.to_string()),
        }
    }
}
