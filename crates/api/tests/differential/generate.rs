//! Random requests, most of them good, out of a small world of tables, keys and attributes.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value, json};

/// The tables of the world: name, then key attributes with their types.
pub(crate) const TABLES: [(&str, &[(&str, &str)]); 3] = [
    ("hash", &[("pk", "S")]),
    ("range", &[("pk", "S"), ("sk", "N")]),
    ("binary", &[("pk", "B"), ("sk", "S")]),
];

const ATTRIBUTES: [&str; 6] = ["a", "b", "c", "name", "data", "x1"];

pub(crate) struct Generator {
    rng: StdRng,
    names: Map<String, Value>,
    values: Map<String, Value>,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), names: Map::new(), values: Map::new() }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.rng).unwrap()
    }

    fn number(&mut self) -> String {
        match self.rng.random_range(0..12) {
            0 => "0".into(),
            1 => "-1.5".into(),
            2 => "1e20".into(),
            3 => "0.000001".into(),
            4 => "12345678901234567890123456789012345678".into(),
            5 => "-0".into(),
            6 => "1E-130".into(),
            _ => self.rng.random_range(-5..6).to_string(),
        }
    }

    fn value(&mut self, depth: u32) -> Value {
        let kinds = if depth == 0 { 8 } else { 10 };
        match self.rng.random_range(0..kinds) {
            0 | 1 => json!({"S": self.pick(&["", "a", "ab", "b", "ä€"])}),
            2 => json!({"N": self.number()}),
            3 => json!({"B": self.pick(&["", "AA==", "AAE=", "/w=="])}),
            4 => json!({"BOOL": self.chance(50)}),
            5 => json!({"NULL": true}),
            6 => {
                let all: &[&str] = self.pick(&[&["a"][..], &["a", "b"], &["b", "c", "d"]]);
                json!({"SS": all})
            }
            7 => {
                let all: &[&str] = self.pick(&[&["1"][..], &["1", "2"], &["-3", "2", "10.5"]]);
                json!({"NS": all})
            }
            8 => {
                let count = self.rng.random_range(0..3);
                json!({"L": (0..count).map(|_| self.value(depth - 1)).collect::<Vec<_>>()})
            }
            _ => {
                let count = self.rng.random_range(0..3);
                let members: Map<_, _> =
                    (0..count).map(|_| (self.pick(&ATTRIBUTES).to_owned(), self.value(depth - 1))).collect();
                json!({"M": members})
            }
        }
    }

    fn key(&mut self, keys: &[(&str, &str)]) -> Map<String, Value> {
        let mut key = Map::new();
        for (name, kind) in keys {
            let value = match *kind {
                "S" => self.pick(&["k1", "k2", "k3", "k4", "k5"]).to_owned(),
                "N" => self.rng.random_range(-4..5).to_string(),
                _ => self.pick(&["AA==", "AQ==", "AgM="]).to_owned(),
            };
            key.insert((*name).into(), json!({*kind: value}));
        }
        if self.chance(2) {
            let name = self.pick(keys).0;
            match self.rng.random_range(0..3) {
                0 => drop(key.remove(name)),
                1 => drop(key.insert(name.into(), json!({"BOOL": true}))),
                _ => drop(key.insert("extra".into(), json!({"S": "x"}))),
            }
        }
        key
    }

    fn item(&mut self, keys: &[(&str, &str)]) -> Map<String, Value> {
        let mut item = self.key(keys);
        for _ in 0..self.rng.random_range(0..5) {
            let (name, value) = (self.pick(&ATTRIBUTES), self.value(2));
            item.insert(name.into(), value);
        }
        item
    }

    /// An attribute's name in an expression; reserved words always behind a placeholder, but for a few.
    fn attribute(&mut self) -> String {
        let name = self.pick(&ATTRIBUTES);
        let reserved = matches!(name, "name" | "data");
        if (reserved && !self.chance(3)) || self.chance(30) {
            self.names.insert(format!("#{name}"), name.into());
            return format!("#{name}");
        }
        name.into()
    }

    fn path(&mut self) -> String {
        let mut path = self.attribute();
        while self.chance(20) {
            if self.chance(50) {
                path += &format!("[{}]", self.rng.random_range(0..3));
            } else {
                path = path + "." + &self.attribute();
            }
        }
        path
    }

    fn given(&mut self, value: Value) -> String {
        let name = format!(":v{}", self.values.len());
        self.values.insert(name.clone(), value);
        name
    }

    fn operand(&mut self) -> String {
        match self.rng.random_range(0..10) {
            0 => self.path(),
            1 => format!("size({})", self.path()),
            _ => {
                let value = self.value(1);
                self.given(value)
            }
        }
    }

    pub(crate) fn condition(&mut self, depth: u32) -> String {
        let kind = self.rng.random_range(0..if depth == 0 { 8 } else { 11 });
        match kind {
            0 | 1 => {
                let comparator = self.pick(&["=", "<>", "<", "<=", ">", ">="]);
                format!("{} {comparator} {}", self.path(), self.operand())
            }
            2 => {
                let (low, high) = (self.number(), self.number());
                let path = self.path();
                let (low, high) = (self.given(json!({"N": low})), self.given(json!({"N": high})));
                format!("{path} BETWEEN {low} AND {high}")
            }
            3 => {
                let path = self.path();
                let all: Vec<_> = (0..self.rng.random_range(1..4)).map(|_| self.operand()).collect();
                format!("{path} IN ({})", all.join(", "))
            }
            4 => format!("attribute_exists({})", self.path()),
            5 => format!("attribute_not_exists({})", self.path()),
            6 => {
                let kind = self.pick(&["S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"]);
                let (path, kind) = (self.path(), self.given(json!({"S": kind})));
                format!("attribute_type({path}, {kind})")
            }
            7 => {
                let function = self.pick(&["begins_with", "contains"]);
                format!("{function}({}, {})", self.path(), self.operand())
            }
            8 => format!("NOT {}", self.condition(depth - 1)),
            9 => format!("({} AND {})", self.condition(depth - 1), self.condition(depth - 1)),
            _ => format!("{} OR {}", self.condition(depth - 1), self.condition(depth - 1)),
        }
    }

    fn set_action(&mut self) -> String {
        let path = self.path();
        let value = match self.rng.random_range(0..8) {
            0 => self.path(),
            1 => {
                let zero = self.given(json!({"N": "0"}));
                let step = self.number();
                let sign = self.pick(&["+", "-"]);
                format!("if_not_exists({path}, {zero}) {sign} {}", self.given(json!({"N": step})))
            }
            2 => {
                let list = json!({"L": [self.value(0)]});
                format!("list_append({}, {})", self.path(), self.given(list))
            }
            3 => {
                let step = self.number();
                format!("{} + {}", self.path(), self.given(json!({"N": step})))
            }
            _ => {
                let value = self.value(2);
                self.given(value)
            }
        };
        format!("{path} = {value}")
    }

    fn update(&mut self) -> String {
        let mut clauses = Vec::new();
        if self.chance(70) {
            let actions: Vec<_> = (0..self.rng.random_range(1..4)).map(|_| self.set_action()).collect();
            clauses.push(format!("SET {}", actions.join(", ")));
        }
        if self.chance(25) {
            let paths: Vec<_> = (0..self.rng.random_range(1..3)).map(|_| self.path()).collect();
            clauses.push(format!("REMOVE {}", paths.join(", ")));
        }
        if self.chance(25) {
            let value = if self.chance(50) { json!({"N": self.number()}) } else { json!({"SS": ["b", "z"]}) };
            let path = self.attribute();
            clauses.push(format!("ADD {path} {}", self.given(value)));
        }
        if clauses.is_empty() || self.chance(15) {
            let path = self.attribute();
            clauses.push(format!("DELETE {path} {}", self.given(json!({"SS": ["a", "b"]}))));
        }
        clauses.join(" ")
    }

    /// Puts the placeholders into the request, sometimes one too many or too few.
    fn finish(&mut self, request: &mut Map<String, Value>) {
        let mut names = core::mem::take(&mut self.names);
        let mut values = core::mem::take(&mut self.values);
        if self.chance(2) {
            values.insert(":unused".into(), json!({"S": "a"}));
        }
        if self.chance(2) {
            names.insert("#unused".into(), "u".into());
        }
        if self.chance(2) {
            let first = values.keys().next().cloned();
            first.map(|first| values.remove(&first));
        }
        if !names.is_empty() {
            request.insert("ExpressionAttributeNames".into(), names.into());
        }
        if !values.is_empty() {
            request.insert("ExpressionAttributeValues".into(), values.into());
        }
    }

    /// The next request: its operation and its body.
    pub(crate) fn next(&mut self) -> (&'static str, Value) {
        let (table, keys) = self.pick(&TABLES);
        let mut request = Map::new();
        let name = if self.chance(1) { "nothere" } else { table };
        request.insert("TableName".into(), name.into());
        if self.chance(10) {
            let wanted = self.pick(&["TOTAL", "INDEXES", "NONE", "SOME"]);
            request.insert("ReturnConsumedCapacity".into(), wanted.into());
        }
        let operation = match self.rng.random_range(0..20) {
            0..=5 => {
                request.insert("Item".into(), self.item(keys).into());
                "PutItem"
            }
            6..=10 => {
                request.insert("Key".into(), self.key(keys).into());
                request.insert("UpdateExpression".into(), self.update().into());
                "UpdateItem"
            }
            11 | 12 => {
                request.insert("Key".into(), self.key(keys).into());
                "DeleteItem"
            }
            13 | 14 => {
                request.insert("Key".into(), self.key(keys).into());
                if self.chance(40) {
                    let paths: Vec<_> = (0..self.rng.random_range(1..3)).map(|_| self.path()).collect();
                    request.insert("ProjectionExpression".into(), paths.join(", ").into());
                }
                self.values.clear();
                let mut names = core::mem::take(&mut self.names);
                if self.chance(2) {
                    names.insert("#unused".into(), "u".into());
                }
                if !names.is_empty() {
                    request.insert("ExpressionAttributeNames".into(), names.into());
                }
                return ("GetItem", request.into());
            }
            15 | 16 => return self.query(keys, request),
            17 => {
                if self.chance(60) {
                    request.insert("FilterExpression".into(), self.condition(2).into());
                }
                if self.chance(20) {
                    request.insert("Select".into(), "COUNT".into());
                }
                self.finish(&mut request);
                return ("Scan", request.into());
            }
            18 => return self.batch_get(table, keys),
            _ => return self.batch_write(table, keys),
        };
        if self.chance(35) {
            request.insert("ConditionExpression".into(), self.condition(2).into());
            if self.chance(50) {
                request.insert("ReturnValuesOnConditionCheckFailure".into(), "ALL_OLD".into());
            }
        }
        if self.chance(60) {
            let all = ["NONE", "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW", "WHATEVER"];
            let wanted = if operation == "UpdateItem" { self.pick(&all[..5]) } else { self.pick(&all[..2]) };
            let wanted = if self.chance(3) { self.pick(&all) } else { wanted };
            request.insert("ReturnValues".into(), wanted.into());
        }
        self.finish(&mut request);
        (operation, request.into())
    }

    fn query(&mut self, keys: &[(&str, &str)], mut request: Map<String, Value>) -> (&'static str, Value) {
        let key = self.key(keys);
        let partition = key.get("pk").cloned().unwrap_or_else(|| json!({"S": "k1"}));
        let mut condition = format!("pk = {}", self.given(partition));
        if let (Some((_, kind)), true) = (keys.get(1), self.chance(60)) {
            let mut sort = || match *kind {
                "N" => json!({"N": self.rng.random_range(-4..5).to_string()}),
                _ => json!({"S": self.pick(&["k", "k1", "k2", "k3", "k4"])}),
            };
            let (low, high) = (sort(), sort());
            let test = match self.rng.random_range(0..5) {
                0 => format!("sk = {}", self.given(low)),
                1 => format!("sk < {}", self.given(low)),
                2 => format!("sk >= {}", self.given(low)),
                3 => format!("sk BETWEEN {} AND {}", self.given(low), self.given(high)),
                _ => format!("begins_with(sk, {})", self.given(low)),
            };
            condition = condition + " AND " + &test;
        }
        request.insert("KeyConditionExpression".into(), condition.into());
        if self.chance(40) {
            request.insert("FilterExpression".into(), self.condition(1).into());
        }
        if self.chance(20) {
            request.insert("ProjectionExpression".into(), self.path().into());
        }
        if self.chance(50) {
            request.insert("ScanIndexForward".into(), self.chance(50).into());
        }
        if self.chance(40) {
            request.insert("Limit".into(), self.rng.random_range(0..6).into());
        }
        if self.chance(20) {
            request.insert("ConsistentRead".into(), true.into());
        }
        if self.chance(15) {
            request.insert("ExclusiveStartKey".into(), self.key(keys).into());
        }
        self.finish(&mut request);
        ("Query", request.into())
    }

    fn batch_get(&mut self, table: &str, keys: &[(&str, &str)]) -> (&'static str, Value) {
        let all: Vec<Value> = (0..self.rng.random_range(0..5)).map(|_| self.key(keys).into()).collect();
        let mut part = json!({"Keys": all});
        if self.chance(20) {
            part["ConsistentRead"] = true.into();
        }
        ("BatchGetItem", json!({"RequestItems": {table: part}, "ReturnConsumedCapacity": "TOTAL"}))
    }

    fn batch_write(&mut self, table: &str, keys: &[(&str, &str)]) -> (&'static str, Value) {
        let all: Vec<Value> = (0..self.rng.random_range(1..5))
            .map(|_| match self.chance(60) {
                true => json!({"PutRequest": {"Item": self.item(keys)}}),
                false => json!({"DeleteRequest": {"Key": self.key(keys)}}),
            })
            .collect();
        ("BatchWriteItem", json!({"RequestItems": {table: all}, "ReturnConsumedCapacity": "INDEXES"}))
    }
}
