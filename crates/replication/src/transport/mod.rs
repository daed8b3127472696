//! One multiplexed mTLS stream per node pair: requests, responses and pings of every group share it.
//!
//! What lives here: links, dialling, accepting, liveness. What does not: the meaning of a request (see
//! [`Handler`]) and Raft (see `crate::network`).

mod accept;
mod carrier;
mod dial;
mod hello;
mod link;
mod message;
mod peers;
mod tls;

pub use accept::serve;
pub use carrier::{Acceptor, Answered, Arrivals, Broken, Dial, DialError, Frames};
pub use dial::MtlsDialer;
pub use hello::{Doorman, Hello, OLDEST_PROTOCOL, PROTOCOL, Refusal};
pub use link::{CallError, Link, PendingCall, Reply};
pub use message::{Handler, Kind, Request};
pub use peers::{PeerAddress, Peers};
pub use proto::Frame;
pub use tls::{PeerTls, TlsError};

/// Generated from `proto/peer.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub(crate) mod proto {
    tonic::include_proto!("meridian.peer.v1");
}

use std::time::Duration;

/// How often each side of a link pings the other.
const PING_INTERVAL: Duration = Duration::from_millis(200);
/// A link that has been silent for this long is closed and dialled again.
const SILENCE_LIMIT: Duration = Duration::from_secs(3);
/// The most envelopes waiting to be sent on a link; a peer that drains slower than this is cut off.
const MAX_QUEUED: usize = 65_536;
/// The most calls that wait for a response on a link.
const MAX_PENDING: usize = 65_536;
/// The largest frame that is packed from several envelopes, in bytes; a single larger envelope goes alone.
const MAX_FRAME: usize = 1 << 20;
/// The largest message accepted from a peer, in bytes. Above any request: items are at most 400 KB, requests 16 MB.
const MAX_MESSAGE: usize = 48 << 20;
/// HTTP/2 windows: enough for 1 Gbit/s at 250 ms.
const WINDOW: u32 = 32 << 20;
/// Metadata with each side's greeting; who opened the stream is checked against its certificate.
const HELLO_HEADER: &str = "x-meridian-hello";
