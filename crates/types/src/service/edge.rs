//! What the HTTP edge does for a service, beyond sending its requests to a region.

use crate::name::ServiceName;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The most routes of a service.
pub const MAX_ROUTES: usize = 32;
/// How long a client stays in the region that took its write, unless the service says otherwise, in milliseconds.
pub const DEFAULT_STICKY_MS: u32 = 5_000;
/// The longest that any of the times here may be, in milliseconds.
pub const MAX_EDGE_MS: u32 = 3_600_000;
const MAX_PREFIX: usize = 256;

/// Paths of a service that are handled in their own way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeRoute {
    /// The beginning of the paths, up to a `/`: `/api` is for `/api` and `/api/x`, and not for `/apis`.
    pub path: String,
    /// Another service that serves them; the service itself when there is none.
    #[serde(default)]
    pub service: Option<ServiceName>,
    /// Whether requests must carry a token of a session that is valid.
    #[serde(default)]
    pub jwt: bool,
}

/// How the edge treats a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EdgeOptions {
    /// How long a client stays in the region that took its write, in milliseconds; 0 for not at all.
    pub sticky_ms: u32,
    /// Whether responses that the service allows are kept and served again (RFC 9111).
    pub cache: bool,
    /// A request that may be repeated is also sent to another region when the first has not answered for so long, in milliseconds.
    pub hedge_ms: Option<u32>,
    /// How long a request may take until its response begins, in milliseconds; the node's own setting when there is none.
    pub timeout_ms: Option<u32>,
    /// Paths that are handled in their own way. The longest that fits counts.
    pub routes: Vec<EdgeRoute>,
}

impl Default for EdgeOptions {
    fn default() -> Self {
        Self {
            sticky_ms: DEFAULT_STICKY_MS,
            cache: false,
            hedge_ms: None,
            timeout_ms: None,
            routes: Vec::new(),
        }
    }
}

/// What is wrong with the options. Each message says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError {
    /// Too many routes.
    #[error("the service has {0} routes; at most {MAX_ROUTES} are possible")]
    Routes(usize),
    /// Not the beginning of a path.
    #[error("{0:?} is not the beginning of a path; write one such as /api, without ? and #")]
    Path(String),
    /// The same path twice.
    #[error("the path {0} has two routes; keep one")]
    PathTwice(String),
    /// Out of range.
    #[error("{what} is {ms} ms; it must be {least} to {MAX_EDGE_MS}")]
    Time {
        /// Which of them.
        what: &'static str,
        /// What it is.
        ms: u32,
        /// The least that is possible.
        least: u32,
    },
}

impl EdgeOptions {
    /// Checks what the parts mean.
    ///
    /// # Errors
    /// The first [`EdgeError`] that there is.
    pub fn validate(&self) -> Result<(), EdgeError> {
        if self.routes.len() > MAX_ROUTES {
            return Err(EdgeError::Routes(self.routes.len()));
        }
        let mut seen = BTreeSet::new();
        for EdgeRoute { path, .. } in &self.routes {
            let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'\\');
            let trimmed = path.strip_suffix('/').unwrap_or(path);
            if !path.starts_with('/') || path.len() > MAX_PREFIX || !path.bytes().all(plain) {
                return Err(EdgeError::Path(path.chars().take(64).collect()));
            }
            if !seen.insert(trimmed) {
                return Err(EdgeError::PathTwice(path.clone()));
            }
        }
        let times = [
            ("sticky", Some(self.sticky_ms), 0),
            ("hedge", self.hedge_ms, 1),
            ("timeout", self.timeout_ms, 1),
        ];
        for (what, ms, least) in times {
            if let Some(ms) = ms.filter(|ms| !(least..=MAX_EDGE_MS).contains(ms)) {
                return Err(EdgeError::Time { what, ms, least });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn route(path: &str) -> EdgeRoute {
        EdgeRoute { path: path.into(), service: None, jwt: false }
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(EdgeOptions::default().validate(), Ok(()));
        let error = |options: EdgeOptions| options.validate().unwrap_err().to_string();
        let routes = |routes| EdgeOptions { routes, ..EdgeOptions::default() };
        for path in ["", "api", "/a b", "/a?b", "/\r\n", "/é"] {
            assert!(error(routes(vec![route(path)])).contains("beginning of a path"), "{path}");
        }
        assert!(error(routes(vec![route("/a"), route("/a/")])).contains("two routes"));
        assert!(error(routes(vec![route("/"); 33])).contains("33 routes"));
        let hedge = EdgeOptions { hedge_ms: Some(0), ..EdgeOptions::default() };
        assert!(error(hedge).contains("hedge is 0 ms"));
        let sticky = EdgeOptions { sticky_ms: MAX_EDGE_MS + 1, ..EdgeOptions::default() };
        assert!(error(sticky).contains("sticky"));
    }
}
