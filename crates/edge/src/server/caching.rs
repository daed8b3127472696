//! Requests through the cache: served from it, or fetched once for all who wait.

use super::body::{AnyBody, BodyError, Flow, Outbound, empty, full};
use super::forward::{Answer, Nothing, Outgoing};
use super::handle::Order;
use super::kept::Kept;
use super::live::LiveService;
use super::timers::Timers;
use super::{Edge, lock};
use crate::cache::{Entry, Forwarded, Generation, Judged, Key, Outcome, not_modified};
use crate::headers::{self, TOKEN};
use crate::retry::{Fault, Repeat};
use bytes::{Bytes, BytesMut};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, COOKIE, HeaderName, PRAGMA, RANGE, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body, Frame};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

/// Source: RFC 9211.
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// What a piece of a body takes besides its bytes.
const FRAME: usize = 64;
/// How long a request waits for another one's response before it asks itself.
const WAIT: Duration = Duration::from_secs(10);

/// A request that may be served from the cache.
#[derive(Clone)]
pub(super) struct Lookup {
    pub(super) edge: Edge,
    pub(super) timers: Timers,
    pub(super) service: Arc<LiveService>,
    pub(super) order: Arc<Order>,
    pub(super) head: Parts,
    pub(super) key: Key,
}

/// Fetches that others wait for.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Key, watch::Receiver<()>>>);

/// A fetch that others may wait for, until it is dropped.
struct Flight {
    edge: Edge,
    key: Key,
    _over: watch::Sender<()>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        lock(&self.edge.flights.0).remove(&self.key);
    }
}

impl Lookup {
    /// The only one that fetches this address, or what to wait for.
    fn fly(&self) -> Result<Flight, watch::Receiver<()>> {
        let mut flights = lock(&self.edge.flights.0);
        if let Some(under_way) = flights.get(&self.key) {
            return Err(under_way.clone());
        }
        let (over, under_way) = watch::channel(());
        flights.insert(self.key.clone(), under_way);
        Ok(Flight { edge: self.edge.clone(), key: self.key.clone(), _over: over })
    }

    /// The response, from wherever it comes soonest.
    pub(super) async fn serve(self) -> Result<Response<AnyBody>, Nothing> {
        let mut collapsed = false;
        loop {
            let now = SystemTime::now();
            let (entries, unkept) = {
                let mut store = lock(&self.edge.store);
                (store.get(&self.key), store.is_unkept(&self.key, now))
            };
            let mut why = if entries.is_empty() { Forwarded::UriMiss } else { Forwarded::VaryMiss };
            let asked = self.as_get();
            let mut stale = None;
            for entry in entries {
                match entry.judge(&asked, now) {
                    Judged::Other => {}
                    Judged::Fresh(ttl) => {
                        let outcome = Outcome::Hit(i64::try_from(ttl).unwrap_or(i64::MAX));
                        return Ok(self.kept_response(&entry, outcome));
                    }
                    Judged::Revalidate => {
                        self.revalidate(&entry);
                        return Ok(self.kept_response(&entry, Outcome::Hit(-1)));
                    }
                    Judged::Stale => {
                        why = Forwarded::Stale;
                        stale = Some(entry);
                    }
                }
            }
            if self.head.method != Method::GET || self.head.headers.contains_key(RANGE) {
                return self.pass(Forwarded::Bypass).await;
            }
            if unkept {
                return self.pass(why).await;
            }
            // What is for one client alone is nobody else's to wait for.
            if self.is_personal() {
                return self.fetch(stale, why, collapsed).await;
            }
            match self.fly() {
                Ok(flight) => {
                    let done = self.fetch(stale, why, collapsed).await;
                    drop(flight);
                    return done;
                }
                Err(_) if collapsed => return self.pass(why).await,
                Err(mut under_way) => {
                    // An error says that it is over, whatever came of it.
                    _ = timeout(WAIT, under_way.changed()).await;
                    self.edge.counters.collapsed.fetch_add(1, Ordering::Relaxed);
                    collapsed = true;
                }
            }
        }
    }

    /// Whether the request says of itself whose it is, or that nothing of it is to be kept.
    fn is_personal(&self) -> bool {
        [COOKIE, AUTHORIZATION, CACHE_CONTROL, PRAGMA].iter().any(|name| self.head.headers.contains_key(name))
    }

    /// The request, or what it would be if it asked for the body as well.
    fn as_get(&self) -> Parts {
        let mut asked = self.head.clone();
        asked.method = Method::GET;
        asked
    }

    fn kept_response(&self, entry: &Entry, outcome: Outcome) -> Response<AnyBody> {
        if matches!(outcome, Outcome::Hit(_)) {
            self.edge.counters.hits.fetch_add(1, Ordering::Relaxed);
        }
        let (status, headers, body) = entry.response(SystemTime::now());
        self.whole(status, headers, body, outcome)
    }

