//! What the tests of several modules need.

use http::{HeaderMap, HeaderName};

/// The headers of these names and values.
pub(crate) fn map(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
}
