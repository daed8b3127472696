//! Overrides from the environment: `MERIDIAN_SECTION__FIELD=value`, one variable a field.
//!
//! List elements are named by number, `MERIDIAN_POLICY__0__GROUPS=8`. Variables without `__`, such as
//! `MERIDIAN_ENDPOINT`, are not configuration fields and are left alone.

use super::ConfigError;
use toml::{Table, Value};

const PREFIX: &str = "MERIDIAN_";
/// Fields whose value is not text, wherever they stand.
const INTEGERS: [&str; 4] = ["number", "groups", "rate_limit", "threads"];
/// Fields that are `true` or `false`.
const BOOLEANS: [&str; 2] = ["joins", "auto_failover"];
/// Fields that hold a list, given as TOML: `["a", "b"]`.
const LISTS: [&str; 6] = ["nodes", "regions", "primary", "zones", "addresses", "networks"];
const MAX_VALUE: usize = 64 * 1024;

/// The overrides among `vars`, sorted by name so that the outcome does not depend on their order.
pub(crate) fn overrides(vars: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let ours = |name: &str| name.strip_prefix(PREFIX).is_some_and(|rest| rest.contains("__"));
    let mut found: Vec<_> = vars.filter(|(name, _)| ours(name)).collect();
    found.sort();
    found
}

/// Sets the field that `variable` names.
pub(crate) fn apply(root: &mut Table, variable: &str, text: &str) -> Result<(), ConfigError> {
    let fail = |message: String| ConfigError::Environment { variable: variable.to_owned(), message };
    if text.len() > MAX_VALUE {
        return Err(fail(format!("the value is longer than {MAX_VALUE} bytes")));
    }
    let path = variable.strip_prefix(PREFIX).unwrap_or(variable).to_ascii_lowercase();
    let segments: Vec<&str> = path.split("__").collect();
    let Some((leaf, parents)) = segments.split_last() else { return Ok(()) };
    if segments.iter().any(|segment| segment.is_empty()) {
        return Err(fail("name one section and one field, as in MERIDIAN_LISTEN__DYNAMODB".to_owned()));
    }
    let value = value(leaf, text).map_err(fail)?;
    let mut table = root;
    let mut rest = parents.iter();
    while let Some(segment) = rest.next() {
        let entry = table.entry(*segment).or_insert_with(|| Value::Table(Table::new()));
        table = match entry {
            Value::Table(inner) => inner,
            Value::Array(list) => {
                let count = list.len();
                let index = rest.next().and_then(|index| index.parse::<usize>().ok());
                match index.and_then(|index| list.get_mut(index)).and_then(Value::as_table_mut) {
                    Some(inner) => inner,
                    None => {
                        let hint =
                            format!("`{segment}` is a list of {count}; name an element by number from 0");
                        return Err(fail(hint));
                    }
                }
            }
            _ => return Err(fail(format!("`{segment}` is not a section"))),
        };
    }
    table.insert((*leaf).to_owned(), value);
    Ok(())
}

fn value(leaf: &str, text: &str) -> Result<Value, String> {
    if INTEGERS.contains(&leaf) {
        return text.parse().map(Value::Integer).map_err(|_| format!("{text:?} is not a whole number"));
    }
    if BOOLEANS.contains(&leaf) {
        return text.parse().map(Value::Boolean).map_err(|_| format!("{text:?} is neither true nor false"));
    }
    if LISTS.contains(&leaf) {
        let parsed: Result<Table, _> = toml::from_str(&format!("list = {text}"));
        return match parsed.ok().and_then(|mut table| table.remove("list")) {
            Some(list @ Value::Array(_)) => Ok(list),
            _ => Err(format!("{text:?} is not a list; write it as in [\"a\", \"b\"]")),
        };
    }
    Ok(Value::String(text.to_owned()))
}