    /// A response of which everything is at hand, as the client has asked for it.
    fn whole(
        &self,
        status: StatusCode,
        mut headers: HeaderMap,
        body: Bytes,
        outcome: Outcome,
    ) -> Response<AnyBody> {
        let known = status == StatusCode::OK && not_modified(&self.head.headers, &headers);
        headers.insert(CACHE_STATUS, outcome.header());
        headers.remove(CONTENT_LENGTH);
        let body = match () {
            () if known => empty(),
            () if self.head.method == Method::HEAD => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
                empty()
            }
            () => full(body),
        };
        let mut response = Response::new(body);
        *response.status_mut() = if known { StatusCode::NOT_MODIFIED } else { status };
        *response.headers_mut() = headers;
        response
    }

    /// Asks a backend with these headers.
    async fn ask(&self, head: &Parts) -> Result<Answer, Nothing> {
        let flow = Flow::done();
        let mut answer = Outgoing {
            edge: &self.edge,
            timers: &self.timers,
            service: &self.service,
            order: &self.order.regions,
            head,
            repeat: Repeat::Safe,
            body: Kept::Whole(Bytes::new()),
            flow: &flow,
        }
        .run()
        .await?;
        headers::remove_hop_by_hop(answer.response.headers_mut());
        if let Ok(region) = HeaderValue::try_from(answer.region.as_str()) {
            answer.response.headers_mut().insert(headers::REGION, region);
        }
        Ok(answer)
    }

    /// Past the cache.
    async fn pass(&self, why: Forwarded) -> Result<Response<AnyBody>, Nothing> {
        let Answer { mut response, lease, .. } = self.ask(&self.head).await?;
        let outcome = Outcome::Forwarded { why, confirmed: false, stored: false, collapsed: false };
        response.headers_mut().insert(CACHE_STATUS, outcome.header());
        Ok(response.map(|body| Outbound::new(body, lease).boxed_unsync()))
    }

    /// Fetches for all who wait, and keeps what may be kept.
    async fn fetch(
        &self,
        old: Option<Arc<Entry>>,
        why: Forwarded,
        collapsed: bool,
    ) -> Result<Response<AnyBody>, Nothing> {
        let generation = lock(&self.edge.store).generation(&self.key);
        let mut asked = self.head.clone();
        Entry::ask_anew(old.as_deref(), &mut asked);
        let answer = self.ask(&asked).await;
        let now = SystemTime::now();
        let failed = answer.as_ref().map_or(true, |answer| answer.response.status().is_server_error());
        if let Some(old) = old.as_ref().filter(|old| failed && old.serves_on_error(now)) {
            return Ok(self.kept_response(old, Outcome::Hit(-1)));
        }
        let Answer { response, lease, .. } = answer?;
        let (mut said, body) = response.into_parts();
        let outcome = |confirmed, stored| Outcome::Forwarded { why, confirmed, stored, collapsed };
        let body = Outbound::new(body, lease);
        if let Some(old) = old.as_ref().filter(|_| said.status == StatusCode::NOT_MODIFIED) {
            drop(body);
            let renewed = old.renewed(&asked, &said, now).map(Arc::new);
            let stored = renewed.as_ref().is_some_and(|new| self.keep(generation, Some(old), new));
            return Ok(self.kept_response(renewed.as_ref().unwrap_or(old), outcome(true, stored)));
        }
        let most = lock(&self.edge.store).most_of_one();
        let length =
            said.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let fits = length.is_none_or(|length| length <= most);
        if !fits || Entry::new(&asked, &said, Bytes::new(), now).is_none() {
            // Where only this request is the reason, the next response may be kept.
            if !self.is_personal() {
                lock(&self.edge.store).mark_unkept(&self.key, now);
            }
            said.headers.insert(CACHE_STATUS, outcome(false, false).header());
            return Ok(Response::from_parts(said, body.boxed_unsync()));
        }
        match gather(body, most, &self.edge.gathering).await {
            Ok(Gathered::Whole(bytes, _room)) => {
                // What one client has seen is no business of the next.
                let token = said.headers.remove(TOKEN);
                said.headers.remove(TRANSFER_ENCODING);
                let entry = Entry::new(&asked, &said, bytes.clone(), now).map(Arc::new);
                let stored = entry.as_ref().is_some_and(|entry| self.keep(generation, old.as_ref(), entry));
                token.map(|token| said.headers.insert(TOKEN, token));
                Ok(self.whole(said.status, said.headers, bytes, outcome(false, stored)))
            }
            Ok(Gathered::Passed(body, why)) => {
                if matches!(why, Why::TooLong) {
                    lock(&self.edge.store).mark_unkept(&self.key, now);
                }
                said.headers.insert(CACHE_STATUS, outcome(false, false).header());
                Ok(Response::from_parts(said, body))
            }
            Err(_) => Err(Nothing::Fault(Fault::Unknown("the response broke off"))),
        }
    }

    /// Keeps an entry, unless something was forgotten since it was asked for.
    fn keep(&self, generation: Generation, old: Option<&Arc<Entry>>, entry: &Arc<Entry>) -> bool {
        let mut store = lock(&self.edge.store);
        store.generation(&self.key) == generation && store.insert(&self.key, old, Arc::clone(entry))
    }

    /// Looks an entry up anew, behind the client's back, unless somebody does.
    fn revalidate(&self, entry: &Arc<Entry>) {
        let Ok(permit) = Arc::clone(&self.edge.revalidations).try_acquire_owned() else { return };
        let Ok(flight) = self.fly() else { return };
        let (lookup, entry) = (self.clone(), Arc::clone(entry));
        tokio::spawn(async move {
            _ = lookup.fetch(Some(entry), Forwarded::Stale, false).await;
            drop((flight, permit));
        });
    }
}

