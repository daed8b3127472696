//! AWS Signature Version 4 for the one kind of request that the client sends: `POST /` with a JSON body.
//!
//! Source: "Create a signed AWS API request", AWS Identity and Access Management User Guide. The primitives are
//! `hmac` and `sha2`; what is here is only the order in which the guide applies them.

use chrono::DateTime;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::fmt;

const SERVICE: &str = "dynamodb";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// An access key. The secret is left out of `Debug` so that it cannot reach a log.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Credentials {
    /// The public half, sent with every request.
    pub access_key_id: String,
    /// The secret half, never sent.
    pub secret_access_key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Signs requests for one key and region. The derived key is kept for the day that it holds for.
#[derive(Debug)]
pub(super) struct Signer {
    credentials: Credentials,
    region: String,
    day: String,
    key: [u8; 32],
}

/// The headers that make a request a signed one.
pub(super) struct Signature {
    /// `x-amz-date`.
    pub(super) date: String,
    /// `authorization`.
    pub(super) authorization: String,
}

impl Signer {
    pub(super) fn new(credentials: Credentials, region: &str) -> Self {
        Self { credentials, region: region.to_owned(), day: String::new(), key: [0; 32] }
    }

    /// Signs `POST /` to `host` at `unix_s` seconds since 1970. `headers` are the further headers to cover: lower-case
    /// names, sorted, none of them `host` or `x-amz-date`.
    pub(super) fn sign(
        &mut self,
        unix_s: i64,
        host: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Signature {
        let date =
            DateTime::from_timestamp(unix_s, 0).unwrap_or_default().format("%Y%m%dT%H%M%SZ").to_string();
        let day = &date[..8];
        if self.day != day {
            self.key = derive_key(&self.credentials.secret_access_key, day, &self.region);
            day.clone_into(&mut self.day);
        }
        let mut covered: Vec<(&str, &str)> = headers.to_vec();
        covered.push(("host", host));
        covered.push(("x-amz-date", &date));
        covered.sort_unstable();
        let names = covered.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let mut canonical = String::from("POST\n/\n\n");
        for (name, value) in &covered {
            canonical.extend([name, ":", value.trim(), "\n"]);
        }
        canonical.extend(["\n", &names, "\n", &hex::encode(Sha256::digest(body))]);
        let scope = format!("{day}/{}/{SERVICE}/aws4_request", self.region);
        let to_sign =
            format!("{ALGORITHM}\n{date}\n{scope}\n{}", hex::encode(Sha256::digest(canonical.as_bytes())));
        let signature = hex::encode(hmac(&self.key, to_sign.as_bytes()));
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.credentials.access_key_id
        );
        Signature { date, authorization }
    }
}

fn derive_key(secret: &str, day: &str, region: &str) -> [u8; 32] {
    let mut key = hmac(format!("AWS4{secret}").as_bytes(), day.as_bytes());
    for part in [region, SERVICE, "aws4_request"] {
        key = hmac(&key, part.as_bytes());
    }
    key
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length; the trait's error is for other MACs.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(data);
    mac.finalize().into_bytes().into()
}
