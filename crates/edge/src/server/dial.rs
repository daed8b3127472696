//! Connections to backends.

use super::socket::set_up;
use super::upstream::Upstream;
use futures_util::stream::{FuturesUnordered, StreamExt};
use meridian_types::service::{BackendHost, Scheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 8;
/// How long one is waited for before the next is asked as well, at most.
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// Makes connections.
pub(super) struct Dialer {
    tls: TlsConnector,
    /// How long one may take.
    pub(super) patience: Duration,
}

impl Dialer {
    /// Backends' certificates must come from `ca`, or from whom the system trusts.
    pub(super) fn new(ca: Option<&Path>, patience: Duration) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        match ca {
            Some(path) => {
                let certificates = CertificateDer::pem_file_iter(path).map_err(io::Error::other)?;
                for certificate in certificates {
                    roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
                }
            }
            // A machine without any can have no https backends; that is told when one is asked.
            None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), patience })
    }

    pub(super) async fn connect(&self, upstream: &Upstream) -> Result<Io, &'static str> {
        let backend = &upstream.backend;
        let addresses: Vec<IpAddr> = match &backend.host {
            BackendHost::Address(address) => vec![*address],
            BackendHost::Name(name) => {
                let known = upstream.addresses();
                if known.is_empty() {
                    let found = tokio::net::lookup_host((name.as_str(), backend.port)).await;
                    found.map_err(|_| "its name is not found")?.map(|socket| socket.ip()).collect()
                } else {
                    known.to_vec()
                }
            }
        };
        let stream = first(&addresses, backend.port, self.patience).await?;
        set_up(&stream);
        if backend.scheme != Scheme::Https {
            return Ok(Io::Plain(stream));
        }
        let name = match &backend.host {
            BackendHost::Name(name) => name,
            BackendHost::Address(_) => &upstream.name,
        };
        let name = ServerName::try_from(name.as_str().to_owned()).map_err(|_| "no name for TLS")?;
        match self.tls.connect(name, stream).await {
            Ok(stream) => Ok(Io::Tls(Box::new(stream))),
            Err(error) => {
                tracing::debug!(%backend, %error, "no TLS with a backend");
                Err("its certificate or its TLS is not accepted")
            }
        }
    }
}

/// A connection to whichever address takes one first. The next is asked when one fails or takes its time (RFC 8305, section 5), so that all
/// get their turn within `patience`, and those that are asked already go on meanwhile.
async fn first(addresses: &[IpAddr], port: u16, patience: Duration) -> Result<TcpStream, &'static str> {
    let mut left = addresses.iter().take(MAX_ADDRESSES);
    let step = NEXT_AFTER.min(patience / u32::try_from(left.len()).unwrap_or(u32::MAX).max(1));
    let mut outcome = Err("its name is not found");
    let mut running = FuturesUnordered::new();
    loop {
        match left.next() {
            Some(address) => running.push(TcpStream::connect(SocketAddr::new(*address, port))),
            None if running.is_empty() => return outcome,
            None => {}
        }
        tokio::select! {
            Some(done) = running.next() => match done {
                Ok(stream) => return Ok(stream),
                Err(error) => outcome = Err(words(&error)),
            },
            () = tokio::time::sleep(step), if left.len() > 0 => {}
        }
    }
}

fn words(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset",
        io::ErrorKind::TimedOut => "no connection in time",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no way there",
        _ => "no connection",
    }
}

/// A connection to a backend.
pub(super) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
