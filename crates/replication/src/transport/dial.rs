//! Dialling a peer, again and again, for as long as the node runs.

use super::carrier::{Arrivals, Broken, Dial, Frames};
use super::link::Link;
use super::message::Handler;
use super::peers::{PeerAddress, Peers};
use super::proto::peer_client::PeerClient;
use super::tls::PeerTls;
use super::{MAX_MESSAGE, NODE_HEADER, WINDOW};
use crate::runtime;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use meridian_types::NodeId;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);
/// Covers TCP, TLS and HTTP/2 set-up over a slow link.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Peers {
    /// Keeps a link to `address` up until the task is aborted. Only for peers with a higher number than this node:
    /// the lower one dials, so that a pair shares one connection.
    pub async fn keep_dialling(
        self: Arc<Self>,
        address: PeerAddress,
        dialer: Arc<dyn Dial>,
        handler: Arc<dyn Handler>,
    ) {
        debug_assert!(self.own() < address.number, "the lower number dials");
        let mut wait = FIRST_RETRY;
        loop {
            let (link, frames) = Link::new(address.number);
            match dialer.dial(address.clone(), Frames::new(frames)).await {
                Ok(arrivals) => {
                    self.up(&link);
                    link.run(arrivals, &*handler).await;
                    self.down(&link);
                    wait = FIRST_RETRY;
                }
                Err(error) => tracing::debug!(peer = %address.name, %error, "dialling failed"),
            }
            // Spread out, so that all nodes don't dial a returning one in the same instant.
            runtime::sleep(wait.mul_f64(0.5 + runtime::random::<f64>() / 2.0)).await;
            wait = (wait * 2).min(LAST_RETRY);
        }
    }
}

/// Opens gRPC streams over mTLS.
pub struct MtlsDialer {
    own: NodeId,
    tls: PeerTls,
}

impl MtlsDialer {
    /// Dials as the node `own`, with its certificate.
    #[must_use]
    pub fn new(own: NodeId, tls: PeerTls) -> Self {
        Self { own, tls }
    }
}

impl Dial for MtlsDialer {
    fn dial(&self, peer: PeerAddress, outgoing: Frames) -> BoxFuture<'static, Result<Arrivals, Broken>> {
        open(self.own, self.tls.clone(), peer, outgoing).boxed()
    }
}

async fn open(own: NodeId, tls: PeerTls, peer: PeerAddress, outgoing: Frames) -> Result<Arrivals, Broken> {
    let mut client = connect(&tls, &peer).await.map_err(|error| Broken(error.to_string()))?;
    let mut request = tonic::Request::new(outgoing);
    request.metadata_mut().insert(NODE_HEADER, own.0.into());
    match runtime::timeout(CONNECT_TIMEOUT, client.link(request)).await {
        Ok(Ok(response)) => {
            let arrivals = response.into_inner();
            Ok(arrivals.map(|frame| frame.map_err(|status| Broken(status.to_string()))).boxed())
        }
        Ok(Err(status)) => {
            let (peer, code, message) = (peer.number, status.code(), status.message());
            tracing::warn!(%peer, ?code, message, "the peer refused the link");
            Err(Broken(message.to_owned()))
        }
        Err(_) => Err(Broken("the peer did not answer in time".to_owned())),
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
