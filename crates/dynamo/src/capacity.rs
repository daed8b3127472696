//! Consumed capacity: what a request would have cost in read and write units, and the shapes that report it.
//!
//! Capacity is reported, never enforced.

use alloc::borrow::ToOwned;
use meridian_types::TableName;
use serde_json::{Map, Value, json};

/// Bytes that one write unit covers.
const WRITE_UNIT: u64 = 1024;
/// Bytes that one strongly consistent read unit covers; an eventually consistent read costs half.
const READ_UNIT: u64 = 4096;

/// What the client asked to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReturnCapacity {
    /// Nothing.
    #[default]
    None,
    /// The sum.
    Total,
    /// The sum and the table's share (there are no indexes).
    Indexes,
}

/// Half units, so that sums stay exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units(u64);

impl Units {
    /// One write of an item whose larger image has `bytes` bytes.
    #[must_use]
    pub fn write(bytes: u64) -> Self {
        Self(2 * bytes.div_ceil(WRITE_UNIT).max(1))
    }

    /// A read that looked at `bytes` bytes. Even a read that finds nothing costs one step.
    #[must_use]
    pub fn read(bytes: u64, consistent: bool) -> Self {
        let steps = bytes.div_ceil(READ_UNIT).max(1);
        Self(if consistent { 2 * steps } else { steps })
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^53 units fit a request")]
    fn value(self) -> f64 {
        self.0 as f64 / 2.0
    }
}

/// The API's `ConsumedCapacity` of one table; `None` when the client did not ask.
#[must_use]
pub fn consumed(table: &TableName, units: Units, wanted: ReturnCapacity) -> Option<Value> {
    let units = units.value();
    let mut shape = Map::new();
    match wanted {
        ReturnCapacity::None => return None,
        ReturnCapacity::Total => {}
        ReturnCapacity::Indexes => {
            shape.insert("Table".to_owned(), json!({"CapacityUnits": units}));
        }
    }
    shape.insert("TableName".to_owned(), table.as_str().into());
    shape.insert("CapacityUnits".to_owned(), units.into());
    Some(Value::Object(shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_round_up_and_eventual_reads_cost_half() {
        assert_eq!(Units::write(0).value(), 1.0);
        assert_eq!(Units::write(1024).value(), 1.0);
        assert_eq!(Units::write(1025).value(), 2.0);
        assert_eq!(Units::read(0, false).value(), 0.5);
        assert_eq!(Units::read(4097, true).value(), 2.0);
        assert_eq!(Units::read(4097, false).plus(Units::write(1)).value(), 2.0);
    }

    #[test]
    fn the_shape_follows_the_wish() {
        let table = TableName::new("abc").unwrap();
        assert_eq!(consumed(&table, Units::write(1), ReturnCapacity::None), None);
        let total = consumed(&table, Units::write(1), ReturnCapacity::Total).unwrap();
        assert_eq!(total, json!({"TableName": "abc", "CapacityUnits": 1.0}));
        let indexes = consumed(&table, Units::write(1), ReturnCapacity::Indexes).unwrap();
        assert_eq!(
            indexes,
            json!({"TableName": "abc", "CapacityUnits": 1.0, "Table": {"CapacityUnits": 1.0}})
        );
    }
}
