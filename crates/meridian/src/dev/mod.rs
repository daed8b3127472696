//! `meridian dev`: a whole cluster on this machine, one process a node, with the WAN between regions emulated.
//!
//! The life of a run: plan → take the folder → write files → start the relay and the nodes → wait until all
//! are ready → serve the control API until told to end → stop every node. A run that is killed leaves a folder from which the
//! next run starts: nodes end with their supervisor, and what could not is ended by the next one.

pub mod apps;
pub mod cluster_file;
pub mod control;
mod detach;
mod folder;
pub mod grow;
mod guide;
mod plan;
mod run;
mod stop;
mod supervisor;

pub use detach::{Detached, leave_terminal, run_detached};
pub use folder::{DEFAULT_DIR, FolderError};
pub use guide::guide;
pub use plan::{DevOptions, Plan, PlanError};
pub use run::{DevError, run};
pub use stop::{StopError, Stopped, stop};
pub use supervisor::{NodeReport, NodeState};
