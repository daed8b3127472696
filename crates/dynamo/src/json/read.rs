//! JSON to values, with the API's refusals of what it does not take.

use crate::error::DynamoError;
use crate::number::{Number, NumberError};
use crate::size::{MAX_NESTING, NESTING_MESSAGE};
use crate::value::{AttributeType, AttributeValue, Item};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

const INVALID: &str = "One or more parameter values were invalid:";
const NOT_EXPECTED_MAP: &str = "Start of structure or map found where not expected";

/// Reads an item or a key: an object of names and values.
///
/// # Errors
/// `SerializationException` when the shape is wrong, `ValidationException` when a value is.
pub fn item_from_json(json: Value) -> Result<Item, DynamoError> {
    map_from_json(json, 0)
}

/// Reads one value.
///
/// # Errors
/// As [`item_from_json`].
pub fn value_from_json(json: Value) -> Result<AttributeValue, DynamoError> {
    read(json, 0)
}

fn map_from_json(json: Value, level: usize) -> Result<BTreeMap<String, AttributeValue>, DynamoError> {
    let object = match json {
        Value::Object(object) => object,
        Value::Array(_) => return Err(serialization("Unrecognized collection type class java.util.Map")),
        _ => return Err(serialization("Unexpected field type")),
    };
    object
        .into_iter()
        .map(|(name, json)| {
            if name.is_empty() {
                return Err(DynamoError::request("Empty attribute name"));
            }
            Ok((name, read(json, level)?))
        })
        .collect()
}

/// Reads a value that is inside `level` maps and lists.
fn read(json: Value, level: usize) -> Result<AttributeValue, DynamoError> {
    if level >= MAX_NESTING {
        return Err(DynamoError::request(NESTING_MESSAGE));
    }
    let Value::Object(members) = json else {
        return Err(match json {
            Value::Array(_) => serialization(
                "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue",
            ),
            Value::Null => empty(),
            _ => serialization("Unexpected value type in payload"),
        });
    };
    let (kind, json) = only_member(members)?;
    match kind {
        AttributeType::S => string(json).map(AttributeValue::S),
        AttributeType::N => number(&string(json)?).map(AttributeValue::N),
        AttributeType::B => binary(&string(json)?).map(AttributeValue::B),
        AttributeType::Bool => Ok(AttributeValue::Bool(flag(&json)?.0)),
        AttributeType::Null => match flag(&json)? {
            (true, _) => Ok(AttributeValue::Null),
            (false, from_text) => {
                let message = format!("{INVALID} Null attribute value types must have the value of true");
                Err(if from_text { DynamoError::validation(message) } else { DynamoError::request(message) })
            }
        },
        AttributeType::M => map_from_json(json, level + 1).map(AttributeValue::M),
        AttributeType::L => array(json)?
            .into_iter()
            .map(|json| read(json, level + 1))
            .collect::<Result<_, _>>()
            .map(AttributeValue::L),
        AttributeType::Ss => texts(json).map(AttributeValue::Ss),
        AttributeType::Ns => numbers(json).map(AttributeValue::Ns),
        AttributeType::Bs => binaries(json).map(AttributeValue::Bs),
    }
}

/// The one type that a value has. A member that is null counts as absent, and unknown ones do too.
fn only_member(members: Map<String, Value>) -> Result<(AttributeType, Value), DynamoError> {
    let mut known = members.into_iter().filter_map(|(name, json)| {
        let kind = AttributeType::from_name(&name)?;
        (!json.is_null()).then_some((kind, json))
    });
    let first = known.next().ok_or_else(empty)?;
    if known.next().is_some() {
        return Err(DynamoError::validation(
            "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported \
             datatypes",
        ));
    }
    Ok(first)
}

fn empty() -> DynamoError {
    DynamoError::validation(
        "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
    )
}

fn serialization(message: &str) -> DynamoError {
    DynamoError::Serialization(message.into())
}

fn string(json: Value) -> Result<String, DynamoError> {
    Err(serialization(match json {
        Value::String(text) => return Ok(text),
        Value::Bool(true) => "TRUE_VALUE cannot be converted to String",
        Value::Bool(false) => "FALSE_VALUE cannot be converted to String",
        Value::Number(number) if number.is_f64() => "DECIMAL_VALUE cannot be converted to String",
        Value::Number(_) => "NUMBER_VALUE cannot be converted to String",
        Value::Array(_) => "Unrecognized collection type class java.lang.String",
        Value::Object(_) => NOT_EXPECTED_MAP,
        Value::Null => "Unexpected token received from parser",
    }))
}

