//! The client against an independent server (dynoxide), an independent verifier of signatures (scratchstack), and
//! servers that misbehave.

use super::*;
use dynoxide::Database;
use meridian_types::TableName;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const LIMIT: Duration = Duration::from_secs(5);

fn target(address: impl std::fmt::Display) -> Target {
    Target {
        endpoint: format!("http://{address}").parse().unwrap(),
        region: "eu-west-1".to_owned(),
        credentials: Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        },
    }
}

/// A server that says one text to each connection, one after the other; `hang` says nothing.
async fn server(texts: Vec<String>) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for text in texts {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 8192];
            let _ = stream.read(&mut buffer).await.unwrap();
            if text == "hang" {
                // Keeps the connection open for as long as any test lasts.
                tokio::time::sleep(Duration::from_secs(600)).await;
            }
            stream.write_all(text.as_bytes()).await.unwrap();
        }
    });
    target(address)
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nx-meridian-token: abc\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

async fn get(target: &Target, limit: Duration) -> Outcome<Answer> {
    Client::new(target).call("GetItem", &json!({}), limit).await
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_unknown_never_a_failure() {
    let outcome = get(&server(vec!["hang".to_owned()]).await, Duration::from_millis(200)).await;
    assert_eq!(outcome, Outcome::Unknown("the deadline passed".to_owned()));
    let cut = answer("200 OK", "{\"a\":1}").replace("{\"a\":1}", "{");
    for text in [String::new(), cut, answer("200 OK", "{")] {
        let outcome = get(&server(vec![text.clone()]).await, LIMIT).await;
        assert!(matches!(outcome, Outcome::Unknown(_)), "{text:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_has_certainly_done_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = target(listener.local_addr().unwrap());
    drop(listener);
    let Outcome::Refused(refusal) = get(&target, LIMIT).await else { panic!("not refused") };
    assert_eq!(refusal.code, Refusal::NOT_SENT);
}

#[tokio::test]
async fn a_4xx_is_a_refusal_and_a_5xx_leaves_it_open() {
    let throttled = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"slow"}"#;
    let outcome = get(&server(vec![answer("400 Bad Request", throttled)]).await, LIMIT).await;
    let refusal = Refusal { code: "ThrottlingException".to_owned(), message: "slow".to_owned() };
    assert_eq!(outcome, Outcome::Refused(refusal));
    let broken = r#"{"__type":"x#InternalServerError","message":"no"}"#;
    let outcome = get(&server(vec![answer("500 Oops", broken)]).await, LIMIT).await;
    assert_eq!(outcome, Outcome::Unknown("InternalServerError: no".to_owned()));
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_is_made_again() {
    let mut client = Client::new(&server(vec![answer("200 OK", "{}"), answer("200 OK", "{}")]).await);
    for _ in 0..2 {
        let answer = client.call("GetItem", &json!({}), LIMIT).await.done().unwrap();
        assert_eq!(answer, Answer { body: json!({}), token: Some("abc".to_owned()) });
        // The server has closed its end; the client finds out when it turns to the connection again.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_independent_server_understands_every_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = target(listener.local_addr().unwrap());
    tokio::spawn(dynoxide::server::serve_on(listener, Database::memory().unwrap()));
    let mut client = Client::new(&target);
    let name = TableName::new("orders").unwrap();
    assert_eq!(client.describe_table(&name).await, Ok(None));
    for sorted in [true, false] {
        let shape = TableShape::own(name.clone(), sorted);
        let policy = meridian_types::PolicyName::new("active-passive-sync").unwrap();
        client.create_table(&shape, Some(&policy), LIMIT).await.unwrap();
        assert_eq!(client.describe_table(&name).await, Ok(Some((shape, Some(policy)))));
        client.delete_table(&name).await.unwrap();
        client.delete_table(&name).await.unwrap();
    }
    let refused = client.call("PutItem", &json!({"TableName": "orders"}), LIMIT).await;
    assert!(matches!(refused, Outcome::Refused(_)), "{refused:?}");
}

#[tokio::test]
async fn an_independent_verifier_accepts_the_signature_and_no_changed_request() {
    use scratchstack_aws_signature::{
        GetSigningKeyRequest, GetSigningKeyResponse, KSecretKey, NO_ADDITIONAL_SIGNED_HEADERS,
        SignatureOptions, service_for_signing_key_fn, sigv4_validate_request,
    };
    async fn key(request: GetSigningKeyRequest) -> Result<GetSigningKeyResponse, BoxError> {
        let secret: KSecretKey = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".parse()?;
        let key = secret.to_ksigning(request.request_date(), request.region(), request.service());
        Ok(GetSigningKeyResponse::builder().signing_key(key).build()?)
    }
    let mut client = Client::new(&target("127.0.0.1:8000"));
    let request = client.request("GetItem", &json!({"a": 1}), Some("token")).unwrap();
    let (mut head, _) = request.into_parts();
    head.headers.insert("host", "127.0.0.1:8000".parse().unwrap());
    for (body, is_accepted) in [("{\"a\":1}", true), ("{\"a\":2}", false)] {
        let request = Request::from_parts(head.clone(), Bytes::from(body));
        let mut service = service_for_signing_key_fn(key);
        let now = chrono::DateTime::<chrono::Utc>::from(SystemTime::now());
        let result = sigv4_validate_request(
            request,
            "eu-west-1",
            "dynamodb",
            &mut service,
            now,
            &NO_ADDITIONAL_SIGNED_HEADERS,
            SignatureOptions::default(),
        )
        .await;
        assert_eq!(result.is_ok(), is_accepted, "{:?}", result.err());
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[test]
fn endpoints_are_a_scheme_a_host_and_a_port() {
    for good in ["http://127.0.0.1:8000", "http://[::1]:8000/", "http://localhost:1"] {
        assert!(good.parse::<Endpoint>().is_ok(), "{good}");
    }
    for bad in ["", "127.0.0.1:8000", "https://a:1", "http://a", "http://a:1/x", "http://a:1/?q"] {
        let error = bad.parse::<Endpoint>().unwrap_err().to_string();
        assert!(error.contains("http://127.0.0.1:8000"), "{error}");
    }
}
