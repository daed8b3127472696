//! The front as a server: its headers, its bounds, and how it stops.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod support;

use async_trait::async_trait;
use bytes::Bytes;
use core::time::Duration;
use http_body_util::Full;
use meridian_api::dynamodb::{AuthMode, FrontConfig, MAX_BODY, MAX_HEAD};
use meridian_api::memory::MemoryTables;
use meridian_api::{Credential, Reply, RequestContext, TableChange, Tables};
use meridian_dynamo::DynamoError;
use meridian_dynamo::read::{GetOp, GetOutcome, Page, QueryOp, ScanOp};
use meridian_dynamo::table::{TableDefinition, TableDescription};
use meridian_dynamo::write::{WriteOp, WriteOutcome};
use meridian_types::TableName;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{Plain, Running, served_by};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

fn create() -> serde_json::Value {
    json!({
        "TableName": "abc", "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}]
    })
}

fn get() -> serde_json::Value {
    json!({"TableName": "abc", "Key": {"pk": {"S": "a"}}})
}

#[tokio::test]
async fn answers_name_who_served_them_and_carry_a_token() {
    let front = Running::start(AuthMode::None).await;
    let client = Plain::new(&front.url());
    let created = client.call("CreateTable", &create()).await;
    assert_eq!(created.status, 200);
    let put = client.call("PutItem", &json!({"TableName": "abc", "Item": {"pk": {"S": "a"}}})).await;
    assert_eq!((put.status, &put.body[..]), (200, &b"{}"[..]));
    assert_eq!(put.header("x-amz-crc32"), "2745614147");
    assert_eq!(put.header("content-type"), "application/x-amz-json-1.0");
    assert_eq!(put.header("x-meridian-region"), "us-east-1");
    assert_eq!(put.header("x-meridian-node"), "us-east-1-a-0");
    assert_eq!(put.header("x-meridian-staleness"), "");
    assert_eq!(put.header("x-amzn-requestid").len(), 32);
    let token = put.header("x-meridian-token");
    let read = client.send("GetItem", get().to_string(), &[("x-meridian-token", token)]).await;
    assert_eq!(read.header("x-meridian-staleness"), "leader");
    assert_eq!(read.json(), json!({"Item": {"pk": {"S": "a"}}}));
    // A refusal carries the client's own token on.
    let refused = client.send("GetItem", "{}", &[("x-meridian-token", token)]).await;
    assert_eq!((refused.status, refused.header("x-meridian-token")), (400, token));
    front.stop().await;
}

