//! The cluster's certificate authority and the certificates of nodes, for mTLS between them.
//!
//! What is not here: loading them into a TLS stack, which is the transport's. Certificates are for traffic between
//! nodes; clients of the data API do not meet them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meridian_types::NodeName;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, date_time_ymd,
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The subject of every cluster's authority. Its key, not its name, tells clusters apart; a fixed name lets certificates be
/// issued with the key alone at hand.
const AUTHORITY_NAME: &str = "Meridian cluster CA";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an authority's certificate is valid.
const AUTHORITY_DAYS: u32 = 3650;
/// Clocks of nodes may be behind by this much when a new certificate is first shown to them.
const BACKDATE: Duration = DAY;

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// The library refused.
    #[error("cannot make the certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A name that a certificate cannot carry.
    #[error(
        "{0:?} cannot be a name in a certificate; use a DNS name (labels of at most 63 characters, no - at either end) or an IP address"
    )]
    Name(String),
    /// The private key cannot be read.
    #[error("the authority's key is not a PKCS#8 private key in PEM: {0}")]
    Key(rcgen::Error),
    /// The key is another authority's.
    #[error(
        "the authority's certificate and key do not belong together; use the pair that `meridian cert ca` made"
    )]
    Mismatch,
}

/// A certificate and its key, both PEM.
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The private key; keep it in a file that only the node can read.
    pub key: String,
}

/// A certificate authority with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    /// Makes a new authority, valid for ten years.
    ///
    /// # Errors
    /// [`CertError::Make`].
    pub fn create() -> Result<Self, CertError> {
        let key = KeyPair::generate()?;
        let mut params = authority_params();
        valid_for(&mut params, AUTHORITY_DAYS);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Takes up an authority that [`Authority::create`] made.
    ///
    /// # Errors
    /// [`CertError::Key`] or [`CertError::Mismatch`].
    pub fn load(certificate: &str, key: &str) -> Result<Self, CertError> {
        let key = KeyPair::from_pem(key).map_err(CertError::Key)?;
        let body: String =
            certificate.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
        let der = STANDARD.decode(body).map_err(|_| CertError::Mismatch)?;
        let public = key.subject_public_key_info();
        // A certificate contains its subject's public key as it is.
        if !der.windows(public.len()).any(|window| window == public) {
            return Err(CertError::Mismatch);
        }
        Ok(Self { issuer: Issuer::new(authority_params(), key), certificate: certificate.to_owned() })
    }

    /// The authority's certificate, which every node needs.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The authority's private key. Whoever has it can join the cluster.
    #[must_use]
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Makes a node's certificate. It carries the node's name, loopback names, and `extra` names or addresses.
    ///
    /// # Errors
    /// [`CertError`].
    pub fn issue(&self, node: &NodeName, extra: &[String], days: u32) -> Result<Issued, CertError> {
        let mut names =
            vec![node.to_string(), "localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        names.extend(extra.iter().cloned());
        if let Some(bad) = names.iter().find(|name| !is_certificate_name(name)) {
            return Err(CertError::Name(bad.clone()));
        }
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = named(node.as_str());
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        valid_for(&mut params, days);
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { certificate, key: key.serialize_pem() })
    }
}

/// Whether TLS can verify a peer under this name.
#[must_use]
pub fn is_certificate_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.parse::<std::net::IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(label))
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(AUTHORITY_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn valid_for(params: &mut CertificateParams, days: u32) {
    // A clock before 1970 gives a certificate of 1970, which fails loudly when it is used.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATE);
    params.not_after = epoch + now + DAY * days;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_survives_its_files() {
        let made = Authority::create().unwrap();
        let loaded = Authority::load(made.certificate(), &made.key()).unwrap();
        assert_eq!(loaded.certificate(), made.certificate());
        let node = NodeName::new("us-east-1-a-0").unwrap();
        let issued = loaded.issue(&node, &["db.example".to_owned(), "10.0.0.1".to_owned()], 30).unwrap();
        assert!(issued.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(issued.key.starts_with("-----BEGIN PRIVATE KEY-----"));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (one, two) = (Authority::create().unwrap(), Authority::create().unwrap());
        assert!(matches!(Authority::load(one.certificate(), &two.key()), Err(CertError::Mismatch)));
        assert!(matches!(Authority::load(one.certificate(), "nonsense"), Err(CertError::Key(_))));
        assert!(matches!(Authority::load("nonsense", &one.key()), Err(CertError::Mismatch)));
        let node = NodeName::new("n").unwrap();
        for bad in ["", "a b", "-a", &"x".repeat(64)] {
            assert!(matches!(one.issue(&node, &[bad.to_owned()], 1), Err(CertError::Name(_))), "{bad}");
        }
        let long = NodeName::new(&"n".repeat(64)).unwrap();
        assert!(matches!(one.issue(&long, &[], 1), Err(CertError::Name(_))));
    }
}
