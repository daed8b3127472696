//! The DynamoDB item model, its expression language, and the pure evaluation of requests.
//!
//! Architecture invariant: this crate is pure (`no_std` + `alloc`). It reads no clock, opens no socket, touches no
//! disk and draws no randomness; everything it decides follows from its arguments. It knows one item at a time:
//! where items live and in what order they are found is the store's business.
#![no_std]

extern crate alloc;

pub mod capacity;
pub mod codec;
pub mod error;
pub mod expiry;
pub mod expr;
pub mod json;
pub mod key;
pub mod number;
pub mod read;
pub mod request;
pub mod response;
pub mod size;
pub mod table;
pub mod value;
pub mod write;

pub use error::DynamoError;
pub use key::{ItemKey, KeyAttribute, KeyKind, TableSchema};
pub use number::Number;
pub use value::{AttributeType, AttributeValue, Item};
