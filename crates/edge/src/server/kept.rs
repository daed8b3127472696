//! What is kept of a request's body, so that it can be sent again.

use super::body::{AnyBody, BodyError, empty, full};
use crate::retry::Repeat;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body, Frame};
use std::collections::VecDeque;

/// The most of a body that is kept.
const MOST: usize = 64 << 10;

/// A body that is sent once or again.
pub(super) enum Kept {
    /// None, or all of it.
    Whole(Bytes),
    /// Too much to keep, or it must not be sent again: it is there until it is taken.
    Stream(Option<AnyBody>),
}

impl Kept {
    /// Keeps what is worth it. Waits for the client's bytes when the request may be repeated.
    ///
    /// # Errors
    /// When the body fails while it is looked at.
    pub(super) async fn of<B>(mut body: B, repeat: Repeat) -> Result<Self, BodyError>
    where
        B: Body<Data = Bytes, Error = BodyError> + Send + Unpin + 'static,
    {
        if body.is_end_stream() {
            return Ok(Self::Whole(Bytes::new()));
        }
        let fits = body.size_hint().upper().is_none_or(|most| most <= MOST as u64);
        if repeat == Repeat::Never || !fits {
            return Ok(Self::Stream(Some(body.boxed_unsync())));
        }
        // In one piece: what comes in small ones would take many times its size.
        let mut kept = BytesMut::new();
        loop {
            let Some(frame) = body.frame().await.transpose()? else { return Ok(Self::Whole(kept.freeze())) };
            // Trailers and long bodies are not kept.
            let last = match frame.into_data() {
                Ok(data) => {
                    kept.extend_from_slice(&data);
                    None
                }
                Err(trailers) => Some(trailers),
            };
            if last.is_some() || kept.len() >= MOST {
                let frames = [Frame::data(kept.freeze())].into_iter().chain(last).collect();
                return Ok(Self::Stream(Some(joined(frames, body))));
            }
        }
    }

    /// The body for one attempt; `None` when it was sent already.
    pub(super) fn take(&mut self) -> Option<AnyBody> {
        match self {
            Self::Whole(bytes) if bytes.is_empty() => Some(empty()),
            Self::Whole(bytes) => Some(full(bytes.clone())),
            Self::Stream(body) => body.take(),
        }
    }

    /// Gives back what was not sent.
    pub(super) fn put_back(&mut self, unsent: Option<AnyBody>) {
        if let Self::Stream(body) = self {
            *body = unsent;
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    /// Whether it can be sent (again).
    pub(super) fn is_there(&self) -> bool {
        !matches!(self, Self::Stream(None))
    }
}

/// What was read, then the rest.
fn joined<B>(frames: VecDeque<Frame<Bytes>>, rest: B) -> AnyBody
where
    B: Body<Data = Bytes, Error = BodyError> + Send + Unpin + 'static,
{
    let stream = futures_util::stream::unfold((frames, rest), |(mut frames, mut rest)| async move {
        let next = match frames.pop_front() {
            Some(frame) => Some(Ok(frame)),
            None => rest.frame().await,
        };
        next.map(|frame| (frame, (frames, rest)))
    });
    StreamBody::new(stream).boxed_unsync()
}
