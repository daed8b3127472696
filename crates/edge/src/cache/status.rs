//! What the cache did, as `Cache-Status` says it (RFC 9211).

use http::HeaderValue;

/// Why a backend was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// Nothing is kept for this address.
    UriMiss,
    /// What is kept is for other requests.
    VaryMiss,
    /// What is kept is too old.
    Stale,
    /// The request is none for a cache.
    Bypass,
}

/// What the cache did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Served what is kept; negative when it is over its lifetime. Seconds left.
    Hit(i64),
    /// A backend was asked.
    Forwarded {
        /// Why.
        why: Forwarded,
        /// It said that what is kept is still good.
        confirmed: bool,
        /// The response is kept.
        stored: bool,
        /// The request waited for another one's response.
        collapsed: bool,
    },
}

impl Outcome {
    /// The header.
    #[must_use]
    pub fn header(self) -> HeaderValue {
        let text = match self {
            Self::Hit(ttl) => format!("meridian; hit; ttl={ttl}"),
            Self::Forwarded { why, confirmed, stored, collapsed } => {
                let why = match why {
                    Forwarded::UriMiss => "uri-miss",
                    Forwarded::VaryMiss => "vary-miss",
                    Forwarded::Stale => "stale",
                    Forwarded::Bypass => "bypass",
                };
                let mut text = format!("meridian; fwd={why}");
                let marks =
                    [(confirmed, "; fwd-status=304"), (stored, "; stored"), (collapsed, "; collapsed")];
                marks.iter().filter(|(holds, _)| *holds).for_each(|(_, mark)| text.push_str(mark));
                text
            }
        };
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("meridian"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_standard_writes_it() {
        assert_eq!(Outcome::Hit(-3).header(), "meridian; hit; ttl=-3");
        let outcome =
            Outcome::Forwarded { why: Forwarded::Stale, confirmed: true, stored: true, collapsed: false };
        assert_eq!(outcome.header(), "meridian; fwd=stale; fwd-status=304; stored");
    }
}
