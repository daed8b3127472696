//! A thin DynamoDB client: JSON 1.0 over one keep-alive connection, signed with SigV4, a deadline on every request
//! and three outcomes. It never retries: whoever measures must see each attempt.
//!
//! Not here: what is put into requests (`workload`, `bench`) or how outcomes are judged (`measure`).

mod connection;
mod outcome;
mod sign;
mod table;

pub use connection::{Connection, Endpoint, EndpointError, Response, SendError};
pub use outcome::{Answer, Outcome, Refusal};
pub use sign::Credentials;
pub use table::{KeyAttribute, KeyKind, TableShape};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use serde_json::Value;
use sign::Signer;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The token header, in both directions.
pub const TOKEN_HEADER: &str = "x-meridian-token";
const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// Where a client connects to, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// The DynamoDB endpoint.
    pub endpoint: Endpoint,
    /// The region that requests are signed for.
    pub region: String,
    /// The access key.
    pub credentials: Credentials,
}

/// One client with one connection. Requests go one after the other.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    signer: Signer,
}

impl Client {
    /// A client that connects with its first request.
    #[must_use]
    pub fn new(target: &Target) -> Self {
        Self {
            connection: Connection::new(target.endpoint.clone()),
            signer: Signer::new(target.credentials.clone(), &target.region),
        }
    }

    /// Carries out `operation` (such as `PutItem`) and waits at most `limit`, connecting included.
    pub async fn call(&mut self, operation: &str, body: &Value, limit: Duration) -> Outcome<Answer> {
        self.call_with_token(operation, body, None, limit).await
    }

    /// [`Client::call`] carrying the token of an earlier answer.
    pub async fn call_with_token(
        &mut self,
        operation: &str,
        body: &Value,
        token: Option<&str>,
        limit: Duration,
    ) -> Outcome<Answer> {
        let request = match self.request(operation, body, token) {
            Ok(request) => request,
            Err(error) => return not_sent(error.to_string()),
        };
        match self.connection.send(request, limit).await {
            Ok(response) => judge(&response),
            Err(SendError::NotSent(reason)) => not_sent(reason),
            Err(SendError::Unanswered(reason)) => Outcome::Unknown(reason),
        }
    }

    fn request(
        &mut self,
        operation: &str,
        body: &Value,
        token: Option<&str>,
    ) -> Result<Request<Full<Bytes>>, http::Error> {
        let body = Bytes::from(body.to_string());
        let action = format!("DynamoDB_20120810.{operation}");
        let mut headers = vec![("content-type", CONTENT_TYPE)];
        headers.extend(token.map(|token| (TOKEN_HEADER, token)));
        headers.push(("x-amz-target", &action));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let unix_s = i64::try_from(now).unwrap_or_default();
        let signature = self.signer.sign(unix_s, self.connection.endpoint().authority(), &headers, &body);
        let mut request = Request::post("/");
        for (name, value) in headers {
            request = request.header(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
        }
        request
            .header("x-amz-date", signature.date)
            .header(http::header::AUTHORIZATION, signature.authorization)
            .body(Full::new(body))
    }
}

fn not_sent<T>(reason: String) -> Outcome<T> {
    Outcome::Refused(Refusal { code: Refusal::NOT_SENT.to_owned(), message: reason })
}

/// A 4xx answer is a refusal before any effect. A 5xx answer leaves it open: the server may have failed after the
/// write was on its way.
fn judge(response: &Response) -> Outcome<Answer> {
    if response.status.is_success() {
        let token =
            response.headers.get(TOKEN_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        return match serde_json::from_slice(&response.body) {
            Ok(body) => Outcome::Done(Answer { body, token }),
            Err(error) => Outcome::Unknown(format!("the answer is not JSON: {error}")),
        };
    }
    let refusal = outcome::exception(&response.body, response.status.as_u16());
    if response.status.is_client_error() {
        Outcome::Refused(refusal)
    } else {
        Outcome::Unknown(refusal.to_string())
    }
}

#[cfg(test)]
mod tests;
