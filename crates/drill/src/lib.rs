//! Drills and benchmarks: load from real clients, a fault, and what the clients saw of it, in numbers.
//!
//! Everything here works from outside the cluster: over the DynamoDB API, the admin API and the control API of the
//! supervisor that started the nodes. Nothing of a node's inside is used, so what is measured is what a user gets.

pub mod bench;
pub mod client;
pub mod cluster;
pub mod error;
pub mod fault;
pub mod measure;
pub mod orders;
pub mod progress;
pub mod report;
mod run;
pub mod sample;
pub mod scenario;
pub mod service;
pub mod target;
pub mod verify;
mod watch;
pub mod workload;

pub use error::DrillError;
pub use progress::{Progress, Silent};
pub use report::{DrillReport, RepeatedReport, Verdict};
pub use run::{DrillOptions, repeat, run};
pub use scenario::Scenario;
