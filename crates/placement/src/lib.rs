//! Who votes, who learns, who leads, and what the leader waits for: every replication mode as pure functions.
//!
//! A policy, the nodes of the cluster and the distances between its regions give a [`Placement`] for each group
//! ([`place`], [`place_system`]). The placement's [`CommitRule`] becomes a [`CommitGate`], which says up to
//! which log index a leader may answer. [`election_turn`] says who stands first when a leader is gone, [`leader_choice`] when leadership should go home, and
//! [`quorum_reached`] what a majority knows, [`next_voters`] how a group moves. When a region is lost that had all votes of a group, [`refound`]
//! places the group anew around the survivor that [`choose_survivor`] picks, once [`lease`] says that nobody in the lost region can
//! answer any more.
//!
//! Architecture invariants: this crate is pure (`no_std` + `alloc`) and depends on `types` alone; the same arguments give
//! the same placement on every node, whatever the order in which they were told; no placement names a node outside
//! the regions of its policy.
#![no_std]

extern crate alloc;

mod campaign;
mod distance;
mod gate;
mod leader;
pub mod lease;
mod place;
mod quorum;
mod refound;
mod seats;
mod spread;
mod topology;
mod voters;
pub mod wan;

pub use campaign::election_turn;
pub use distance::{Distances, UNKNOWN_RTT_MS};
pub use gate::{CommitGate, CommitRule};
pub use leader::{FLAPPING_WINDOW_MS, LeaderChoice, MemberHealth, TransferRules, leader_choice};
pub use place::{PlaceError, Placement, place, place_system, place_without};
pub use quorum::quorum_reached;
pub use refound::{Absence, Survivor, choose_survivor, gives_up, refound, sole_region};
pub use topology::{Node, Topology, TopologyError};
pub use voters::{may_leave, next_voters};
