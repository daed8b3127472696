//! Headers at a proxy: what ends at each hop, and who may say where a request comes from.
//!
//! Source: RFC 9110, section 7.6; RFC 7239.

use http::header::{CONNECTION, FORWARDED, HOST, UPGRADE};
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

/// What is meant for one hop only.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// What only the edge says to a backend.
const OWN: [&str; 8] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-real-ip",
    "x-meridian-claims",
    "x-meridian-token",
];
/// The longest list of addresses that is passed on from a proxy that is trusted.
const MAX_CHAIN: usize = 1_024;

/// Removes what is meant for this hop only, and what `Connection` names besides.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(',').map(str::trim))
            // What is named most often goes below, as any header with that name.
            .filter(|name| !name.eq_ignore_ascii_case("keep-alive"))
            .filter_map(|name| name.parse().ok())
            // A client must not have the edge take out what the edge itself says.
            .filter(|name| ![HOST, FORWARDED, X_FORWARDED_FOR, CLAIMS, TOKEN].contains(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    remove_where(headers, |name| HOP_BY_HOP.contains(&name));
}

/// Removes what only the edge may say, also under names that a backend may take for the same: CGI and its heirs make `_` of `-`.
pub fn remove_claimed(headers: &mut HeaderMap) {
    remove_where(headers, |name| {
        name == CLAIMS.as_str() || (name.contains('_') && OWN.contains(&name.replace('_', "-").as_str()))
    });
}

/// Removes the headers with such names. As a rule there are few headers and none of these: to look at each is cheaper than to look for all.
fn remove_where(headers: &mut HeaderMap, is: impl Fn(&str) -> bool) {
    let found: Vec<HeaderName> = headers.keys().filter(|name| is(name.as_str())).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// The protocol that a message wants to change to. Only WebSocket may pass: a backend that changes to HTTP/2 would take requests that the
/// edge has not seen.
#[must_use]
pub fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let wanted = headers.get(UPGRADE)?;
    let mut tokens = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    if !tokens.any(|token| token.trim().eq_ignore_ascii_case("upgrade")) {
        return None;
    }
    wanted.as_bytes().eq_ignore_ascii_case(b"websocket").then(|| wanted.clone())
}

/// What the edge says of how a request came in.
#[derive(Clone, Debug)]
pub struct Came {
    node: HeaderValue,
    address: HeaderValue,
    scheme: HeaderValue,
    host: HeaderValue,
}

impl Came {
    /// Sent by `from`, over TLS or not, to `host`; `None` when that is no host.
    #[must_use]
    pub fn new(from: IpAddr, tls: bool, host: &str) -> Option<Self> {
        let scheme = if tls { "https" } else { "http" };
        let node = match from {
            IpAddr::V4(four) => four.to_string(),
            IpAddr::V6(six) => format!("\"[{six}]\""),
        };
        Some(Self {
            node: HeaderValue::try_from(format!("for={node};host=\"{host}\";proto={scheme}")).ok()?,
            address: HeaderValue::try_from(from.to_string()).ok()?,
            scheme: HeaderValue::from_static(scheme),
            host: HeaderValue::try_from(host).ok()?,
        })
    }

    /// The host that was asked.
    #[must_use]
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }
}

/// Sets `Forwarded` and its older relatives. What the sender says there counts only when it is trusted.
pub fn set_forwarded(headers: &mut HeaderMap, came: &Came, trusted: bool) {
    let said = |name: &HeaderName| if trusted { joined(headers, name) } else { None };
    let value = |text: String| HeaderValue::try_from(text).ok();
    let behind = |name: &HeaderName, own: &HeaderValue| {
        let chain = said(name).and_then(|before| value(format!("{before}, {}", own.to_str().ok()?)));
        chain.unwrap_or_else(|| own.clone())
    };
    let first =
        |name: &HeaderName, own: &HeaderValue| said(name).and_then(value).unwrap_or_else(|| own.clone());
    let set = [
        (FORWARDED, behind(&FORWARDED, &came.node)),
        (X_FORWARDED_FOR, behind(&X_FORWARDED_FOR, &came.address)),
        (X_FORWARDED_PROTO, first(&X_FORWARDED_PROTO, &came.scheme)),
        (X_FORWARDED_HOST, first(&X_FORWARDED_HOST, &came.host)),
    ];
    remove_where(headers, |name| matches!(name, "x-forwarded-port" | "x-real-ip"));
    for (name, value) in set {
        headers.insert(name, value);
    }
}

/// What a proxy that is trusted says under a name, if it is not too much to be passed on.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let joined = values.filter(|value| !value.is_empty()).collect::<Vec<_>>().join(", ");
    (!joined.is_empty() && joined.len() <= MAX_CHAIN).then_some(joined)
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
    use proptest::sample::select;

    fn came() -> Came {
        Came::new("192.0.2.7".parse().unwrap(), true, "shop.x.y").unwrap()
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
        set_forwarded(&mut headers, &came(), false);
        assert_eq!(headers[FORWARDED], "for=192.0.2.7;host=\"shop.x.y\";proto=https");
        assert_eq!(headers[X_FORWARDED_FOR], "192.0.2.7");
        assert_eq!(
            (&headers[X_FORWARDED_PROTO], &headers[X_FORWARDED_HOST]),
            (&"https".parse().unwrap(), &"shop.x.y".parse().unwrap())
        );
        assert!(!headers.contains_key("x-real-ip"));
        let mut headers = map(&said);
        set_forwarded(&mut headers, &came(), true);
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
            set_forwarded(&mut spoofed, &came(), false);
            set_forwarded(&mut clean, &came(), false);
            prop_assert_eq!(spoofed, clean);
        }

        #[test]
        fn one_look_at_all_takes_what_a_look_for_each_takes(
            names in prop::collection::vec(prop_oneof![select(&HOP_BY_HOP[..]), select(&CLAIMED[..]), select(&OTHERS[..])], 0..12),
        ) {
            let pairs: Vec<(&str, &str)> = names.iter().map(|name| (*name, "x-named, te")).collect();
            let (mut at_once, mut each) = (map(&pairs), map(&pairs));
            remove_hop_by_hop(&mut at_once);
            remove_claimed(&mut at_once);
            let named = each.contains_key(CONNECTION).then_some("x-named");
            for name in HOP_BY_HOP.into_iter().chain(CLAIMED).chain(named) {
                each.remove(name);
            }
            prop_assert_eq!(at_once, each);
        }
    }

    const CLAIMED: [&str; 3] = ["x-meridian-claims", "x_meridian_claims", "x_real-ip"];
    const OTHERS: [&str; 5] = ["x-named", "accept", "host", "x-real-ip", "x-meridian-token"];
}
