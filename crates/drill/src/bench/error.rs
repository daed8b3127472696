//! Why a benchmark could not be run.

use crate::error::DrillError;

/// Why a benchmark could not be run.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// An option is out of its bounds.
    #[error("`{name}` must be {low} to {high}")]
    Option {
        /// The option.
        name: &'static str,
        /// The least value.
        low: u64,
        /// The greatest value.
        high: u64,
    },
    /// There is nothing to measure.
    #[error("no system was named; give a cluster or a peer")]
    Nothing,
    /// A cluster's file cannot be used.
    #[error(transparent)]
    Cluster(#[from] DrillError),
    /// A program that is measured against is not on this machine.
    #[error("{program} is not installed; {hint}")]
    Missing {
        /// The program.
        program: String,
        /// How to get it.
        hint: &'static str,
    },
    /// A system did not come up, or refused to be prepared.
    #[error("{system}: {reason}")]
    System {
        /// Which one.
        system: String,
        /// What it said.
        reason: String,
    },
}

impl BenchError {
    /// The exit code of the command line.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Option { .. } | Self::Nothing | Self::Missing { .. } => 2,
            Self::Cluster(error) => error.exit_code(),
            Self::System { .. } => 1,
        }
    }

    pub(super) fn system(system: &str, reason: impl std::fmt::Display) -> Self {
        Self::System { system: system.to_owned(), reason: reason.to_string() }
    }
}
