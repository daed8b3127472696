//! Request bodies: text to a JSON tree, whatever the text is.

use crate::error::DynamoError;
use crate::size::NESTING_MESSAGE;
use alloc::string::ToString;
use serde_json::Value;

/// Levels of JSON up to which a body that is nested too deep is answered as a value that is: each level of a value is
/// two of JSON. Past this, as the service does, the body counts as unreadable.
const MAX_READABLE_DEPTH: usize = 4032;

/// Parses a body. The parser's own bound on depth keeps the tree shallow enough for everything that walks it.
///
/// # Errors
/// `SerializationException` when it is not JSON; `ValidationException` when it is JSON that is nested too deep.
pub fn parse_body(body: &[u8]) -> Result<Value, DynamoError> {
    serde_json::from_slice(body).map_err(|error| {
        // The parser stops at the first of the two it meets, so text behind a deep start was not looked at.
        let too_deep = error.to_string().starts_with("recursion limit exceeded");
        if too_deep && depth(body) <= MAX_READABLE_DEPTH {
            DynamoError::validation(NESTING_MESSAGE)
        } else {
            DynamoError::Serialization("".into())
        }
    })
}

/// The deepest nesting of brackets outside strings.
fn depth(body: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    fn nested(levels: usize) -> String {
        format!("{{\"a\":{}{}{}}}", "{\"L\":[".repeat(levels), "{\"NULL\":true}", "]}".repeat(levels))
    }

    #[test]
    fn json_is_parsed_and_other_text_is_not() {
        assert!(parse_body(br#"{"a":{"S":"b"}}"#).is_ok());
        for text in [&b""[..], b"{", b"{\"a\":}", b"nul", b"\xff", b"{} {}", b"[1e999]"] {
            assert!(matches!(parse_body(text), Err(DynamoError::Serialization(_))), "{text:?}");
        }
    }

    #[test]
    fn deep_bodies_are_refused_at_any_depth() {
        assert!(parse_body(nested(40).as_bytes()).is_ok());
        assert_eq!(parse_body(nested(100).as_bytes()), Err(DynamoError::validation(NESTING_MESSAGE)));
        assert_eq!(parse_body(nested(2000).as_bytes()), Err(DynamoError::validation(NESTING_MESSAGE)));
        for deep in [nested(10_000), "[".repeat(1_000_000), "{\"a\":".repeat(100_000)] {
            assert!(matches!(parse_body(deep.as_bytes()), Err(DynamoError::Serialization(_))));
        }
        // Brackets inside strings are text.
        assert_eq!(depth(br#"{"[[[\"{{":"[["}"#), 1);
    }
}
