//! One request through the regions: attempts, one after the other or side by side, until one has a response.

use super::body::{AnyBody, Flow};
use super::kept::Kept;
use super::live::LiveService;
use super::places::Places;
use super::timers::Timers;
use super::upstream::{Lease, Missed, exchange};
use super::{Edge, lock};
use crate::retry::{Fault, Repeat, is_failure};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use meridian_types::RegionName;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// A request that may be repeated only when it is over waits so many times as long as one that may be at two servers.
const PATIENT: u32 = 5;
/// A server that says this of itself has not served the request.
const SAID: &str = "status 502, 503 or 504";

/// A request on its way out.
pub(super) struct Outgoing<'a> {
    pub(super) edge: &'a Edge,
    pub(super) timers: &'a Timers,
    pub(super) service: &'a LiveService,
    /// Regions, best first.
    pub(super) order: &'a [RegionName],
    /// Without a body, as backends get it.
    pub(super) head: &'a Parts,
    pub(super) repeat: Repeat,
    pub(super) body: Kept,
    pub(super) flow: &'a Flow,
}

/// A response, and what it came over.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Lease,
    pub(super) region: RegionName,
}

/// Why there is none.
#[derive(Clone, Copy, Debug)]
pub(super) enum Nothing {
    /// The last attempt's fault.
    Fault(Fault),
    /// No backend may be asked: there is none, or all have enough to do.
    NoBackend,
    /// The client's own body.
    Refused(StatusCode, &'static str),
}

/// An attempt that is over: which, and how.
type Ended = (usize, Result<(Response<Incoming>, Lease), Missed>);
/// Attempts that are not over: few, so that all are asked whenever one of them may be.
type Running<'a> = Vec<Pin<Box<dyn Future<Output = Ended> + Send + 'a>>>;

impl<'a> Outgoing<'a> {
    /// The response, from whichever region gives one.
    pub(super) async fn run(mut self) -> Result<Answer, Nothing> {
        let edge = self.edge;
        let own = &self.service.served.service.edge;
        let ms = |ms: u32| Duration::from_millis(ms.into());
        let whole = own.timeout_ms.map_or(edge.options.timeout, ms);
        let try_timeout = edge.options.try_timeout;
        let next_after = match self.repeat {
            Repeat::Safe => own.hedge_ms.map_or(try_timeout, ms),
            Repeat::Idempotent | Repeat::Never => try_timeout * PATIENT,
        };
        let begun = Instant::now();
        lock(&edge.budget).request();
        let mut places = Places::new(self.service, self.order, edge.options.max_in_flight);
        let mut running = Running::new();
        if !self.launch(&mut places, &mut running, begun) {
            return Err(Nothing::NoBackend);
        }
        let mut spare: Option<Answer> = None;
        let mut passed = self.flow.passed();
        let mut deadline = begun + whole;
        let mut look = begun + next_after;
        let mut alarm = None;
        loop {
            let again = self.repeat != Repeat::Never && self.body.is_there() && places.more();
            let wake = if again { deadline.min(look) } else { deadline };
            let alarm = alarm.get_or_insert_with(|| self.timers.at(wake));
            alarm.set(wake);
            let ended = poll_fn(|cx| match first_over(&mut running, cx) {
                Some(ended) => Poll::Ready(Some(ended)),
                None => Pin::new(&mut *alarm).poll(cx).map(|()| None),
            })
            .await;
            let now = Instant::now();
            let now_ms = edge.ms_at(now);
            match ended {
                None if now >= deadline && self.flow.passed() > passed => {
                    // The body is on its way, or was; how slowly it may come is a bound of its own.
                    passed = self.flow.passed();
                    deadline = now + whole;
                }
                None if now >= deadline => {
                    places.blame(now_ms);
                    return spare.ok_or_else(|| self.end(Fault::Slow));
                }
                None => {
                    look = now + next_after;
                    if lock(&edge.budget).take() {
                        if self.repeat == Repeat::Safe {
                            edge.counters.hedges.fetch_add(1, Ordering::Relaxed);
                        } else {
                            places.blame(now_ms);
                            running.clear();
                            edge.counters.retries.fetch_add(1, Ordering::Relaxed);
                        }
                        self.launch(&mut places, &mut running, now);
                    }
                }
                Some((number, Ok((response, lease)))) if !is_failure(response.status()) => {
                    places.succeeded(number, now_ms);
                    // Whoever was asked long before and says nothing is at fault.
                    places.blame_before(number, try_timeout, now_ms);
                    let Some((region, _)) = places.of(number) else { return Err(Nothing::NoBackend) };
                    return Ok(Answer { response, lease, region: region.clone() });
                }
                Some((number, result)) => {
                    let fault = match result {
                        Ok((response, lease)) => {
                            places.failed(number, SAID, now_ms);
                            let answered = places.of(number).map(|(region, _)| region.clone());
                            spare = answered.map(|region| Answer { response, lease, region });
                            Fault::Unknown(SAID)
                        }
                        Err((fault, unsent)) => {
                            // Its connection went down with the body: that is the client's doing.
                            if let Some((status, why)) = self.flow.refusal() {
                                return Err(Nothing::Refused(status, why));
                            }
                            places.failed(number, fault.words(), now_ms);
                            if unsent.is_some() {
                                self.body.put_back(unsent);
                            }
                            fault
                        }
                    };
                    let may = fault.may_repeat(self.repeat, self.body.is_there()) && places.more();
                    if may && (!fault.costs() || lock(&edge.budget).take()) {
                        edge.counters.retries.fetch_add(1, Ordering::Relaxed);
                        self.launch(&mut places, &mut running, now);
                        look = now + next_after;
                    }
                    if running.is_empty() {
                        return spare.ok_or_else(|| self.end(fault));
                    }
                }
            }
        }
    }

    /// Begins one more attempt, if there is anybody to ask.
    fn launch(&mut self, places: &mut Places<'_>, running: &mut Running<'a>, now: Instant) -> bool {
        let edge = self.edge;
        let Some((number, in_flight)) = places.next(edge.draw(), now, edge.ms_at(now)) else { return false };
        let streams = matches!(self.body, Kept::Stream(_));
        let Some(body) = self.body.take() else { return false };
        let mut request: Request<AnyBody> = Request::from_parts(self.head.clone(), body);
        if streams && !self.head.headers.contains_key(CONTENT_LENGTH) {
            // Else the body of a GET would be taken for none.
            request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let once_only = self.repeat == Repeat::Never;
        let attempt = async move { (number, exchange(in_flight, request, edge, once_only, now).await) };
        running.push(Box::pin(attempt));
        true
    }

    fn end(&self, fault: Fault) -> Nothing {
        match self.flow.refusal() {
            Some((status, why)) => Nothing::Refused(status, why),
            None => Nothing::Fault(fault),
        }
    }
}

/// An attempt that is over, if there is one; it is taken out.
fn first_over(running: &mut Running<'_>, cx: &mut Context<'_>) -> Option<Ended> {
    for number in 0..running.len() {
        if let Poll::Ready(ended) = running.get_mut(number)?.as_mut().poll(cx) {
            drop(running.swap_remove(number));
            return Some(ended);
        }
    }
    None
}
