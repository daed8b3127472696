//! Random requests to the front and to dynoxide, an independent implementation of the API, compared answer by answer.
//!
//! Differences that are meant are listed, each with its reason, in `explained.rs`. A failure prints the seed and the
//! request; `MERIDIAN_DIFFERENTIAL_SEED` replays it, `MERIDIAN_DIFFERENTIAL_CASES` sets how many are tried.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod explained;
mod generate;
#[path = "../support/mod.rs"]
mod support;

use explained::explain;
use generate::{Generator, TABLES};
use meridian_api::dynamodb::AuthMode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::{Answer, Plain, Running};

/// Dynoxide looks for the parts of a signature without checking it.
const AUTHORIZATION: (&str, &str) = (
    "authorization",
    "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=b",
);
const DATE: (&str, &str) = ("x-amz-date", "20260101T000000Z");

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// The answer with everything that is no promise put into one order.
fn canonical(operation: &str, answer: &Answer) -> (u16, Value) {
    let mut body = answer.json();
    if operation == "Scan"
        && let Some(items) = body.get_mut("Items").and_then(Value::as_array_mut)
    {
        items.sort_by_key(|item| sorted(item.clone()).to_string());
    }
    (answer.status, sorted(body))
}

/// Sets in order, at any depth.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| {
                let mut value = sorted(value);
                if let ("SS" | "NS" | "BS", Some(set)) = (name.as_str(), value.as_array_mut()) {
                    set.sort_by_key(ToString::to_string);
                }
                (name, value)
            })
            .collect(),
        Value::Array(list) => list.into_iter().map(sorted).collect(),
        other => other,
    }
}

struct Pair {
    ours: Plain,
    theirs: Plain,
}

impl Pair {
    async fn call(&self, operation: &str, body: &Value) -> (Answer, Answer) {
        let text = body.to_string();
        let headers = [AUTHORIZATION, DATE];
        let ours = self.ours.send(operation, text.clone(), &headers).await;
        (ours, self.theirs.send(operation, text, &headers).await)
    }

    async fn create_tables(&self) {
        for (name, keys) in TABLES {
            let schema: Vec<_> = keys
                .iter()
                .zip(["HASH", "RANGE"])
                .map(|((name, _), role)| json!({"AttributeName": name, "KeyType": role}))
                .collect();
            let attributes: Vec<_> = keys
                .iter()
                .map(|(name, kind)| json!({"AttributeName": name, "AttributeType": kind}))
                .collect();
            let body = json!({
                "TableName": name, "BillingMode": "PAY_PER_REQUEST", "KeySchema": schema,
                "AttributeDefinitions": attributes
            });
            let (ours, theirs) = self.call("CreateTable", &body).await;
            assert_eq!((ours.status, theirs.status), (200, 200), "{ours:?} {theirs:?}");
        }
    }

    /// Deletes the item that a write is about, which only one of the two has done.
    async fn forget(&self, body: &Value) {
        let Some((_, keys)) = TABLES.iter().find(|(name, _)| body["TableName"] == *name) else { return };
        let item = if body["Key"].is_object() { &body["Key"] } else { &body["Item"] };
        let key: Value = keys.iter().map(|(name, _)| ((*name).to_owned(), item[*name].clone())).collect();
        self.call("DeleteItem", &json!({"TableName": body["TableName"], "Key": key})).await;
    }

    /// All items of a table, read page by page.
    async fn contents(client: &Plain, table: &str, limit: u32) -> Vec<String> {
        let mut items = Vec::new();
        let mut start = Value::Null;
        loop {
            let body = json!({"TableName": table, "Limit": limit, "ExclusiveStartKey": start});
            let answer = client.send("Scan", body.to_string(), &[AUTHORIZATION, DATE]).await.json();
            items.extend(
                answer["Items"].as_array().unwrap().iter().map(|item| sorted(item.clone()).to_string()),
            );
            start = answer["LastEvaluatedKey"].clone();
            if start.is_null() {
                break;
            }
        }
        items.sort();
        items
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_requests_are_answered_alike() {
    let seed = setting("MERIDIAN_DIFFERENTIAL_SEED", 20_260_101);
    let cases = setting("MERIDIAN_DIFFERENTIAL_CASES", 3_000);
    let front = Running::start(AuthMode::None).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let theirs = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(dynoxide::server::serve_on(listener, dynoxide::Database::memory().unwrap()));
    let pair = Pair { ours: Plain::new(&front.url()), theirs: Plain::new(&theirs) };
    pair.create_tables().await;

    let mut generator = Generator::new(seed);
    let mut good = 0u64;
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    let mut unexplained = Vec::new();
    for case in 0..cases {
        let (operation, body) = generator.next();
        let (ours, theirs) = pair.call(operation, &body).await;
        good += u64::from(ours.status == 200 && theirs.status == 200);
        let (ours, theirs) = (canonical(operation, &ours), canonical(operation, &theirs));
        if ours == theirs {
            continue;
        }
        match explain(operation, &body, &ours, &theirs) {
            Some(reason) => {
                *reasons.entry(reason).or_default() += 1;
                if ours.0 != theirs.0 {
                    pair.forget(&body).await;
                }
            }
            None => unexplained.push(format!(
                "case {case} {operation} {body}\n  ours   {} {}\n  theirs {} {}",
                ours.0, ours.1, theirs.0, theirs.1
            )),
        }
        if unexplained.len() >= 20 {
            break;
        }
    }
    println!("{cases} requests, {good} succeeded; explained differences: {reasons:#?}");
    assert!(
        unexplained.is_empty(),
        "seed {seed}: {} unexplained differences:\n{}",
        unexplained.len(),
        unexplained.join("\n")
    );
    assert!(good * 3 > cases, "only {good} of {cases} requests succeeded: the generator tests too little");
    for (name, _) in TABLES {
        let expected = Pair::contents(&pair.theirs, name, 3).await;
        assert_eq!(Pair::contents(&pair.ours, name, 2).await, expected, "{name}");
    }
    server.abort();
    front.stop().await;
}
