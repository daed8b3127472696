//! UpdateTimeToLive and DescribeTimeToLive.

use super::body::{Body, class};
use super::constraints::{Constraints, table_of_table_operation};
use crate::error::DynamoError;
use alloc::string::String;
use meridian_types::TableName;

/// The longest name of an attribute here, in characters.
const MAX_NAME: usize = 255;

/// An UpdateTimeToLive request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateTimeToLive {
    /// The table.
    pub table: TableName,
    /// The attribute that says when an item expires.
    pub attribute: String,
    /// Whether items expire from now on.
    pub enabled: bool,
}

/// Parses UpdateTimeToLive.
///
/// # Errors
/// The API's exceptions.
pub fn parse_update(text: &[u8]) -> Result<UpdateTimeToLive, DynamoError> {
    let mut body = Body::parse(text)?;
    let name = body.string("TableName")?;
    let mut specification = body.body("TimeToLiveSpecification", class::TIME_TO_LIVE)?;
    let mut constraints = Constraints::default();
    let (mut attribute, mut enabled) = (None, None);
    match &mut specification {
        None => constraints.missing("timeToLiveSpecification"),
        Some(specification) => {
            attribute = specification.string("AttributeName")?;
            enabled = specification.boolean("Enabled")?;
            match &attribute {
                None => constraints.missing("timeToLiveSpecification.attributeName"),
                Some(name) => length(&mut constraints, name),
            }
            if enabled.is_none() {
                constraints.missing("timeToLiveSpecification.enabled");
            }
        }
    }
    let table = table_of_table_operation(name.as_deref())?;
    constraints.finish()?;
    // Both are there, or a constraint was broken.
    Ok(UpdateTimeToLive {
        table,
        attribute: attribute.unwrap_or_default(),
        enabled: enabled.unwrap_or_default(),
    })
}

fn length(constraints: &mut Constraints, name: &str) {
    let path = "timeToLiveSpecification.attributeName";
    match name.chars().count() {
        0 => constraints.value(name, path, "have length greater than or equal to 1"),
        1..=MAX_NAME => {}
        _ => constraints.value(name, path, "have length less than or equal to 255"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use serde_json::json;

    fn parse(specification: &serde_json::Value) -> Result<UpdateTimeToLive, String> {
        let body = json!({"TableName": "Music", "TimeToLiveSpecification": specification}).to_string();
        parse_update(body.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_missing_or_too_long_is_said() {
        let good = parse(&json!({"Enabled": true, "AttributeName": "until"})).unwrap();
        assert_eq!((good.table.as_str(), good.attribute.as_str(), good.enabled), ("Music", "until", true));
        let missing = parse(&json!({})).unwrap_err();
        assert!(missing.starts_with("2 validation errors detected"), "{missing}");
        assert!(parse(&json!(null)).unwrap_err().contains("timeToLiveSpecification'"));
        for (name, words) in
            [(String::new(), "greater than or equal to 1"), ("x".repeat(256), "less than or equal to 255")]
        {
            let refused = parse(&json!({"Enabled": true, "AttributeName": name})).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    }
}
