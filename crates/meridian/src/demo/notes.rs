//! The notes: one item each.

use super::App;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use meridian_drill::client::{Answer, Outcome, TOKEN_HEADER};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How long the node may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The longest note, in bytes.
const MAX_NOTE: usize = 4 << 10;
/// The longest name of one.
const MAX_NAME: usize = 128;

/// A note, as it is shown.
#[derive(Debug, Serialize)]
struct Note<'a> {
    name: &'a str,
    text: &'a str,
    /// The region that served the request.
    region: &'a str,
}

pub(super) async fn read(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let body = json!({"TableName": app.options.table, "Key": {"pk": {"S": name}}});
    let answer = match ask(&app, "GetItem", &body, &headers).await {
        Ok(answer) => answer,
        Err(refusal) => return *refusal,
    };
    match answer.body["Item"]["text"]["S"].as_str() {
        Some(text) => show(&app, &name, text, &answer),
        None => with_token(refuse(StatusCode::NOT_FOUND, "there is no note of this name"), &answer),
    }
}

pub(super) async fn write(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    text: Bytes,
) -> Response {
    let Some(text) = std::str::from_utf8(&text).ok().filter(|text| text.len() <= MAX_NOTE) else {
        return refuse(StatusCode::BAD_REQUEST, "a note is text of at most 4 KiB");
    };
    if name.len() > MAX_NAME {
        return refuse(StatusCode::BAD_REQUEST, "the name of a note has at most 128 bytes");
    }
    let item = json!({"pk": {"S": name}, "text": {"S": text}});
    let body = json!({"TableName": app.options.table, "Item": item});
    match ask(&app, "PutItem", &body, &headers).await {
        Ok(answer) => show(&app, &name, text, &answer),
        Err(refusal) => *refusal,
    }
}

/// Asks the node beside the application, with the token that the request carries.
async fn ask(
    app: &App,
    operation: &str,
    body: &serde_json::Value,
    headers: &HeaderMap,
) -> Result<Answer, Box<Response>> {
    let token = headers.get(TOKEN_HEADER).and_then(|value| value.to_str().ok());
    let mut client = app.client();
    match client.call_with_token(operation, body, token, LIMIT).await {
        Outcome::Done(answer) => {
            app.give_back(client);
            Ok(answer)
        }
        Outcome::Refused(refusal) if !refusal.is_retryable() => {
            app.give_back(client);
            Err(Box::new(refuse(StatusCode::INTERNAL_SERVER_ERROR, &refusal.to_string())))
        }
        Outcome::Refused(refusal) => Err(Box::new(later(&refusal.to_string()))),
        Outcome::Unknown(reason) => Err(Box::new(later(&reason))),
    }
}

fn show(app: &App, name: &str, text: &str, answer: &Answer) -> Response {
    let note = Note { name, text, region: app.options.region.as_str() };
    with_token(axum::Json(note).into_response(), answer)
}

fn with_token(mut response: Response, answer: &Answer) -> Response {
    let value = answer.token.as_deref().and_then(|token| HeaderValue::from_str(token).ok());
    if let Some(value) = value {
        response.headers_mut().insert(HeaderName::from_static(TOKEN_HEADER), value);
    }
    response
}

fn refuse(status: StatusCode, why: &str) -> Response {
    (status, axum::Json(json!({"error": why}))).into_response()
}

/// The data cannot be had now, or it is not known whether a write took effect: putting the same note again is harmless.
fn later(why: &str) -> Response {
    let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, why);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
