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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use http::HeaderMap;
    use proptest::prelude::*;

    fn body(
        pieces: &[Vec<u8>],
        trailers: bool,
    ) -> impl Body<Data = Bytes, Error = BodyError> + Send + Unpin + use<> {
        let data = pieces.iter().cloned().map(|piece| Frame::data(Bytes::from(piece)));
        let last = trailers.then(|| Frame::trailers(HeaderMap::new()));
        let frames: Vec<_> = data.chain(last).map(Ok).collect();
        StreamBody::new(futures_util::stream::iter(frames))
    }

    fn kept(pieces: &[Vec<u8>], trailers: bool) -> Kept {
        Kept::of(body(pieces, trailers), Repeat::Safe).now_or_never().unwrap().unwrap()
    }

    proptest! {
        #[test]
        fn nothing_is_lost_of_a_body(sizes in proptest::collection::vec(0_usize..20_000, 0..9), trailers: bool) {
            let pieces: Vec<Vec<u8>> = (0_u8..).zip(&sizes).map(|(n, size)| vec![n; *size]).collect();
            let mut kept = kept(&pieces, trailers);
            let whole = matches!(kept, Kept::Whole(_));
            prop_assert_eq!(whole, !trailers && sizes.iter().sum::<usize>() < MOST);
            let sent = kept.take().unwrap().collect().now_or_never().unwrap().unwrap();
            prop_assert_eq!(sent.trailers().is_some(), trailers);
            prop_assert_eq!(sent.to_bytes(), pieces.concat());
            prop_assert_eq!(kept.is_there(), whole);
        }
    }
}
