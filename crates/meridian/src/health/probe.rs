//! One probe of one backend.

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use meridian_types::service::{BackendHost, Scheme};
use meridian_types::{Backend, HealthCheck, HostName};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, SignatureScheme};

/// The most addresses of a name that are kept.
const MAX_ADDRESSES: usize = 8;

/// The addresses of a backend: its own, or what its name is resolved to.
///
/// # Errors
/// What the resolver says.
pub(super) async fn addresses(backend: &Backend) -> io::Result<Vec<IpAddr>> {
    match &backend.host {
        BackendHost::Address(address) => Ok(vec![*address]),
        BackendHost::Name(name) => {
            let found = tokio::net::lookup_host((name.as_str(), backend.port)).await?;
            let mut addresses: Vec<IpAddr> = found.map(|socket| socket.ip()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            addresses.truncate(MAX_ADDRESSES);
            Ok(addresses)
        }
    }
}

/// Makes TLS connections whose certificates nobody checks: a probe asks whether a backend serves, not who it is.
pub(super) fn connector() -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Probes a backend at one of its addresses, in the name of `host`.
///
/// # Errors
/// What went wrong, in a few words.
pub(super) async fn probe(
    check: &HealthCheck,
    backend: &Backend,
    address: IpAddr,
    host: &HostName,
    tls: &TlsConnector,
) -> Result<(), String> {
    let to = SocketAddr::new(address, backend.port);
    let stream = TcpStream::connect(to).await.map_err(|error| words(&error))?;
    let HealthCheck::Http(path) = check else { return Ok(()) };
    match backend.scheme {
        Scheme::Http | Scheme::Tcp => get(stream, path, host).await,
        Scheme::Https => {
            let name = ServerName::try_from(host.as_str().to_owned()).map_err(|error| error.to_string())?;
            let stream =
                tls.connect(name, stream).await.map_err(|error| format!("no TLS: {}", words(&error)))?;
            get(stream, path, host).await
        }
    }
}

async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
    host: &HostName,
) -> Result<(), String> {
    let broken = |error: hyper::Error| format!("no HTTP: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = hyper::Request::get(path)
        .header(HOST, host.as_str())
        .header(USER_AGENT, concat!("meridian-probe/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let mut answer = pin!(sender.send_request(request));
    // The connection ends with this function, however long the body would be.
    let response = tokio::select! {
        response = &mut answer => response.map_err(broken)?,
        // It may have ended right behind the answer.
        ended = connection => match (answer.await, ended) {
            (Ok(response), _) => response,
            // Before the first byte, or with one that is no answer: which of them is told first differs.
            (Err(error), Ok(())) if error.is_parse() => return Err(broken(error)),
            (Err(_), Ok(())) => return Err("closed without an answer".to_owned()),
            (Err(_), Err(error)) => return Err(broken(error)),
        },
    };
    let status = response.status();
    if (200..400).contains(&status.as_u16()) { Ok(()) } else { Err(format!("status {}", status.as_u16())) }
}

/// An error of the system as people say it.
fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable".to_owned(),
        _ => error.to_string(),
    }
}

/// Accepts every certificate whose holder can sign.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn asked(check: &str, scheme: &str, answer: &'static [u8]) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend: Backend = format!("{scheme}://{}", listener.local_addr().unwrap()).parse().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1_024];
            _ = stream.read(&mut request).await;
            _ = stream.write_all(answer).await;
        });
        let address = addresses(&backend).await.unwrap()[0];
        let host = HostName::new("shop.example.com").unwrap();
        let tls = connector().unwrap();
        let result = probe(&check.parse().unwrap(), &backend, address, &host, &tls).await;
        server.abort();
        result
    }

    #[tokio::test]
    async fn a_status_below_400_is_health() {
        assert_eq!(asked("/", "http", b"HTTP/1.1 200 OK\r\n\r\n").await, Ok(()));
        assert_eq!(asked("/", "http", b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n").await, Ok(()));
        assert_eq!(asked("/", "http", b"HTTP/1.1 503 No\r\n\r\n").await, Err("status 503".to_owned()));
        assert!(asked("/", "http", b"").await.unwrap_err().contains("closed"));
        assert!(asked("/", "http", b"SSH-2.0-x\r\n").await.unwrap_err().starts_with("no HTTP"));
        assert!(asked("/", "https", b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap_err().starts_with("no TLS"));
        assert_eq!(asked("tcp", "tcp", b"").await, Ok(()));
    }

    #[tokio::test]
    async fn a_closed_port_is_refused() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let backend: Backend = format!("tcp://127.0.0.1:{port}").parse().unwrap();
        let host = HostName::new("a.b").unwrap();
        let local = IpAddr::from([127, 0, 0, 1]);
        let result = probe(&HealthCheck::Tcp, &backend, local, &host, &connector().unwrap()).await;
        assert_eq!(result, Err("connection refused".to_owned()));
    }

    #[tokio::test]
    async fn an_https_backend_is_probed_whoever_signed_its_certificate() {
        let name = HostName::new("shop.example.com").unwrap();
        let signed = rcgen::generate_simple_self_signed([name.to_string()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der());
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.der().clone()], key.into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend: Backend = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut request = vec![0; 1_024];
            _ = stream.read(&mut request).await;
            _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            _ = stream.shutdown().await;
        });
        let check = HealthCheck::Http("/healthz".to_owned());
        let local = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(probe(&check, &backend, local, &name, &connector().unwrap()).await, Ok(()));
    }
}
