//! Serving an axum router with every resource bounded, and errors in one JSON shape.

use crate::shutdown::Shutdown;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::{ALLOW, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// The largest request body.
const MAX_BODY: usize = 64 * 1024;
/// The largest request line and header block.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
const MAX_CONNECTIONS: usize = 256;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The most time one request may take, its body's arrival included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long open connections may finish their request once the end was asked for.
const DRAIN: Duration = Duration::from_secs(2);

/// What kind of refusal an error is; decides the HTTP status and the `code` of the JSON body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The request is wrong; sending it again will not help.
    InvalidRequest,
    /// The token is missing or wrong.
    Unauthorized,
    /// The request came in a way that is not allowed.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// There is one already, or its state does not allow this now.
    Conflict,
    /// Retry: no leader, no quorum, or too slow.
    Unavailable,
    /// A fault of the server.
    Internal,
}

impl ErrorCode {
    fn parts(self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

/// A refusal, sent as `{"error":{"code":...,"message":...}}`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind it is.
    pub code: ErrorCode,
    /// What is wrong and what to do, for a person.
    pub message: String,
}

impl ApiError {
    /// An error of this kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// There is one already, or its state does not allow this now.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Conflict, message)
    }

    /// Worth a retry.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unavailable, message)
    }

    /// A fault of this server.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.code.parts();
        json_reply(status, &serde_json::json!({ "error": { "code": code, "message": self.message } }))
    }
}

/// A JSON answer.
pub fn json_reply<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "an answer could not be serialised");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Reads a JSON body, saying what is wrong with it otherwise.
///
/// The content type must say JSON: browsers cannot send that across origins without asking first.
///
/// # Errors
/// [`ErrorCode::InvalidRequest`].
pub fn json_body<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, ApiError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.split(';').next().map(str::trim) != Some("application/json") {
        return Err(ApiError::invalid(
            "send the body as JSON, with the header `content-type: application/json`",
        ));
    }
    serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid(format!("the body is not as expected: {error}")))
}

/// Refuses what a web page could send to a server on loopback that asks for no token: requests under a name that
/// somebody else controls, and requests from another origin.
///
/// # Errors
/// [`ErrorCode::Forbidden`].
pub fn check_local(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(HOST).unwrap_or_default();
    let same_origin = text(ORIGIN).is_none_or(|origin| origin.strip_prefix("http://") == Some(host));
    if is_loopback_host(host) && same_origin {
        return Ok(());
    }
    let message = "without a token only requests to a loopback address and from no other origin are answered";
    Err(ApiError::new(ErrorCode::Forbidden, message))
}

fn is_loopback_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Adds what every router here needs: body limit, time limit, and JSON for unknown paths and methods.
pub fn limited(router: Router) -> Router {
    router
        .fallback(|request: Request| async move {
            ApiError::not_found(format!("there is nothing at {}", request.uri().path()))
        })
        .method_not_allowed_fallback(|request: Request| async move {
            let (method, path) = (request.method(), request.uri().path());
            ApiError::new(ErrorCode::MethodNotAllowed, format!("{method} is not possible at {path}"))
        })
        .layer(middleware::from_fn(in_time_and_shape))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

/// Ends slow requests and gives the framework's own refusals (a body too large) the JSON shape.
async fn in_time_and_shape(request: Request, next: Next) -> Response {
    let Ok(response) = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await else {
        return ApiError::unavailable("the request took too long; try again").into_response();
    };
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|value| value == "application/json");
    if is_json || !response.status().is_client_error() {
        return response;
    }
    let status = response.status();
    let message = match status {
        StatusCode::PAYLOAD_TOO_LARGE => format!("the body is larger than {} KiB", MAX_BODY >> 10),
        _ => format!("the request was refused: {status}"),
    };
    let allow = response.headers().get(ALLOW).cloned();
    let mut reply = json_reply(
        status,
        &serde_json::json!({ "error": { "code": "invalid_request", "message": message } }),
    );
    if let Some(allow) = allow {
        reply.headers_mut().insert(ALLOW, allow);
    }
    reply
}

/// Serves `router` on `listener` until `shutdown`, then lets open requests finish for two seconds.
///
/// At most 256 connections are served at once; further ones wait in the kernel's queue.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = shutdown.requested() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, as a rule: give others the time to close some.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            // A connection that breaks is the client's affair.
            _ = watched.await;
            drop(permit);
        });
    }
    drop(listener);
    _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}
