//! New access keys, in the shape that AWS SDKs expect.

use crate::admin::types::NewKey;
use crate::config::Secret;
use rand::Rng;

const ID_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A key from the system's secure generator: 80 random bits of id, 240 of secret.
pub(super) fn new_key() -> NewKey {
    let mut random = rand::rng();
    let mut draw = |alphabet: &[u8], count: usize| -> String {
        (0..count).map(|_| char::from(alphabet[random.random_range(0..alphabet.len())])).collect()
    };
    NewKey {
        access_key_id: format!("AKIA{}", draw(ID_ALPHABET, 16)),
        secret_access_key: Secret::new(draw(SECRET_ALPHABET, 40)),
    }
}
