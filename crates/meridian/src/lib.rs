//! The parts of the `meridian` binary, as a library so that tests can reach them.
//!
//! What is not here: anything that decides. Placement, replication and the data model live in their own crates.

pub mod admin;
pub mod anycast;
pub mod cert;
pub mod cli;
pub mod config;
pub mod demo;
pub mod dev;
pub mod dns;
pub mod edge;
pub mod files;
pub mod health;
pub mod http;
pub mod jwt;
mod listen;
mod lock;
pub mod node;
pub mod parent;
mod prometheus;
pub mod shutdown;
pub mod tables;
pub mod wan;
