//! Requests: JSON bodies checked in the API's own order and turned into values.
//!
//! One module an operation. Parsing needs no table; what depends on the table's key is a second step that takes its
//! schema. Refusals of the class that the single-item writes wrap come out as
//! [`crate::DynamoError::RequestValidation`]; the front chooses the form.

pub mod batch_get;
pub mod batch_write;
mod body;
mod constraints;
pub mod create_table;
pub mod delete_item;
mod expressions;
pub mod get_item;
mod legacy;
mod page;
pub mod put_item;
pub mod query;
pub mod scan;
pub mod tables;
pub mod tags;
pub mod time_to_live;
pub mod update_item;
pub mod write;
