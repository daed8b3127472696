//! Reading members out of a request's body, with the API's words for members of the wrong JSON type.
//!
//! A member that is `null` counts as absent. Members that an operation does not know are ignored, as the API does.

use crate::error::DynamoError;
use crate::json::body::parse_body;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde_json::{Map, Value};

const STRUCTURE_NOT_EXPECTED: &str = "Start of structure or map found where not expected";
const UNEXPECTED_FIELD: &str = "Unexpected field type";
const UNEXPECTED_VALUE: &str = "Unexpected value type in payload";

/// The Java class names that the API's messages carry.
pub(crate) mod class {
    macro_rules! api_class {
        ($($constant:ident = $name:literal),+ $(,)?) => {
            $(pub(crate) const $constant: &str = concat!("com.amazonaws.dynamodb.v20120810.", $name);)+
        };
    }
    api_class! {
        ATTRIBUTE_DEFINITION = "AttributeDefinition",
        ATTRIBUTE_VALUE = "AttributeValue",
        ATTRIBUTE_VALUE_UPDATE = "AttributeValueUpdate",
        CONDITION = "Condition",
        DELETE_REQUEST = "DeleteRequest",
        EXPECTED = "ExpectedAttributeValue",
        KEYS_AND_ATTRIBUTES = "KeysAndAttributes",
        KEY_SCHEMA_ELEMENT = "KeySchemaElement",
        PROVISIONED_THROUGHPUT = "ProvisionedThroughput",
        PUT_REQUEST = "PutRequest",
        TAG = "Tag",
        TIME_TO_LIVE = "TimeToLiveSpecification",
        WRITE_REQUEST = "WriteRequest",
    }
    pub(crate) const STRING: &str = "java.lang.String";
    pub(crate) const WRITE_REQUESTS: &str = "java.util.List<com.amazonaws.dynamodb.v20120810.WriteRequest>";
}

/// A JSON object whose members are taken out one by one.
#[derive(Debug)]
pub(crate) struct Body(Map<String, Value>);

fn malformed(message: impl Into<String>) -> DynamoError {
    DynamoError::Serialization(message.into())
}

impl Body {
    /// Parses a whole request.
    ///
    /// # Errors
    /// `SerializationException` for what is not a JSON object, and as [`parse_body`].
    pub(crate) fn parse(text: &[u8]) -> Result<Self, DynamoError> {
        match parse_body(text)? {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(malformed("")),
        }
    }

    /// A member that is itself an object of named members.
    pub(crate) fn of(members: Map<String, Value>) -> Self {
        Self(members)
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// Whether the member is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    pub(crate) fn string(&mut self, name: &str) -> Result<Option<String>, DynamoError> {
        self.take(name).map(string).transpose()
    }

    pub(crate) fn boolean(&mut self, name: &str) -> Result<Option<bool>, DynamoError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value {
            Value::Bool(flag) => Ok(Some(flag)),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Value::String(_) => Err(malformed("Unexpected token received from parser")),
            other => Err(not_a_scalar(&other, "java.lang.Boolean", "Boolean")),
        }
    }

    /// A whole number; fractions are cut and what does not fit becomes the nearest that does.
    pub(crate) fn integer(&mut self, name: &str) -> Result<Option<i32>, DynamoError> {
        let number = self.number(name, "Integer")?;
        Ok(number.map(|value| i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })))
    }

    /// Like [`Body::integer`], of 64 bits.
    pub(crate) fn long(&mut self, name: &str) -> Result<Option<i64>, DynamoError> {
        self.number(name, "Long")
    }

    fn number(&mut self, name: &str, kind: &str) -> Result<Option<i64>, DynamoError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value {
            Value::Number(number) => {
                #[allow(clippy::cast_possible_truncation, reason = "saturating is the API's own reading")]
                let value =
                    number.as_i64().unwrap_or_else(|| number.as_f64().map_or(i64::MAX, |float| float as i64));
                Ok(Some(value))
            }
            Value::String(_) => Err(malformed(format!("STRING_VALUE cannot be converted to {kind}"))),
            other => Err(not_a_scalar(&other, &format!("java.lang.{kind}"), kind)),
        }
    }

    /// A map of names to anything.
    pub(crate) fn map(
        &mut self,
        name: &str,
        value_class: &str,
    ) -> Result<Option<Map<String, Value>>, DynamoError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(Value::Array(_)) => Err(malformed(format!(
                "Unrecognized collection type java.util.Map<java.lang.String, {value_class}>"
            ))),
            Some(_) => Err(malformed(UNEXPECTED_FIELD)),
        }
    }

    /// A map of names to structures.
    pub(crate) fn map_of_bodies(
        &mut self,
        name: &str,
        class: &str,
    ) -> Result<Option<Vec<(String, Body)>>, DynamoError> {
        let Some(map) = self.map(name, class)? else { return Ok(None) };
        let bodies = map.into_iter().map(|(name, value)| Ok((name, element(value, class)?)));
        bodies.collect::<Result<_, _>>().map(Some)
    }

    /// A map of names to strings.
    pub(crate) fn map_of_strings(
        &mut self,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>, DynamoError> {
        let Some(map) = self.map(name, class::STRING)? else { return Ok(None) };
        let strings = map.into_iter().filter(|(_, value)| !value.is_null());
        strings.map(|(name, value)| Ok((name, string(value)?))).collect::<Result<_, _>>().map(Some)
    }

    /// A structure.
    pub(crate) fn body(&mut self, name: &str, class: &str) -> Result<Option<Body>, DynamoError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Body(members))),
            Some(Value::Array(_)) => Err(malformed(format!("Unrecognized collection type class {class}"))),
            Some(_) => Err(malformed(UNEXPECTED_FIELD)),
        }
    }

    /// A list of anything.
    pub(crate) fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>, DynamoError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(Value::Object(_)) => Err(malformed(STRUCTURE_NOT_EXPECTED)),
            Some(_) => Err(malformed(UNEXPECTED_FIELD)),
        }
    }

    /// A list of structures.
    pub(crate) fn list_of_bodies(
        &mut self,
        name: &str,
        class: &str,
    ) -> Result<Option<Vec<Body>>, DynamoError> {
        let Some(list) = self.list(name)? else { return Ok(None) };
        list.into_iter().map(|value| element(value, class)).collect::<Result<_, _>>().map(Some)
    }

    /// A list of strings.
    pub(crate) fn list_of_strings(&mut self, name: &str) -> Result<Option<Vec<String>>, DynamoError> {
        let Some(list) = self.list(name)? else { return Ok(None) };
        list.into_iter().map(string).collect::<Result<_, _>>().map(Some)
    }
}

