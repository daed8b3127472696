//! The API's JSON form of values and items: reading with its refusals (`read`) and writing (`write`).

pub mod body;
mod read;
mod write;

pub use read::{item_from_json, value_from_json};
pub use write::{JsonItem, JsonValue, item_to_json, value_to_json};
