//! The items that the load writes: keys that no two runs share, and payloads that can be checked from their number alone.

use crate::client::{KeyAttribute, KeyKind, TableShape};
use crate::sample::{Kind, Sample, WriteId};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::Xxh3;

/// The attribute that a counter adds to.
pub const COUNT: &str = "drill_count";
const LIST: &str = "drill_list";
/// How many appends one list takes, so that no item grows large.
const LIST_LENGTH: u32 = 64;
const PAYLOAD: &str = "drill_payload";
const CHECK: &str = "drill_number";

/// Makes the keys and items of one run in one table.
#[derive(Clone, Debug)]
pub struct Items {
    shape: TableShape,
    /// Keeps runs apart in a table that outlives them.
    run: u64,
    payload_bytes: usize,
}

impl Items {
    /// Items of run `run`, any number that no earlier run used.
    #[must_use]
    pub fn new(shape: TableShape, run: u64, payload_bytes: usize) -> Self {
        // Fifteen digits: with lane and number a key stays within the 38 digits of a number.
        Self { shape, run: run % 1_000_000_000_000_000, payload_bytes }
    }

    /// The table.
    #[must_use]
    pub fn shape(&self) -> &TableShape {
        &self.shape
    }

    /// Whether a lane's items share one partition, so that one query finds them all.
    #[must_use]
    pub fn lane_is_partition(&self) -> bool {
        self.shape.sort.is_some()
    }

    /// The partition key value that a lane's items share (in a table with a sort key).
    #[must_use]
    pub fn lane_partition(&self, lane: &Lane) -> Value {
        typed(&self.shape.partition, &self.lane_digits(lane, 0))
    }

    /// The key of the item that a put makes or an append changes.
    #[must_use]
    pub fn key_of(&self, id: WriteId) -> Map<String, Value> {
        let lane = Lane { kind: id.kind, path: id.path, lane: id.lane };
        let number =
            u64::from(if id.kind == Kind::Append { id.sequence / LIST_LENGTH } else { id.sequence }) + 1;
        match &self.shape.sort {
            Some(sort) => self.key(&self.lane_digits(&lane, 0), Some((sort, format!("{number:010}")))),
            None => self.key(&self.lane_digits(&lane, number), None),
        }
    }

    /// The keys of all items that the writes of a lane numbered below `tried` can have made.
    #[must_use]
    pub fn keys_of(&self, lane: &Lane, tried: u32) -> Vec<Map<String, Value>> {
        let step = if lane.kind == Kind::Append { LIST_LENGTH } else { 1 };
        (0..tried).step_by(step as usize).map(|sequence| self.key_of(lane.write(sequence))).collect()
    }

    /// The writes of a lane that an item shows, once for each time that it shows them. A put whose item is not exactly
    /// what it wrote is not shown.
    #[must_use]
    pub fn shown_by(&self, lane: &Lane, item: &Value) -> Vec<WriteId> {
        if lane.kind == Kind::Append {
            let numbers = item[LIST]["L"].as_array().into_iter().flatten();
            return numbers.filter_map(|one| Some(lane.write(one["N"].as_str()?.parse().ok()?))).collect();
        }
        let sequence = item[CHECK]["N"].as_str().and_then(|text| text.parse().ok());
        let id = sequence.map(|sequence| lane.write(sequence));
        id.filter(|id| item.as_object().is_some_and(|item| *item == self.put_item(*id))).into_iter().collect()
    }

    /// The key of a counter.
    #[must_use]
    pub fn counter_key(&self, counter: u16) -> Map<String, Value> {
        let sort = self.shape.sort.as_ref().map(|sort| (sort, "1".to_owned()));
        self.key(&self.digits(2, counter.into(), 0), sort)
    }

    /// The whole item of a put.
    #[must_use]
    pub fn put_item(&self, id: WriteId) -> Map<String, Value> {
        let payload = self.payload(id);
        let mut item = self.key_of(id);
        item.insert(CHECK.to_owned(), json!({"N": id.sequence.to_string()}));
        item.insert(PAYLOAD.to_owned(), json!({"S": payload}));
        item
    }

    /// The update that appends a write's number to its list.
    #[must_use]
    pub fn append(&self, id: WriteId) -> Map<String, Value> {
        let mut body = Map::new();
        body.insert("TableName".to_owned(), json!(self.shape.name));
        body.insert("Key".to_owned(), Value::Object(self.key_of(id)));
        body.insert(
            "UpdateExpression".to_owned(),
            json!("SET #l = list_append(if_not_exists(#l, :none), :one)"),
        );
        body.insert("ExpressionAttributeNames".to_owned(), json!({"#l": LIST}));
        let one = json!({"L": [{"N": id.sequence.to_string()}]});
        body.insert("ExpressionAttributeValues".to_owned(), json!({":none": {"L": []}, ":one": one}));
        body
    }

    /// The condition of a put: its key is used for the first time.
    #[must_use]
    pub fn is_new_condition(&self) -> (&'static str, Value) {
        ("attribute_not_exists(#k)", json!({"#k": self.shape.partition.name}))
    }

    fn key(&self, partition: &str, sort: Option<(&KeyAttribute, String)>) -> Map<String, Value> {
        let mut key = Map::new();
        key.insert(self.shape.partition.name.clone(), typed(&self.shape.partition, partition));
        if let Some((attribute, value)) = sort {
            key.insert(attribute.name.clone(), typed(attribute, &value));
        }
        key
    }

