//! Signatures that were made, as many as fit.

use std::collections::HashMap;
use std::mem;

/// What was signed, by its SHA-256: a name that a stranger makes up must not meet another one's signature.
pub(super) type Signed = [u8; 32];
/// A signature by ECDSA on P-256.
pub(super) type Signature = [u8; 64];

/// Signatures by what they sign, with the time of their validity in it, so that one which has passed is not found any more. Those that
/// were not asked for lately go first.
#[derive(Default)]
pub(super) struct Cache {
    young: HashMap<Signed, Signature>,
    old: HashMap<Signed, Signature>,
}

impl Cache {
    /// The most signatures of one generation, of which there are two. Both take about 3 MB.
    pub(super) const GENERATION: usize = 8_192;

    pub(super) fn get(&mut self, signed: &Signed) -> Option<Signature> {
        if let Some(found) = self.young.get(signed) {
            return Some(*found);
        }
        let found = self.old.remove(signed)?;
        self.insert(*signed, found);
        Some(found)
    }

    pub(super) fn insert(&mut self, signed: Signed, signature: Signature) {
        if self.young.len() >= Self::GENERATION {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(signed, signature);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(number: usize) -> Signed {
        let mut signed = [0; 32];
        signed[..8].copy_from_slice(&number.to_le_bytes());
        signed
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_asked_for() {
        let mut cache = Cache::default();
        cache.insert(signed(0), [7; 64]);
        for number in 1..10 * Cache::GENERATION {
            cache.insert(signed(number), [1; 64]);
            assert_eq!(cache.get(&signed(0)), Some([7; 64]), "after {number}");
            assert!(cache.young.len() + cache.old.len() <= 2 * Cache::GENERATION);
        }
        assert_eq!(cache.get(&signed(1)), None);
    }
}
