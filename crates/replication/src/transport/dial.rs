//! Dialling a peer, again and again, for as long as the node runs.

use super::link::Link;
use super::message::Handler;
use super::peers::{PeerAddress, Peers};
use super::proto::peer_client::PeerClient;
use super::tls::PeerTls;
use super::{MAX_MESSAGE, NODE_HEADER, WINDOW};
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
        tls: PeerTls,
        handler: Arc<dyn Handler>,
    ) {
        debug_assert!(self.own() < address.number, "the lower number dials");
        let mut wait = FIRST_RETRY;
        loop {
            match open(&address, &tls, self.own()).await {
                Ok(client) => {
                    if run(&self, client, address.number, &*handler).await {
                        wait = FIRST_RETRY;
                    }
                }
                Err(error) => tracing::debug!(peer = %address.name, %error, "dialling failed"),
            }
            // Spread out, so that all nodes don't dial a returning one in the same instant.
            tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
            wait = (wait * 2).min(LAST_RETRY);
        }
    }
}

async fn open(
    address: &PeerAddress,
    tls: &PeerTls,
    own: NodeId,
) -> Result<(PeerClient<Channel>, NodeId), tonic::transport::Error> {
    let channel = Endpoint::from_shared(format!("https://{}", address.address))?
        .tls_config(tls.client(address.name.as_str()))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .connect()
        .await?;
    let client = PeerClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    Ok((client, own))
}

/// Runs one link to its end; whether it ever came up.
async fn run(
    peers: &Peers,
    (mut client, own): (PeerClient<Channel>, NodeId),
    peer: NodeId,
    handler: &dyn Handler,
) -> bool {
    let (link, frames) = Link::new(peer);
    let mut request = tonic::Request::new(frames);
    request.metadata_mut().insert(NODE_HEADER, own.0.into());
    let inbound = match tokio::time::timeout(CONNECT_TIMEOUT, client.link(request)).await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => {
            tracing::warn!(%peer, code = ?status.code(), message = status.message(), "the peer refused the link");
            return false;
        }
        Err(_) => return false,
    };
    peers.up(&link);
    link.run(inbound, handler).await;
    peers.down(&link);
    true
}
