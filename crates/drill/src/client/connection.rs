//! One HTTP/1.1 keep-alive connection: connects when needed, sends one request at a time, and says of every failure
//! whether the request can have reached the server.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// The largest answer that is read: DynamoDB's own limit for a batch, with room for its JSON.
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// A `http://host:port` address without a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    authority: String,
}

/// The text is not `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an endpoint; it must look like http://127.0.0.1:8000")]
pub struct EndpointError(String);

impl Endpoint {
    /// `host:port`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl std::str::FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let error = || EndpointError(text.to_owned());
        let uri: http::Uri = text.parse().map_err(|_| error())?;
        let plain =
            uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none();
        match (uri.host(), uri.port_u16()) {
            (Some(host), Some(port)) if plain => Ok(Self { authority: format!("{host}:{port}") }),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl<'de> serde::Deserialize<'de> for Endpoint {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Not a byte of the request was sent, so it cannot have had an effect.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The request, or a part of it, may have been received and carried out.
    #[error("no answer: {0}")]
    Unanswered(String),
}

/// A whole answer.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// One connection to one endpoint, made again when it was lost.
#[derive(Debug)]
pub struct Connection {
    endpoint: Endpoint,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        // The driver owns the socket: without this a request that was given up could go on being written.
        self.driver.abort();
    }
}

impl Connection {
    /// A connection that opens with its first request.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, open: None }
    }

    /// Where it leads to.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends `request` (with a path alone as its URI; the `host` header is added if there is none) and waits for the whole answer,
    /// connecting included, until `limit` has passed.
    ///
    /// # Errors
    /// [`SendError`], which says whether the request can have had an effect.
    pub async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Response, SendError> {
        let deadline = Instant::now() + limit;
        let mut request = request;
        if let Ok(host) = self.endpoint.authority.parse() {
            request.headers_mut().entry(http::header::HOST).or_insert(host);
        }
        // A kept connection that the server has closed meanwhile gives the request back unsent: one fresh try.
        let mut kept = self.open.take();
        for _ in 0..2 {
            let mut open = match kept.take() {
                Some(open) if !open.sender.is_closed() => open,
                _ => self.connect(deadline).await?,
            };
            match exchange(&mut open.sender, request, deadline).await {
                Ok(response) => {
                    self.open = Some(open);
                    return Ok(response);
                }
                Err(Interrupted::GivenBack(unsent)) => request = *unsent,
                Err(Interrupted::Unanswered(reason)) => return Err(SendError::Unanswered(reason)),
            }
        }
        Err(SendError::NotSent("the server closes its connections at once".to_owned()))
    }

    async fn connect(&self, deadline: Instant) -> Result<Open, SendError> {
        let connecting = async {
            let stream =
                TcpStream::connect(&self.endpoint.authority).await.map_err(|error| error.to_string())?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())
        };
        let (sender, connection) = timeout_at(deadline, connecting)
            .await
            .map_err(|_| SendError::NotSent("the connection was not made in time".to_owned()))?
            .map_err(SendError::NotSent)?;
        let driver = tokio::spawn(async move {
            // How the connection ended is seen by the request that was on it.
            let _ = connection.await;
        });
        Ok(Open { sender, driver })
    }
}

enum Interrupted {
    GivenBack(Box<Request<Full<Bytes>>>),
    Unanswered(String),
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    deadline: Instant,
) -> Result<Response, Interrupted> {
    let unanswered = |reason: String| Interrupted::Unanswered(reason);
    let sent = timeout_at(deadline, sender.try_send_request(request)).await;
    let response = match sent.map_err(|_| unanswered("the deadline passed".to_owned()))? {
        Ok(response) => response,
        Err(mut error) => {
            return Err(match error.take_message() {
                Some(unsent) => Interrupted::GivenBack(Box::new(unsent)),
                None => unanswered(error.into_error().to_string()),
            });
        }
    };
    let (head, body) = response.into_parts();
    let body = timeout_at(deadline, Limited::new(body, MAX_ANSWER).collect())
        .await
        .map_err(|_| unanswered("the deadline passed within the answer".to_owned()))?
        .map_err(|error| unanswered(format!("the answer was cut short: {error}")))?
        .to_bytes();
    Ok(Response { status: head.status, headers: head.headers, body })
}
