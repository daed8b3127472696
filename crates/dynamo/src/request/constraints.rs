//! Constraints on single members, collected and reported together as the API does.

use crate::capacity::ReturnCapacity;
use crate::error::DynamoError;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use meridian_types::TableName;

/// The most that one message reports.
const MAX_REPORTED: usize = 10;
const TABLE_PATTERN: &str = "[a-zA-Z0-9_.-]+";

/// Broken constraints, in the order they were found.
#[derive(Debug, Default)]
pub(crate) struct Constraints(Vec<String>);

impl Constraints {
    /// Reports a broken constraint, in the full words behind the count.
    pub(crate) fn push(&mut self, text: impl Into<String>) {
        self.0.push(text.into());
    }

    /// Reports that `value` at `path` breaks `constraint`.
    pub(crate) fn value(&mut self, value: impl core::fmt::Display, path: &str, constraint: &str) {
        self.push(format!(
            "Value '{value}' at '{path}' failed to satisfy constraint: Member must {constraint}"
        ));
    }

    /// Reports that the member at `path` is missing.
    pub(crate) fn missing(&mut self, path: &str) {
        self.push(format!("Value null at '{path}' failed to satisfy constraint: Member must not be null"));
    }

    /// Nothing when all constraints hold, else all that do not, up to ten.
    pub(crate) fn finish(mut self) -> Result<(), DynamoError> {
        self.0.truncate(MAX_REPORTED);
        let count = self.0.len();
        if count == 0 {
            return Ok(());
        }
        let noun = if count == 1 { "error" } else { "errors" };
        Err(DynamoError::validation(format!("{count} validation {noun} detected: {}", self.0.join("; "))))
    }

    /// Like [`Constraints::finish`], for one constraint that the API reports without counting.
    pub(crate) fn finish_bare(self) -> Result<(), DynamoError> {
        self.0.into_iter().next().map_or(Ok(()), |text| Err(DynamoError::validation(text)))
    }

    /// A member out of a fixed set of words.
    pub(crate) fn one_of<T: Copy>(
        &mut self,
        value: Option<&str>,
        path: &str,
        known: &[(&str, T)],
        listed: &str,
    ) -> Option<T> {
        let value = value?;
        let found = known.iter().find(|(name, _)| *name == value).map(|(_, meaning)| *meaning);
        if found.is_none() {
            self.value(value, path, &format!("satisfy enum value set: [{listed}]"));
        }
        found
    }

    /// `ReturnConsumedCapacity`.
    pub(crate) fn return_capacity(&mut self, value: Option<&str>) -> ReturnCapacity {
        const KNOWN: [(&str, ReturnCapacity); 3] = [
            ("NONE", ReturnCapacity::None),
            ("TOTAL", ReturnCapacity::Total),
            ("INDEXES", ReturnCapacity::Indexes),
        ];
        self.one_of(value, "returnConsumedCapacity", &KNOWN, "INDEXES, TOTAL, NONE").unwrap_or_default()
    }

    /// `ReturnItemCollectionMetrics`; whether sizes are wanted.
    pub(crate) fn return_metrics(&mut self, value: Option<&str>) -> bool {
        let known = [("SIZE", true), ("NONE", false)];
        self.one_of(value, "returnItemCollectionMetrics", &known, "SIZE, NONE").unwrap_or(false)
    }

    /// `ReturnValuesOnConditionCheckFailure`; whether the item is wanted.
    pub(crate) fn return_on_failure(&mut self, value: Option<&str>) -> bool {
        let known = [("ALL_OLD", true), ("NONE", false)];
        let listed = "ALL_OLD, NONE";
        self.one_of(value, "returnValuesOnConditionCheckFailure", &known, listed).unwrap_or(false)
    }

    /// The table name of an item operation: the first constraint that it breaks, length before characters.
    pub(crate) fn table(&mut self, name: Option<&str>) -> Option<TableName> {
        let Some(name) = name else {
            self.missing("tableName");
            return None;
        };
        match name.len() {
            // The API words an empty name unlike the others.
            0 => self.push(
                "Value at 'TableName' failed to satisfy constraint: Member must have length greater than or equal to 1",
            ),
            1..=2 => self.value(name, "tableName", "have length greater than or equal to 3"),
            3..=255 => match TableName::new(name) {
                Ok(name) => return Some(name),
                Err(_) => self.table_characters(name, "tableName"),
            },
            _ => self.value(name, "tableName", "have length less than or equal to 255"),
        }
        None
    }

    /// A name whose every broken constraint is reported, characters first.
    pub(crate) fn table_in_full(&mut self, name: &str, path: &str) -> Option<TableName> {
        let before = self.0.len();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) {
            self.table_characters(name, path);
        }
        if name.len() < 3 {
            self.value(name, path, "have length greater than or equal to 3");
        }
        if name.len() > 255 {
            self.value(name, path, "have length less than or equal to 255");
        }
        if self.0.len() == before { TableName::new(name).ok() } else { None }
    }

    fn table_characters(&mut self, name: &str, path: &str) {
        self.value(name, path, &format!("satisfy regular expression pattern: {TABLE_PATTERN}"));
    }

    /// Reports a number below `least`, in the newer words that do not repeat it.
    pub(crate) fn at_least(&mut self, value: i32, path: &str, least: i32) {
        if value < least {
            self.push(format!(
                "Value at '{path}' failed to satisfy constraint: Member must have value greater than or equal to {least}"
            ));
        }
    }

    /// Reports a number above `most`, in the newer words that do not repeat it.
    pub(crate) fn at_most(&mut self, value: i32, path: &str, most: i32) {
        if value > most {
            self.push(format!(
                "Value at '{path}' failed to satisfy constraint: Member must have value less than or equal to {most}"
            ));
        }
    }
}

/// The table name of a table operation (Describe, Update, Delete).
pub(crate) fn table_of_table_operation(name: Option<&str>) -> Result<TableName, DynamoError> {
    let Some(name) = name else {
        return Err(DynamoError::validation(
            "The parameter 'TableName' is required but was not present in the request",
        ));
    };
    if !(3..=255).contains(&name.len()) {
        return Err(DynamoError::validation(
            "TableName must be at least 3 characters long and at most 255 characters long",
        ));
    }
    let mut constraints = Constraints::default();
    let table = constraints.table(Some(name));
    constraints.finish()?;
    table.ok_or_else(|| DynamoError::validation("Invalid TableName"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn errors_are_counted_and_joined() {
        let mut constraints = Constraints::default();
        constraints.table(Some("a"));
        constraints.missing("item");
        assert_eq!(
            constraints.finish().unwrap_err().to_string(),
            "2 validation errors detected: Value 'a' at 'tableName' failed to satisfy constraint: Member must have \
             length greater than or equal to 3; Value null at 'item' failed to satisfy constraint: Member must not be null"
        );
        assert_eq!(Constraints::default().finish(), Ok(()));
    }

    #[test]
    fn table_operations_have_their_own_words() {
        assert!(
            table_of_table_operation(None).unwrap_err().to_string().starts_with("The parameter 'TableName'")
        );
        assert!(
            table_of_table_operation(Some("ab")).unwrap_err().to_string().starts_with("TableName must be")
        );
        assert_eq!(
            table_of_table_operation(Some("a b c")).unwrap_err().to_string(),
            "1 validation error detected: Value 'a b c' at 'tableName' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
        );
        assert_eq!(table_of_table_operation(Some("a-b")).unwrap().as_str(), "a-b");
    }
}
