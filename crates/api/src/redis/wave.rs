//! Which commands of a pipeline can be worked on at the same time.
//!
//! Commands on one key are done in their order, and those on different keys do not see each other. So a run of commands on one
//! key each becomes a chain a key, and the chains go on side by side.

use bytes::Bytes;
use std::collections::HashMap;

/// Positions of commands that are done one after the other.
pub(crate) type Chain = Vec<usize>;

/// Sorts commands into chains by their key, given in the order of the commands.
pub(crate) fn chains<'a>(keys: impl Iterator<Item = &'a Bytes>) -> Vec<Chain> {
    let mut by_key: HashMap<&Bytes, usize> = HashMap::new();
    let mut chains: Vec<Chain> = Vec::new();
    for (position, key) in keys.enumerate() {
        let chain = *by_key.entry(key).or_insert_with(|| {
            chains.push(Vec::new());
            chains.len() - 1
        });
        if let Some(chain) = chains.get_mut(chain) {
            chain.push(position);
        }
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_on_a_key_stay_in_order() {
        let keys: Vec<Bytes> = ["a", "b", "a", "c", "b", "a"].map(Bytes::from).into();
        assert_eq!(chains(keys.iter()), [vec![0, 2, 5], vec![1, 4], vec![3]]);
        assert!(chains([].iter()).is_empty());
    }
}
