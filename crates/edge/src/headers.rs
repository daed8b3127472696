//! Headers at a proxy: what ends at each hop, and who may say where a request comes from.
//!
//! Source: RFC 9110, section 7.6; RFC 7239.

use http::header::{
    CONNECTION, FORWARDED, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

/// Who the request is from, for those that do not know RFC 7239.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The host that the client asked.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `http` or `https`.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The claims of a session's token, put there by the edge only.
pub const CLAIMS: HeaderName = HeaderName::from_static("x-meridian-claims");
/// Positions that a client has seen.
pub const TOKEN: HeaderName = HeaderName::from_static("x-meridian-token");
/// The region that served the request.
pub const REGION: HeaderName = HeaderName::from_static("x-meridian-region");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// The longest list of addresses that is passed on from a proxy that is trusted.
const MAX_CHAIN: usize = 1_024;

/// Removes what is meant for this hop only, and what `Connection` names besides.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // A client must not have the edge take out what the edge itself says.
        .filter(|name| ![HOST, FORWARDED, X_FORWARDED_FOR, CLAIMS, TOKEN].contains(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
}

/// Removes what only the edge may say, also under names that a backend may take for the same: CGI and its heirs make `_` of `-`.
pub fn remove_claimed(headers: &mut HeaderMap) {
    headers.remove(CLAIMS);
    let own = [
        FORWARDED,
        X_FORWARDED_FOR,
        X_FORWARDED_HOST,
        X_FORWARDED_PROTO,
        X_FORWARDED_PORT,
        X_REAL_IP,
        CLAIMS,
        TOKEN,
    ];
    let like = |name: &&HeaderName| {
        let text = name.as_str();
        text.contains('_') && own.iter().any(|own| text.replace('_', "-") == own.as_str())
    };
    let lookalikes: Vec<HeaderName> = headers.keys().filter(like).cloned().collect();
    for name in lookalikes {
        headers.remove(name);
    }
}

/// The protocol that a message wants to change to. Only WebSocket may pass: a backend that changes to HTTP/2 would take requests that the
/// edge has not seen.
#[must_use]
pub fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut tokens = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let asked = tokens.any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    let wanted = headers.get(UPGRADE).filter(|_| asked)?;
    wanted.as_bytes().eq_ignore_ascii_case(b"websocket").then(|| wanted.clone())
}

/// How a request came in.
#[derive(Clone, Copy, Debug)]
pub struct Came<'a> {
    /// Who sent it.
    pub from: IpAddr,
    /// Whether that is a proxy whose word counts.
    pub trusted: bool,
    /// Whether over TLS.
    pub tls: bool,
    /// The host that was asked.
    pub host: &'a str,
}

