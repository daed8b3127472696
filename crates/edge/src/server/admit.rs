//! A request at the door: refused, or made what backends get.

use super::body::AnyBody;
use super::connection::Connection;
use super::forward::Nothing;
use super::live::{Live, LiveService};
use super::options::Plain;
use super::{Inner, reply};
use crate::cookies::{self, Brought};
use crate::headers::{self, CLAIMS, Came, TOKEN};
use crate::route::Paths;
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
    pub(super) site: Arc<Site>,
    /// It is somebody's session.
    pub(super) guarded: bool,
    /// The protocol that it asks to change to.
    pub(super) upgrade: Option<HeaderValue>,
}

/// The longest host that a connection remembers: a host name with a port. A port may have any number of zeros before it.
const REMEMBERED: usize = 253 + ":65535".len();

/// What requests have in common that name the same host, over the same connection.
pub(super) struct Site {
    /// The view that this is from.
    live: u64,
    /// The host as it was named.
    named: Box<str>,
    /// The same in lower case.
    pub(super) host: String,
    paths: Arc<Paths>,
    came: Came,
}

impl Site {
    fn find(live: &Live, connection: &Connection, named: &str) -> Result<Self, Refusal> {
        let host = named.to_ascii_lowercase();
        let Some(paths) = live.routes.at(&host).cloned() else {
            return refusal(StatusCode::NOT_FOUND, "no service has this host");
        };
        let Some(came) = Came::new(connection.peer.address, connection.peer.tls, &host) else {
            return refusal(StatusCode::BAD_REQUEST, "the host is no host");
        };
        Ok(Self { live: live.number, named: named.into(), host, paths, came })
    }
}

/// Checks a request, and makes it what backends get.
pub(super) async fn ready(connection: &Connection, mut head: Parts) -> Result<Ready, Refusal> {
    let (edge, peer) = (&connection.edge, &connection.peer);
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return refusal(StatusCode::NOT_IMPLEMENTED, "CONNECT and TRACE are not possible here");
    }
    let named = authority(&head)?;
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let trusted = edge.options.trusts(peer.address);
    let live = edge.live();
    let fits = |site: &Site| site.live == live.number && *site.named == *named;
    let find = || Site::find(&live, connection, named);
    let site = match named.len() {
        ..=REMEMBERED => connection.site.get(fits, find)?,
        _ => Arc::new(find()?),
    };
    let route = site.paths.find(path.path());
    if edge.options.plain == Plain::Redirect && !peer.tls && !trusted {
        let name = site.host.rsplit_once(':').map_or(site.host.as_str(), |(name, _)| name);
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
    let claims = if guarded { Some(Box::pin(session(edge, &head.headers)).await?) } else { None };
    headers::remove_claimed(&mut head.headers);
    claims.map(|claims| head.headers.insert(CLAIMS, claims));
    let upgrade = headers::wanted_upgrade(&head.headers).filter(|_| head.version == Version::HTTP_11);
    headers::remove_hop_by_hop(&mut head.headers);
    head.headers.remove(EXPECT);
    if let Some(protocol) = &upgrade {
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, protocol.clone());
    }
    let behind = || headers::client_behind(&head.headers, |address| edge.options.trusts(address));
    let client = trusted.then(behind).flatten().unwrap_or(peer.address);
    headers::set_forwarded(&mut head.headers, &site.came, trusted);
    let brought = bring(&mut head.headers);
    head.headers.insert(HOST, site.came.host().clone());
    head.uri = Uri::from(path);
    head.version = Version::HTTP_11;
    head.extensions = http::Extensions::new();
    Ok(Ready { live, service, client, head, brought, site, guarded, upgrade })
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
fn authority(head: &Parts) -> Result<&str, Refusal> {
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
        (Some(authority), _) => Ok(authority.as_str()),
        (None, Some(host)) => Ok(host),
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
