//! Keys that sign the tokens of sessions: made, rotated, forgotten.

use super::command::{SystemError, SystemReply};
use super::state::SystemState;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most signing keys at once.
const MAX_SIGNING_KEYS: usize = 16;
/// How much longer than its tokens last a key is kept, in milliseconds: a node that has not heard of the rotation goes on signing with it.
const KEPT_LONGER_MS: u64 = 600_000;

/// A key that signs tokens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// The private key; opaque here.
    pub private: Vec<u8>,
    /// The public key; opaque here.
    pub public: Vec<u8>,
    /// When it was made, milliseconds since 1970.
    pub created_ms: u64,
    /// From when on it signs: later than it was made when another does until then, so that every node knows it first.
    pub signs_from_ms: u64,
    /// The longest that a token of it lasts.
    pub max_ttl_ms: u64,
    /// Once another has taken over: when its last token has expired.
    pub verifies_until_ms: Option<u64>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The private key never reaches a log.
        f.debug_struct("SigningKey").field("created_ms", &self.created_ms).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Whether tokens of it are accepted at a moment.
    #[must_use]
    pub fn verifies(&self, now_ms: u64) -> bool {
        self.verifies_until_ms.is_none_or(|until| now_ms < until)
    }
}

impl SystemState {
    /// The keys that sign tokens, by id.
    #[must_use]
    pub fn signing_keys(&self) -> &BTreeMap<String, SigningKey> {
        &self.since_2.signing_keys
    }

    /// Adds a key: the first, or with `rotates` one that takes over from the others. Those that have had their time are forgotten.
    pub(super) fn add_signing_key(
        &mut self,
        id: String,
        key: SigningKey,
        rotates: bool,
    ) -> Result<SystemReply, SystemError> {
        let current =
            self.since_2.signing_keys.values().filter(|key| key.verifies_until_ms.is_none()).count();
        if rotates && current == 0 {
            return Err(SystemError::NoSigningKey);
        }
        if !rotates && current > 0 {
            return Err(SystemError::SigningKeyExists);
        }
        let kept = self.since_2.signing_keys.values().filter(|old| old.verifies(key.created_ms)).count();
        if kept >= MAX_SIGNING_KEYS {
            return Err(SystemError::Limit { what: "signing keys".to_owned(), limit: MAX_SIGNING_KEYS });
        }
        self.since_2.signing_keys.retain(|_, old| old.verifies(key.created_ms));
        for old in self.since_2.signing_keys.values_mut() {
            let last = key.signs_from_ms.saturating_add(old.max_ttl_ms).saturating_add(KEPT_LONGER_MS);
            old.verifies_until_ms.get_or_insert(last);
        }
        self.since_2.signing_keys.insert(id, key);
        Ok(SystemReply::Done)
    }

    /// Forgets a key at once: its tokens are refused from then on.
    pub(super) fn delete_signing_key(&mut self, id: String) -> Result<SystemReply, SystemError> {
        match self.since_2.signing_keys.remove(&id) {
            Some(_) => Ok(SystemReply::Done),
            None => Err(SystemError::NoSuchSigningKey(id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(created_ms: u64) -> SigningKey {
        let signs_from_ms = created_ms + 5;
        let (private, public) = Default::default();
        SigningKey { private, public, created_ms, signs_from_ms, max_ttl_ms: 1_000, verifies_until_ms: None }
    }

    #[test]
    fn a_rotated_key_is_kept_until_its_last_token_has_expired() {
        let mut state = SystemState::default();
        assert_eq!(state.add_signing_key("a".into(), key(0), true), Err(SystemError::NoSigningKey));
        assert!(state.add_signing_key("a".into(), key(0), false).is_ok());
        assert_eq!(state.add_signing_key("b".into(), key(1), false), Err(SystemError::SigningKeyExists));
        assert!(state.add_signing_key("b".into(), key(100), true).is_ok());
        let until = 100 + 5 + 1_000 + KEPT_LONGER_MS;
        assert_eq!(state.signing_keys()["a"].verifies_until_ms, Some(until));
        assert!(state.signing_keys()["a"].verifies(until - 1) && !state.signing_keys()["a"].verifies(until));
        assert!(state.signing_keys()["b"].verifies(u64::MAX));
        // A later rotation does not prolong it.
        assert!(state.add_signing_key("c".into(), key(200), true).is_ok());
        assert_eq!(state.signing_keys()["a"].verifies_until_ms, Some(until));
        assert!(state.add_signing_key("d".into(), key(until), true).is_ok());
        assert!(!state.signing_keys().contains_key("a"));
    }

    #[test]
    fn keys_are_bounded_and_can_be_deleted() {
        let mut state = SystemState::default();
        assert!(state.add_signing_key("0".into(), key(0), false).is_ok());
        for n in 1..MAX_SIGNING_KEYS {
            assert!(state.add_signing_key(n.to_string(), key(1), true).is_ok());
        }
        let full = state.add_signing_key("more".into(), key(1), true);
        assert!(matches!(full, Err(SystemError::Limit { limit: MAX_SIGNING_KEYS, .. })), "{full:?}");
        assert!(state.delete_signing_key("0".into()).is_ok());
        assert_eq!(state.delete_signing_key("0".into()), Err(SystemError::NoSuchSigningKey("0".into())));
    }
}
