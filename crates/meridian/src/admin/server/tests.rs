//! The admin API end to end over loopback, with a small in-memory cluster behind it.

use super::*;
use crate::admin::anycast::AnycastStatus;
use crate::admin::conflicts::{ConflictEntry, ConflictId, ConflictList, ResolveConflict, TableChecksum};
use crate::admin::failover::{ExpulsionPlan, FailoverDone, FailoverPlan};
use crate::admin::jwt::{SignedToken, SigningKeyInfo, SigningKeyList, VerifiedToken};
use crate::admin::members::{Joined, NewJoinToken, NodeList};
use crate::admin::salvage::{SalvageDone, SalvageEntry, SalvageList};
use crate::admin::services::{ServiceList, ServicesStatus};
use crate::admin::types::{
    Health, KeyInfo, KeySpec, MoveTable, NewKey, Status, Switched, SystemStatus, TableInfo,
};
use crate::admin::{AdminClient, AdminClientError};
use crate::http::{Endpoint, request};
use async_trait::async_trait;
use hyper::Method;
use meridian_types::{NodeName, RegionName, TableId};
use serde_json::json;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Default)]
struct Memory {
    tables: Mutex<Vec<TableInfo>>,
}

#[async_trait]
impl ClusterAdmin for Memory {
    async fn health(&self) -> Health {
        Health { ready: true, node: NodeName::new("n1").unwrap(), region: RegionName::new("r1").unwrap() }
    }
    async fn status(&self) -> Result<Status, ApiError> {
        let system = SystemStatus { leader: None, term: 1, level: 1 };
        Ok(Status {
            cluster: "c".into(),
            system,
            regions: vec![],
            groups: vec![],
            policies: vec![],
            refoundations: vec![],
        })
    }
    async fn tables(&self) -> Result<Vec<TableInfo>, ApiError> {
        Ok(self.tables.lock().unwrap().clone())
    }
    async fn table(&self, name: &TableName) -> Result<TableInfo, ApiError> {
        let tables = self.tables.lock().unwrap();
        let found = tables.iter().find(|table| table.name == *name).cloned();
        found.ok_or_else(|| ApiError::not_found(format!("there is no table {name}")))
    }
    async fn create_table(&self, request: CreateTable) -> Result<TableInfo, ApiError> {
        let CreateTable { name, key, policy } = request;
        let info = TableInfo { name, id: TableId(1), key, policy, groups: vec![], moving: None };
        self.tables.lock().unwrap().push(info.clone());
        Ok(info)
    }
    async fn delete_table(&self, name: &TableName) -> Result<(), ApiError> {
        self.table(name).await?;
        self.tables.lock().unwrap().retain(|table| table.name != *name);
        Ok(())
    }
    async fn move_table(&self, name: &TableName, request: MoveTable) -> Result<TableInfo, ApiError> {
        Ok(TableInfo { policy: request.policy, ..self.table(name).await? })
    }
    async fn cancel_move(&self, name: &TableName) -> Result<(), ApiError> {
        self.table(name).await.map(drop)
    }
    async fn policies(&self) -> Result<Vec<Policy>, ApiError> {
        Err(ApiError::unavailable("no leader yet; try again"))
    }
    async fn create_policy(&self, policy: Policy) -> Result<Policy, ApiError> {
        Ok(policy)
    }
    async fn update_policy(&self, policy: Policy) -> Result<Policy, ApiError> {
        Ok(policy)
    }
    async fn nodes(&self) -> Result<NodeList, ApiError> {
        Ok(NodeList { nodes: vec![] })
    }
    async fn create_join_token(&self, _: CreateJoinToken) -> Result<NewJoinToken, ApiError> {
        Err(ApiError::unavailable("no leader yet; try again"))
    }
    async fn join(&self, _: Join) -> Result<Joined, ApiError> {
        Err(ApiError::new(ErrorCode::Unauthorized, "the join token is not known here"))
    }
    async fn leave(&self, name: &NodeName, _: bool) -> Result<(), ApiError> {
        Err(ApiError::not_found(format!("there is no node {name}")))
    }
    async fn switch_over(&self, request: Switchover) -> Result<Switched, ApiError> {
        Ok(Switched { policies: request.policy.into_iter().collect() })
    }
    async fn drain_region(&self, region: &RegionName, _: bool) -> Result<(), ApiError> {
        Err(ApiError::not_found(format!("there is no region {region}")))
    }
    async fn expulsion_plan(&self, region: &RegionName) -> Result<ExpulsionPlan, ApiError> {
        Err(ApiError::not_found(format!("there is no region {region}")))
    }
    async fn expel_region(&self, region: &RegionName, _: Expel) -> Result<FailoverDone, ApiError> {
        Err(ApiError::not_found(format!("there is no region {region}")))
    }
    async fn readmit_region(&self, region: &RegionName) -> Result<(), ApiError> {
        Err(ApiError::not_found(format!("there is no region {region}")))
    }
    async fn failover_plan(&self, from: RegionName, _: Option<PolicyName>) -> Result<FailoverPlan, ApiError> {
        Ok(FailoverPlan { from, answers: true, grace_ms: 0, groups: vec![] })
    }
    async fn failover(&self, order: Failover) -> Result<FailoverDone, ApiError> {
        Ok(FailoverDone { from: order.from, groups: vec![] })
    }
    async fn checksum(&self, name: &TableName) -> Result<TableChecksum, ApiError> {
        Err(ApiError::not_found(format!("no table {name}")))
    }

