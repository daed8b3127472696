//! The Redis protocol over [`crate::Tables`]: an item for each key, whatever merges by the table's rule.
//!
//! Pure: `args`, `commands`, `decide`, `layout`, `reply`, `request`, `scan`, `wave`. What a command does to its key is a decision taken again
//! whenever the key turns out to be another (`decide`); `front` carries it out, `session` keeps what belongs to a connection.

mod args;
mod commands;
mod config;
mod decide;
mod error;
mod front;
mod layout;
mod listing;
mod reply;
mod request;
mod scan;
mod server;
mod session;
mod sweep;
mod table;
mod wave;

pub use config::RedisConfig;
pub use server::serve;
pub use sweep::sweep;
