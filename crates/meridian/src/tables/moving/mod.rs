//! Moving a table's items from the groups of one policy to those of another, while clients use it.
//!
//! The system group decides how far a move is (`meridian_replication::system::TableMove`). Here is what its groups do: `rules` are the
//! writes of a move, evaluated on leaders like any other; a `mover` runs beside each source's leader, reads what is there, and sends those
//! writes.
//!
//! While a source copies, each write to an item leaves a note that it has changed, in the same log entry. The mover copies all items
//! once, then again those with notes, until few are left. A frozen source takes no write and answers no read of the table, so what is
//! copied then is final.

mod mover;
mod reads;
mod rules;
mod run;
#[cfg(test)]
mod tests;

pub(super) use reads::{ChangedRead, RowsRead, changed, rows};
pub(super) use rules::{MoveWrite, Place, capture, evaluate, has_moved};
pub use run::run;
