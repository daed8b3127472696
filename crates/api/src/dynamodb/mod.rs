//! The DynamoDB API over HTTP/1.1: bounds, SigV4, dispatch to [`crate::Tables`], answers.
//!
//! What a request must be is decided in `meridian-dynamo`; here it meets sockets, credentials and time.

mod auth;
mod batch_ops;
mod body;
mod config;
mod dispatch;
pub mod headers;
mod item_ops;
mod server;
mod service;
mod table_ops;

pub use config::{AuthMode, FrontConfig, MAX_BODY, MAX_HEAD};
pub use server::serve;