/// What room for responses that are on their way into the cache is counted in.
pub(super) const ROOM: usize = 1 << 10;

enum Gathered {
    /// All of it, and the room that it takes.
    Whole(Bytes, Option<OwnedSemaphorePermit>),
    /// A body again.
    Passed(AnyBody, Why),
}

/// Why a body is not gathered.
#[derive(Clone, Copy)]
enum Why {
    TooLong,
    NoRoom,
}

/// The whole body, or a body again when it is longer than `most` or there is no room for more of such.
async fn gather<B>(mut body: B, most: usize, room: &Arc<Semaphore>) -> Result<Gathered, BodyError>
where
    B: Body<Data = Bytes, Error = BodyError> + Send + Unpin + 'static,
{
    let mut frames: Vec<Bytes> = Vec::new();
    let (mut length, mut taken) = (0, None::<OwnedSemaphorePermit>);
    while let Some(frame) = body.frame().await.transpose()? {
        // Trailers are not kept.
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        let needed = (length + frames.len() * FRAME).div_ceil(ROOM);
        let needed = needed.saturating_sub(taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        frames.push(data);
        let got = u32::try_from(needed)
            .ok()
            .and_then(|needed| Arc::clone(room).try_acquire_many_owned(needed).ok());
        let why = if length > most { Some(Why::TooLong) } else { got.is_none().then_some(Why::NoRoom) };
        match (&mut taken, got) {
            (Some(taken), Some(got)) => taken.merge(got),
            (taken, got) => *taken = taken.take().or(got),
        }
        if let Some(why) = why {
            let rest =
                futures_util::stream::unfold((frames.into_iter(), body), |(mut frames, mut body)| async {
                    let next = match frames.next() {
                        Some(data) => Some(Ok(Frame::data(data))),
                        None => body.frame().await,
                    };
                    next.map(|frame| (frame, (frames, body)))
                });
            return Ok(Gathered::Passed(StreamBody::new(rest).boxed_unsync(), why));
        }
    }
    let mut whole = BytesMut::with_capacity(length);
    frames.iter().for_each(|data| whole.extend_from_slice(data));
    Ok(Gathered::Whole(whole.freeze(), taken))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::body::full;
    use futures_util::FutureExt;

    fn gathered(bytes: usize, most: usize, room: &Arc<Semaphore>) -> Gathered {
        let body = full(Bytes::from(vec![1; bytes]));
        gather(body, most, room).now_or_never().unwrap().unwrap_or_else(|_| panic!("the body is whole"))
    }

    #[test]
    fn there_is_room_for_so_much_at_once_and_nothing_is_lost_without() {
        let room = Arc::new(Semaphore::new(10));
        let first = gathered(6 * ROOM, usize::MAX, &room);
        assert!(matches!(&first, Gathered::Whole(bytes, _) if bytes.len() == 6 * ROOM));
        let Gathered::Passed(second, Why::NoRoom) = gathered(6 * ROOM, usize::MAX, &room) else {
            panic!("there is no room")
        };
        let second = second.collect().now_or_never().unwrap().unwrap_or_else(|_| panic!("it goes on"));
        assert_eq!(second.to_bytes().len(), 6 * ROOM);
        drop(first);
        assert_eq!(room.available_permits(), 10);
        assert!(matches!(gathered(6 * ROOM, usize::MAX, &room), Gathered::Whole(..)));
        assert!(matches!(gathered(6 * ROOM, 5 * ROOM, &room), Gathered::Passed(_, Why::TooLong)));
    }
}
