//! What is broken, and of what.

use serde::{Deserialize, Serialize};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// SIGKILL, undone by starting the nodes again.
    Kill,
    /// SIGSTOP, undone by SIGCONT.
    Freeze,
    /// Nothing passes between the region and the others.
    Partition,
    /// Nothing passes from the region to the others.
    OneWay,
    /// The region's links take longer, both ways.
    Slow,
    /// The nodes' disks have no room.
    DiskFull,
    /// The nodes' wall clocks are off.
    ClockSkew,
    /// The region's process of a service is killed (SIGKILL), undone by starting it again; its nodes run on.
    Service,
    /// No fault but a planned move: the region leads the table's policy.
    Switchover,
}

impl FaultKind {
    /// Whether nodes that it hits cannot serve clients while it lasts.
    #[must_use]
    pub fn takes_away(self) -> bool {
        matches!(self, Self::Kill | Self::Freeze | Self::Partition | Self::OneWay)
    }

    /// Whether it can hit a part of a region.
    #[must_use]
    pub fn is_of_nodes(self) -> bool {
        matches!(self, Self::Kill | Self::Freeze | Self::DiskFull | Self::ClockSkew)
    }

    /// Whether it acts on the links between regions.
    #[must_use]
    pub fn is_of_links(self) -> bool {
        matches!(self, Self::Partition | Self::OneWay | Self::Slow)
    }

    /// What happened to what was hit, to follow "was".
    #[must_use]
    pub fn done(self) -> &'static str {
        match self {
            Self::Kill => "killed, and stayed down",
            Self::Freeze => "frozen",
            Self::Partition => "cut off from the others",
            Self::OneWay => "not heard by the others",
            Self::Slow => "reached over slow links",
            Self::DiskFull => "without room on the disk",
            Self::ClockSkew => "running on a wrong clock",
            Self::Service => "without its process of the service",
            Self::Switchover => "made the leader as planned",
        }
    }

    /// The line in the timeline that says that it was undone.
    #[must_use]
    pub fn undone(self) -> &'static str {
        match self {
            Self::Kill => "nodes started again",
            Self::Freeze => "nodes thawed",
            Self::Partition | Self::OneWay => "links opened",
            Self::Slow => "links as fast as before",
            Self::DiskFull => "disks have room",
            Self::ClockSkew => "clocks set right",
            Self::Service => "the service's process started again",
            Self::Switchover => "leadership ordered back",
        }
    }
}

/// How much of the region is hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All of it.
    #[default]
    Region,
    /// Its zone whose nodes lead most.
    Zone,
    /// Its node that leads most.
    Node,
}
