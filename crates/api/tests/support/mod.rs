//! A front on an ephemeral port, and a plain HTTP client without any SDK.

#![allow(dead_code, reason = "each test file uses its own part")]

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use meridian_api::dynamodb::{AuthMode, FrontConfig, serve};
use meridian_api::memory::MemoryTables;
use meridian_api::{Credential, ServedBy};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const ACCESS_KEY_ID: &str = "MERIDIANEXAMPLE00000";
pub(crate) const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// May only read, and only `audit-*` tables.
pub(crate) const READER_ID: &str = "MERIDIANREADER000000";

pub(crate) fn served_by() -> ServedBy {
    ServedBy { region: "us-east-1".parse().unwrap(), node: "us-east-1-a-0".parse().unwrap() }
}

pub(crate) fn credentials() -> [Credential; 2] {
    let own = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let make = |id, tables: &[&str], actions: &[&str]| {
        Credential::new(id, SECRET_ACCESS_KEY.parse().unwrap(), own(tables), own(actions)).unwrap()
    };
    [make(ACCESS_KEY_ID, &["*"], &["*"]), make(READER_ID, &["audit-*"], &["GetItem", "Query", "Scan"])]
}

/// A front over fresh tables in memory; stops when told to.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(auth: AuthMode) -> Self {
        Self::start_with(FrontConfig::new(served_by(), auth)).await
    }

    pub(crate) async fn start_with(config: FrontConfig) -> Self {
        let tables = Arc::new(MemoryTables::new(served_by(), credentials()));
        Self::start_over(tables, config).await
    }

    pub(crate) async fn start_over(tables: Arc<dyn meridian_api::Tables>, config: FrontConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(listener, tables, config, async move {
            let _ = stopped.await;
        }));
        Self { address, stop: Some(stop), server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops gracefully and waits for the server to be gone.
    pub(crate) async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.server.await.unwrap();
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

/// Sends requests as they are, unsigned unless headers say otherwise.
#[derive(Clone)]
pub(crate) struct Plain {
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Plain {
    pub(crate) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), client: Client::builder(TokioExecutor::new()).build_http() }
    }

    pub(crate) async fn send(
        &self,
        operation: &str,
        body: impl Into<Bytes>,
        extra: &[(&str, &str)],
    ) -> Answer {
        let mut request = http::Request::post(&self.url)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .body(Full::new(body.into()))
            .unwrap();
        for (name, value) in extra {
            let name: http::HeaderName = name.parse().unwrap();
            match *value {
                "" => request.headers_mut().remove(name),
                value => request.headers_mut().insert(name, value.parse().unwrap()),
            };
        }
        self.request(request).await
    }

    pub(crate) async fn request(&self, request: http::Request<Full<Bytes>>) -> Answer {
        let (head, body) = self.client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub(crate) async fn call(&self, operation: &str, body: &Value) -> Answer {
        self.send(operation, body.to_string(), &[]).await
    }
}
