//! mTLS between nodes: each node proves its name with a certificate of the cluster's own authority.

use std::path::Path;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// A node's identity and the authority that it trusts.
#[derive(Clone)]
pub struct PeerTls {
    ca: Certificate,
    identity: Identity,
}

/// Why the certificates could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what} at {path}: {source}; `meridian cert` makes certificates")]
pub struct TlsError {
    what: &'static str,
    path: String,
    source: std::io::Error,
}

impl PeerTls {
    /// Reads PEM files: the authority, the node's certificate and its key.
    ///
    /// # Errors
    /// [`TlsError`] naming the file that could not be read.
    pub fn load(ca: &Path, certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |what, path: &Path| {
            std::fs::read(path).map_err(|source| TlsError { what, path: path.display().to_string(), source })
        };
        Ok(Self {
            ca: Certificate::from_pem(read("the certificate authority", ca)?),
            identity: Identity::from_pem(read("the certificate", certificate)?, read("the key", key)?),
        })
    }

    pub(super) fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new().identity(self.identity.clone()).client_ca_root(self.ca.clone())
    }

    /// For dialling the node of that name: its certificate must carry the name.
    pub(super) fn client(&self, node_name: &str) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .identity(self.identity.clone())
            .ca_certificate(self.ca.clone())
            .domain_name(node_name)
    }
}

/// Whether a DER certificate, already verified against the authority, is for the node of that name.
pub(super) fn certificate_is_for(der: &[u8], node_name: &str) -> bool {
    let der = rustls_pki_types::CertificateDer::from(der);
    let (Ok(certificate), Ok(name)) =
        (webpki::EndEntityCert::try_from(&der), rustls_pki_types::ServerName::try_from(node_name))
    else {
        return false;
    };
    certificate.verify_is_valid_for_subject_name(&name).is_ok()
}
