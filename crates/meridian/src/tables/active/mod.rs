//! Active-active tables: every region writes items to a group of its own, and every node merges what the regions have written.
//!
//! For each item the group of an origin region keeps a [`Fragment`](meridian_merge::Fragment), all that the origin knew when it last wrote the item.
//! A node of the policy's regions has a replica of every origin's group, so whoever evaluates a request joins the fragments that it has
//! ([`beside`]): there is no second log to follow and nothing to repair.

mod admin;
mod arrive;
mod beside;
mod collect;
mod conflicts;
mod fence;
mod ledger;
mod notes;
mod origins;
mod read;
mod rows;
mod run;
mod salvage;
mod tend;
mod write;

pub(super) use arrive::arrived_as;
pub(super) use conflicts::undisputed;
pub(super) use origins::{MERGE_TAG, Origins, check_rules, rules};
pub(super) use read::{get, query, scan};
pub use run::run;
pub(super) use salvage::{SalvagedItem, current as salvage_current, restore};
pub(super) use tend::{ActiveRead, ActiveWrite, tend, tend_read};
pub use write::Guard;
pub(super) use write::write;

use meridian_types::Position;
use serde::{Deserialize, Serialize};

/// What an answer tells besides itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// What it has seen of the other origins' groups.
    pub(super) positions: Vec<Position>,
    /// The places of the item that concurrent writes have left in conflict; empty for pages.
    pub(super) conflicts: Vec<String>,
}
