//! One request from its arrival to its response.

use super::admit::{Ready, ready};
use super::body::{AnyBody, Inbound, Outbound, With, empty};
use super::caching::Lookup;
use super::connection::Working;
use super::forward::{Answer, Nothing, Outgoing};
use super::kept::Kept;
use super::tally::Share;
use super::{Edge, Place, reply, tunnel};
use crate::cache::Key;
use crate::cookies;
use crate::headers::{self, TOKEN, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use crate::pace::Pace;
use crate::retry::{Fault, Repeat};
use http::header::{CONNECTION, SET_COOKIE, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
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

/// Answers one request.
pub(super) async fn handle(
    edge: Edge,
    peer: Peer,
    mut request: Request<Incoming>,
    working: Working,
) -> Response<AnyBody> {
    let client_upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let Some(share) = edge.share(&edge.requests, peer.address) else {
        edge.counters.answered(StatusCode::TOO_MANY_REQUESTS);
        return reply::refuse(StatusCode::TOO_MANY_REQUESTS, "too many requests at once");
    };
    let mut share = Some(share);
    let response = match ready(&edge, &peer, head).await {
        Ok(ready) => serve(&edge, &peer, ready, body, client_upgrade, &mut share).await,
        Err(refusal) => *refusal,
    };
    edge.counters.answered(response.status());
    // However slowly it is read.
    response.map(|body| With::new(body, working, share).boxed_unsync())
}

async fn serve(
    edge: &Edge,
    peer: &Peer,
    ready: Ready,
    body: Incoming,
    client_upgrade: OnUpgrade,
    share: &mut Option<Share>,
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
    let said = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    // A backend may answer plain requests with a redirect to TLS, so they are not the same.
    let mut key = (service.served.service.edge.cache && !guarded).then(|| Key {
        service: service.served.service.name.clone(),
        origin: Key::origin(said(X_FORWARDED_PROTO).unwrap_or("http"), &host, said(X_FORWARDED_HOST)),
        path: head.uri.to_string(),
    });
    let reads = matches!(head.method, Method::GET | Method::HEAD) && upgrade.is_none() && body.is_empty();
    if let Some(key) = key.take_if(|_| reads) {
        let (edge, service, order) = (edge.clone(), Arc::clone(&service), choice.regions);
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
        if sticky_ms > 0 && service.served.holds(&region) {
            append(response.headers_mut(), cookies::set_region(&region, sticky_ms, peer.tls));
        }
        if let Some(key) = &key {
            // What was there before the change is not what is there now (RFC 9111, section 4.4).
            edge.forget(key);
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
        let (in_flight, place) = (lease.into_in_flight(), Arc::clone(&peer.place));
        tunnel::spawn(edge, client_upgrade, backend_upgrade, in_flight, place, share.take());
        return response.map(|_| empty());
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
