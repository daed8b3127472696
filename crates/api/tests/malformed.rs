//! A table of malformed requests, each with its exact answer.
//!
//! The table is `data/malformed.json`. It runs against a front of its own, or against any endpoint that
//! `MERIDIAN_TEST_ENDPOINT` names (one that asks for no signatures).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod support;

use meridian_api::dynamodb::AuthMode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::{Plain, Running};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    operation: String,
    /// The request as JSON, or
    #[serde(default)]
    body: Option<Value>,
    /// as text that may be none.
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    status: u16,
    #[serde(rename = "type")]
    kind: String,
    message: Option<String>,
}

/// Texts too long or too deep to be written down.
fn filled(text: &str) -> String {
    let nested = |levels: usize| "{\"L\":[".repeat(levels) + "{\"NULL\":true}" + &"]}".repeat(levels);
    let lists = "[".repeat(10_000) + &"]".repeat(10_000);
    let parentheses = "(".repeat(10_000) + "a = a" + &")".repeat(10_000);
    let nots = "NOT ".repeat(10_000) + "attribute_exists(a)";
    text.replace("\"@NEST33@\"", &nested(33))
        .replace("\"@NEST100@\"", &nested(100))
        .replace("\"@NEST10000@\"", &nested(10_000))
        .replace("\"@LISTS10000@\"", &lists)
        .replace("@PARENS10000@", &parentheses)
        .replace("@NOTS10000@", &nots)
        .replace("@BIG@", &"x".repeat(400 * 1024))
}

async fn create(client: &Plain, name: &str, keys: &[(&str, &str)]) {
    let schema: Vec<_> = keys
        .iter()
        .zip(["HASH", "RANGE"])
        .map(|((name, _), role)| json!({"AttributeName": name, "KeyType": role}))
        .collect();
    let attributes: Vec<_> =
        keys.iter().map(|(name, kind)| json!({"AttributeName": name, "AttributeType": kind})).collect();
    let body = json!({
        "TableName": name, "BillingMode": "PAY_PER_REQUEST", "KeySchema": schema, "AttributeDefinitions": attributes
    });
    let answer = client.call("CreateTable", &body).await;
    let there = answer.json()["__type"].as_str().is_some_and(|kind| kind.ends_with("ResourceInUseException"));
    assert!(answer.status == 200 || there, "{answer:?}");
}

#[tokio::test]
async fn every_malformed_request_has_its_exact_answer() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("data/malformed.json")).unwrap();
    assert!(cases.len() >= 100, "only {} cases", cases.len());
    let names: BTreeSet<_> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "two cases have one name");

    let own = Running::start(AuthMode::None).await;
    let client = Plain::new(&std::env::var("MERIDIAN_TEST_ENDPOINT").unwrap_or_else(|_| own.url()));
    create(&client, "hash", &[("pk", "S")]).await;
    create(&client, "range", &[("pk", "S"), ("sk", "N")]).await;
    create(&client, "binary", &[("pk", "B")]).await;

    let mut wrong = Vec::new();
    for case in &cases {
        let text = match (&case.body, &case.text) {
            (Some(body), None) => filled(&body.to_string()),
            (None, Some(text)) => text.clone(),
            _ => panic!("{}: a case has either a body or a text", case.name),
        };
        let headers: Vec<_> =
            case.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = client.send(&case.operation, text, &headers).await;
        let body = answer.json();
        let kind = body["__type"].as_str().and_then(|kind| kind.split('#').nth(1)).unwrap_or("");
        let message = body["message"].as_str().or(body["Message"].as_str());
        let found = (answer.status, kind, message);
        let expected = (case.status, case.kind.as_str(), case.message.as_deref());
        if found != expected {
            wrong.push(format!("{}:\n  expected {expected:?}\n  found    {found:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    // Nothing of it harmed the node.
    let item = json!({"TableName": "hash", "Item": {"pk": {"S": "well"}}});
    assert_eq!(client.call("PutItem", &item).await.status, 200);
    own.stop().await;
}
