//! Key schemas, and keys in their storable form: partition bytes and order-preserving sort bytes.

use crate::error::DynamoError;
use crate::number::order;
use crate::value::{AttributeType, AttributeValue, Item};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The longest partition key value, in bytes.
pub const MAX_PARTITION_KEY: usize = 2048;
/// The longest sort key value, in bytes.
pub const MAX_SORT_KEY: usize = 1024;

const SCHEMA_MISMATCH: &str = "The provided key element does not match the schema";

/// The types a key attribute may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyKind {
    /// Text, ordered by its UTF-8 bytes.
    S,
    /// Number, ordered by value.
    N,
    /// Binary, ordered by its bytes.
    B,
}

impl KeyKind {
    /// The same as an attribute type.
    #[must_use]
    pub fn attribute_type(self) -> AttributeType {
        match self {
            Self::S => AttributeType::S,
            Self::N => AttributeType::N,
            Self::B => AttributeType::B,
        }
    }
}

/// One attribute of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyAttribute {
    /// The attribute's name.
    pub name: String,
    /// Its type.
    pub kind: KeyKind,
}

/// A table's primary key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// The partition (HASH) key.
    pub partition: KeyAttribute,
    /// The sort (RANGE) key, if the table has one.
    pub sort: Option<KeyAttribute>,
}

/// A key as the store keeps it. Items of one partition are ordered by `sort`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemKey {
    /// The partition key's bytes: what an item's place in the cluster is derived from.
    pub partition: Vec<u8>,
    /// The sort key's bytes, in the order of the values; empty when the table has no sort key.
    pub sort: Vec<u8>,
}

/// Whose words a wrong key type is refused in.
#[derive(Clone, Copy)]
enum Wording {
    /// A key attribute inside an item to be put.
    Item,
    /// A key of its own.
    Key,
}

impl TableSchema {
    /// The key attributes in order: partition, then sort.
    pub fn attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        core::iter::once(&self.partition).chain(&self.sort)
    }

    /// Whether an attribute is part of the key.
    #[must_use]
    pub fn is_key(&self, name: &str) -> bool {
        self.attributes().any(|attribute| attribute.name == name)
    }

    /// The key of an item that is to be put.
    ///
    /// # Errors
    /// `ValidationException` when a key attribute is missing, of the wrong type, empty or too long.
    pub fn key_of_item(&self, item: &Item) -> Result<ItemKey, DynamoError> {
        let find = |attribute: &KeyAttribute| {
            item.get(&attribute.name).ok_or_else(|| {
                DynamoError::validation(format!(
                    "One or more parameter values were invalid: Missing the key {} in the item",
                    attribute.name
                ))
            })
        };
        self.encode_key(find, Wording::Item)
    }

    /// The key that a request names in its `Key` member: the key attributes and no others.
    ///
    /// # Errors
    /// `ValidationException` when it does not match the schema, or a value is empty or too long.
    pub fn key_of_request(&self, key: &Item) -> Result<ItemKey, DynamoError> {
        if key.len() != self.attributes().count() {
            return Err(DynamoError::validation(SCHEMA_MISMATCH));
        }
        let find = |attribute: &KeyAttribute| {
            key.get(&attribute.name).ok_or_else(|| DynamoError::validation(SCHEMA_MISMATCH))
        };
        self.encode_key(find, Wording::Key)
    }

    /// Just the key attributes of an item, as `LastEvaluatedKey` carries them.
    #[must_use]
    pub fn key_attributes(&self, item: &Item) -> Item {
        self.attributes()
            .filter_map(|attribute| Some((attribute.name.clone(), item.get(&attribute.name)?.clone())))
            .collect()
    }

    fn encode_key<'a>(
        &self,
        find: impl Fn(&KeyAttribute) -> Result<&'a AttributeValue, DynamoError>,
        wording: Wording,
    ) -> Result<ItemKey, DynamoError> {
        let partition = checked(&self.partition, find(&self.partition)?, wording)?;
        if partition.len() > MAX_PARTITION_KEY {
            return Err(DynamoError::validation(
                "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit \
                 of2048 bytes",
            ));
        }
        let Some(attribute) = &self.sort else {
            return Ok(ItemKey { partition, sort: Vec::new() });
        };
        let sort = checked(attribute, find(attribute)?, wording)?;
        if sort.len() > MAX_SORT_KEY {
            return Err(DynamoError::validation(
                "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size \
                 limit of 1024 bytes",
            ));
        }
        Ok(ItemKey { partition, sort })
    }
}

