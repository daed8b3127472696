//! One request from its arrival to its response.

use super::body::{AnyBody, Inbound, Outbound};
use super::caching::Lookup;
use super::forward::{Answer, Nothing, Outgoing};
use super::kept::Kept;
use super::live::{Live, LiveService};
use super::options::Plain;
use super::{Inner, Place, reply, tunnel};
use crate::cache::Key;
use crate::cookies::{self, Brought};
use crate::headers::{self, CLAIMS, Came, TOKEN};
use crate::pace::Pace;
use crate::retry::{Fault, Repeat};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, SET_COOKIE, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use meridian_types::Token;
use std::net::IpAddr;
use std::sync::Arc;

/// Where a request comes from.
#[derive(Clone)]
pub(super) struct Peer {
    /// The other end of the connection.
    pub(super) address: IpAddr,
    pub(super) tls: bool,
    /// What counts the connection, for as long as it lives in whatever form.
    pub(super) place: Arc<Place>,
}

type Refusal = Response<AnyBody>;

/// A request that is known to be good, as its service's backends get it.
struct Ready {
    live: Arc<Live>,
    service: Arc<LiveService>,
    client: IpAddr,
    head: Parts,
    brought: Brought,
    /// The host that was asked.
    host: String,
    /// It is somebody's session.
    guarded: bool,
    upgrade: Option<HeaderValue>,
}

/// Answers one request.
pub(super) async fn handle(
    edge: Arc<Inner>,
    peer: Peer,
    mut request: Request<Incoming>,
) -> Response<AnyBody> {
    let client_upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let response = match ready(&edge, &peer, head).await {
        Ok(ready) => serve(&edge, &peer, ready, body, client_upgrade).await,
        Err(refusal) => refusal,
    };
    edge.counters.answered(response.status());
    response
}

/// Checks a request, and makes it what backends get.
async fn ready(edge: &Inner, peer: &Peer, mut head: Parts) -> Result<Ready, Refusal> {
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(reply::refuse(StatusCode::NOT_IMPLEMENTED, "CONNECT and TRACE are not possible here"));
    }
    let host = authority(&head)?;
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let trusted = edge.options.trusts(peer.address);
    if edge.options.plain == Plain::Redirect && !peer.tls && !trusted {
        let live = edge.live();
        if live.routes.has_host(&host) {
            let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
            return Err(reply::redirect(name, path.as_str()));
        }
    }
    let live = edge.live();
    let Some(route) = live.routes.find(&host, path.path()) else {
        return Err(reply::refuse(StatusCode::NOT_FOUND, "no service has this host"));
    };
    let service = live.services.get(&route.service).cloned();
    let Some(service) = service else { return Err(reply::nothing(Nothing::NoBackend)) };
    let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > edge.options.max_body) {
        return Err(reply::refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is larger than this server takes",
        ));
    }
    // Nobody but the edge says whose session it is.
    head.headers.remove(CLAIMS);
    let guarded = route.jwt;
    if guarded {
        let claims = session(edge, &head.headers).await?;
        head.headers.insert(CLAIMS, claims);
    }
    let upgrade = headers::wanted_upgrade(&head.headers).filter(|_| head.version == Version::HTTP_11);
    headers::remove_hop_by_hop(&mut head.headers);
    head.headers.remove(EXPECT);
    if let Some(protocol) = &upgrade {
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, protocol.clone());
    }
    let behind = |address| edge.options.trusts(address);
    let client = headers::client_behind(&head.headers, behind).filter(|_| trusted).unwrap_or(peer.address);
    headers::set_forwarded(
        &mut head.headers,
        Came { from: peer.address, trusted, tls: peer.tls, host: &host },
    );
    let mut brought = cookies::take(&mut head.headers);
    let own = head.headers.remove(TOKEN).and_then(|value| value.to_str().ok()?.parse::<Token>().ok());
    if let Some(own) = own {
        brought.token.get_or_insert_default().join(&own);
    }
    if let Some(value) = brought.token.as_ref().and_then(|t| HeaderValue::try_from(t.to_string()).ok()) {
        head.headers.insert(TOKEN, value);
    }
    let value = HeaderValue::try_from(host.as_str());
    let value = value.map_err(|_| reply::refuse(StatusCode::BAD_REQUEST, "the host is no host"))?;
    head.headers.insert(HOST, value);
    head.uri = Uri::from(path);
    head.version = Version::HTTP_11;
    head.extensions = http::Extensions::new();
    Ok(Ready { live, service, client, head, brought, host, guarded, upgrade })
}

