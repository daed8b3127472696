//! New secrets: access keys in the shape that AWS SDKs expect, and what others are made of.

use crate::admin::types::NewKey;
use crate::config::Secret;
use rand::Rng;

const ID_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Letters from the system's secure generator.
pub(super) fn draw(alphabet: &[u8], count: usize) -> String {
    let mut random = rand::rng();
    (0..count).map(|_| char::from(alphabet[random.random_range(0..alphabet.len())])).collect()
}

/// A key: 80 random bits of id, 240 of secret.
pub(super) fn new_key() -> NewKey {
    NewKey {
        access_key_id: format!("AKIA{}", draw(ID_ALPHABET, 16)),
        secret_access_key: Secret::new(draw(SECRET_ALPHABET, 40)),
    }
}