/// A boolean, and whether it was written as text. The API takes some words for booleans, in any case.
fn flag(json: &Value) -> Result<(bool, bool), DynamoError> {
    const YES: [&str; 5] = ["true", "t", "yes", "y", "1"];
    const NO: [&str; 5] = ["false", "f", "no", "n", "0"];
    Err(serialization(match json {
        Value::Bool(value) => return Ok((*value, false)),
        Value::String(text) => {
            let is_one_of = |words: [&str; 5]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
            if is_one_of(YES) {
                return Ok((true, true));
            }
            if is_one_of(NO) {
                return Ok((false, true));
            }
            "Unexpected token received from parser"
        }
        Value::Number(number) if number.is_f64() => "DECIMAL_VALUE cannot be converted to Boolean",
        Value::Number(_) => "NUMBER_VALUE cannot be converted to Boolean",
        Value::Array(_) => "",
        Value::Object(_) => NOT_EXPECTED_MAP,
        Value::Null => "Unexpected token received from parser",
    }))
}

fn number(text: &str) -> Result<Number, DynamoError> {
    text.parse().map_err(|error: NumberError| DynamoError::request(error.to_string()))
}

fn binary(text: &str) -> Result<Vec<u8>, DynamoError> {
    STANDARD.decode(text).map_err(|_| {
        let message = if text.len().is_multiple_of(4) {
            "Invalid Base64 character found".into()
        } else {
            format!("Base64 encoded length is expected a multiple of 4 bytes but found: {}", text.len())
        };
        DynamoError::Serialization(message)
    })
}

fn array(json: Value) -> Result<Vec<Value>, DynamoError> {
    match json {
        Value::Array(array) => Ok(array),
        Value::Object(_) => Err(serialization(NOT_EXPECTED_MAP)),
        _ => Err(serialization("Unexpected field type")),
    }
}

fn texts(json: Value) -> Result<BTreeSet<String>, DynamoError> {
    let members = array(json)?.into_iter().map(string).collect::<Result<Vec<_>, _>>()?;
    if members.is_empty() {
        return Err(DynamoError::request(format!("{INVALID} An string set  may not be empty")));
    }
    into_set(members).map_err(|members| {
        let shown: Vec<String> = members.into_iter().map(|text| Value::String(text).to_string()).collect();
        DynamoError::request(format!(
            "{INVALID} Input collection [{}] contains duplicates.",
            shown.join(", ")
        ))
    })
}

fn numbers(json: Value) -> Result<BTreeSet<Number>, DynamoError> {
    let members =
        array(json)?.into_iter().map(|json| number(&string(json)?)).collect::<Result<Vec<_>, _>>()?;
    if members.is_empty() {
        return Err(DynamoError::request(format!("{INVALID} An number set  may not be empty")));
    }
    into_set(members)
        .map_err(|_| DynamoError::request(format!("{INVALID} Input collection contains duplicates.")))
}

fn binaries(json: Value) -> Result<BTreeSet<Vec<u8>>, DynamoError> {
    let members =
        array(json)?.into_iter().map(|json| binary(&string(json)?)).collect::<Result<Vec<_>, _>>()?;
    if members.is_empty() {
        return Err(DynamoError::request(format!("{INVALID} Binary sets should not be empty")));
    }
    into_set(members).map_err(|members| {
        let shown: Vec<String> =
            members.iter().map(|bytes| format!("\"{}\"", STANDARD.encode(bytes))).collect();
        DynamoError::request(format!(
            "{INVALID} Input collection [{}]of type BS contains duplicates.",
            shown.join(",")
        ))
    })
}