    async fn conflicts(&self, _: Option<&TableName>) -> Result<ConflictList, ApiError> {
        Ok(ConflictList::default())
    }

    async fn conflict(&self, id: ConflictId) -> Result<ConflictEntry, ApiError> {
        Err(ApiError::not_found(format!("no conflict {id}")))
    }

    async fn resolve_conflict(&self, id: ConflictId, _: ResolveConflict) -> Result<ConflictEntry, ApiError> {
        Err(ApiError::not_found(format!("no conflict {id}")))
    }

    async fn salvage(&self, _: Option<SalvageId>) -> Result<SalvageList, ApiError> {
        Ok(SalvageList::default())
    }
    async fn salvage_entry(&self, id: SalvageId) -> Result<SalvageEntry, ApiError> {
        Err(ApiError::not_found(format!("there is no entry {id}")))
    }
    async fn decide_salvage(&self, order: SalvageOrder) -> Result<SalvageDone, ApiError> {
        Ok(SalvageDone { done: order.ids, refused: vec![] })
    }
    async fn keys(&self) -> Result<Vec<KeyInfo>, ApiError> {
        Ok(vec![])
    }
    async fn create_key(&self, _: CreateKey) -> Result<NewKey, ApiError> {
        Ok(NewKey { access_key_id: "AKIA1".into(), secret_access_key: Secret::new("s".into()) })
    }
    async fn delete_key(&self, _: &str) -> Result<(), ApiError> {
        Ok(())
    }
    async fn services(&self) -> Result<ServiceList, ApiError> {
        Ok(ServiceList { services: vec![] })
    }
    async fn anycast(&self) -> Result<AnycastStatus, ApiError> {
        Ok(AnycastStatus { node: NodeName::new("n1").unwrap(), addresses: vec![], peers: vec![] })
    }
    async fn services_status(&self) -> Result<ServicesStatus, ApiError> {
        Ok(ServicesStatus { judge: NodeName::new("n1").unwrap(), regions: vec![], services: vec![] })
    }
    async fn put_service(&self, service: Service, _: bool) -> Result<Service, ApiError> {
        Ok(service)
    }
    async fn purge_service(&self, name: &ServiceName, tag: Option<String>) -> Result<(), ApiError> {
        Err(ApiError::not_found(format!("{name} {}", tag.unwrap_or_default())))
    }

    async fn remove_service(&self, name: &ServiceName) -> Result<(), ApiError> {
        Err(ApiError::not_found(format!("there is no service {name}")))
    }

    async fn signing_keys(&self) -> Result<SigningKeyList, ApiError> {
        Ok(SigningKeyList { keys: vec![] })
    }
    async fn create_signing_key(&self, _request: CreateSigningKey) -> Result<SigningKeyInfo, ApiError> {
        Err(ApiError::conflict("there is one"))
    }
    async fn delete_signing_key(&self, kid: &str) -> Result<(), ApiError> {
        Err(ApiError::not_found(kid))
    }
    async fn key_set(&self) -> serde_json::Value {
        json!({"keys": []})
    }
    async fn sign_token(&self, _request: SignToken) -> Result<SignedToken, ApiError> {
        Ok(SignedToken { token: "t".into() })
    }
    async fn verify_token(&self, token: &str) -> Result<VerifiedToken, ApiError> {
        Ok(VerifiedToken { valid: token == "t", claims: None, reason: None })
    }
    async fn metrics(&self) -> String {
        "up 1\n".to_owned()
    }
}

async fn start(token: Option<&str>) -> (Endpoint, crate::shutdown::Trigger) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (trigger, shutdown) = Shutdown::new();
    let token = token.map(|token| Secret::new(token.to_owned()));
    tokio::spawn(serve(listener, token, Arc::new(Memory::default()), shutdown));
    (endpoint, trigger)
}

