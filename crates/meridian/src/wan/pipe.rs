//! One direction of one connection: bytes come out in order, each a link's delay after it went in.

use super::link::Link;
use super::timer::Timer;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// The most that is read at once.
const CHUNK: usize = 128 << 10;
/// With less room left in a buffer a new one is made.
const MIN_ROOM: usize = 8 << 10;
/// A parcel counts as at least this much, so that single bytes cannot pile up without end.
const MIN_COST: usize = 512;

/// The connection broke rather than ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reset;

enum Content {
    Bytes(Bytes),
    End,
    Reset,
}

struct Parcel {
    due: Instant,
    content: Content,
    /// Room in flight that the parcel takes, given back when it is delivered.
    _room: Option<OwnedSemaphorePermit>,
}

/// Carries everything from `from` to `to` over `link`; ends when the end of `from` was passed on.
///
/// `not_before` is when the sender's connection counts as established. `back` is the opposite direction, by which the
/// sender would learn that `to` is gone.
///
/// # Errors
/// [`Reset`] when either end broke, at the moment when the other end would learn of it.
pub(super) async fn carry(
    from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    link: &Link,
    back: &Link,
    timer: &Timer,
    not_before: Instant,
) -> Result<(), Reset> {
    // Bounded by `room`: every parcel with bytes holds a permit.
    let (queue, mut arrivals) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(link.flight()));
    let taking = take_in(from, link, queue, room, not_before);
    let delivering = async {
        while let Some(Parcel { due, content, _room }) = arrivals.recv().await {
            timer.sleep_until(due).await;
            let written = match content {
                Content::Bytes(bytes) => to.write_all(&bytes).await,
                Content::End => to.shutdown().await,
                Content::Reset => return Err(Reset),
            };
            if written.is_err() {
                back.passable().await;
                timer.sleep_until(Instant::now() + back.one_way()).await;
                return Err(Reset);
            }
        }
        Ok(())
    };
    let ((), delivered) = tokio::join!(taking, delivering);
    delivered
}

async fn take_in(
    mut from: OwnedReadHalf,
    link: &Link,
    queue: mpsc::UnboundedSender<Parcel>,
    room: Arc<Semaphore>,
    not_before: Instant,
) {
    let mut buffer = BytesMut::new();
    let mut last = not_before;
    loop {
        // Reading only into room that there is makes the sender wait when too much is in flight.
        let chunk = u32::try_from(CHUNK).unwrap_or(u32::MAX);
        let acquired = tokio::select! {
            acquired = Arc::clone(&room).acquire_many_owned(chunk) => acquired,
            () = queue.closed() => return,
        };
        let Ok(mut permit) = acquired else { return };
        if buffer.capacity() < MIN_ROOM {
            buffer.reserve(CHUNK);
        }
        let read = tokio::select! {
            read = from.read_buf(&mut buffer) => read,
            () = queue.closed() => return,
        };
        let (content, room_taken) = match read {
            Ok(0) => (Content::End, None),
            Ok(count) => {
                (Content::Bytes(buffer.split().freeze()), permit.split(count.clamp(MIN_COST, CHUNK)))
            }
            Err(_) => (Content::Reset, None),
        };
        drop(permit);
        let bytes = match &content {
            Content::Bytes(bytes) => bytes.len(),
            Content::End | Content::Reset => 0,
        };
        let ended = bytes == 0;
        link.passable().await;
        let due = link.depart(Instant::now().max(not_before), bytes).max(last);
        last = due;
        if queue.send(Parcel { due, content, _room: room_taken }).is_err() || ended {
            return;
        }
    }
}
