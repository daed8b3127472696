//! Meridian's own headers: the token, the staleness a read accepts, and who answered.

use crate::tables::{RequestContext, ServedBy, Staleness};
use core::time::Duration;
use http::{HeaderMap, HeaderName, HeaderValue};
use meridian_dynamo::error::DynamoError;
use meridian_types::Token;
use tokio::time::Instant;

/// What the client has seen; on requests and responses.
pub const TOKEN: HeaderName = HeaderName::from_static("x-meridian-token");
/// How old a state the client accepts, such as `2s`; on requests.
pub const MAX_STALENESS: HeaderName = HeaderName::from_static("x-meridian-max-staleness");
/// The answering region.
pub const REGION: HeaderName = HeaderName::from_static("x-meridian-region");
/// The answering node.
pub const NODE: HeaderName = HeaderName::from_static("x-meridian-node");
/// `leader` or `local`; on answers to reads.
pub const STALENESS: HeaderName = HeaderName::from_static("x-meridian-staleness");

/// On responses about an item with writes that the application is to resolve: the attributes.
pub const CONFLICT: HeaderName = HeaderName::from_static("x-meridian-conflict");
/// The longest list of them.
const MAX_CONFLICTS_TEXT: usize = 1_024;

/// The longest staleness that may be asked for.
const LONGEST_STALENESS: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads the request's own headers.
pub(crate) fn context(headers: &HeaderMap, deadline: Instant) -> Result<RequestContext, DynamoError> {
    let token = match headers.get(TOKEN) {
        Some(value) => Some(token(value)?),
        None => None,
    };
    let max_staleness = match headers.get(MAX_STALENESS) {
        Some(value) => Some(value.to_str().ok().and_then(duration).ok_or_else(|| {
            DynamoError::validation(
                "x-meridian-max-staleness is not a duration such as 500ms, 2s or 1m, at most 24h",
            )
        })?),
        None => None,
    };
    Ok(RequestContext { token, max_staleness, deadline })
}

fn token(value: &HeaderValue) -> Result<Token, DynamoError> {
    let parsed = value.to_str().map_err(|_| meridian_types::TokenError::Damaged).and_then(str::parse);
    parsed.map_err(|error| DynamoError::validation(format!("x-meridian-token: {error}")))
}

/// A whole number and a unit.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let duration = Duration::from_millis(number.checked_mul(unit_ms)?);
    (duration <= LONGEST_STALENESS).then_some(duration)
}

/// Names who answered.
pub(crate) fn put_served_by(headers: &mut HeaderMap, served_by: &ServedBy) {
    put(headers, REGION, served_by.region.as_str());
    put(headers, NODE, served_by.node.as_str());
}

/// Says whether a read could be stale.
pub(crate) fn put_staleness(headers: &mut HeaderMap, staleness: Staleness) {
    let text = match staleness {
        Staleness::Leader => "leader",
        Staleness::Local => "local",
    };
    headers.insert(STALENESS, HeaderValue::from_static(text));
}

/// Names the places of the item that concurrent writes have left in conflict.
pub(crate) fn put_conflicts(headers: &mut HeaderMap, conflicts: &[String]) {
    if conflicts.is_empty() {
        return;
    }
    // Names of attributes are any text; what a header cannot carry stands as `?`.
    let plain = |name: &String| -> String {
        name.chars().map(|c| if c.is_ascii_graphic() && c != ',' { c } else { '?' }).collect()
    };
    let mut text = conflicts.iter().map(plain).collect::<Vec<_>>().join(",");
    text.truncate(MAX_CONFLICTS_TEXT);
    put(headers, CONFLICT, &text);
}

/// What the client has seen now: what the answer shows, and what it had seen before.
pub(crate) fn put_token(headers: &mut HeaderMap, answered: Option<Token>, asked: Option<&Token>) {
    let mut token = answered.unwrap_or_default();
    if let Some(asked) = asked {
        token.join(asked);
    }
    put(headers, TOKEN, &token.to_string());
}

fn put(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    // Names and tokens are visible ASCII by construction.
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_number_and_a_unit_within_a_day() {
        assert_eq!(duration("2s"), Some(Duration::from_secs(2)));
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("24h"), Some(LONGEST_STALENESS));
        for bad in
            ["", "2", "s", "-1s", "1.5s", "25h", "99999999999999999999s", "18446744073709551615m", "2 s"]
        {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