/// The members as a set. When one is there twice, gives back all of them in the order in which refusals list them: those
/// read up to then in order, the repeated one, and the rest as sent.
fn into_set<T: Ord>(members: Vec<T>) -> Result<BTreeSet<T>, Vec<T>> {
    let mut set = BTreeSet::new();
    let mut rest = members.into_iter();
    while let Some(member) = rest.next() {
        if set.contains(&member) {
            return Err(set.into_iter().chain(core::iter::once(member)).chain(rest).collect());
        }
        set.insert(member);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{JsonItem, item_to_json};
    use alloc::vec;
    use serde_json::json;

    fn refused(json: Value) -> DynamoError {
        value_from_json(json).unwrap_err()
    }

    #[test]
    fn all_ten_types_go_both_ways() {
        let json = json!({
            "s": {"S": ""}, "n": {"N": "-1.5"}, "b": {"B": "AP8="}, "t": {"BOOL": true}, "z": {"NULL": true},
            "m": {"M": {"k": {"L": []}}}, "l": {"L": [{"S": "x"}, {"N": "0"}]},
            "ss": {"SS": ["a", "b"]}, "ns": {"NS": ["-1", "2", "10"]}, "bs": {"BS": ["AA==", "AQ=="]}
        });
        let item = item_from_json(json.clone()).unwrap();
        assert_eq!(item.len(), 10);
        assert_eq!(item_to_json(&item), json);
        assert_eq!(serde_json::to_value(JsonItem(&item)).unwrap(), json);
    }

    #[test]
    fn values_are_made_canonical() {
        assert_eq!(
            value_from_json(json!({"NS": ["10", "2", "1e3"]}))
                .map(|value| super::super::value_to_json(&value)),
            Ok(json!({"NS": ["2", "10", "1000"]}))
        );
        assert_eq!(value_from_json(json!({"S": "a", "N": null, "x": 1})), Ok(AttributeValue::S("a".into())));
        assert_eq!(value_from_json(json!({"BOOL": "Yes"})), Ok(AttributeValue::Bool(true)));
    }

    #[test]
    fn wrong_shapes_are_serialization_exceptions() {
        for (json, message) in [
            (json!({"S": true}), "TRUE_VALUE cannot be converted to String"),
            (json!({"S": 1}), "NUMBER_VALUE cannot be converted to String"),
            (json!({"N": 1.5}), "DECIMAL_VALUE cannot be converted to String"),
            (json!({"S": []}), "Unrecognized collection type class java.lang.String"),
            (json!({"S": {}}), NOT_EXPECTED_MAP),
            (json!({"BOOL": 1}), "NUMBER_VALUE cannot be converted to Boolean"),
            (json!({"BOOL": []}), ""),
            (json!({"BOOL": "maybe"}), "Unexpected token received from parser"),
            (json!({"L": {}}), NOT_EXPECTED_MAP),
            (json!({"SS": "a"}), "Unexpected field type"),
            (json!({"M": "a"}), "Unexpected field type"),
            (json!({"B": "abc"}), "Base64 encoded length is expected a multiple of 4 bytes but found: 3"),
            (json!({"B": "a%=="}), "Invalid Base64 character found"),
            (json!("a"), "Unexpected value type in payload"),
        ] {
            assert_eq!(refused(json.clone()), DynamoError::Serialization(message.into()), "{json}");
        }
    }

    #[test]
    fn wrong_values_are_validation_exceptions() {
        let empty = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes";
        assert_eq!(refused(json!({})), DynamoError::validation(empty));
        assert_eq!(refused(json!({"X": "a"})), DynamoError::validation(empty));
        assert_eq!(
            refused(json!({"S": "a", "N": "1"})),
            DynamoError::validation(
                "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported \
                 datatypes"
            )
        );
        for (json, message) in [
            (json!({"NULL": false}), "Null attribute value types must have the value of true"),
            (json!({"SS": []}), "An string set  may not be empty"),
            (json!({"NS": []}), "An number set  may not be empty"),
            (json!({"BS": []}), "Binary sets should not be empty"),
            (
                json!({"SS": ["b", "a", "b", "C"]}),
                r#"Input collection ["a", "b", "b", "C"] contains duplicates."#,
            ),
            (json!({"NS": ["1", "1.0"]}), "Input collection contains duplicates."),
            (
                json!({"BS": ["AA==", "AA=="]}),
                r#"Input collection ["AA==","AA=="]of type BS contains duplicates."#,
            ),
        ] {
            assert_eq!(refused(json), DynamoError::request(format!("{INVALID} {message}")));
        }
        assert_eq!(
            refused(json!({"N": "one"})),
            DynamoError::request("The parameter cannot be converted to a numeric value: one")
        );
        assert_eq!(refused(json!({"M": {"": {"S": "a"}}})), DynamoError::request("Empty attribute name"));
        assert_eq!(
            item_from_json(json!({"": {"S": "a"}})),
            Err(DynamoError::request("Empty attribute name"))
        );
    }

    #[test]
    fn nesting_ends_at_32_levels() {
        let nested =
            |levels: usize| (0..levels).fold(json!({"NULL": true}), |inner, _| json!({"L": vec![inner]}));
        assert!(value_from_json(nested(31)).is_ok());
        assert_eq!(refused(nested(32)), DynamoError::request(NESTING_MESSAGE));
        let item = |levels: usize| Value::Object(Map::from_iter([("a".into(), nested(levels))]));
        assert!(item_from_json(item(31)).is_ok());
        assert_eq!(item_from_json(item(32)), Err(DynamoError::request(NESTING_MESSAGE)));
    }
}
