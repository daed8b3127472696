//! TagResource, UntagResource and ListTagsOfResource.

use super::body::{Body, class};
use crate::error::DynamoError;
use crate::table::table_of_arn;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use meridian_types::TableName;

/// The longest tag key, in characters.
const MAX_KEY: usize = 128;
/// The longest tag value, in characters.
const MAX_VALUE: usize = 256;
/// Most tags of a table.
pub const MAX_TAGS: usize = 50;

/// A TagResource request.
#[derive(Debug, PartialEq, Eq)]
pub struct TagResource {
    /// The ARN as the client wrote it.
    pub arn: String,
    /// The table it names.
    pub table: TableName,
    /// Tags to add or replace.
    pub tags: BTreeMap<String, String>,
}

/// An UntagResource request.
#[derive(Debug, PartialEq, Eq)]
pub struct UntagResource {
    /// The table.
    pub table: TableName,
    /// Keys of the tags to remove.
    pub keys: Vec<String>,
}

/// A ListTagsOfResource request.
#[derive(Debug, PartialEq, Eq)]
pub struct ListTagsOfResource {
    /// The ARN as the client wrote it.
    pub arn: String,
    /// The table it names.
    pub table: TableName,
}

/// Parses TagResource.
///
/// # Errors
/// The API's exceptions.
pub fn parse_tag(text: &[u8]) -> Result<TagResource, DynamoError> {
    let mut body = Body::parse(text)?;
    let tags = body.list_of_bodies("Tags", class::TAG)?.unwrap_or_default();
    let (arn, table) = resource(&mut body)?;
    if tags.is_empty() {
        return Err(DynamoError::validation("Atleast one Tag needs to be provided as Input."));
    }
    Ok(TagResource { arn, table, tags: read(tags)? })
}

/// Parses UntagResource.
///
/// # Errors
/// The API's exceptions.
pub fn parse_untag(text: &[u8]) -> Result<UntagResource, DynamoError> {
    let mut body = Body::parse(text)?;
    let keys = body.list_of_strings("TagKeys")?.unwrap_or_default();
    let (_, table) = resource(&mut body)?;
    if keys.is_empty() {
        return Err(DynamoError::validation("Atleast one Tag Key needs to be provided as Input."));
    }
    Ok(UntagResource { table, keys })
}

/// Parses ListTagsOfResource. All tags of a table fit one answer, so `NextToken` is never given out.
///
/// # Errors
/// The API's exceptions.
pub fn parse_list(text: &[u8]) -> Result<ListTagsOfResource, DynamoError> {
    let mut body = Body::parse(text)?;
    let (arn, table) = resource(&mut body)?;
    if body.string("NextToken")?.is_some() {
        return Err(DynamoError::validation("Invalid NextToken"));
    }
    Ok(ListTagsOfResource { arn, table })
}

fn resource(body: &mut Body) -> Result<(String, TableName), DynamoError> {
    let arn = body.string("ResourceArn")?.unwrap_or_default();
    if arn.is_empty() {
        return Err(DynamoError::validation("Invalid TableArn"));
    }
    let Some(table) = table_of_arn(&arn) else {
        return Err(DynamoError::validation(format!(
            "Invalid TableArn: Invalid ResourceArn provided as input {arn}"
        )));
    };
    Ok((arn, table))
}

/// Checks tags and reads them into a map.
pub(super) fn read(tags: Vec<Body>) -> Result<BTreeMap<String, String>, DynamoError> {
    let mut read = BTreeMap::new();
    for mut tag in tags {
        let key = tag.string("Key")?.unwrap_or_default();
        let value = tag.string("Value")?.unwrap_or_default();
        if !(1..=MAX_KEY).contains(&key.chars().count()) {
            return Err(DynamoError::validation(
                "One or more parameter values were invalid: Tag key must be between 1 and 128 characters",
            ));
        }
        if value.chars().count() > MAX_VALUE {
            return Err(DynamoError::validation(
                "One or more parameter values were invalid: Tag value must be between 0 and 256 characters",
            ));
        }
        read.insert(key, value);
    }
    check_count(&read)?;
    Ok(read)
}

/// Refuses more tags than a table may have.
///
/// # Errors
/// `ValidationException`.
pub fn check_count(tags: &BTreeMap<String, String>) -> Result<(), DynamoError> {
    if tags.len() > MAX_TAGS {
        return Err(DynamoError::validation(
            "One or more parameter values were invalid: Too many tags: a table has at most 50",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use serde_json::json;

    const ARN: &str = "arn:aws:dynamodb:eu-west-1:000000000000:table/Music";

    #[test]
    fn tags_are_read_and_checked() {
        let text = json!({"ResourceArn": ARN, "Tags": [{"Key": "a", "Value": "b"}]}).to_string();
        let request = parse_tag(text.as_bytes()).unwrap();
        assert_eq!(request.table.as_str(), "Music");
        assert_eq!(request.tags, BTreeMap::from([("a".to_string(), "b".to_string())]));
        let cases = [
            (json!({}), "Invalid TableArn"),
            (
                json!({"ResourceArn": "x", "Tags": []}),
                "Invalid TableArn: Invalid ResourceArn provided as input x",
            ),
            (json!({"ResourceArn": ARN}), "Atleast one Tag needs to be provided as Input."),
            (
                json!({"ResourceArn": ARN, "Tags": [{"Key": "", "Value": ""}]}),
                "One or more parameter values were invalid: Tag key must be between 1 and 128 characters",
            ),
        ];
        for (request, expected) in cases {
            assert_eq!(parse_tag(request.to_string().as_bytes()).unwrap_err().to_string(), expected);
        }
    }
}
