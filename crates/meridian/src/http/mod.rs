//! The small HTTP/1.1 server and client that the admin API and the `dev` supervisor's control API share.
//!
//! What is not here: the DynamoDB front, which has its own limits in the `api` crate.

mod client;
mod server;

pub use client::{ClientError, Endpoint, Reply, request};
pub use server::{ApiError, ErrorCode, check_local, json_body, json_reply, limited, serve};
