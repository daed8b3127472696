//! Reading a request's body within its bounds: its own size, and the bytes that all requests hold together.

use super::config::MAX_BODY;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Why a body was not read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// Over [`MAX_BODY`].
    TooLarge,
    /// All requests together would hold too much.
    NoRoom,
    /// The client went away or broke the framing.
    Broken,
}

/// A body, and the room it takes until it is dropped.
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// Reads the whole body, taking its bytes from `room`.
pub(crate) async fn read(mut body: Incoming, room: &Arc<Semaphore>) -> Result<Held, BodyError> {
    let announced = body.size_hint().lower();
    let announced = usize::try_from(announced).map_err(|_| BodyError::TooLarge)?;
    if announced > MAX_BODY {
        return Err(BodyError::TooLarge);
    }
    let mut permit = take(room, announced)?;
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        let length = first.len() + whole.len() + data.len();
        if length > MAX_BODY {
            return Err(BodyError::TooLarge);
        }
        if length > permit.num_permits() {
            permit.merge(take(room, length - permit.num_permits())?);
        }
        // A small body arrives as one frame, which is kept as it is.
        if first.is_empty() && whole.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.reserve(announced.max(length));
            whole.extend_from_slice(&core::mem::take(&mut first));
        }
        whole.extend_from_slice(&data);
    }
    let bytes = if whole.is_empty() { first } else { whole.freeze() };
    Ok(Held { bytes, _room: permit })
}

fn take(room: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, BodyError> {
    let bytes = u32::try_from(bytes).map_err(|_| BodyError::TooLarge)?;
    Arc::clone(room).try_acquire_many_owned(bytes).map_err(|_| BodyError::NoRoom)
}
