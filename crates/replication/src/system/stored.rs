//! The system state as bytes: on disks, and in snapshots that nodes of two versions send each other.
//!
//! What level 1 had comes first, in its own encoding. Each later level that has brought anything adds a section behind it, with its
//! number and its length. A state below a level has no section of it, so it is byte by byte what the version before writes and reads;
//! that version leaves what it does not know behind the first part unread. See `docs/decisions/0011-levels.md`.

use super::services::Services;
use super::signing::SigningKey;
use super::state::SystemState;
use bytes::Bytes;
use meridian_types::{RegionName, TableId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What level 2 has brought. Fields are added at the end, until a version with level 2 is released.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Since2 {
    /// The cluster's level; 0 stands for the first.
    pub(super) level: u32,
    /// Services that clients are steered to.
    pub(super) services: Services,
    /// Keys that sign tokens, by id.
    pub(super) signing_keys: BTreeMap<String, SigningKey>,
    /// Regions for which active-active policies do not wait.
    pub(super) expelled: BTreeSet<RegionName>,
    /// The attributes that say when items expire.
    pub(super) time_to_live: BTreeMap<TableId, String>,
}

/// Why a stored system state is not taken.
#[derive(Debug, thiserror::Error)]
pub enum StoredStateError {
    /// It has what only a newer version knows.
    #[error(
        "the cluster's state has what level {level} has brought, which this version does not know; run the newer version"
    )]
    Newer {
        /// The level.
        level: u32,
    },
    /// It is not what anybody has written.
    #[error("the cluster's state cannot be read: {0}")]
    Damaged(#[from] postcard::Error),
}

impl SystemState {
    /// The state as bytes.
    ///
    /// # Errors
    /// [`postcard::Error`]; not for a state that [`Self::apply`] has made.
    pub fn to_bytes(&self) -> Result<Bytes, postcard::Error> {
        let mut bytes = postcard::to_stdvec(self)?;
        if self.since_2 != Since2::default() {
            let section = (2_u32, postcard::to_stdvec(&self.since_2)?);
            bytes = postcard::to_extend(&section, bytes)?;
        }
        Ok(bytes.into())
    }

    /// The state of [`Self::to_bytes`], whichever version wrote it.
    ///
    /// # Errors
    /// [`StoredStateError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StoredStateError> {
        let (mut state, mut rest): (Self, _) = postcard::take_from_bytes(bytes)?;
        while !rest.is_empty() {
            let ((level, section), left): ((u32, &[u8]), _) = postcard::take_from_bytes(rest)?;
            match level {
                2 => state.since_2 = postcard::from_bytes(section)?,
                level => return Err(StoredStateError::Newer { level }),
            }
            rest = left;
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_below_level_2_is_what_the_version_before_writes() {
        let state = SystemState { cluster: "c".to_owned(), ..SystemState::default() };
        let bytes = state.to_bytes().expect("it is encoded");
        assert_eq!(bytes, postcard::to_stdvec(&state).expect("it is encoded"));
        assert_eq!(SystemState::from_bytes(&bytes).expect("it is whole"), state);
    }

    #[test]
    fn later_levels_are_kept_and_the_version_before_reads_what_it_knows() {
        let since_2 = Since2 { level: 2, ..Since2::default() };
        let state = SystemState { cluster: "c".to_owned(), since_2, ..SystemState::default() };
        let bytes = state.to_bytes().expect("it is encoded");
        assert_eq!(SystemState::from_bytes(&bytes).expect("it is whole"), state);
        let before: SystemState = postcard::from_bytes(&bytes).expect("the first part is as it was");
        assert_eq!(before, SystemState { since_2: Since2::default(), ..state });
    }

    #[test]
    fn what_only_a_newer_version_knows_is_refused() {
        let bytes = SystemState::default().to_bytes().expect("it is encoded");
        let newer = postcard::to_extend(&(7_u32, vec![1_u8, 2]), bytes.to_vec()).expect("it is encoded");
        assert!(matches!(SystemState::from_bytes(&newer), Err(StoredStateError::Newer { level: 7 })));
        for end in bytes.len() + 1..newer.len() {
            assert!(matches!(SystemState::from_bytes(&newer[..end]), Err(StoredStateError::Damaged(_))));
        }
    }
}
