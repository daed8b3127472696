//! Who is asking: verifies the SigV4 signature of a request and finds its credential.
//!
//! The verification itself is the library's; here are the look-up of the credential, the cache of derived signing
//! keys and the translation of refusals into the API's exceptions. What the credential may do is checked in dispatch.

use crate::credential::Credential;
use crate::tables::Tables;
use bytes::Bytes;
use chrono::{DateTime, NaiveDate};
use http::request::Parts;
use http::{HeaderMap, header};
use meridian_dynamo::error::DynamoError;
use scratchstack_aws_signature::{
    GetSigningKeyRequest, GetSigningKeyResponse, KSecretKey, KSigningKey, SignatureError, SignatureOptions,
    SliceSignedHeaderRequirements, service_for_signing_key_fn, sigv4_validate_request,
};
use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

const SERVICE: &str = "dynamodb";
/// Derived keys kept; a key costs four HMACs to derive again.
const MAX_KEYS: usize = 1024;
/// Longest region name that a credential scope may carry.
const MAX_REGION: usize = 63;

/// Without a signed target, a captured request could be replayed as another operation.
const SIGNED_HEADERS: SliceSignedHeaderRequirements<'static, 'static, 'static> =
    SliceSignedHeaderRequirements::new(&[Cow::Borrowed("X-Amz-Target")], &[], &[]);

/// Verifies signatures against the credentials of [`Tables`].
#[derive(Default)]
pub(crate) struct Verifier {
    keys: Arc<Mutex<HashMap<KeyName, DerivedKey>>>,
}

#[derive(PartialEq, Eq, Hash)]
struct KeyName {
    access_key_id: String,
    date: NaiveDate,
    region: String,
}

struct DerivedKey {
    /// The credential it was derived from: a credential made again under an old id must not be served by it.
    from: Arc<Credential>,
    key: KSigningKey,
}

impl Verifier {
    /// The credential that signed the request, at wall time `now`.
    ///
    /// Any region name in the credential scope is accepted: every region of the cluster serves every client.
    pub(crate) async fn verify(
        &self,
        tables: &dyn Tables,
        head: &Parts,
        body: &Bytes,
        now: SystemTime,
    ) -> Result<Arc<Credential>, DynamoError> {
        let scope = Scope::of(&head.headers)?;
        if head.headers.contains_key("x-amz-security-token") {
            // No temporary credentials are ever issued.
            return Err(unrecognized());
        }
        let credential = tables.credential(scope.access_key_id);
        let keys = Arc::clone(&self.keys);
        let signer = credential.clone();
        let find_key = move |request: GetSigningKeyRequest| {
            core::future::ready(signing_key(&keys, signer.as_ref(), &request))
        };
        let mut find_key = service_for_signing_key_fn(find_key);
        let mut request = http::Request::new(body.clone());
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = head.uri.clone();
        *request.headers_mut() = head.headers.clone();
        sigv4_validate_request(
            request,
            scope.region,
            SERVICE,
            &mut find_key,
            utc(now),
            &SIGNED_HEADERS,
            SignatureOptions::default(),
        )
        .await
        .map_err(refusal)?;
        credential.ok_or_else(unrecognized)
    }
}

/// The parts of the credential scope that choose the key. Everything else is left to the library to check.
struct Scope<'a> {
    access_key_id: &'a str,
    region: &'a str,
}

impl<'a> Scope<'a> {
    fn of(headers: &'a HeaderMap) -> Result<Self, DynamoError> {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(text) = value.filter(|text| text.starts_with("AWS4-")) else {
            return Err(missing_token());
        };
        let credential = text
            .split([',', ' '])
            .filter_map(|part| part.trim().strip_prefix("Credential="))
            .next_back()
            .unwrap_or("");
        let mut parts = credential.split('/');
        let access_key_id = parts.next().unwrap_or("");
        let region = parts.nth(1).filter(|region| region.len() <= MAX_REGION).unwrap_or("");
        Ok(Self { access_key_id, region })
    }
}

fn signing_key(
    keys: &Mutex<HashMap<KeyName, DerivedKey>>,
    signer: Option<&Arc<Credential>>,
    request: &GetSigningKeyRequest,
) -> Result<GetSigningKeyResponse, Box<dyn Error + Send + Sync>> {
    let unknown = || SignatureError::InvalidClientTokenId(String::new());
    let signer = signer.filter(|signer| signer.access_key_id == request.access_key()).ok_or_else(unknown)?;
    let name = KeyName {
        access_key_id: request.access_key().to_owned(),
        date: request.request_date(),
        region: request.region().to_owned(),
    };
    let mut keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
    let cached = keys.get(&name).filter(|derived| derived.from == *signer).map(|derived| derived.key);
    let key = match cached {
        Some(key) => key,
        None => {
            let secret: KSecretKey = signer.secret_access_key.expose().parse()?;
            let key = secret.to_ksigning(name.date, &name.region, SERVICE);
            if keys.len() >= MAX_KEYS {
                keys.clear();
            }
            keys.insert(name, DerivedKey { from: Arc::clone(signer), key });
            key
        }
    };
    Ok(GetSigningKeyResponse::builder().signing_key(key).build()?)
}

fn utc(now: SystemTime) -> DateTime<chrono::Utc> {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    DateTime::from_timestamp(seconds, since.subsec_nanos()).unwrap_or_default()
}

/// The API's exception for the library's refusal. The text never carries a secret or an expected signature.
fn refusal(error: Box<dyn Error + Send + Sync>) -> DynamoError {
    let Ok(error) = error.downcast::<SignatureError>() else {
        return DynamoError::InternalServerError("the signature could not be checked".to_owned());
    };
    let message = error.to_string();
    match *error {
        SignatureError::MissingAuthenticationToken(_) => missing_token(),
        SignatureError::InvalidClientTokenId(_) | SignatureError::ExpiredToken(_) => unrecognized(),
        SignatureError::SignatureDoesNotMatch(_) => DynamoError::InvalidSignature(message),
        SignatureError::IO(_) | SignatureError::InternalServiceError(_) => {
            DynamoError::InternalServerError("the signature could not be checked".to_owned())
        }
        _ => DynamoError::IncompleteSignature(message),
    }
}

fn unrecognized() -> DynamoError {
    DynamoError::UnrecognizedClient("The security token included in the request is invalid.".to_owned())
}

fn missing_token() -> DynamoError {
    DynamoError::MissingAuthenticationToken("Request is missing Authentication Token".to_owned())
}
