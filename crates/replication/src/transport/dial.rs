//! Dialling a peer, again and again, for as long as it is one.

use super::carrier::{Answered, Broken, Dial, DialError, Frames};
use super::hello::{Doorman, Hello, Refusal};
use super::link::Link;
use super::message::Handler;
use super::peers::{PeerAddress, Peers};
use super::proto::peer_client::PeerClient;
use super::tls::PeerTls;
use super::{HELLO_HEADER, MAX_MESSAGE, WINDOW};
use crate::runtime::{self, mark};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use meridian_types::NodeId;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);
/// Covers TCP, TLS and HTTP/2 set-up over a slow link.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A node that has heard nothing from a lower number for this long dials by itself: the other may not know of it, having been away
/// while it joined. Far longer than a restart or a partition that ends takes to be dialled from the other side.
const REVERSE_AFTER: Duration = Duration::from_secs(10);

impl Peers {
    /// Keeps a link to `peer` up for as long as it is a peer. The lower number dials, so that a pair shares one connection; the
    /// higher one only when that has not happened for long.
    pub async fn keep_dialling(
        self: Arc<Self>,
        peer: NodeId,
        dialer: Arc<dyn Dial>,
        door: Arc<dyn Doorman>,
        handler: Arc<dyn Handler>,
    ) {
        let reverse = peer < self.own();
        let (mut wait, mut attempt) = (FIRST_RETRY, 0);
        loop {
            if reverse && (self.link(peer).is_some() || self.silence(peer) < REVERSE_AFTER) {
                runtime::sleep(LAST_RETRY).await;
                if door.address(peer, attempt).is_none() {
                    return;
                }
                continue;
            }
            let Some(address) = door.address(peer, attempt) else { return };
            let name = address.name.clone();
            let (link, frames) = Link::new(peer);
            let answered = dialer.dial(address, door.hello(peer), Frames::new(frames)).await;
            match answered
                .and_then(|(hello, arrivals)| greeted(&*door, peer, &hello).map(|()| (hello, arrivals)))
            {
                Ok(_) if reverse && self.link(peer).is_some() => {}
                Ok((hello, arrivals)) => {
                    link.greeted(&hello);
                    if reverse {
                        mark("a node dialled a peer of a lower number");
                    }
                    self.up(&link);
                    link.run(arrivals, &*handler).await;
                    self.down(&link);
                    wait = FIRST_RETRY;
                }
                Err(DialError::Refused(refusal)) => {
                    tracing::warn!(peer = %name, why = %refusal, "the peer refused the link");
                    if refusal.for_good {
                        door.expelled(&refusal.why);
                    }
                    attempt += 1;
                }
                Err(DialError::Broken(error)) => {
                    tracing::debug!(peer = %name, %error, "dialling failed");
                    attempt += 1;
                }
            }
            // Spread out, so that all nodes don't dial a returning one in the same instant.
            runtime::sleep(wait.mul_f64(0.5 + runtime::random::<f64>() / 2.0)).await;
            wait = (wait * 2).min(LAST_RETRY);
        }
    }
}

/// Whether the one that answered is the one that was dialled, and let in.
fn greeted(door: &dyn Doorman, peer: NodeId, hello: &Hello) -> Result<(), DialError> {
    if hello.node != peer {
        let why = format!("node {} answers where node {peer} was dialled", hello.node);
        return Err(Broken(why).into());
    }
    // It is the other side that is not let in, not this node.
    door.admit(hello).map_err(|refusal| Broken(refusal.why).into())
}

/// Opens gRPC streams over mTLS.
pub struct MtlsDialer {
    tls: PeerTls,
}

impl MtlsDialer {
    /// Dials with the node's certificate.
    #[must_use]
    pub fn new(tls: PeerTls) -> Self {
        Self { tls }
    }
}

impl Dial for MtlsDialer {
    fn dial(&self, peer: PeerAddress, hello: Hello, outgoing: Frames) -> BoxFuture<'static, Answered> {
        open(self.tls.clone(), peer, hello, outgoing).boxed()
    }
}

async fn open(tls: PeerTls, peer: PeerAddress, hello: Hello, outgoing: Frames) -> Answered {
    let mut client = connect(&tls, &peer).await.map_err(|error| Broken(error.to_string()))?;
    let mut request = tonic::Request::new(outgoing);
    let said = hello.to_string().parse().map_err(|_| Broken("the greeting cannot be sent".to_owned()))?;
    request.metadata_mut().insert(HELLO_HEADER, said);
    let answer = runtime::timeout(CONNECT_TIMEOUT, client.link(request)).await;
    let answer = answer.map_err(|_| Broken("the peer did not answer in time".to_owned()))?;
    let response = answer.map_err(|status| why(&status))?;
    let said = response.metadata().get(HELLO_HEADER).and_then(|value| value.to_str().ok());
    let hello: Hello = said
        .ok_or_else(|| {
            Refusal::now(
                "it answers no greeting that this version understands; upgrade one version at a time",
            )
        })?
        .parse()?;
    let arrivals = response.into_inner();
    Ok((hello, arrivals.map(|frame| frame.map_err(|status| Broken(status.to_string()))).boxed()))
}

fn why(status: &Status) -> DialError {
    match status.code() {
        Code::FailedPrecondition => Refusal::for_good(status.message()).into(),
        Code::PermissionDenied | Code::InvalidArgument | Code::Unauthenticated => {
            Refusal::now(status.message()).into()
        }
        _ => Broken(status.message().to_owned()).into(),
    }
}

async fn connect(
    tls: &PeerTls,
    address: &PeerAddress,
) -> Result<PeerClient<Channel>, tonic::transport::Error> {
    let channel = Endpoint::from_shared(format!("https://{}", address.address))?
        .tls_config(tls.client(address.name.as_str()))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .connect()
        .await?;
    Ok(PeerClient::new(channel).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
}
