//! DynamoDB tables over replication: where an item lives, how requests travel to its group, and their evaluation there.
//!
//! What is not here: the language of requests (`meridian_dynamo`), HTTP (`meridian_api`), consensus
//! (`meridian_replication`).

mod active;
mod catalog;
mod evaluate;
mod expire;
mod homes;
mod keys;
mod manage;
pub mod moving;
mod residency;
mod route;
mod salvage;
mod salvage_admin;
mod scan;
mod serve;

pub use active::{Guard, run as tend_active};
pub use catalog::{Catalog, CatalogTable, Catalogs};
pub use evaluate::DynamoEvaluator;
pub use expire::run as expire;
pub use serve::ReplicatedTables;
