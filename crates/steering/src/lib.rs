//! Which region serves a client: one decision, for DNS, edge and anycast alike.
//!
//! Results of probes go into a [`Watch`], one per observer and target, which says with hysteresis and flap damping what that
//! observer thinks. All observers report to each other, and each keeps a [`Board`] of what was said. The opinions of observers in several regions
//! give a [`Verdict`] per backend and region ([`judge`]), and those the [`Standings`] of every service in every region, with the evidence. Verdicts, the policy of the service and the client's distances give regions in order ([`choose`]).
//!
//! Architecture invariants: this crate is pure (`no_std` + `alloc`) and depends on `types` alone. Time is an argument, in
//! milliseconds of one observer's monotonic clock; what looks random is a hash of the client, so every node answers alike.
#![no_std]

extern crate alloc;

mod announce;
mod board;
mod choose;
mod damping;
mod share;
mod standing;
mod verdict;
mod watch;

pub use announce::{Announcement, announce};
pub use board::{Board, MAX_DETAIL, MAX_OBSERVATIONS, Observation, Report, Ruling, Target};
pub use choose::{Choice, Client, Steering, choose};
pub use damping::{Damping, DampingRules};
pub use share::client_key;
pub use standing::{Standing, Standings, World, usable};
pub use verdict::{Evidence, Judged, Opinion, Verdict, VerdictRules, judge};
pub use watch::{Watch, WatchRules};
