//! Values to JSON, straight into a serialiser or as a tree.

use crate::value::{AttributeValue, Item};
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value};

/// An item in the API's JSON form.
#[derive(Clone, Copy, Debug)]
pub struct JsonItem<'a>(pub &'a Item);

/// A value in the API's JSON form.
#[derive(Clone, Copy, Debug)]
pub struct JsonValue<'a>(pub &'a AttributeValue);

impl Serialize for JsonItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, JsonValue(value))))
    }
}

impl Serialize for JsonValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        let kind = self.0.kind().name();
        match self.0 {
            AttributeValue::S(text) => map.serialize_entry(kind, text)?,
            AttributeValue::N(number) => map.serialize_entry(kind, &Shown(number))?,
            AttributeValue::B(bytes) => map.serialize_entry(kind, &base64(bytes))?,
            AttributeValue::Bool(value) => map.serialize_entry(kind, value)?,
            AttributeValue::Null => map.serialize_entry(kind, &true)?,
            AttributeValue::M(members) => map.serialize_entry(kind, &JsonItem(members))?,
            AttributeValue::L(list) => map.serialize_entry(kind, &Each(|| list.iter().map(JsonValue)))?,
            AttributeValue::Ss(set) => map.serialize_entry(kind, set)?,
            AttributeValue::Ns(set) => map.serialize_entry(kind, &Each(|| set.iter().map(Shown)))?,
            AttributeValue::Bs(set) => {
                map.serialize_entry(kind, &Each(|| set.iter().map(|bytes| base64(bytes))))?;
            }
        }
        map.end()
    }
}

/// Serialises as the text that it displays.
struct Shown<T>(T);

impl<T: core::fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

fn base64(bytes: &[u8]) -> Shown<Base64Display<'_, '_, base64::engine::GeneralPurpose>> {
    Shown(Base64Display::new(bytes, &STANDARD))
}

/// Serialises as the sequence that it makes.
struct Each<F>(F);

impl<F: Fn() -> I, I: Iterator<Item: Serialize>> Serialize for Each<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// An item as a JSON tree.
#[must_use]
pub fn item_to_json(item: &Item) -> Value {
    Value::Object(map_to_json(item))
}

fn map_to_json(map: &BTreeMap<String, AttributeValue>) -> Map<String, Value> {
    map.iter().map(|(name, value)| (name.clone(), value_to_json(value))).collect()
}

/// A value as a JSON tree.
#[must_use]
pub fn value_to_json(value: &AttributeValue) -> Value {
    let json = match value {
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::N(number) => Value::String(number.to_string()),
        AttributeValue::B(bytes) => Value::String(STANDARD.encode(bytes)),
        AttributeValue::Bool(value) => Value::Bool(*value),
        AttributeValue::Null => Value::Bool(true),
        AttributeValue::M(map) => Value::Object(map_to_json(map)),
        AttributeValue::L(list) => list.iter().map(value_to_json).collect(),
        AttributeValue::Ss(set) => set.iter().map(String::as_str).collect(),
        AttributeValue::Ns(set) => set.iter().map(ToString::to_string).collect(),
        AttributeValue::Bs(set) => set.iter().map(|bytes| STANDARD.encode(bytes)).collect(),
    };
    Value::Object(Map::from_iter([(value.kind().name().into(), json)]))
}
