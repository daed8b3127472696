//! What may be sent again, and what a client is told when nothing more can be done.
//!
//! A request that may have been carried out is sent again only when doing it twice is the same as once.
//! Source: RFC 9110, section 9.2.

use http::header::HeaderMap;
use http::{Method, StatusCode};

/// The header by which a client says that a server will do a request once only, however often it comes.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What doing a request twice would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Repeat {
    /// Nothing: it may even be at two servers at once.
    Safe,
    /// The same as once, when the first is over.
    Idempotent,
    /// Something else.
    Never,
}

impl Repeat {
    /// By the method, and by what the client says.
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        match method {
            m if m.is_safe() => Self::Safe,
            m if m.is_idempotent() || headers.contains_key(IDEMPOTENCY_KEY) => Self::Idempotent,
            _ => Self::Never,
        }
    }
}

/// Why an attempt gave no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was sent: there was no connection.
    Unsent(&'static str),
    /// It was sent, and may have been carried out.
    Unknown(&'static str),
    /// There was no response in time; it may have been carried out.
    Slow,
}

impl Fault {
    /// In a few words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Unsent(what) | Self::Unknown(what) => what,
            Self::Slow => "no response in time",
        }
    }

    /// Whether the request may be sent again. `body_kept`: its body is still there.
    #[must_use]
    pub fn may_repeat(self, repeat: Repeat, body_kept: bool) -> bool {
        match self {
            Self::Unsent(_) => body_kept,
            Self::Unknown(_) | Self::Slow => body_kept && repeat != Repeat::Never,
        }
    }

    /// Whether sending again takes from the budget: what never came out asks nothing of anybody.
    #[must_use]
    pub fn costs(self) -> bool {
        !matches!(self, Self::Unsent(_))
    }

    /// What the client is told. Each is worth another try.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unsent(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unknown(_) => StatusCode::BAD_GATEWAY,
            Self::Slow => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

/// Whether a status says that the server cannot serve now, as opposed to what it thinks of the request.
#[must_use]
pub fn is_failure(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_may_have_happened_is_never_sent_twice() {
        let plain = HeaderMap::new();
        let keyed: HeaderMap =
            [(IDEMPOTENCY_KEY.parse().unwrap(), "7".parse().unwrap())].into_iter().collect();
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
            assert_eq!(Repeat::of(&method, &plain), Repeat::Safe, "{method}");
        }
        for method in [Method::PUT, Method::DELETE] {
            assert_eq!(Repeat::of(&method, &plain), Repeat::Idempotent, "{method}");
        }
        for method in [Method::POST, Method::PATCH, Method::CONNECT, "PURGE".parse().unwrap()] {
            assert_eq!(Repeat::of(&method, &plain), Repeat::Never, "{method}");
            assert_eq!(Repeat::of(&method, &keyed), Repeat::Idempotent, "{method}");
        }
        for fault in [Fault::Unknown("reset"), Fault::Slow] {
            assert!(!fault.may_repeat(Repeat::Never, true));
            assert!(fault.may_repeat(Repeat::Idempotent, true));
            assert!(!fault.may_repeat(Repeat::Safe, false));
            assert!(fault.costs());
        }
        assert!(Fault::Unsent("refused").may_repeat(Repeat::Never, true));
        assert!(!Fault::Unsent("refused").may_repeat(Repeat::Never, false));
    }
}
