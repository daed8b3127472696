//! What the edge says for itself.

use super::body::{AnyBody, full};
use super::forward::Nothing;
use crate::retry::Fault;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};

/// Source: RFC 9209.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// A refusal in one line. Those that are worth another try say so.
pub(super) fn refuse(status: StatusCode, why: &str) -> Response<AnyBody> {
    let mut response = Response::new(full(format!("{why}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let later = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
    if later || status == StatusCode::TOO_MANY_REQUESTS {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// What is said when no backend has answered.
pub(super) fn nothing(nothing: Nothing) -> Response<AnyBody> {
    let (status, error, details) = match nothing {
        Nothing::Refused(status, why) => return refuse(status, why),
        Nothing::NoBackend => {
            (StatusCode::SERVICE_UNAVAILABLE, "destination_unavailable", "no backend takes requests now")
        }
        Nothing::Fault(fault @ Fault::Unsent(what)) => (fault.status(), "destination_unavailable", what),
        Nothing::Fault(fault @ Fault::Unknown(what)) => (fault.status(), "connection_terminated", what),
        Nothing::Fault(fault @ Fault::Slow) => (fault.status(), "http_response_timeout", fault.words()),
    };
    let happened = match nothing {
        Nothing::Fault(fault) if fault.costs() => "; whether the request was carried out is not known",
        _ => "; the request was not carried out",
    };
    let mut response = refuse(status, &format!("{details}{happened}"));
    let value = format!("meridian; error={error}; details=\"{details}\"");
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(PROXY_STATUS, value);
    }
    response
}

/// A session's token is lacking or refused (RFC 6750).
pub(super) fn unauthorized(why: Option<&str>) -> Response<AnyBody> {
    let challenge = match why {
        Some(why) => {
            format!("Bearer error=\"invalid_token\", error_description=\"{}\"", why.replace(['"', '\\'], "'"))
        }
        None => "Bearer".to_owned(),
    };
    let mut response = refuse(StatusCode::UNAUTHORIZED, why.unwrap_or("a token of a session is needed"));
    if let Ok(value) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    response
}

/// The same over TLS.
pub(super) fn redirect(host: &str, path: &str) -> Response<AnyBody> {
    let mut response = refuse(StatusCode::PERMANENT_REDIRECT, "use https");
    if let Ok(value) = HeaderValue::try_from(format!("https://{host}{path}")) {
        response.headers_mut().insert(LOCATION, value);
    }
    response
}
