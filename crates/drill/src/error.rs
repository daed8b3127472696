//! Why a drill or a benchmark could not be carried out. A missed objective is no error: it is a verdict.

use meridian_types::{RegionName, TableName};
use std::path::PathBuf;

/// Why a drill could not be carried out. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// `cluster.json` cannot be used.
    #[error("{path}: {reason}; start a cluster with `meridian dev`, or name its folder with --dir")]
    ClusterFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The cluster has no supervisor that could inject a fault.
    #[error("cluster.json names no supervisor; drills need a cluster that `meridian dev` started")]
    NoSupervisor,
    /// There is no such drill.
    #[error("there is no drill {name:?}; there are {known}")]
    UnknownDrill {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// There is no such region.
    #[error("region {region} is not in this cluster; it has {known}")]
    UnknownRegion {
        /// What was asked for.
        region: RegionName,
        /// What there is.
        known: String,
    },
    /// Nothing would be left to measure.
    #[error("the cluster has one region; a drill that takes a region away needs another one that survives")]
    NoSurvivor,
    /// A scenario's text is wrong.
    #[error("the scenario is not valid: {0}")]
    Scenario(String),
    /// The table that was named is not there.
    #[error("there is no table {0}; create it first, or leave --table out to let the drill make its own")]
    NoTable(TableName),
    /// The table could not be made or looked at.
    #[error("the drill's table: {0}")]
    Table(String),
    /// No node says anything.
    #[error("no node of the cluster can be reached ({0}); is it running?")]
    Unreachable(String),
    /// This cluster cannot have this fault.
    #[error("{0}")]
    Unfit(String),
    /// The cluster was not well before the fault; what a drill then measured would say nothing.
    #[error("before the fault {0}; wait until `meridian status` shows every region healthy")]
    NotReady(String),
    /// The supervisor did not do as it was told.
    #[error("the supervisor did not carry out `{order}`: {reason}")]
    Supervisor {
        /// The order.
        order: String,
        /// Its answer, or why there is none.
        reason: String,
    },
    /// Somebody pressed Ctrl-C, or the process was told to end. The fault has been undone.
    #[error("interrupted; the fault has been undone")]
    Interrupted,
    /// A part of the load ended before its time.
    #[error("a part of the load broke off: {0}")]
    Broken(String),
    /// The report cannot be written.
    #[error("{path}: {reason}")]
    Report {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
}

impl DrillError {
    /// The exit code of the command line: 2 for a wrong request, 4 when the cluster cannot be reached, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoSupervisor
            | Self::UnknownDrill { .. }
            | Self::UnknownRegion { .. }
            | Self::NoSurvivor
            | Self::Scenario(_)
            | Self::Unfit(_)
            | Self::NoTable(_) => 2,
            Self::ClusterFile { .. } | Self::Unreachable(_) => 4,
            Self::Table(_)
            | Self::NotReady(_)
            | Self::Supervisor { .. }
            | Self::Interrupted
            | Self::Broken(_)
            | Self::Report { .. } => 1,
        }
    }
}
