//! One HTTP request over one connection, bounded in time and size.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tokio::net::TcpStream;

/// The largest answer that is read; the status of a large cluster stays well below.
const MAX_ANSWER: usize = 64 << 20;

/// Where a server listens: `http://host:port`, nothing after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    authority: String,
}

impl Endpoint {
    /// `host:port`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80)
    }

    /// The same host at another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        let host = self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host);
        Self { authority: format!("{host}:{port}") }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(128).collect();
        let hint = format!(
            "{shown:?} is not an endpoint; write it as http://HOST:PORT, such as http://127.0.0.1:8001"
        );
        if text.starts_with("https://") {
            return Err(
                "https endpoints are not supported; use http:// through a tunnel or on loopback".to_owned()
            );
        }
        let uri: hyper::Uri = text.parse().map_err(|_| hint.clone())?;
        let plain =
            uri.scheme_str() == Some("http") && matches!(uri.path_and_query(), Some(path) if path == "/");
        let authority =
            uri.authority().filter(|authority| plain && !authority.as_str().contains('@')).ok_or(hint)?;
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self { authority: format!("{}:{port}", authority.host()) })
    }
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens there, or the way is cut.
    #[error("cannot connect to {endpoint}: {source}")]
    Connect {
        /// Whom.
        endpoint: Endpoint,
        /// What the system said.
        source: std::io::Error,
    },
    /// Connected, but no answer in time. A change that was asked for may have happened.
    #[error("{endpoint} did not answer within {limit:?}")]
    Timeout {
        /// Who.
        endpoint: Endpoint,
        /// How long was waited.
        limit: Duration,
    },
    /// Not HTTP, cut off, or too large. A change that was asked for may have happened.
    #[error("no usable answer from {endpoint}: {reason}")]
    Broken {
        /// Who.
        endpoint: Endpoint,
        /// Why.
        reason: String,
    },
}

/// Sends one request and reads the whole answer.
///
/// # Errors
/// [`ClientError`]; an answer with an error status is no error here.
pub async fn request(
    endpoint: &Endpoint,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<Vec<u8>>,
    limit: Duration,
) -> Result<Reply, ClientError> {
    let exchange = exchange(endpoint, method, path, token, body);
    tokio::time::timeout(limit, exchange)
        .await
        .unwrap_or_else(|_| Err(ClientError::Timeout { endpoint: endpoint.clone(), limit }))
}

async fn exchange(
    endpoint: &Endpoint,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<Vec<u8>>,
) -> Result<Reply, ClientError> {
    let broken = |reason: String| ClientError::Broken { endpoint: endpoint.clone(), reason };
    let stream = TcpStream::connect(endpoint.authority())
        .await
        .map_err(|source| ClientError::Connect { endpoint: endpoint.clone(), source })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(error.to_string()))?;
    let mut builder = Request::builder().method(method).uri(path).header(HOST, endpoint.authority());
    if let Some(token) = token {
        builder = builder.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    if body.is_some() {
        builder = builder.header(CONTENT_TYPE, "application/json");
    }
    let request = builder
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .map_err(|error| broken(error.to_string()))?;
    let driver = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| error.to_string())?;
        Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
    };
    let answer = answer.await;
    driver.abort();
    answer.map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_host_and_port_only() {
        let endpoint: Endpoint = "http://127.0.0.1:8001".parse().unwrap();
        assert_eq!(endpoint.to_string(), "http://127.0.0.1:8001");
        assert_eq!(endpoint.with_port(9).to_string(), "http://127.0.0.1:9");
        assert_eq!("http://[::1]:80/".parse::<Endpoint>().unwrap().authority(), "[::1]:80");
        assert_eq!("http://host".parse::<Endpoint>().unwrap().port(), 80);
        for bad in
            ["", "127.0.0.1:8001", "ftp://a:1", "http://a:1/x", "http://u@a:1", "http://", "http://a:1?x"]
        {
            assert!(bad.parse::<Endpoint>().unwrap_err().contains("is not an endpoint"), "{bad}");
        }
        assert!("https://a:1".parse::<Endpoint>().unwrap_err().contains("not supported"));
    }
}
