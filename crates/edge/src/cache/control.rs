//! What `Cache-Control` of a response says, beyond freshness.

use http::header::{CACHE_CONTROL, COOKIE, EXPIRES, SET_COOKIE};
use http::{HeaderMap, HeaderName, StatusCode};
use std::time::Duration;

/// Names by which what is kept can be forgotten, apart by spaces; `Cache-Tag` by commas.
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// The most tags of one response.
const MAX_TAGS: usize = 64;
/// The longest tag.
const MAX_TAG: usize = 128;

/// The directives, in lower case, with their values.
fn directives(headers: &HeaderMap) -> Vec<(String, Option<String>)> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let parts = values.flat_map(|value| value.split(','));
    let parts = parts.map(|part| match part.split_once('=') {
        Some((name, value)) => (name, Some(value.trim().trim_matches('"').to_owned())),
        None => (part, None),
    });
    parts.map(|(name, value)| (name.trim().to_ascii_lowercase(), value)).collect()
}

/// For how long a response may be served beyond its lifetime (RFC 5861).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// While it is looked at anew.
    pub while_revalidate: Duration,
    /// When the backend fails.
    pub if_error: Duration,
}

impl Allowance {
    /// By the headers of the response.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let all = directives(headers);
        let strict = ["must-revalidate", "proxy-revalidate", "no-cache"];
        if all.iter().any(|(name, _)| strict.contains(&name.as_str())) {
            return Self::default();
        }
        let seconds = |wanted: &str| {
            let found = all.iter().find(|(name, _)| name == wanted);
            let seconds = found.and_then(|(_, value)| value.as_ref()?.parse::<u32>().ok());
            Duration::from_secs(seconds.unwrap_or(0).into())
        };
        Self { while_revalidate: seconds("stale-while-revalidate"), if_error: seconds("stale-if-error") }
    }
}

/// Whether a response is for everyone, whoever asked.
pub(super) fn is_open(response: &HeaderMap) -> bool {
    directives(response).iter().any(|(name, _)| name == "public" || name == "s-maxage")
}

/// What must hold before the library's own rules are asked.
#[must_use]
pub fn may_keep(request: &HeaderMap, status: StatusCode, response: &HeaderMap) -> bool {
    let lives = ["max-age", "s-maxage"];
    let explicit = response.contains_key(EXPIRES)
        || directives(response).iter().any(|(name, _)| lives.contains(&name.as_str()));
    explicit
        && status != StatusCode::PARTIAL_CONTENT
        && status != StatusCode::NOT_MODIFIED
        && !response.contains_key(SET_COOKIE)
        && (!request.contains_key(COOKIE) || is_open(response))
}

/// The names by which a response can be forgotten.
#[must_use]
pub fn tags(headers: &HeaderMap) -> Vec<String> {
    let texts = |name: HeaderName| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let by_space = texts(SURROGATE_KEY).flat_map(str::split_ascii_whitespace);
    let by_comma = texts(CACHE_TAG).flat_map(|text| text.split(',')).map(str::trim);
    let all = by_space.chain(by_comma).filter(|tag| !tag.is_empty() && tag.len() <= MAX_TAG);
    all.take(MAX_TAGS).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::map;

    #[test]
    fn nobody_is_given_what_was_for_another() {
        let keep = |request: &[(&str, &str)], response: &[(&str, &str)]| {
            may_keep(&map(request), StatusCode::OK, &map(response))
        };
        let lives = ("cache-control", "max-age=60");
        assert!(keep(&[], &[lives]));
        assert!(keep(&[], &[("expires", "Thu, 01 Jan 2099 00:00:00 GMT")]));
        assert!(!keep(&[], &[]) && !keep(&[], &[("cache-control", "public")]), "no lifetime");
        assert!(!keep(&[], &[lives, ("set-cookie", "a=b")]));
        assert!(!keep(&[("cookie", "sid=1")], &[lives]));
        assert!(keep(&[("cookie", "sid=1")], &[("cache-control", "Public, max-age=60")]));
        assert!(!may_keep(&map(&[]), StatusCode::PARTIAL_CONTENT, &map(&[lives])));
    }

    #[test]
    fn beyond_the_lifetime_as_far_as_it_says() {
        let of = |value: &str| Allowance::of(&map(&[("cache-control", value)]));
        let secs = Duration::from_secs;
        let both = Allowance { while_revalidate: secs(30), if_error: secs(600) };
        assert_eq!(of("max-age=1, stale-while-revalidate=30, stale-if-error=\"600\""), both);
        assert_eq!(of("stale-if-error=600, must-revalidate"), Allowance::default());
        assert_eq!(of("stale-if-error=-1, stale-while-revalidate=x"), Allowance::default());
    }

    #[test]
    fn tags_of_both_kinds() {
        let headers =
            map(&[("surrogate-key", "a  b"), ("cache-tag", "c d, e,"), ("cache-tag", &"x".repeat(200))]);
        assert_eq!(tags(&headers), ["a", "b", "c d", "e"]);
    }
}
