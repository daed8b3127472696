//! What signs one zone.

use super::budget::Budget;
use super::cache::{Cache, Signature};
use super::key::{ALGORITHM, Key, KeyError, read};
use super::validity::validity;
use crate::answer::Question;
use hickory_proto::ProtoError;
use hickory_proto::dnssec::crypto::Digest;
use hickory_proto::dnssec::rdata::{CDNSKEY, CDS, DNSSECRData, DS, RRSIG, SigInput};
use hickory_proto::dnssec::{DigestType, PublicKey, TBS};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The keys of a zone, and the signatures that they made lately. The first key signs; all of them are published, and sign the set of keys.
pub struct Signer {
    zone: Name,
    keys: Vec<Key>,
    cache: Mutex<Cache>,
    budget: Mutex<Budget>,
    signed: AtomicU64,
    found: AtomicU64,
}

/// Where signatures of answers have come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// So many were made.
    pub signed: u64,
    /// So many had been made before.
    pub found: u64,
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    /// The set cannot be encoded, or there is no randomness to be had.
    #[error(transparent)]
    Failed(#[from] ProtoError),
    /// Too many are being made for datagrams: the client is to come over a stream.
    #[error("too much is to be signed for datagrams")]
    TooMany,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tags: Vec<u16> = self.keys.iter().map(|key| key.tag).collect();
        f.debug_struct("Signer").field("zone", &self.zone).field("tags", &tags).finish_non_exhaustive()
    }
}

impl Signer {
    /// Takes the keys of `zone` from PEM: ECDSA on P-256 in PKCS#8, one after the other. Anything else in it is passed over.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(zone: &Name, pem: &[u8]) -> Result<Self, KeyError> {
        let mut zone = zone.to_lowercase();
        zone.set_fqdn(true);
        Ok(Self {
            zone,
            keys: read(pem)?,
            cache: Mutex::default(),
            budget: Mutex::default(),
            signed: AtomicU64::new(0),
            found: AtomicU64::new(0),
        })
    }

    /// The zone.
    #[must_use]
    pub fn zone(&self) -> &Name {
        &self.zone
    }

    /// Where the signatures came from so far.
    #[must_use]
    pub fn made(&self) -> Made {
        Made { signed: self.signed.load(Ordering::Relaxed), found: self.found.load(Ordering::Relaxed) }
    }

    /// The data of the zone's DNSKEY records, the first key first.
    #[must_use]
    pub fn keys(&self) -> Vec<RData> {
        self.keys.iter().map(|key| RData::DNSSEC(DNSSECRData::DNSKEY(key.public.clone()))).collect()
    }

    /// The data of the DS records that the parent zone should have, by SHA-256.
    #[must_use]
    pub fn delegations(&self) -> Vec<RData> {
        self.digests().map(|ds| RData::DNSSEC(DNSSECRData::DS(ds))).collect()
    }

    /// The data of the records that tell the parent's operator what DS records to have (RFC 7344).
    pub(crate) fn wishes(&self) -> (Vec<RData>, Vec<RData>) {
        let cds = self.digests().map(|ds| {
            let digest = ds.digest().to_vec();
            CDS::new(ds.key_tag(), Some(ALGORITHM), ds.digest_type(), digest)
        });
        let cdnskey = self.keys.iter().map(|key| {
            let public = key.public.public_key().public_bytes().to_vec();
            CDNSKEY::with_flags(key.public.flags(), Some(ALGORITHM), public)
        });
        let cds = cds.map(|cds| RData::DNSSEC(DNSSECRData::CDS(cds)));
        let cdnskey = cdnskey.map(|key| RData::DNSSEC(DNSSECRData::CDNSKEY(key)));
        (cds.collect(), cdnskey.collect())
    }

    fn digests(&self) -> impl Iterator<Item = DS> {
        let digest = |key: &Key| DS::from_key(key.public.public_key(), &self.zone, DigestType::SHA256).ok();
        self.keys.iter().filter_map(digest)
    }

    /// Signs a set of records, which have name, type and TTL in common and are not the same; the signatures are valid at the time of the question.
    ///
    /// # Errors
    /// [`SignError`].
    pub(crate) fn sign(&self, set: &[Record], question: Question<'_>) -> Result<Vec<Record>, SignError> {
        let Some(first) = set.first() else { return Ok(Vec::new()) };
        // Whichever of the keys the parent's DS record names vouches for the others.
        let keys = if first.record_type() == RecordType::DNSKEY { self.keys.len() } else { 1 };
        self.keys.iter().take(keys).map(|key| self.signature(key, first, set, question)).collect()
    }

    fn signature(
        &self,
        key: &Key,
        first: &Record,
        set: &[Record],
        question: Question<'_>,
    ) -> Result<Record, SignError> {
        let kind = first.record_type();
        let validity = validity(&first.name, kind, question.now_s);
        let input = SigInput {
            type_covered: kind,
            algorithm: ALGORITHM,
            // A name that a wildcard stands for is signed as if it were there, so nothing more has to be proved.
            num_labels: first.name.num_labels(),
            original_ttl: first.ttl,
            sig_expiration: validity.expiration,
            sig_inception: validity.inception,
            key_tag: key.tag,
            signer_name: self.zone.clone(),
        };
        let data = TBS::from_input(&first.name, DNSClass::IN, &input, set.iter())?;
        let signature = self.over(key, &data, question)?;
        let rrsig = RData::DNSSEC(DNSSECRData::RRSIG(RRSIG::from_sig(input, signature)));
        Ok(Record::from_rdata(first.name.clone(), first.ttl, rrsig))
    }

    /// The signature over data: the one that was made before, if it is still there.
    fn over(&self, key: &Key, data: &TBS, question: Question<'_>) -> Result<Vec<u8>, SignError> {
        let digest = Digest::new(data.as_ref(), DigestType::SHA256).map_err(ProtoError::from)?;
        let digest = digest.as_ref().try_into().ok();
        let cache = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = digest.and_then(|digest| cache().get(&digest)) {
            self.found.fetch_add(1, Ordering::Relaxed);
            return Ok(found.to_vec());
        }
        let budget = || self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        if !question.on_stream && !budget().take(question.now_s) {
            return Err(SignError::TooMany);
        }
        // Without a lock, so that other threads go on.
        let made = key.secret.sign(data).map_err(|error| ProtoError::Msg(error.to_string()))?;
        self.signed.fetch_add(1, Ordering::Relaxed);
        if let (Some(digest), Ok(signature)) = (digest, Signature::try_from(made.as_slice())) {
            cache().insert(digest, signature);
        }
        Ok(made)
    }
}
