//! `ExpressionAttributeNames` and `ExpressionAttributeValues`: looking placeholders up, and noticing the unused ones.

use crate::error::DynamoError;
use crate::value::AttributeValue;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The longest placeholder, with its sign, in bytes.
const MAX_PLACEHOLDER: usize = 255;

/// The placeholders of one request. Remembers which of them its expressions used.
#[derive(Debug, Default)]
pub struct Placeholders<'a> {
    names: Option<&'a BTreeMap<String, String>>,
    values: Option<&'a BTreeMap<String, AttributeValue>>,
    used_names: BTreeSet<&'a str>,
    used_values: BTreeSet<&'a str>,
}

impl<'a> Placeholders<'a> {
    /// The placeholders as the request gives them; check them with [`check_names`] and [`check_value_names`].
    #[must_use]
    pub fn new(
        names: Option<&'a BTreeMap<String, String>>,
        values: Option<&'a BTreeMap<String, AttributeValue>>,
    ) -> Self {
        Self { names, values, used_names: BTreeSet::new(), used_values: BTreeSet::new() }
    }

    /// The name behind `#name`, now used.
    pub(crate) fn name(&mut self, placeholder: &str) -> Option<&'a str> {
        let (key, name) = self.names?.get_key_value(placeholder)?;
        self.used_names.insert(key);
        Some(name)
    }

    /// The value behind `:value`, now used.
    pub(crate) fn value(&mut self, placeholder: &str) -> Option<&'a AttributeValue> {
        let (key, value) = self.values?.get_key_value(placeholder)?;
        self.used_values.insert(key);
        Some(value)
    }

    /// Refuses placeholders that no expression used. To be called after the last expression of the request.
    ///
    /// # Errors
    /// `ValidationException` that lists the unused names, or else the unused values.
    pub fn check_unused(&self) -> Result<(), DynamoError> {
        refuse_unused("Names", self.names.into_iter().flat_map(BTreeMap::keys), &self.used_names)?;
        refuse_unused("Values", self.values.into_iter().flat_map(BTreeMap::keys), &self.used_values)
    }
}

fn refuse_unused<'a>(
    what: &str,
    given: impl Iterator<Item = &'a String>,
    used: &BTreeSet<&str>,
) -> Result<(), DynamoError> {
    let unused: Vec<&str> = given.map(String::as_str).filter(|key| !used.contains(key)).collect();
    if unused.is_empty() {
        return Ok(());
    }
    Err(DynamoError::request(format!(
        "Value provided in ExpressionAttribute{what} unused in expressions: keys: {{{}}}",
        unused.join(", ")
    )))
}

/// Checks the keys and names of `ExpressionAttributeNames`.
///
/// # Errors
/// `ValidationException` when there are none, a key is not `#` and letters, or a name is empty.
pub fn check_names(names: &BTreeMap<String, String>) -> Result<(), DynamoError> {
    check_keys("ExpressionAttributeNames", '#', names.keys())?;
    match names.iter().find(|(_, name)| name.is_empty()) {
        None => Ok(()),
        Some((key, _)) => Err(DynamoError::request(format!(
            "ExpressionAttributeNames contains invalid value: Empty attribute name for key {key}"
        ))),
    }
}

/// Checks the keys of `ExpressionAttributeValues`.
///
/// # Errors
/// `ValidationException` when there are none or a key is not `:` and letters.
pub fn check_value_names<V>(values: &BTreeMap<String, V>) -> Result<(), DynamoError> {
    check_keys("ExpressionAttributeValues", ':', values.keys())
}

fn check_keys<'a>(
    map: &str,
    sign: char,
    mut keys: impl Iterator<Item = &'a String>,
) -> Result<(), DynamoError> {
    let mut empty = true;
    let found = keys.find_map(|key| {
        empty = false;
        let well_formed = key.strip_prefix(sign).is_some_and(|name| {
            !name.is_empty() && name.bytes().all(super::token::is_name_byte)
        });
        if key.len() > MAX_PLACEHOLDER {
            Some(format!(
                "{map} contains invalid key: The expression attribute map contains a key that is too long; size of \
                 key: {}",
                key.len()
            ))
        } else {
            (!well_formed).then(|| format!("{map} contains invalid key: Syntax error; key: \"{key}\""))
        }
    });
    match found {
        Some(message) => Err(DynamoError::validation(message)),
        None if empty => Err(DynamoError::request(format!("{map} must not be empty"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn names(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, name)| ((*key).into(), (*name).into())).collect()
    }

    #[test]
    fn unused_placeholders_are_listed_names_first() {
        let names = names(&[("#a", "x"), ("#b", "y"), ("#c", "z")]);
        let values = BTreeMap::from([(":v".to_string(), AttributeValue::Null)]);
        let mut placeholders = Placeholders::new(Some(&names), Some(&values));
        assert_eq!(placeholders.name("#b"), Some("y"));
        assert_eq!(placeholders.name("#d"), None);
        assert_eq!(
            placeholders.check_unused().unwrap_err().to_string(),
            "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a, #c}"
        );
        placeholders.name("#a");
        placeholders.name("#c");
        assert_eq!(
            placeholders.check_unused().unwrap_err().to_string(),
            "Value provided in ExpressionAttributeValues unused in expressions: keys: {:v}"
        );
        placeholders.value(":v");
        assert_eq!(placeholders.check_unused(), Ok(()));
    }

    #[test]
    fn malformed_maps_are_refused() {
        let refused = |pairs: &[(&str, &str)]| check_names(&names(pairs)).unwrap_err().to_string();
        assert_eq!(refused(&[]), "ExpressionAttributeNames must not be empty");
        for key in ["", "#", "a", ":a", "#a-b", "#é"] {
            let expected =
                format!("ExpressionAttributeNames contains invalid key: Syntax error; key: \"{key}\"");
            assert_eq!(refused(&[(key, "x")]), expected);
        }
        let long = format!("#{}", "a".repeat(255));
        assert_eq!(
            refused(&[(&long, "x")]),
            "ExpressionAttributeNames contains invalid key: The expression attribute map contains a key that is too \
             long; size of key: 256"
        );
        assert_eq!(
            refused(&[("#a", "")]),
            "ExpressionAttributeNames contains invalid value: Empty attribute name for key #a"
        );
        assert_eq!(check_names(&names(&[("#a", "x"), ("#1_", "y")])), Ok(()));
        assert_eq!(
            check_value_names(&names(&[("#a", "")])).unwrap_err().to_string(),
            "ExpressionAttributeValues contains invalid key: Syntax error; key: \"#a\""
        );
    }
}
