//! The HTTP edge: requests go to the region that steering chooses, and go on in another one when it dies.
//!
//! Each decision is a module of its own, without clock, socket or task: which service a request is for ([`route`]), what may be sent again
//! ([`retry`]) and how often ([`budget`]), which backend is next ([`pick`]) and which is out ([`outlier`]), what ends at this hop
//! ([`headers`]), the edge's cookies ([`cookies`]), how slow a body may come ([`pace`]), what may be served without asking ([`cache`]), which certificate answers a name ([`names`]). The
//! module [`server`] has the sockets; HTTP itself is hyper's.
//!
//! Architecture invariants: `types` and `steering` are all it knows of Meridian; what it needs besides comes in with a [`View`] and by the
//! trait [`Sessions`](server::Sessions). Every queue, wait and body has a bound.

pub mod budget;
pub mod cache;
pub mod cookies;
pub mod errors;
pub mod headers;
pub mod names;
pub mod outlier;
pub mod pace;
pub mod pick;
pub mod retry;
pub mod route;
pub mod server;
#[cfg(test)]
mod testing;
mod view;

pub use view::{Locate, Served, View};
