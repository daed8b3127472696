//! Keys of zones, as files hold them.

use hickory_proto::dnssec::crypto::signing_key_from_der;
use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::dnssec::{Algorithm, SigningKey};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

/// The most keys of one zone: more are never needed for a change of keys, and resolvers refuse to try many.
pub const MAX_KEYS: usize = 4;
/// ECDSA on P-256 with SHA-256 (RFC 6605).
pub(super) const ALGORITHM: Algorithm = Algorithm::ECDSAP256SHA256;

/// Keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("there is no private key in it; make one with `meridian key dnssec`")]
    Missing,
    /// It is not in the format.
    #[error("it is not PEM: {0}")]
    Pem(String),
    /// It is another kind of key.
    #[error(
        "key {number} is not an ECDSA key on P-256 in PKCS#8 ({reason}); make one with `meridian key dnssec`"
    )]
    Kind {
        /// Which one, the first being 1.
        number: usize,
        /// What the library said.
        reason: String,
    },
    /// Validators would have to try both.
    #[error("keys {0} and {1} have the same tag; remove one, or make another")]
    SameTag(usize, usize),
    /// There are too many.
    #[error("there are more than {MAX_KEYS} keys in it; remove those that no DS record of the parent names")]
    Many,
}

/// A key and what is known of it.
pub(super) struct Key {
    pub secret: Box<dyn SigningKey>,
    pub public: DNSKEY,
    pub tag: u16,
}

/// Reads the keys of a PEM file, of which there is at least one.
pub(super) fn read(pem: &[u8]) -> Result<Vec<Key>, KeyError> {
    let mut keys: Vec<Key> = Vec::new();
    for (number, der) in (1..).zip(PrivateKeyDer::pem_slice_iter(pem)) {
        if number > MAX_KEYS {
            return Err(KeyError::Many);
        }
        let der = der.map_err(|error| KeyError::Pem(error.to_string()))?;
        let key = parse(&der).map_err(|reason| KeyError::Kind { number, reason })?;
        if let Some(other) = keys.iter().position(|other| other.tag == key.tag) {
            return Err(KeyError::SameTag(other + 1, number));
        }
        keys.push(key);
    }
    if keys.is_empty() { Err(KeyError::Missing) } else { Ok(keys) }
}

fn parse(der: &PrivateKeyDer<'_>) -> Result<Key, String> {
    let secret = signing_key_from_der(der, ALGORITHM).map_err(|error| error.to_string())?;
    let public = secret.to_public_key().map_err(|error| error.to_string())?;
    // It signs the zone and is what the parent's DS record names, so both flags are set.
    let public = DNSKEY::from_key(&public);
    let tag = public.calculate_key_tag().map_err(|error| error.to_string())?;
    Ok(Key { secret, public, tag })
}
