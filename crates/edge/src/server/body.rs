//! Bodies on their way: bounded in size, pace and silence.

use super::connection::Working;
use super::tally::Share;
use super::upstream::Lease;
use crate::pace::Pace;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A response's body stops when the backend has sent nothing for so long.
const SILENCE: Duration = Duration::from_secs(300);

/// A body, wherever it comes from.
pub(super) type AnyBody = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body has ended too soon.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is too large")]
    TooLarge,
    #[error("the body comes too slowly")]
    TooSlow,
    #[error("the other side has sent nothing for too long")]
    Silent,
    #[error(transparent)]
    Broken(#[from] hyper::Error),
}

/// How the body of a request is doing, for whoever waits for the response.
#[derive(Debug, Default)]
pub(super) struct Flow {
    state: AtomicU8,
    bytes: AtomicU64,
}

const DONE: u8 = 1;
const TOO_LARGE: u8 = 2;
const TOO_SLOW: u8 = 3;
const BROKEN: u8 = 4;

impl Flow {
    /// Of a request without a body.
    pub(super) fn done() -> Self {
        Self { state: AtomicU8::new(DONE), bytes: AtomicU64::new(0) }
    }

    fn set(&self, state: u8) {
        self.state.store(state, Ordering::Relaxed);
    }

    /// Bytes that have passed.
    pub(super) fn passed(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What the client is told when it was its body that has failed.
    pub(super) fn refusal(&self) -> Option<(StatusCode, &'static str)> {
        match self.state.load(Ordering::Relaxed) {
            TOO_LARGE => Some((StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than this server takes")),
            TOO_SLOW => Some((StatusCode::REQUEST_TIMEOUT, "the body came too slowly")),
            BROKEN => Some((StatusCode::BAD_REQUEST, "the body ended before its end")),
            _ => None,
        }
    }
}

/// The body of a request as the client sends it.
pub(super) struct Inbound {
    inner: Incoming,
    flow: Arc<Flow>,
    limit: u64,
    pace: Pace,
    begun: Instant,
    bytes: u64,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Inbound {
    pub(super) fn new(inner: Incoming, limit: u64, pace: Pace) -> (Self, Arc<Flow>) {
        let flow = Arc::new(Flow::default());
        let begun = Instant::now();
        let inbound = Self { inner, flow: Arc::clone(&flow), limit, pace, begun, bytes: 0, sleep: None };
        (inbound, flow)
    }

    fn fail<T>(&self, state: u8, error: BodyError) -> Poll<Option<Result<T, BodyError>>> {
        self.flow.set(state);
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.bytes = self.bytes.saturating_add(length);
                self.flow.bytes.store(self.bytes, Ordering::Relaxed);
                self.sleep = None;
                if self.bytes > self.limit {
                    return self.fail(TOO_LARGE, BodyError::TooLarge);
                }
                if self.inner.is_end_stream() {
                    self.flow.set(DONE);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => self.fail(BROKEN, error.into()),
            Poll::Ready(None) => {
                self.flow.set(DONE);
                Poll::Ready(None)
            }
            Poll::Pending => {
                let Some(patience) = self.pace.patience_ms(self.bytes) else { return Poll::Pending };
                let until = self.begun + Duration::from_millis(patience);
                let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
                ready!(sleep.as_mut().poll(cx));
                self.fail(TOO_SLOW, BodyError::TooSlow)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a response as the backend sends it. Holds the connection that it comes over.
pub(super) struct Outbound {
    inner: Incoming,
    lease: Option<Lease>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Outbound {
    pub(super) fn new(inner: Incoming, lease: Lease) -> Self {
        Self { inner, lease: Some(lease), sleep: None }
    }

    /// The connection can be used again.
    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.sleep = None;
                if self.inner.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.lease = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(SILENCE)));
                ready!(sleep.as_mut().poll(cx));
                self.lease = None;
                Poll::Ready(Some(Err(BodyError::Silent)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        // A response without a body is never polled.
        if self.inner.is_end_stream() {
            self.finish();
        }
    }
}

/// The body of a response.
pub(super) enum Reply {
    /// The backend's.
    Passed(Outbound),
    /// Another one.
    Made(AnyBody),
}

/// A response's body on its way to the client, and the client's share of what is counted for as long as it is sent.
pub(super) struct Sent {
    body: Reply,
    working: Working,
    _share: Option<Share>,
}

impl Sent {
    pub(super) fn new(body: Reply, working: Working, share: Option<Share>) -> Self {
        Self { body, working, _share: share }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.working.asked();
        let polled = match &mut self.body {
            Reply::Passed(body) => Pin::new(body).poll_frame(cx),
            Reply::Made(body) => Pin::new(body).poll_frame(cx),
        };
        if matches!(polled, Poll::Ready(Some(Ok(_)))) {
            self.working.handed();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Reply::Passed(body) => body.is_end_stream(),
            Reply::Made(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Reply::Passed(body) => body.size_hint(),
            Reply::Made(body) => body.size_hint(),
        }
    }
}

/// No body.
pub(super) fn empty() -> AnyBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// These bytes.
pub(super) fn full(bytes: impl Into<Bytes>) -> AnyBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}
