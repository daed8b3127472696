//! What lies under a link: something that carries frames to a peer and back, in order, until it breaks.
//!
//! In production that is a gRPC stream over mTLS. A simulation carries the frames itself.

use super::hello::{Doorman, Hello, Refusal};
use super::link::Link;
use super::message::{Handler, Kind};
use super::peers::{PeerAddress, Peers};
use super::proto::Frame;
use crate::runtime;
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Frames to be sent. A type of its own, because the compiler cannot see through a boxed stream in a spawned task.
pub struct Frames(Pin<Box<dyn Stream<Item = Frame> + Send>>);

impl Frames {
    pub(super) fn new(frames: impl Stream<Item = Frame> + Send + 'static) -> Self {
        Self(frames.boxed())
    }
}

impl Stream for Frames {
    type Item = Frame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// Frames as they arrive, up to the stream's end or its failure.
pub type Arrivals = Pin<Box<dyn Stream<Item = Result<Frame, Broken>> + Send>>;

/// A stream between nodes is no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// Why a peer was not reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// No stream came about.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The peer does not let this node in.
    #[error("the peer refused the link: {0}")]
    Refused(#[from] Refusal),
}

/// What a dialled peer has said, and what arrives from it.
pub type Answered = Result<(Hello, Arrivals), DialError>;

/// Opens streams to peers.
pub trait Dial: Send + Sync + 'static {
    /// Greets a peer and opens a stream that sends `outgoing`.
    fn dial(&self, peer: PeerAddress, hello: Hello, outgoing: Frames) -> BoxFuture<'static, Answered>;
}

/// Takes streams that peers have opened.
#[derive(Clone)]
pub struct Acceptor {
    peers: Arc<Peers>,
    handler: Arc<dyn Handler>,
    door: Arc<dyn Doorman>,
}

impl Acceptor {
    /// Hands requests from the streams of those whom `door` lets in to `handler`.
    #[must_use]
    pub fn new(peers: Arc<Peers>, handler: Arc<dyn Handler>, door: Arc<dyn Doorman>) -> Self {
        Self { peers, handler, door }
    }

    /// Runs a link over a stream whose opener has greeted and proved that it has that name; what is handed back is the answer to
    /// the greeting, and what is to be sent.
    ///
    /// # Errors
    /// [`Refusal`] when the peer is not let in.
    pub fn accept<E: Send + 'static>(
        &self,
        hello: &Hello,
        arrivals: impl Stream<Item = Result<Frame, E>> + Unpin + Send + 'static,
    ) -> Result<(Hello, Frames), Refusal> {
        self.door.admit(hello)?;
        let peer = hello.node;
        if peer > self.peers.own() && self.peers.link(peer).is_some() {
            // It dials only because it has heard nothing for long; this node's own dialling was faster.
            return Err(Refusal::now("there is a link already"));
        }
        let (link, frames) = Link::new(peer);
        link.greeted(hello);
        let (peers, handler) = (Arc::clone(&self.peers), Arc::clone(&self.handler));
        runtime::spawn(async move {
            peers.up(&link);
            link.run(arrivals, &*handler).await;
            peers.down(&link);
        });
        Ok((self.door.hello(peer), Frames::new(frames)))
    }
}

impl Frame {
    /// The frame as it is on the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        prost::Message::encode_to_vec(self)
    }

    /// What is in it, in a few words for a trace.
    #[must_use]
    pub fn describe(&self) -> String {
        let words =
            self.envelopes.iter().map(|envelope| match (Kind::from_wire(envelope.kind), envelope.outcome) {
                (Some(kind), 0) => format!("{kind:?}#{} g{}", envelope.id, envelope.group),
                (_, outcome) => format!("re#{} {outcome}", envelope.id),
            });
        words.collect::<Vec<_>>().join(", ")
    }
}
