//! One request from its arrival to its response.

use super::admit::{Ready, ready};
use super::body::{Flow, Inbound, Outbound, Reply, Sent, empty};
use super::caching::Lookup;
use super::connection::{Connection, Working};
use super::forward::{Answer, Nothing, Outgoing};
use super::kept::Kept;
use super::live::{Live, LiveService};
use super::tally::Share;
use super::{Inner, reply, tunnel};
use crate::cache::Key;
use crate::cookies;
use crate::headers::{self, TOKEN, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use crate::pace::Pace;
use crate::retry::{Fault, Repeat};
use bytes::Bytes;
use http::header::{CONNECTION, SET_COOKIE, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use meridian_types::{RegionName, ServiceName, Token};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A client's home is looked for again after so long: what it is found by changes without a change of the view.
const AT_HOME: Duration = Duration::from_secs(1);

/// Where requests go.
pub(super) struct Order {
    live: u64,
    service: ServiceName,
    client: IpAddr,
    found: Instant,
    /// Best first.
    pub(super) regions: Vec<RegionName>,
}

impl Order {
    /// That of a client which has written in a region or not.
    fn of(
        connection: &Connection,
        live: &Live,
        service: &LiveService,
        client: IpAddr,
        wrote: Option<&RegionName>,
    ) -> Arc<Self> {
        let (now, name) = (Instant::now(), &service.served.service.name);
        let find = || {
            let home = (live.locate)(client);
            let regions = service.served.order(home.as_ref(), client, wrote).regions;
            Self { live: live.number, service: name.clone(), client, found: now, regions }
        };
        if wrote.is_some() {
            return Arc::new(find());
        }
        let fits = |known: &Self| known.holds(live.number, name, client, now);
        let Ok(order) = connection.order.get::<Infallible>(fits, || Ok(find()));
        order
    }

    fn holds(&self, live: u64, service: &ServiceName, client: IpAddr, now: Instant) -> bool {
        let same = self.live == live && self.service == *service && self.client == client;
        same && now.duration_since(self.found) < AT_HOME
    }
}

/// Answers one request.
pub(super) async fn handle(working: Working, mut request: Request<Incoming>) -> Response<Sent> {
    let connection = &working.connection;
    let edge = &connection.edge;
    let client_upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let mut share = connection.requests.enter();
    let response = match share {
        Some(_) => match ready(connection, head).await {
            Ok(ready) => serve(connection, ready, body, client_upgrade, &mut share).await,
            Err(refusal) => refusal.map(Reply::Made),
        },
        None => reply::refuse(StatusCode::TOO_MANY_REQUESTS, "too many requests at once").map(Reply::Made),
    };
    edge.counters.answered(response.status());
    // However slowly it is read.
    response.map(|body| Sent::new(body, working, share))
}

async fn serve(
    connection: &Connection,
    ready: Ready,
    body: Incoming,
    client_upgrade: OnUpgrade,
    share: &mut Option<Share>,
) -> Response<Reply> {
    let (edge, peer) = (&connection.edge, &connection.peer);
    let Ready { live, service, client, head, brought, site, guarded, upgrade } = ready;
    let repeat = match Repeat::of(&head.method, &head.headers) {
        // Two connections at once would be one too many.
        Repeat::Safe if upgrade.is_some() => Repeat::Idempotent,
        repeat => repeat,
    };
    let (body, flow) = match received(edge, body, repeat).await {
        Ok(received) => received,
        Err((status, why)) => return reply::refuse(status, why).map(Reply::Made),
    };
    let order = Order::of(connection, &live, &service, client, brought.region.as_ref());
    let said = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    // A backend may answer plain requests with a redirect to TLS, so they are not the same.
    let mut key = (service.served.service.edge.cache && !guarded).then(|| Key {
        service: service.served.service.name.clone(),
        origin: Key::origin(said(X_FORWARDED_PROTO).unwrap_or("http"), &site.host, said(X_FORWARDED_HOST)),
        path: head.uri.to_string(),
    });
    let reads = matches!(head.method, Method::GET | Method::HEAD) && upgrade.is_none() && body.is_empty();
    if let Some(key) = key.take_if(|_| reads) {
        let (edge, timers, service) = (edge.clone(), connection.timers.clone(), Arc::clone(&service));
        let lookup = Lookup { edge, timers, service, order, head, key };
        let mut response = match Box::pin(lookup.serve()).await {
            Ok(response) => response.map(Reply::Made),
            Err(nothing) => return reply::nothing(nothing).map(Reply::Made),
        };
        carry_token(response.headers_mut(), brought.token, peer.tls);
        *response.version_mut() = Version::HTTP_11;
        return response;
    }
    let outgoing = Outgoing {
        edge,
        timers: &connection.timers,
        service: &service,
        order: &order.regions,
        head: &head,
        repeat,
        body,
        flow: &flow,
    };
    let Answer { mut response, lease, region } = match outgoing.run().await {
        Ok(answer) => answer,
        Err(nothing) => return reply::nothing(nothing).map(Reply::Made),
    };
    let changes = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if changes && upgrade.is_none() {
        let fault = Fault::Unknown("changed the protocol unasked");
        return reply::nothing(Nothing::Fault(fault)).map(Reply::Made);
    }
    let protocol = response.headers().get(UPGRADE).filter(|_| changes).cloned();
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
        return response.map(|_| Reply::Made(empty()));
    }
    response.map(|body| Reply::Passed(Outbound::new(body, lease)))
}

/// The request's body, as it is sent on, and how it is doing; or what the client is told of it.
async fn received(
    edge: &Inner,
    body: Incoming,
    repeat: Repeat,
) -> Result<(Kept, Arc<Flow>), (StatusCode, &'static str)> {
    if body.is_end_stream() {
        return Ok((Kept::Whole(Bytes::new()), Arc::new(Flow::done())));
    }
    let pace = Pace { least: edge.options.min_body_rate };
    let (inbound, flow) = Inbound::new(body, edge.options.max_body, pace);
    // Large, and most requests have no body.
    match Box::pin(Kept::of(inbound, repeat)).await {
        Ok(kept) => Ok((kept, flow)),
        Err(_) => Err(flow.refusal().unwrap_or((StatusCode::BAD_REQUEST, "the body broke off"))),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_holds_for_its_view_service_and_client_and_not_for_long() {
        let (shop, other) = (ServiceName::new("shop").unwrap(), ServiceName::new("other").unwrap());
        let (client, found) = (IpAddr::from([192, 0, 2, 1]), Instant::now());
        let order = Order { live: 1, service: shop.clone(), client, found, regions: Vec::new() };
        assert!(order.holds(1, &shop, client, found));
        assert!(!order.holds(2, &shop, client, found));
        assert!(!order.holds(1, &other, client, found));
        assert!(!order.holds(1, &shop, [192, 0, 2, 2].into(), found));
        assert!(!order.holds(1, &shop, client, found + AT_HOME));
    }
}
