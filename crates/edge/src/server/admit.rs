//! A request at the door: refused, or made what backends get.

use super::body::AnyBody;
use super::forward::Nothing;
use super::handle::Peer;
use super::live::{Live, LiveService};
use super::options::Plain;
use super::{Inner, reply};
use crate::cookies::{self, Brought};
use crate::headers::{self, CLAIMS, Came, TOKEN};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, Version};
use meridian_types::Token;
use std::net::IpAddr;
use std::sync::Arc;

/// What a request is refused with.
type Refusal = Box<Response<AnyBody>>;

fn refusal<T>(status: StatusCode, why: &str) -> Result<T, Refusal> {
    Err(Box::new(reply::refuse(status, why)))
}

/// A request that is known to be good, as its service's backends get it.
pub(super) struct Ready {
    pub(super) live: Arc<Live>,
    pub(super) service: Arc<LiveService>,
    /// Who asks, by the word of proxies that are trusted.
    pub(super) client: IpAddr,
    pub(super) head: Parts,
    pub(super) brought: Brought,
    /// The host that was asked.
    pub(super) host: String,
    /// It is somebody's session.
    pub(super) guarded: bool,
    /// The protocol that it asks to change to.
    pub(super) upgrade: Option<HeaderValue>,
}

/// Checks a request, and makes it what backends get.
pub(super) async fn ready(edge: &Inner, peer: &Peer, mut head: Parts) -> Result<Ready, Refusal> {
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return refusal(StatusCode::NOT_IMPLEMENTED, "CONNECT and TRACE are not possible here");
    }
    let host = authority(&head)?;
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let trusted = edge.options.trusts(peer.address);
    let live = edge.live();
    let Some(route) = live.routes.find(&host, path.path()) else {
        return refusal(StatusCode::NOT_FOUND, "no service has this host");
    };
    if edge.options.plain == Plain::Redirect && !peer.tls && !trusted {
        let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
        return Err(Box::new(reply::redirect(name, path.as_str())));
    }
    let Some(service) = live.services.get(&route.service).cloned() else {
        return Err(Box::new(reply::nothing(Nothing::NoBackend)));
    };
    let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > edge.options.max_body) {
        return refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than this server takes");
    }
    let guarded = route.jwt;
    let claims = if guarded { Some(session(edge, &head.headers).await?) } else { None };
    headers::remove_claimed(&mut head.headers);
    claims.map(|claims| head.headers.insert(CLAIMS, claims));
    let upgrade = headers::wanted_upgrade(&head.headers).filter(|_| head.version == Version::HTTP_11);
    headers::remove_hop_by_hop(&mut head.headers);
    head.headers.remove(EXPECT);
    if let Some(protocol) = &upgrade {
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, protocol.clone());
    }
    let behind = |address| edge.options.trusts(address);
    let client = headers::client_behind(&head.headers, behind).filter(|_| trusted).unwrap_or(peer.address);
    let came = Came { from: peer.address, trusted, tls: peer.tls, host: &host };
    headers::set_forwarded(&mut head.headers, came);
    let brought = bring(&mut head.headers);
    let Ok(value) = HeaderValue::try_from(host.as_str()) else {
        return refusal(StatusCode::BAD_REQUEST, "the host is no host");
    };
    head.headers.insert(HOST, value);
    head.uri = Uri::from(path);
    head.version = Version::HTTP_11;
    head.extensions = http::Extensions::new();
    Ok(Ready { live, service, client, head, brought, host, guarded, upgrade })
}

/// What the client has brought, by cookie or by header; backends get all it has seen as a header.
fn bring(headers: &mut HeaderMap) -> Brought {
    let mut brought = cookies::take(headers);
    let own = headers.remove(TOKEN).and_then(|value| value.to_str().ok()?.parse::<Token>().ok());
    if let Some(own) = own {
        brought.token.get_or_insert_default().join(&own);
    }
    if let Some(value) = brought.token.as_ref().and_then(|t| HeaderValue::try_from(t.to_string()).ok()) {
        headers.insert(TOKEN, value);
    }
    brought
}

/// The host that a request names, once.
fn authority(head: &Parts) -> Result<String, Refusal> {
    let refused = |why| refusal(StatusCode::BAD_REQUEST, why);
    let mut named = head.headers.get_all(HOST).iter();
    let (first, second) = (named.next(), named.next());
    if second.is_some() {
        return refused("there is more than one Host");
    }
    let first = first.map(|value| value.to_str().unwrap_or_default());
    match (head.uri.authority(), first) {
        // HTTP/2 says it in the request line, and may say it again (RFC 9113, section 8.3.1).
        (Some(authority), Some(host)) if head.version == Version::HTTP_2 && authority.as_str() != host => {
            refused("Host and :authority differ")
        }
        (Some(authority), _) => Ok(authority.as_str().to_ascii_lowercase()),
        (None, Some(host)) => Ok(host.to_ascii_lowercase()),
        (None, None) => refused("there is no Host"),
    }
}

/// The claims of the session that a request belongs to, as a header's value.
async fn session(edge: &Inner, headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = given.and_then(|text| text.split_once(' '));
    let token =
        bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let Some(token) = token else { return Err(Box::new(reply::unauthorized(None))) };
    let claims =
        edge.sessions.verify(token).await.map_err(|why| Box::new(reply::unauthorized(Some(&why))))?;
    // Claims may hold what a header cannot.
    HeaderValue::try_from(URL_SAFE_NO_PAD.encode(claims)).map_err(|_| Box::new(reply::unauthorized(None)))
}