    fn lane_digits(&self, lane: &Lane, number: u64) -> String {
        let role = if lane.kind == Kind::Append { 3 } else { 1 };
        self.digits(role, u32::from(lane.path) * 1_000 + u32::from(lane.lane), number)
    }

    /// A key as digits, so that it fits every key type: use, run, lane, number.
    fn digits(&self, role: u8, lane: u32, number: u64) -> String {
        format!("{role}{:015}{lane:06}{number:010}", self.run)
    }

    /// Text that follows from the put's identity alone, and differs from that of any other put.
    fn payload(&self, id: WriteId) -> String {
        let mut hash = Xxh3::new();
        hash.update(&self.run.to_le_bytes());
        hash.update(&[id.path]);
        hash.update(&id.lane.to_le_bytes());
        hash.update(&id.sequence.to_le_bytes());
        let word = format!("{:016x}", hash.digest());
        word.chars().cycle().take(self.payload_bytes.max(word.len())).collect()
    }
}

/// One lane of puts or appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    /// [`Kind::Put`] or [`Kind::Append`].
    pub kind: Kind,
    /// The region that it writes through, as an index.
    pub path: u8,
    /// Its number among those of its kind and region.
    pub lane: u16,
}

impl Lane {
    /// The lane's write of this number.
    #[must_use]
    pub fn write(&self, sequence: u32) -> WriteId {
        WriteId { kind: self.kind, path: self.path, lane: self.lane, sequence }
    }
}

/// The lanes of puts and appends in the samples, each with the number below which all its writes are.
#[must_use]
pub fn lanes_of(samples: &[Sample]) -> BTreeMap<Lane, u32> {
    let mut tried: BTreeMap<Lane, u32> = BTreeMap::new();
    for WriteId { kind, path, lane, sequence } in samples.iter().filter_map(Sample::id) {
        let count = tried.entry(Lane { kind, path, lane }).or_default();
        *count = (*count).max(sequence.saturating_add(1));
    }
    tried
}

/// A key value of the attribute's type.
fn typed(attribute: &KeyAttribute, digits: &str) -> Value {
    match attribute.kind {
        KeyKind::S => json!({"S": digits}),
        // Without leading zeros, as DynamoDB answers it.
        KeyKind::N => json!({"N": digits.trim_start_matches('0')}),
        KeyKind::B => json!({"B": STANDARD.encode(digits)}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_types::TableName;

    fn shape(partition: KeyKind, sort: Option<KeyKind>) -> TableShape {
        let attribute = |name: &str, kind| KeyAttribute { name: name.to_owned(), kind };
        TableShape {
            name: TableName::new("orders").unwrap(),
            partition: attribute("p", partition),
            sort: sort.map(|kind| attribute("s", kind)),
        }
    }

    const KINDS: [KeyKind; 3] = [KeyKind::S, KeyKind::N, KeyKind::B];

    fn lane(kind: Kind, path: u8, lane: u16) -> Lane {
        Lane { kind, path, lane }
    }

    #[test]
    fn keys_are_distinct_and_fit_every_key_type() {
        for partition in KINDS {
            for sort in [None, Some(KeyKind::S), Some(KeyKind::N), Some(KeyKind::B)] {
                let items = Items::new(shape(partition, sort), u64::MAX, 8);
                let mut ids = Vec::new();
                for kind in [Kind::Put, Kind::Append] {
                    let lanes = [lane(kind, 0, 0), lane(kind, 0, 1), lane(kind, 1, 0), lane(kind, 2, 63)];
                    ids.extend(
                        lanes.iter().flat_map(|lane| [lane.write(0), lane.write(64), lane.write(u32::MAX)]),
                    );
                }
                let mut keys: Vec<String> =
                    ids.iter().map(|id| Value::from(items.key_of(*id)).to_string()).collect();
                keys.extend([0, 191].map(|counter| Value::from(items.counter_key(counter)).to_string()));
                let count = keys.len();
                keys.sort();
                keys.dedup();
                assert_eq!(keys.len(), count);
                for id in ids {
                    let key = items.key_of(id);
                    if sort.is_some() {
                        assert_eq!(key["p"], items.lane_partition(&lane(id.kind, id.path, id.lane)));
                    }
                    assert!(key["p"]["N"].as_str().is_none_or(|digits| digits.len() <= 38), "{key:?}");
                }
            }
        }
    }

    #[test]
    fn an_item_with_any_change_does_not_show_its_put() {
        let items = Items::new(shape(KeyKind::S, Some(KeyKind::N)), 7, 20);
        let lane = lane(Kind::Put, 1, 2);
        let mut item = Value::from(items.put_item(lane.write(3)));
        assert_eq!(items.shown_by(&lane, &item), [lane.write(3)]);
        item[PAYLOAD]["S"] = json!("x");
        assert!(items.shown_by(&lane, &item).is_empty());
        assert!(items.shown_by(&lane, &Value::Null).is_empty());
    }

    #[test]
    fn a_list_shows_each_append_as_often_as_it_holds_it() {
        let items = Items::new(shape(KeyKind::S, None), 7, 20);
        let lane = lane(Kind::Append, 1, 2);
        let item = json!({LIST: {"L": [{"N": "1"}, {"N": "2"}, {"N": "1"}]}});
        assert_eq!(items.shown_by(&lane, &item), [1, 2, 1].map(|sequence| lane.write(sequence)));
        assert_eq!(items.keys_of(&lane, 65).len(), 2);
        assert_eq!(items.keys_of(&lane, 64).len(), 1);
        assert_eq!(items.keys_of(&super::Lane { kind: Kind::Put, ..lane }, 64).len(), 64);
    }
}
