//! Conflict rules and CRDTs of active-active tables: what an item is once several regions have written it.
//!
//! For each item every origin region keeps one [`Fragment`]: all that it knew of the item when it last wrote it. The item is
//! the [join](Fragment::join) of the fragments that a node has, [resolved](Fragment::resolve) by the table's [`Rules`].
//! [`Fragment::write`] evaluates a request on that and gives the origin's next fragment. The join is commutative, associative
//! and idempotent, so nodes that have the same fragments have the same item, in whatever order they came.
//!
//! Architecture invariant: this crate is pure (`no_std` + `alloc`). Stamps and the horizon are arguments; which fragments a
//! node has, and how far the others are, is the caller's business.
#![no_std]

extern crate alloc;

mod apply;
pub mod codec;
mod context;
mod counter;
pub mod effect;
mod fragment;
mod node;
mod resolve;
mod rules;
mod show;
mod stamp;
mod write;

pub use apply::ApplyError;
pub use effect::{Action, Change, Effect};
pub use fragment::Fragment;
pub use resolve::{Conflict, Resolved, Sibling};
pub use rules::{AttributeRule, Rules};
pub use stamp::{Origin, Stamp};
pub use write::Written;
