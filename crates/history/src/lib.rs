//! What clients saw, and whether a correct store could have shown it to them.
//!
//! A [`History`] lists operations with the times of their call and return and one of three outcomes: a timed-out write is
//! *unknown*, never failed. Each checker takes a history (and, where it needs one, the [`FinalState`] read back afterwards) and
//! returns what is wrong, naming the operations:
//!
//! - [`check_final`]: no acknowledged write lost, nothing applied twice, nothing out of thin air; [`loss_age`] is the RPO.
//! - [`stale_reads`]: no consistent read older than what was acknowledged before it began.
//! - [`session_violations`]: read-your-writes, monotonic reads, and no read older than the token that it carried.
//! - [`check_linearizable`]: every key's operations fit one order that respects real time.
//!
//! All but the last take near-linear time and report only what is certainly wrong. Architecture invariant: pure (`no_std` +
//! `alloc`), depends on `types` alone; where the operations come from (a drill, a simulation, a test) is not known here.
#![no_std]

extern crate alloc;

mod final_state;
mod linearizable;
mod operation;
mod order;
mod session;

pub use final_state::{FinalState, FinalViolation, check_final, loss_age};
pub use linearizable::{Verdict, check_linearizable};
pub use operation::{Call, ClientId, Consistency, History, Key, OpId, Operation, Outcome, Reply, Value};
pub use session::{SessionViolation, session_violations, stale_reads};
