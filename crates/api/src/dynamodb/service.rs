//! The life of one HTTP request: bounds, body, operation, signature, dispatch, answer.

use super::auth::Verifier;
use super::body::{self, BodyError};
use super::config::{AuthMode, FrontConfig, MAX_HEAD};
use super::dispatch::{self, Answer, Operation};
use super::headers;
use crate::tables::{RequestContext, Tables};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use meridian_dynamo::error::DynamoError;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

const JSON_1_0: &str = "application/x-amz-json-1.0";
const JSON: &str = "application/json";
/// What the API answers to anything that is not one of its requests.
const NOT_A_REQUEST: &[u8] = b"<UnknownOperationException/>\n";

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const CRC32: HeaderName = HeaderName::from_static("x-amz-crc32");
const TARGET_PREFIX: &str = "DynamoDB_20120810.";

/// The front's state, shared by its connections.
pub(crate) struct Front {
    tables: Arc<dyn Tables>,
    config: FrontConfig,
    verifier: Verifier,
    slots: Semaphore,
    room: Arc<Semaphore>,
}

/// What the request came to, before it is written as HTTP.
enum Outcome {
    Answer(Answer),
    Refused(DynamoError),
    TooLarge,
    HeadTooLarge,
    NotARequest,
    Healthy,
}

impl Front {
    pub(crate) fn new(tables: Arc<dyn Tables>, config: FrontConfig) -> Self {
        let slots = Semaphore::new(config.max_requests);
        let room = Arc::new(Semaphore::new(config.max_body_bytes));
        Self { tables, config, verifier: Verifier::default(), slots, room }
    }

    /// Answers one request. Never fails: every failure is an answer.
    pub(crate) async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let deadline = Instant::now() + self.config.deadline;
        let (head, body) = request.into_parts();
        let context = headers::context(&head.headers, deadline);
        let outcome = match timeout_at(deadline, self.outcome(&head, body, context.as_ref())).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Refused(DynamoError::InternalServerError(
                "The request ran into its deadline; if it was a write, it may or may not have happened"
                    .to_owned(),
            )),
        };
        self.respond(&head.headers, outcome, context.ok().as_ref())
    }

    async fn outcome(
        &self,
        head: &Parts,
        body: Incoming,
        context: Result<&RequestContext, &DynamoError>,
    ) -> Outcome {
        let head_size: usize =
            head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if head_size > MAX_HEAD {
            return Outcome::HeadTooLarge;
        }
        if head.uri.path() != "/" {
            return Outcome::NotARequest;
        }
        match head.method {
            Method::POST => {}
            Method::GET => return Outcome::Healthy,
            _ => return Outcome::NotARequest,
        }
        let Ok(_slot) = self.slots.try_acquire() else {
            return Outcome::Refused(throttled());
        };
        let body = match body::read(body, &self.room).await {
            Ok(body) => body,
            Err(BodyError::TooLarge) => return Outcome::TooLarge,
            Err(BodyError::NoRoom) => return Outcome::Refused(throttled()),
            Err(BodyError::Broken) => return Outcome::Refused(DynamoError::Serialization(String::new())),
        };
        if media_type(&head.headers).is_none() && !(body.bytes.is_empty() && no_content_type(&head.headers)) {
            return Outcome::NotARequest;
        }
        match self.answer(head, &body.bytes, context).await {
            Ok(answer) => Outcome::Answer(answer),
            Err(error) => Outcome::Refused(error),
        }
    }

    async fn answer(
        &self,
        head: &Parts,
        body: &Bytes,
        context: Result<&RequestContext, &DynamoError>,
    ) -> Result<Answer, DynamoError> {
        let operation = head
            .headers
            .get(TARGET)
            .and_then(|value| value.to_str().ok()?.strip_prefix(TARGET_PREFIX))
            .and_then(Operation::from_name)
            .ok_or_else(|| DynamoError::UnknownOperation(String::new()))?;
        let credential = match self.config.auth {
            AuthMode::None => None,
            AuthMode::SigV4 => {
                let now = (self.config.clock)();
                Some(self.verifier.verify(self.tables.as_ref(), head, body, now).await?)
            }
        };
        let context = context.map_err(Clone::clone)?;
        let call = dispatch::Call {
            tables: self.tables.as_ref(),
            context,
            credential: credential.as_deref(),
            region: &self.config.served_by.region,
        };
        call.run(operation, body).await
    }

    fn respond(
        &self,
        asked: &HeaderMap,
        outcome: Outcome,
        context: Option<&RequestContext>,
    ) -> Response<Full<Bytes>> {
        let mut served_by = &self.config.served_by;
        let mut staleness = None;
        let mut token = None;
        let mut conflicts = Vec::new();
        let answer;
        let mut media = media_type(asked).unwrap_or(JSON);
        let (status, body) = match outcome {
            Outcome::Answer(given) => {
                answer = given;
                if let Some(from) = &answer.served_by {
                    served_by = from;
                }
                staleness = answer.staleness;
                token = answer.token;
                conflicts = answer.conflicts;
                (StatusCode::OK, Bytes::from(answer.body))
            }
            Outcome::Refused(error) => {
                let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
                (status, Bytes::from(meridian_dynamo::response::error(&error)))
            }
            Outcome::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, Bytes::from(meridian_dynamo::response::too_large()))
            }
            Outcome::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                Bytes::from(meridian_dynamo::response::head_too_large()),
            ),
            Outcome::NotARequest => (StatusCode::NOT_FOUND, Bytes::from_static(NOT_A_REQUEST)),
            Outcome::Healthy => {
                media = "text/plain";
                (StatusCode::OK, Bytes::from(format!("healthy: dynamodb.{}.meridian ", served_by.region)))
            }
        };
        let checksum = crc32fast::hash(&body);
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.reserve(8);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        headers.insert(CRC32, HeaderValue::from(checksum));
        if let Ok(id) = HeaderValue::from_str(&format!("{:032X}", rand::random::<u128>())) {
            headers.insert(REQUEST_ID, id);
        }
        headers::put_served_by(headers, served_by);
        if let Some(staleness) = staleness {
            headers::put_staleness(headers, staleness);
        }
        headers::put_conflicts(headers, &conflicts);
        headers::put_token(headers, token, context.and_then(|context| context.token.as_ref()));
        response
    }
}

fn throttled() -> DynamoError {
    DynamoError::Throttling("The node has as much work as it takes on at once; retry the request".to_owned())
}

fn no_content_type(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::CONTENT_TYPE)
}

/// The media type of the request, which is that of its answer; `None` when it is not one that the API speaks.
fn media_type(headers: &HeaderMap) -> Option<&'static str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let base = value.split(';').next().unwrap_or("").trim();
    [JSON_1_0, JSON].into_iter().find(|known| base.eq_ignore_ascii_case(known))
}
