//! Tokens of sessions (JWT, RFC 7519): signed with a key of the system group, verified by every node from its own copy.
//!
//! Ed25519 only (RFC 8037). The key says the algorithm, never the token; a token names its key, and is refused without.

mod provider;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use meridian_replication::system::SigningKey;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The claims of a token.
pub type Claims = Map<String, Value>;
/// Signing keys by id.
pub type Keys = BTreeMap<String, SigningKey>;

/// How far clocks of those who sign and those who verify may be apart.
pub const LEEWAY: Duration = Duration::from_secs(30);
/// How long a new key waits until it signs, so that every node knows it by then.
const KNOWN_AFTER: Duration = Duration::from_secs(5);
/// The longest token, in characters.
pub const MAX_TOKEN: usize = 16 << 10;
/// The longest claims, as JSON.
pub const MAX_CLAIMS: usize = 8 << 10;
/// Claims that the signature sets.
const SET_HERE: [&str; 2] = ["exp", "iat"];

/// Why a token was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// There is no key that may sign.
    #[error("there is no signing key; make one with `meridian key jwt create`")]
    NoKey,
    /// It would outlive what the key is kept for.
    #[error(
        "a token lasts 1 s to {0} s with this key; ask for less, or make the key with a longer --max-ttl"
    )]
    Ttl(u64),
    /// A claim that is not the caller's to give.
    #[error("the claim `{0}` is set by the signature; leave it out and say --ttl")]
    Claim(&'static str),
    /// The claims are too long.
    #[error("the claims are at most {MAX_CLAIMS} bytes of JSON")]
    TooLong,
    /// The library refused.
    #[error("the token cannot be signed: {0}")]
    Failed(String),
}

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not three parts of base64, or not JSON in them.
    #[error("it is not a signed JWT")]
    Malformed,
    /// The algorithm is not that of the keys.
    #[error("its algorithm is not EdDSA, the only one that the keys are for")]
    Algorithm,
    /// It does not name its key.
    #[error("it names no key (`kid`)")]
    NoKeyId,
    /// Its key is not there, or not any more.
    #[error("its key is not known, or its time is over")]
    UnknownKey,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet (`nbf`)")]
    NotYet,
    /// A time that is needed is not there, or is no number.
    #[error("it lacks `exp`, or its times are not numbers")]
    Times,
}

/// A new key: its id and what is kept of it. `rotates`: another signs until it is known everywhere.
///
/// # Errors
/// When the system has no randomness.
pub fn new_key(now_ms: u64, max_ttl: Duration, rotates: bool) -> Result<(String, SigningKey), SignError> {
    let failed = |what: &str| SignError::Failed(what.to_owned());
    let random = SystemRandom::new();
    let private = Ed25519KeyPair::generate_pkcs8(&random).map_err(|_| failed("no randomness"))?;
    let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).map_err(|_| failed("the new key is not one"))?;
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let key = SigningKey {
        private: private.as_ref().to_vec(),
        public: pair.public_key().as_ref().to_vec(),
        created_ms: now_ms,
        signs_from_ms: if rotates { now_ms.saturating_add(millis(KNOWN_AFTER)) } else { now_ms },
        max_ttl_ms: millis(max_ttl),
        verifies_until_ms: None,
    };
    Ok((URL_SAFE_NO_PAD.encode(key.public.get(..12).unwrap_or_default()), key))
}

/// The key that signs at a moment: the newest whose time has come.
#[must_use]
pub fn signer(keys: &Keys, now_ms: u64) -> Option<(&String, &SigningKey)> {
    let order = |key: &SigningKey| (key.signs_from_ms, key.created_ms);
    let begun = keys.iter().filter(|(_, key)| key.signs_from_ms <= now_ms).max_by_key(|(_, key)| order(key));
    // By a clock that is behind, the oldest.
    begun.or_else(|| keys.iter().min_by_key(|(_, key)| order(key)))
}

/// Signs claims, which last for `ttl` from `now_ms` on.
///
/// # Errors
/// [`SignError`].
pub fn sign(keys: &Keys, mut claims: Claims, ttl: Duration, now_ms: u64) -> Result<String, SignError> {
    let (id, key) = signer(keys, now_ms).ok_or(SignError::NoKey)?;
    let (now, ttl) = (now_ms / 1_000, ttl.as_secs());
    let rest_ms = key.verifies_until_ms.map_or(u64::MAX, |until| until.saturating_sub(now_ms));
    let most = key.max_ttl_ms.min(rest_ms) / 1_000;
    if !(1..=most).contains(&ttl) {
        return Err(if most == 0 { SignError::NoKey } else { SignError::Ttl(most) });
    }
    if let Some(claim) = SET_HERE.into_iter().find(|claim| claims.contains_key(*claim)) {
        return Err(SignError::Claim(claim));
    }
    claims.insert("iat".to_owned(), now.into());
    claims.insert("exp".to_owned(), now.saturating_add(ttl).into());
    let length = serde_json::to_vec(&claims).map_or(usize::MAX, |json| json.len());
    if length > MAX_CLAIMS {
        return Err(SignError::TooLong);
    }
    let header = Header { kid: Some(id.clone()), ..Header::new(Algorithm::EdDSA) };
    install();
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(&key.private))
        .map_err(|error| SignError::Failed(error.to_string()))
}

/// The claims of a token that is valid.
///
/// # Errors
/// [`Refused`].
pub fn verify(keys: &Keys, token: &str, now_ms: u64) -> Result<Claims, Refused> {
    if token.len() > MAX_TOKEN {
        return Err(Refused::Malformed);
    }
    install();
    let header = jsonwebtoken::decode_header(token).map_err(|error| refused(error.kind()))?;
    if header.alg != Algorithm::EdDSA {
        return Err(Refused::Algorithm);
    }
    let id = header.kid.ok_or(Refused::NoKeyId)?;
    let key = keys.get(&id).filter(|key| key.verifies(now_ms)).ok_or(Refused::UnknownKey)?;
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.leeway = LEEWAY.as_secs();
    rules.validate_nbf = true;
    // Whom a token is for is for those to say who are asked with it.
    rules.validate_aud = false;
    let key = DecodingKey::from_ed_der(&key.public);
    let token = jsonwebtoken::decode::<Claims>(token, &key, &rules).map_err(|error| refused(error.kind()))?;
    Ok(token.claims)
}

fn refused(kind: &ErrorKind) -> Refused {
    match kind {
        ErrorKind::InvalidSignature => Refused::Signature,
        ErrorKind::ExpiredSignature => Refused::Expired,
        ErrorKind::ImmatureSignature => Refused::NotYet,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::UnsupportedAlgorithm => {
            Refused::Algorithm
        }
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => Refused::Times,
        _ => Refused::Malformed,
    }
}

/// The public keys as others read them (RFC 7517), those that are to sign included.
#[must_use]
pub fn key_set(keys: &Keys, now_ms: u64) -> Value {
    let shown = keys.iter().filter(|(_, key)| key.verifies(now_ms)).map(|(id, key)| {
        json!({
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": id,
            "x": URL_SAFE_NO_PAD.encode(&key.public),
        })
    });
    json!({ "keys": shown.collect::<Vec<_>>() })
}

/// Has the library use what is here. Again changes nothing.
fn install() {
    let _ = provider::RING.install_default();
}

#[cfg(test)]
mod tests;
