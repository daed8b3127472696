//! Certificates from files, chosen by the name that a client asks for.

use crate::names::Names;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// A certificate and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and those between it and the authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read, or is not PEM.
    #[error("{}: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: rustls_pki_types::pem::Error,
    },
    /// Certificate and key are not for each other, or not of a kind that is known.
    #[error("{} and {}: {source}", cert.display(), key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// It is for no name.
    #[error("{}: the certificate is for no DNS name", path.display())]
    NoName {
        /// The file.
        path: PathBuf,
    },
}

/// Certificates that were read.
#[derive(Clone, Debug)]
pub struct Certificates(Names<CertifiedKey>);

impl Default for Certificates {
    fn default() -> Self {
        Self(Names::new([]))
    }
}

impl Certificates {
    /// Reads them all.
    ///
    /// # Errors
    /// [`CertificateError`] for the first that cannot be used.
    pub fn load(files: &[CertificateFiles]) -> Result<Self, CertificateError> {
        let all: Vec<_> = files.iter().map(load).collect::<Result<_, _>>()?;
        Ok(Self(Names::new(all)))
    }

    /// Whether there is any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.find(None).is_none()
    }
}

fn load(files: &CertificateFiles) -> Result<(Vec<String>, Arc<CertifiedKey>), CertificateError> {
    let pem = |path: &Path| {
        let path = path.to_owned();
        move |source| CertificateError::Pem { path, source }
    };
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(&files.cert).and_then(Iterator::collect).map_err(pem(&files.cert))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(pem(&files.key))?;
    let names = chain.first().and_then(|first| {
        let own = webpki::EndEntityCert::try_from(first).ok()?;
        Some(own.valid_dns_names().map(str::to_owned).collect::<Vec<_>>())
    });
    let names = names.filter(|names| !names.is_empty());
    let names = names.ok_or_else(|| CertificateError::NoName { path: files.cert.clone() })?;
    let certified = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|source| {
        CertificateError::Pair { cert: files.cert.clone(), key: files.key.clone(), source }
    })?;
    Ok((names, Arc::new(certified)))
}

/// Those in use; new ones are for new connections.
#[derive(Default)]
pub(super) struct Held(RwLock<Arc<Certificates>>);

impl Held {
    pub(super) fn set(&self, certificates: Certificates) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificates);
    }

    pub(super) fn get(&self) -> Arc<Certificates> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl ResolvesServerCert for Held {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.get().0.find(hello.server_name())
    }
}

/// Accepts TLS with the certificates that are held.
pub(super) fn acceptor(held: Arc<Held>) -> Result<TlsAcceptor, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(held);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
