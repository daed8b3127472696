//! Accepting links from peers with a lower number.

use super::carrier::Acceptor;
use super::peers::PeerAddress;
use super::proto::Frame;
use super::proto::peer_server::{Peer, PeerServer};
use super::tls::{PeerTls, certificate_is_for};
use super::{MAX_MESSAGE, NODE_HEADER, WINDOW};
use futures_util::{Stream, StreamExt};
use meridian_types::{NodeId, NodeName};
use std::collections::BTreeMap;
use std::pin::Pin;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

struct Service {
    names: BTreeMap<NodeId, NodeName>,
    acceptor: Acceptor,
}

/// Serves the peer protocol on `listener` until the task is aborted.
///
/// # Errors
/// When the certificates are not usable or the listener fails.
pub async fn serve(
    listener: TcpListener,
    tls: PeerTls,
    known: &[PeerAddress],
    acceptor: Acceptor,
) -> Result<(), tonic::transport::Error> {
    let names = known.iter().map(|peer| (peer.number, peer.name.clone())).collect();
    let service = PeerServer::new(Service { names, acceptor })
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    Server::builder()
        .tls_config(tls.server())?
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .add_service(service)
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
}

#[tonic::async_trait]
impl Peer for Service {
    type LinkStream = Pin<Box<dyn Stream<Item = Result<Frame, Status>> + Send>>;

    async fn link(&self, request: Request<Streaming<Frame>>) -> Result<Response<Self::LinkStream>, Status> {
        let peer = self.identify(&request)?;
        let frames = self.acceptor.accept(peer, request.into_inner());
        Ok(Response::new(frames.map(Ok).boxed()))
    }
}

impl Service {
    /// The node that opened the stream: it says its number, and its certificate must carry that node's name.
    fn identify(&self, request: &Request<Streaming<Frame>>) -> Result<NodeId, Status> {
        let number = request
            .metadata()
            .get(NODE_HEADER)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse().ok())
            .map(NodeId)
            .ok_or_else(|| Status::invalid_argument("the stream does not say which node opened it"))?;
        let name = self
            .names
            .get(&number)
            .ok_or_else(|| Status::permission_denied(format!("node {number} is not in this cluster")))?;
        let certificates =
            request.peer_certs().ok_or_else(|| Status::unauthenticated("the peer sent no certificate"))?;
        let own = certificates.first().is_some_and(|der| certificate_is_for(der, name.as_str()));
        if own {
            Ok(number)
        } else {
            Err(Status::permission_denied(format!("the certificate is not for node {name}")))
        }
    }
}
