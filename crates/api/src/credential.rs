//! Credentials and what each may do. Making, storing and revoking them is not here.

use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// Characters of a secret access key; signing requires exactly this many.
pub const SECRET_LEN: usize = 40;
/// Most characters of an access key id.
pub const MAX_ACCESS_KEY_ID: usize = 128;

/// Why a credential was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The id has another length or other characters.
    #[error("an access key id is 16 to 128 characters of A-Z, a-z, 0-9 and _")]
    AccessKeyId,
    /// The secret has another length or other characters.
    #[error("a secret access key is exactly {SECRET_LEN} characters of A-Z, a-z, 0-9, + and /")]
    SecretAccessKey,
}

/// A secret access key. Its `Debug` form never shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretAccessKey(String);

impl SecretAccessKey {
    /// The secret itself, for signing and for the one answer that hands it out.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretAccessKey {
    type Err = CredentialError;

    fn from_str(text: &str) -> Result<Self, CredentialError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
        if text.len() != SECRET_LEN || !text.bytes().all(allowed) {
            return Err(CredentialError::SecretAccessKey);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for SecretAccessKey {
    type Error = CredentialError;

    fn try_from(text: String) -> Result<Self, CredentialError> {
        text.parse()
    }
}

impl From<SecretAccessKey> for String {
    fn from(secret: SecretAccessKey) -> String {
        secret.0
    }
}

impl fmt::Debug for SecretAccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretAccessKey(..)")
    }
}

/// An access key with its secret and what it may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: SecretAccessKey,
    /// Table names it may use; a trailing `*` matches any rest.
    pub tables: Vec<String>,
    /// Operation names it may call, such as `PutItem`; a trailing `*` matches any rest.
    pub actions: Vec<String>,
}

impl Credential {
    /// Checks the id's form and makes the credential.
    ///
    /// # Errors
    /// [`CredentialError::AccessKeyId`].
    pub fn new(
        access_key_id: &str,
        secret_access_key: SecretAccessKey,
        tables: Vec<String>,
        actions: Vec<String>,
    ) -> Result<Self, CredentialError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if !(16..=MAX_ACCESS_KEY_ID).contains(&access_key_id.len()) || !access_key_id.bytes().all(allowed) {
            return Err(CredentialError::AccessKeyId);
        }
        Ok(Self { access_key_id: access_key_id.to_owned(), secret_access_key, tables, actions })
    }

    /// Whether it may call `action` on `table`; an operation on no one table (ListTables) needs the action only.
    #[must_use]
    pub fn allows(&self, action: &str, table: Option<&str>) -> bool {
        let action_allowed = self.actions.iter().any(|pattern| matches_pattern(pattern, action));
        action_allowed && table.is_none_or(|table| self.tables.iter().any(|p| matches_pattern(p, table)))
    }
}

fn matches_pattern(pattern: &str, text: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == text, |prefix| text.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn credential(tables: &[&str], actions: &[&str]) -> Credential {
        let own = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect();
        Credential::new("MERIDIANEXAMPLE00000", SECRET.parse().unwrap(), own(tables), own(actions)).unwrap()
    }

    #[test]
    fn both_table_and_action_must_be_allowed() {
        let reader = credential(&["orders", "audit-*"], &["Get*", "Query"]);
        assert!(reader.allows("GetItem", Some("orders")));
        assert!(reader.allows("Query", Some("audit-2026")));
        assert!(!reader.allows("PutItem", Some("orders")));
        assert!(!reader.allows("GetItem", Some("orders2")));
        assert!(!reader.allows("ListTables", None));
        assert!(credential(&[], &["*"]).allows("ListTables", None));
        assert!(!credential(&[], &["*"]).allows("GetItem", Some("orders")));
    }

    #[test]
    fn the_secret_is_checked_and_never_shown() {
        assert_eq!("short".parse::<SecretAccessKey>(), Err(CredentialError::SecretAccessKey));
        assert_eq!("é".repeat(20).parse::<SecretAccessKey>(), Err(CredentialError::SecretAccessKey));
        let shown = format!("{:?}", credential(&["*"], &["*"]));
        assert!(!shown.contains("wJalr"), "{shown}");
        let bad = Credential::new("x/y", SECRET.parse().unwrap(), vec![], vec![]);
        assert_eq!(bad, Err(CredentialError::AccessKeyId));
    }
}