/// One structure of a list or map; `null` reads as an empty one.
pub(crate) fn element(value: Value, class: &str) -> Result<Body, DynamoError> {
    match value {
        Value::Object(members) => Ok(Body(members)),
        Value::Null => Ok(Body(Map::new())),
        Value::Array(_) => Err(malformed(format!("Unrecognized collection type class {class}"))),
        _ => Err(malformed(UNEXPECTED_VALUE)),
    }
}

fn string(value: Value) -> Result<String, DynamoError> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(not_a_scalar(&other, class::STRING, "String")),
    }
}

/// The refusal of a value that should have been the scalar `kind`.
fn not_a_scalar(value: &Value, java: &str, kind: &str) -> DynamoError {
    let found = match value {
        Value::Array(_) => return malformed(format!("Unrecognized collection type class {java}")),
        Value::Object(_) => return malformed(STRUCTURE_NOT_EXPECTED),
        Value::Null => return malformed(UNEXPECTED_FIELD),
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(number) if number.is_f64() => "DECIMAL_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
    };
    malformed(format!("{found} cannot be converted to {kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn body(text: &str) -> Body {
        Body::parse(text.as_bytes()).unwrap()
    }

    fn words<T: core::fmt::Debug>(result: Result<T, DynamoError>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.name(), "SerializationException");
        error.to_string()
    }

    #[test]
    fn wrong_types_get_the_words_of_the_api() {
        let cases = [
            ("[]", "Unrecognized collection type class java.lang.String"),
            ("{}", STRUCTURE_NOT_EXPECTED),
            ("true", "TRUE_VALUE cannot be converted to String"),
            ("false", "FALSE_VALUE cannot be converted to String"),
            ("1", "NUMBER_VALUE cannot be converted to String"),
            ("1.5", "DECIMAL_VALUE cannot be converted to String"),
        ];
        for (value, expected) in cases {
            assert_eq!(words(body(&format!("{{\"a\":{value}}}")).string("a")), expected);
        }
        assert_eq!(words(body(r#"{"a":"1"}"#).integer("a")), "STRING_VALUE cannot be converted to Integer");
        assert_eq!(words(body(r#"{"a":1}"#).boolean("a")), "NUMBER_VALUE cannot be converted to Boolean");
        assert_eq!(words(body(r#"{"a":1}"#).list("a")), UNEXPECTED_FIELD);
        assert_eq!(words(body(r#"{"a":[1]}"#).list_of_bodies("a", class::TAG)), UNEXPECTED_VALUE);
        assert_eq!(
            words(body(r#"{"a":[]}"#).map("a", class::ATTRIBUTE_VALUE)),
            "Unrecognized collection type java.util.Map<java.lang.String, \
             com.amazonaws.dynamodb.v20120810.AttributeValue>"
        );
    }

    #[test]
    fn null_is_absent_and_numbers_saturate() {
        let mut members = body(r#"{"a":null,"b":1e30,"c":-1e30,"d":3.9,"e":"TRUE"}"#);
        assert_eq!(members.string("a").unwrap(), None);
        assert_eq!(members.integer("b").unwrap(), Some(i32::MAX));
        assert_eq!(members.integer("c").unwrap(), Some(i32::MIN));
        assert_eq!(members.integer("d").unwrap(), Some(3));
        assert_eq!(members.boolean("e").unwrap(), Some(true));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "{", "[]", "1", "nonsense", "{\"a\":1}}"] {
            assert_eq!(words(Body::parse(text.as_bytes())), "", "{text}");
        }
    }
}
