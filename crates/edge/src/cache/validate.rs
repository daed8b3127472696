//! Whether a client already has what would be sent (RFC 9110, section 13).

use http::HeaderMap;
use http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};

/// Whether the conditions of a request for reading say that the client has this response.
#[must_use]
pub fn not_modified(request: &HeaderMap, response: &HeaderMap) -> bool {
    let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let mut named = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).peekable();
    if named.peek().is_some() {
        let own = response.get(ETAG).and_then(|value| value.to_str().ok()).map(weak);
        return named
            .flat_map(|value| value.split(','))
            .any(|tag| tag.trim() == "*" || own.as_ref().is_some_and(|own| weak(tag) == *own));
    }
    // Clients send back what they were given, so an exact comparison is enough, and never wrong.
    let since = request.get(IF_MODIFIED_SINCE);
    since.is_some() && since == response.get(LAST_MODIFIED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::map;

    #[test]
    fn tags_count_for_more_than_dates() {
        let day = "Tue, 15 Nov 1994 12:45:26 GMT";
        let response = map(&[("etag", "\"b\""), ("last-modified", day)]);
        let holds = |pairs: &[(&str, &str)]| not_modified(&map(pairs), &response);
        assert!(holds(&[("if-none-match", "\"a\", W/\"b\"")]) && holds(&[("if-none-match", "*")]));
        assert!(!holds(&[("if-none-match", "\"a\""), ("if-modified-since", day)]));
        assert!(holds(&[("if-modified-since", day)]) && !holds(&[]));
        assert!(!not_modified(&map(&[("if-modified-since", day)]), &HeaderMap::new()));
    }
}