/// The storable bytes of a key value, or nothing when it is not of a key type: text and binary as they are, numbers in
/// the form of [`order`].
#[must_use]
pub fn encode_key_value(value: &AttributeValue) -> Option<Vec<u8>> {
    match value {
        AttributeValue::S(text) => Some(text.as_bytes().to_vec()),
        AttributeValue::B(bytes) => Some(bytes.clone()),
        AttributeValue::N(number) => {
            let mut out = Vec::new();
            order::encode(*number, &mut out);
            Some(out)
        }
        _ => None,
    }
}

/// The refusal of an empty key value, if it is one.
///
/// # Errors
/// `ValidationException` that names the attribute.
pub fn check_not_empty(name: &str, value: &AttributeValue) -> Result<(), DynamoError> {
    let kind = match value {
        AttributeValue::S(text) if text.is_empty() => "string",
        AttributeValue::B(bytes) if bytes.is_empty() => "binary",
        _ => return Ok(()),
    };
    Err(DynamoError::validation(format!(
        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty \
         {kind} value. Key: {name}"
    )))
}

fn checked(
    attribute: &KeyAttribute,
    value: &AttributeValue,
    wording: Wording,
) -> Result<Vec<u8>, DynamoError> {
    let expected = attribute.kind.attribute_type();
    let mismatch = || {
        DynamoError::validation(match wording {
            Wording::Key => SCHEMA_MISMATCH.into(),
            Wording::Item => format!(
                "One or more parameter values were invalid: Type mismatch for key {} expected: {} actual: {}",
                attribute.name,
                expected.name(),
                value.kind().name()
            ),
        })
    };
    if value.kind() != expected {
        return Err(mismatch());
    }
    check_not_empty(&attribute.name, value)?;
    encode_key_value(value).ok_or_else(mismatch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn schema() -> TableSchema {
        TableSchema {
            partition: KeyAttribute { name: "pk".into(), kind: KeyKind::S },
            sort: Some(KeyAttribute { name: "sk".into(), kind: KeyKind::N }),
        }
    }

    fn item(pk: AttributeValue, sk: AttributeValue) -> Item {
        Item::from([("pk".into(), pk), ("sk".into(), sk)])
    }

    fn text(value: &str) -> AttributeValue {
        AttributeValue::S(value.into())
    }

    fn number(value: i64) -> AttributeValue {
        AttributeValue::N(value.into())
    }

    #[test]
    fn a_good_key_is_encoded() {
        let mut full = item(text("a"), number(1));
        let key = schema().key_of_request(&full).unwrap();
        assert_eq!(key, ItemKey { partition: b"a".to_vec(), sort: vec![3, 130, 11, 0] });
        full.insert("other".into(), AttributeValue::Null);
        assert_eq!(schema().key_of_item(&full).unwrap(), key);
        assert_eq!(schema().key_attributes(&full), item(text("a"), number(1)));
    }

    #[test]
    fn bad_keys_get_the_words_of_their_operation() {
        let schema = schema();
        let put = |item: &Item| schema.key_of_item(item).unwrap_err().to_string();
        let get = |key: &Item| schema.key_of_request(key).unwrap_err().to_string();
        assert_eq!(
            put(&Item::from([("sk".into(), number(1))])),
            "One or more parameter values were invalid: Missing the key pk in the item"
        );
        assert_eq!(
            put(&item(text("a"), text("b"))),
            "One or more parameter values were invalid: Type mismatch for key sk expected: N actual: S"
        );
        assert_eq!(
            put(&item(text(""), number(1))),
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an \
             empty string value. Key: pk"
        );
        let long = "x".repeat(MAX_PARTITION_KEY + 1);
        assert_eq!(
            put(&item(text(&long), number(1))),
            "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes"
        );
        assert_eq!(get(&item(text("a"), text("b"))), SCHEMA_MISMATCH);
        assert_eq!(get(&Item::from([("pk".into(), text("a"))])), SCHEMA_MISMATCH);
        let mut three = item(text("a"), number(1));
        three.insert("x".into(), AttributeValue::Null);
        assert_eq!(get(&three), SCHEMA_MISMATCH);
    }

    #[test]
    fn a_sort_key_is_bounded() {
        let schema = TableSchema {
            partition: KeyAttribute { name: "pk".into(), kind: KeyKind::B },
            sort: Some(KeyAttribute { name: "sk".into(), kind: KeyKind::S }),
        };
        let key = |len: usize| item(AttributeValue::B(vec![0]), text(&"x".repeat(len)));
        assert!(schema.key_of_request(&key(MAX_SORT_KEY)).is_ok());
        assert_eq!(
            schema.key_of_request(&key(MAX_SORT_KEY + 1)).unwrap_err().to_string(),
            "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit \
             of 1024 bytes"
        );
    }
}