/// The host that a request names, once.
fn authority(head: &Parts) -> Result<String, Refusal> {
    let refused = |why| Err(reply::refuse(StatusCode::BAD_REQUEST, why));
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
    let Some(token) = token else { return Err(reply::unauthorized(None)) };
    let claims = edge.sessions.verify(token).await.map_err(|why| reply::unauthorized(Some(&why)))?;
    // Claims may hold what a header cannot.
    HeaderValue::try_from(URL_SAFE_NO_PAD.encode(claims)).map_err(|_| reply::unauthorized(None))
}

async fn serve(
    edge: &Arc<Inner>,
    peer: &Peer,
    ready: Ready,
    body: Incoming,
    client_upgrade: OnUpgrade,
) -> Response<AnyBody> {
    let Ready { live, service, client, head, brought, host, guarded, upgrade } = ready;
    let repeat = match Repeat::of(&head.method, &head.headers) {
        // Two connections at once would be one too many.
        Repeat::Safe if upgrade.is_some() => Repeat::Idempotent,
        repeat => repeat,
    };
    let (inbound, flow) =
        Inbound::new(body, edge.options.max_body, Pace { least: edge.options.min_body_rate });
    let body = match Kept::of(inbound, repeat).await {
        Ok(body) => body,
        Err(_) => {
            let (status, why) = flow.refusal().unwrap_or((StatusCode::BAD_REQUEST, "the body broke off"));
            return reply::refuse(status, why);
        }
    };
    let home = (live.locate)(client);
    let choice = service.served.order(home.as_ref(), client, brought.region.as_ref());
    let key = Key { service: service.served.service.name.clone(), host, path: head.uri.to_string() };
    let cached = service.served.service.edge.cache && !guarded;
    if cached && matches!(head.method, Method::GET | Method::HEAD) && upgrade.is_none() && body.is_empty() {
        let (edge, service, order) = (Arc::clone(edge), Arc::clone(&service), choice.regions);
        let lookup = Lookup { edge, service, order, head, key };
        let mut response = match lookup.serve().await {
            Ok(response) => response,
            Err(nothing) => return reply::nothing(nothing),
        };
        carry_token(response.headers_mut(), brought.token, peer.tls);
        *response.version_mut() = Version::HTTP_11;
        return response;
    }
    let outgoing =
        Outgoing { edge, service: &service, order: &choice.regions, head: &head, repeat, body, flow: &flow };
    let Answer { mut response, lease, region } = match outgoing.run().await {
        Ok(answer) => answer,
        Err(nothing) => return reply::nothing(nothing),
    };
    let changes = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if changes && upgrade.is_none() {
        return reply::nothing(Nothing::Fault(Fault::Unknown("changed the protocol unasked")));
    }
    let protocol = response.headers().get(UPGRADE).cloned();
    headers::remove_hop_by_hop(response.headers_mut());
    let status = response.status();
    if may_change(&head.method) && (status.is_success() || status.is_redirection()) {
        let sticky_ms = service.served.service.edge.sticky_ms;
        if sticky_ms > 0 {
            append(response.headers_mut(), cookies::set_region(&region, sticky_ms, peer.tls));
        }
        if cached {
            // What was there before the change is not what is there now (RFC 9111, section 4.4).
            edge.forget(&key);
        }
    }
    carry_token(response.headers_mut(), brought.token, peer.tls);
    if let Ok(value) = HeaderValue::try_from(region.as_str()) {
        response.headers_mut().insert(headers::REGION, value);
    }
    *response.version_mut() = Version::HTTP_11;
    if changes {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        protocol.map(|protocol| response.headers_mut().insert(UPGRADE, protocol));
        let backend_upgrade = hyper::upgrade::on(&mut response);
        tunnel::spawn(edge, client_upgrade, backend_upgrade, lease.into_in_flight(), Arc::clone(&peer.place));
        return response.map(|_| super::body::empty());
    }
    response.map(|body| Outbound::new(body, lease).boxed_unsync())
}

/// Has the client keep what the backend has let it see, with all that it had seen.
fn carry_token(headers: &mut HeaderMap, brought: Option<Token>, tls: bool) {
    let seen = headers.get(TOKEN).and_then(|value| value.to_str().ok()?.parse::<Token>().ok());
    if let Some(seen) = seen {
        let mut token = brought.unwrap_or_default();
        token.join(&seen);
        append(headers, cookies::set_token(&token, tls));
    }
}

/// Whether a request of this method may change something.
fn may_change(method: &Method) -> bool {
    !method.is_safe()
}

fn append(headers: &mut HeaderMap, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        headers.append(SET_COOKIE, cookie);
    }
}