/// Status and body of one request.
async fn send(to: &Endpoint, method: Method, path: &str, body: Option<&str>) -> (u16, String) {
    let body = body.map(|text| text.as_bytes().to_vec());
    let reply = request(to, method, path, None, body, Duration::from_secs(5)).await.unwrap();
    (reply.status.as_u16(), String::from_utf8(reply.body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_table_lives_and_dies_through_the_client() {
    let (endpoint, _trigger) = start(None).await;
    let client = AdminClient::new(endpoint, None);
    assert!(client.health().await.unwrap().ready);
    assert_eq!(client.status().await.unwrap().cluster, "c");
    let name = TableName::new("orders").unwrap();
    let key: KeySpec = "pk:S,sk:N".parse().unwrap();
    let policy = "read-local".parse().unwrap();
    let made = client.create_table(&CreateTable { name: name.clone(), key, policy }).await.unwrap();
    assert_eq!(client.table(&name).await.unwrap(), made);
    assert_eq!(client.tables().await.unwrap().tables, vec![made]);
    client.delete_table(&name).await.unwrap();
    let error = client.delete_table(&name).await.unwrap_err();
    let AdminClientError::Refused { status, message } = error else { panic!("{error}") };
    assert_eq!((status.as_u16(), message.as_str()), (404, "there is no table orders"));
    assert!(client.policies().await.unwrap_err().to_string().contains("try again"));
}

#[tokio::test]
async fn bad_requests_have_their_own_words() {
    let (endpoint, _trigger) = start(None).await;
    let (get, post) = (Method::GET, Method::POST);
    let huge = format!("{{\"name\":\"{}\"}}", "x".repeat(70_000));
    let deep = "[".repeat(10_000);
    let cases = [
        (&get, "/v1/nothing", None, 404, "there is nothing at /v1/nothing"),
        (&Method::PUT, "/v1/tables", Some("{}"), 405, "PUT is not possible at /v1/tables"),
        (&get, "/v1/tables/a", None, 400, "it must be 3 to 255 characters"),
        (&get, "/v1/tables/%ff%fe", None, 400, "the request was refused: 400"),
        (&post, "/v1/tables", None, 400, "send the body as JSON"),
        (&post, "/v1/tables", Some("{"), 400, "EOF while parsing an object"),
        (&post, "/v1/tables", Some("{}"), 400, "missing field `name`"),
        (&post, "/v1/tables", Some(deep.as_str()), 400, "the body is not as expected"),
        (&post, "/v1/tables", Some(huge.as_str()), 413, "the body is larger than 64 KiB"),
        (&post, "/v1/tables", Some(r#"{"name":"abc","key":"pk","policy":"p"}"#), 400, "is not a key"),
        (&post, "/v1/tables", Some(r#"{"name":"abc","key":"pk:S","policy":"P"}"#), 400, "policy name"),
        (
            &post,
            "/v1/tables",
            Some(r#"{"name":"abc","key":"pk:S","policy":"p","x":1}"#),
            400,
            "unknown field `x`",
        ),
        (&post, "/v1/keys", Some(r#"{"name":""}"#), 400, "must be 1 to 64 characters"),
        (&post, "/v1/keys", Some(r#"{"name":"a","tables":[]}"#), 400, "`tables` must list 1 to 100 names"),
        (&Method::DELETE, "/v1/keys/a-b", None, 400, "an access key id is"),
        (&post, "/v1/policies", Some(r#"{"name":"p"}"#), 400, "missing field `pattern`"),
    ];
    for (method, path, body, status, words) in cases {
        let (found, text) = send(&endpoint, method.clone(), path, body).await;
        assert_eq!(found, status, "{method} {path}: {text}");
        let error: crate::admin::types::ErrorBody = serde_json::from_str(&text).unwrap();
        assert!(error.error.message.contains(words), "{method} {path}: {text}");
    }
    assert_eq!(send(&endpoint, get, "/metrics", None).await, (200, "up 1\n".to_owned()));
}

#[tokio::test]
async fn the_token_is_asked_of_everyone() {
    let (endpoint, _trigger) = start(Some("0123456789abcdef")).await;
    for token in [None, Some("0123456789abcdeF"), Some("")] {
        let client = AdminClient::new(endpoint.clone(), token.map(|token| Secret::new(token.to_owned())));
        let error = client.health().await.unwrap_err().to_string();
        assert!(error.contains("the admin token is missing or wrong"), "{error}");
    }
    let client = AdminClient::new(endpoint, Some(Secret::new("0123456789abcdef".to_owned())));
    assert!(client.health().await.unwrap().ready);
}

#[tokio::test]
async fn without_a_token_names_that_others_control_are_refused() {
    let (endpoint, _trigger) = start(None).await;
    let ask = async |host: &str| {
        let mut stream = tokio::net::TcpStream::connect(endpoint.authority()).await.unwrap();
        let text = format!("GET /v1/health HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    for (host, status) in [
        ("localhost:1", "200"),
        ("[::1]:5", "200"),
        ("127.0.0.1", "200"),
        ("evil.example", "403"),
        ("", "403"),
    ] {
        assert_eq!(ask(host).await, status, "{host}");
    }
}

#[tokio::test]
async fn heads_are_bounded_and_the_end_is_clean() {
    let (endpoint, trigger) = start(None).await;
    let mut stream = tokio::net::TcpStream::connect(endpoint.authority()).await.unwrap();
    let long = format!("GET /v1/health HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(40_000));
    // The server may close before it has read everything.
    _ = stream.write_all(long.as_bytes()).await;
    let mut answer = Vec::new();
    _ = stream.read_to_end(&mut answer).await;
    let first = String::from_utf8_lossy(&answer);
    assert!(first.is_empty() || first.starts_with("HTTP/1.1 431"), "{first}");
    trigger.fire();
    let refused = async {
        while tokio::net::TcpStream::connect(endpoint.authority()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refused).await.unwrap();
}