#[tokio::test]
async fn what_is_no_request_of_the_api_is_answered_as_the_api_does() {
    let front = Running::start(AuthMode::None).await;
    let client = Plain::new(&front.url());
    let ask = |method: &str, path: &str| {
        let request = http::Request::builder().method(method).uri(front.url() + path);
        client.request(request.body(Full::new(Bytes::new())).unwrap())
    };
    let healthy = ask("GET", "/").await;
    assert_eq!((healthy.status, &healthy.body[..]), (200, &b"healthy: dynamodb.us-east-1.meridian "[..]));
    for (method, path) in [("PUT", "/"), ("DELETE", "/"), ("POST", "/other"), ("GET", "/other")] {
        let answer = ask(method, path).await;
        assert_eq!(
            (answer.status, &answer.body[..]),
            (404, &b"<UnknownOperationException/>\n"[..]),
            "{method} {path}"
        );
    }
    let plain = client.send("ListTables", "{}", &[("content-type", "text/plain")]).await;
    assert_eq!(plain.status, 404);
    let json = client.send("ListTables", "{}", &[("content-type", "application/json; charset=utf-8")]).await;
    assert_eq!((json.status, json.header("content-type")), (200, "application/json"));
    let no_target = client.send("ListTables", "{}", &[("x-amz-target", "")]).await;
    assert!(no_target.json()["__type"].as_str().unwrap().ends_with("#UnknownOperationException"));
    front.stop().await;
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_and_one_at_it_is_read() {
    let front = Running::start(AuthMode::None).await;
    let client = Plain::new(&front.url());
    let at = client.send("ListTables", " ".repeat(MAX_BODY - 2) + "{}", &[]).await;
    assert_eq!(at.status, 200);
    let over = client.send("ListTables", " ".repeat(MAX_BODY - 1) + "{}", &[]).await;
    assert_eq!(over.status, 413);
    front.stop().await;
}

#[tokio::test]
async fn a_chunked_body_over_the_bound_is_refused() {
    let front = Running::start(AuthMode::None).await;
    let mut stream = TcpStream::connect(front.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: a\r\nx-amz-target: DynamoDB_20120810.ListTables\r\n\
                content-type: application/x-amz-json-1.0\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20));
    // The server may answer and close before everything is sent.
    for _ in 0..17 {
        if stream.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut answer = vec![0; 64];
    let read = stream.read(&mut answer).await.unwrap_or(0);
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(read == 0 || answer.starts_with("HTTP/1.1 413"), "{answer}");
    front.stop().await;
}

#[tokio::test]
async fn headers_have_a_bound() {
    let front = Running::start(AuthMode::None).await;
    let client = Plain::new(&front.url());
    let large = "x".repeat(MAX_HEAD + 1);
    let answer = client.send("ListTables", "{}", &[("x-large", &large)]).await;
    assert_eq!(answer.status, 431);
    let mut stream = TcpStream::connect(front.address).await.unwrap();
    let many: String = (0..65).map(|n| format!("x-{n}: a\r\n")).collect();
    stream.write_all(format!("POST / HTTP/1.1\r\n{many}\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    front.stop().await;
}

/// Tables whose reads wait until they are let go.
struct Held {
    inner: MemoryTables,
    waiting: AtomicUsize,
    go: Notify,
}

#[async_trait]
impl Tables for Held {
    async fn create_table(
        &self,
        ctx: &RequestContext,
        definition: TableDefinition,
    ) -> Result<Reply<Arc<TableDescription>>, DynamoError> {
        self.inner.create_table(ctx, definition).await
    }
    async fn table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<Option<Arc<TableDescription>>, DynamoError> {
        self.inner.table(ctx, name).await
    }
    async fn list_tables(
        &self,
        ctx: &RequestContext,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TableName>, DynamoError> {
        self.inner.list_tables(ctx, after, limit).await
    }
    async fn update_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        change: TableChange,
    ) -> Result<Reply<Arc<TableDescription>>, DynamoError> {
        self.inner.update_table(ctx, name, change).await
    }
    async fn delete_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<Reply<Arc<TableDescription>>, DynamoError> {
        self.inner.delete_table(ctx, name).await
    }
    async fn tag_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        tags: BTreeMap<String, String>,
    ) -> Result<Reply<()>, DynamoError> {
        self.inner.tag_table(ctx, name, tags).await
    }
    async fn untag_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        keys: &[String],
    ) -> Result<Reply<()>, DynamoError> {
        self.inner.untag_table(ctx, name, keys).await
    }
    async fn update_time_to_live(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        attribute: &str,
        enabled: bool,
    ) -> Result<Reply<()>, DynamoError> {
        self.inner.update_time_to_live(ctx, name, attribute, enabled).await
    }
    async fn write(&self, _: &RequestContext, _: WriteOp) -> Result<Reply<WriteOutcome>, DynamoError> {
        Err(DynamoError::Throttling("busy".to_owned()))
    }
    async fn get(&self, ctx: &RequestContext, op: GetOp) -> Result<Reply<GetOutcome>, DynamoError> {
        let go = self.go.notified();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        go.await;
        self.inner.get(ctx, op).await
    }
    async fn query(&self, ctx: &RequestContext, op: QueryOp) -> Result<Reply<Page>, DynamoError> {
        self.inner.query(ctx, op).await
    }
    async fn scan(&self, ctx: &RequestContext, op: ScanOp) -> Result<Reply<Page>, DynamoError> {
        self.inner.scan(ctx, op).await
    }
    fn credential(&self, access_key_id: &str) -> Option<Arc<Credential>> {
        self.inner.credential(access_key_id)
    }
}

async fn held(change: impl FnOnce(&mut FrontConfig)) -> (Running, Arc<Held>, Plain) {
    let mut config = FrontConfig::new(served_by(), AuthMode::None);
    change(&mut config);
    let inner = MemoryTables::new(served_by(), []);
    let tables = Arc::new(Held { inner, waiting: AtomicUsize::new(0), go: Notify::new() });
    let front = Running::start_over(Arc::clone(&tables) as Arc<dyn Tables>, config).await;
    let client = Plain::new(&front.url());
    assert_eq!(client.call("CreateTable", &create()).await.status, 200);
    (front, tables, client)
}

async fn until_waiting(tables: &Held, count: usize) {
    let reached = async {
        while tables.waiting.load(Ordering::SeqCst) < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reached).await.unwrap();
}

#[tokio::test]
async fn over_its_bound_the_front_sheds_with_a_retryable_exception() {
    let (front, tables, client) = held(|config| config.max_requests = 2).await;
    let reads: Vec<_> = (0..2)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.call("GetItem", &get()).await.status })
        })
        .collect();
    until_waiting(&tables, 2).await;
    let shed = client.call("ListTables", &json!({})).await;
    assert_eq!(shed.status, 400);
    assert!(shed.json()["__type"].as_str().unwrap().ends_with("#ThrottlingException"));
    tables.go.notify_waiters();
    for read in reads {
        assert_eq!(read.await.unwrap(), 200);
    }
    assert_eq!(client.call("ListTables", &json!({})).await.status, 200);
    front.stop().await;
}

#[tokio::test]
async fn a_request_past_its_deadline_is_answered_as_unknown() {
    let (front, _, client) = held(|config| config.deadline = Duration::from_millis(200)).await;
    let late = client.call("GetItem", &get()).await;
    assert_eq!(late.status, 500);
    assert!(late.json()["__type"].as_str().unwrap().ends_with("#InternalServerError"));
    assert!(late.json()["message"].as_str().unwrap().contains("may or may not have happened"));
    front.stop().await;
}

#[tokio::test]
async fn stopping_lets_requests_under_way_finish() {
    let (front, tables, client) = held(|_| {}).await;
    let read = tokio::spawn(async move { client.call("GetItem", &get()).await.status });
    until_waiting(&tables, 1).await;
    let address = front.address;
    let stop = tokio::spawn(front.stop());
    // The listener is gone at once; what was accepted is still served.
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), refused).await.unwrap();
    assert!(!stop.is_finished());
    tables.go.notify_waiters();
    assert_eq!(read.await.unwrap(), 200);
    stop.await.unwrap();
}

#[tokio::test]
async fn a_batch_of_which_nothing_was_done_fails_as_its_parts_do() {
    let (front, _, client) = held(|_| {}).await;
    let put = |name: &str| json!({"PutRequest": {"Item": {"pk": {"S": name}}}});
    let batch = json!({"RequestItems": {"abc": [put("a"), put("b")]}});
    let answer = client.call("BatchWriteItem", &batch).await;
    assert!(answer.json()["__type"].as_str().unwrap().ends_with("#ThrottlingException"));
    front.stop().await;
}
