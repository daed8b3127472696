//! Deterministic simulation of whole nodes: the real replication, store and placement, several regions in one thread, with a
//! simulated network, clock and disk. One seed is one run, byte for byte.
//!
//! What is real: everything of `meridian_replication` above the frames of a link, openraft, the store's own logic above its
//! engine, placement. What is simulated: who carries frames ([`network`]), when time passes (tokio's paused clock), what a disk
//! keeps ([`disk`]), when a process runs (`meridian_replication::runtime::Process`), luck ([`rng`]), and what clients ask for
//! ([`workload`], [`register`]).
//!
//! A run ([`run()`]) founds a cluster of a drawn shape ([`cluster`]), lets clients work while things go wrong ([`faults`]), heals
//! everything, and has the [`judge`]s look at it. See `docs/decisions/0006-simulation.md`.

pub mod active;
pub mod cluster;
pub mod disk;
pub mod faults;
pub mod judge;
pub mod loose;
mod many;
pub mod marks;
pub mod members;
pub mod network;
pub mod register;
pub mod rng;
pub mod rot;
mod run;
pub mod script;
pub mod shape;
pub mod tables;
pub mod trace;
pub mod workload;

pub use many::{Summary, run_many};
pub use run::{Report, Settings, run};
