//! Accepting links from peers: those with a lower number, and those that this node does not know of yet.

use super::carrier::Acceptor;
use super::hello::{Hello, Refusal};
use super::proto::Frame;
use super::proto::peer_server::{Peer, PeerServer};
use super::tls::{PeerTls, certificate_is_for};
use super::{HELLO_HEADER, MAX_MESSAGE, WINDOW};
use futures_util::{Stream, StreamExt};
use std::pin::Pin;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

struct Service {
    acceptor: Acceptor,
}

/// Serves the peer protocol on `listener` until the task is aborted.
///
/// # Errors
/// When the certificates are not usable or the listener fails.
pub async fn serve(
    listener: TcpListener,
    tls: PeerTls,
    acceptor: Acceptor,
) -> Result<(), tonic::transport::Error> {
    let service = PeerServer::new(Service { acceptor })
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
        let hello = greeting(&request)?;
        let accepted = self.acceptor.accept(&hello, request.into_inner());
        let (own, frames) = accepted.map_err(|refusal| refused(&refusal))?;
        let mut response: Response<Self::LinkStream> = Response::new(frames.map(Ok).boxed());
        let own = own.to_string().parse().map_err(|_| Status::internal("the greeting cannot be sent"))?;
        response.metadata_mut().insert(HELLO_HEADER, own);
        Ok(response)
    }
}

/// A refusal for good has a code of its own, so that the peer can tell.
pub(super) fn refused(refusal: &Refusal) -> Status {
    if refusal.for_good {
        Status::failed_precondition(&refusal.why)
    } else {
        Status::permission_denied(&refusal.why)
    }
}

/// What the opener of the stream says of itself: its certificate must carry the name that it says.
fn greeting(request: &Request<Streaming<Frame>>) -> Result<Hello, Status> {
    let said = request.metadata().get(HELLO_HEADER).and_then(|value| value.to_str().ok());
    let said = said.ok_or_else(|| {
        Status::invalid_argument(
            "the stream has no greeting that this version understands; upgrade one version at a time",
        )
    })?;
    let hello: Hello = said.parse().map_err(|refusal: Refusal| Status::invalid_argument(refusal.why))?;
    let certificates =
        request.peer_certs().ok_or_else(|| Status::unauthenticated("the peer sent no certificate"))?;
    if certificates.first().is_some_and(|der| certificate_is_for(der, hello.name.as_str())) {
        Ok(hello)
    } else {
        Err(Status::permission_denied(format!("the certificate is not for node {}", hello.name)))
    }
}