/// Sets `Forwarded` and its older relatives. What the sender says there counts only when it is trusted.
pub fn set_forwarded(headers: &mut HeaderMap, came: Came<'_>) {
    let joined = |name: &HeaderName| {
        let values: Vec<&str> = headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .filter(|v| !v.is_empty())
            .collect();
        let joined = values.join(", ");
        (came.trusted && !joined.is_empty() && joined.len() <= MAX_CHAIN).then_some(joined)
    };
    let (chain, addresses) = (joined(&FORWARDED), joined(&X_FORWARDED_FOR));
    let (proto, host) = (joined(&X_FORWARDED_PROTO), joined(&X_FORWARDED_HOST));
    for name in [FORWARDED, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_FORWARDED_PORT, X_REAL_IP]
    {
        headers.remove(name);
    }
    let scheme = if came.tls { "https" } else { "http" };
    let node = match came.from {
        IpAddr::V4(four) => four.to_string(),
        IpAddr::V6(six) => format!("\"[{six}]\""),
    };
    let own = format!("for={node};host=\"{}\";proto={scheme}", came.host);
    let prepend = |before: Option<String>, own: String| match before {
        Some(before) => format!("{before}, {own}"),
        None => own,
    };
    let set = [
        (FORWARDED, prepend(chain, own)),
        (X_FORWARDED_FOR, prepend(addresses, came.from.to_string())),
        (X_FORWARDED_PROTO, proto.unwrap_or_else(|| scheme.to_owned())),
        (X_FORWARDED_HOST, host.unwrap_or_else(|| came.host.to_owned())),
    ];
    for (name, value) in set {
        // The host has passed as a host name, so this is always a value.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

/// The client that a trusted proxy speaks for: the last address of `X-Forwarded-For` that is not trusted itself.
#[must_use]
pub fn client_behind(headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let values: Vec<&str> = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|v| v.to_str().ok()).collect();
    let addresses =
        values.iter().flat_map(|value| value.split(',')).map(|text| text.trim().parse::<IpAddr>());
    let addresses: Vec<IpAddr> = addresses.map(Result::ok).collect::<Option<_>>()?;
    addresses.iter().rev().find(|address| !trusted(**address)).or(addresses.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::map;
    use proptest::prelude::*;

    fn came(trusted: bool) -> Came<'static> {
        Came { from: "192.0.2.7".parse().unwrap(), trusted, tls: true, host: "shop.x.y" }
    }

    #[test]
    fn what_ends_here_goes_no_further() {
        let mut headers = map(&[
            ("connection", "close, X-Own, te"),
            ("connection", "keep-alive, x-meridian-claims, host"),
            ("x-own", "1"),
            ("te", "trailers"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "x"),
            ("x-meridian-claims", "kept"),
            ("host", "a.b"),
            ("accept", "*/*"),
        ]);
        remove_hop_by_hop(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "host", "x-meridian-claims"]);
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let said = [
            ("forwarded", "for=198.51.100.1"),
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-proto", "gopher"),
            ("x-forwarded-host", "evil.x.y"),
            ("x-real-ip", "198.51.100.1"),
        ];
        let mut headers = map(&said);
        set_forwarded(&mut headers, came(false));
        assert_eq!(headers[FORWARDED], "for=192.0.2.7;host=\"shop.x.y\";proto=https");
        assert_eq!(headers[X_FORWARDED_FOR], "192.0.2.7");
        assert_eq!(
            (&headers[X_FORWARDED_PROTO], &headers[X_FORWARDED_HOST]),
            (&"https".parse().unwrap(), &"shop.x.y".parse().unwrap())
        );
        assert!(!headers.contains_key(X_REAL_IP));
        let mut headers = map(&said);
        set_forwarded(&mut headers, came(true));
        assert_eq!(headers[FORWARDED], "for=198.51.100.1, for=192.0.2.7;host=\"shop.x.y\";proto=https");
        assert_eq!(headers[X_FORWARDED_FOR], "198.51.100.1, 192.0.2.7");
        assert_eq!(headers[X_FORWARDED_PROTO], "gopher");
    }

    #[test]
    fn the_client_is_the_last_that_is_not_trusted() {
        let trusted = |address: IpAddr| address.to_string().starts_with("10.");
        let client = |value: &str| client_behind(&map(&[("x-forwarded-for", value)]), trusted);
        assert_eq!(client("203.0.113.9, 198.51.100.1, 10.0.0.1"), Some("198.51.100.1".parse().unwrap()));
        assert_eq!(client("10.0.0.2, 10.0.0.1"), Some("10.0.0.2".parse().unwrap()));
        assert_eq!(client("unknown, 10.0.0.1"), None);
        assert_eq!(client_behind(&HeaderMap::new(), trusted), None);
    }

    #[test]
    fn what_only_the_edge_says_goes_under_every_name() {
        let mut headers = map(&[
            ("x-meridian-claims", "1"),
            ("X_Meridian-Claims", "1"),
            ("x_forwarded_for", "1"),
            ("x-meridian_token", "1"),
            ("x_own", "1"),
            ("x-forwarded-for", "1"),
        ]);
        remove_claimed(&mut headers);
        assert_eq!(headers, map(&[("x_own", "1"), ("x-forwarded-for", "1")]));
    }

    #[test]
    fn an_upgrade_needs_both_headers() {
        let both = map(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(wanted_upgrade(&both), Some("websocket".parse().unwrap()));
        assert_eq!(wanted_upgrade(&map(&[("upgrade", "websocket")])), None);
        assert_eq!(wanted_upgrade(&map(&[("connection", "upgrade")])), None);
        for other in ["h2c", "websocket, h2c", "TLS/1.0"] {
            assert_eq!(
                wanted_upgrade(&map(&[("connection", "upgrade"), ("upgrade", other)])),
                None,
                "{other}"
            );
        }
    }

    proptest! {
        #[test]
        fn nobody_speaks_for_another(name in prop::sample::select(vec!["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"]), value in "[ -~]{0,60}") {
            let mut spoofed = map(&[(name, &value)]);
            let mut clean = HeaderMap::new();
            set_forwarded(&mut spoofed, came(false));
            set_forwarded(&mut clean, came(false));
            prop_assert_eq!(spoofed, clean);
        }
    }
}
