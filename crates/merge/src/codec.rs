//! Fragments as bytes for the disk: compact, versioned, one form per state, and safe to read whatever the bytes are.
//!
//! A version byte; the key; the floor; the newest write seen of each origin; a list of all stamps that the rest refers to by their
//! place in it, since few writes make up a fragment; then presence and attributes. The parts are those of the form of items
//! ([`meridian_dynamo::codec`]). A new form gets a new version, and the old ones stay readable.

mod read;
mod stamps;
mod write;

use crate::fragment::Fragment;
use alloc::vec::Vec;
use meridian_dynamo::codec::CodecError;

const VERSION: u8 = 1;

/// What a node's register holds; sets add their kind.
mod entry {
    pub(super) const ABSENT: u8 = 0;
    pub(super) const VALUE: u8 = 1;
    pub(super) const MAP: u8 = 2;
    pub(super) const TEXTS: u8 = 3;
    pub(super) const NUMBERS: u8 = 4;
    pub(super) const BINARIES: u8 = 5;
}

/// Which parts of a node follow; a part that holds nothing is left out.
mod part {
    pub(super) const REGISTER: u8 = 1;
    pub(super) const COUNTER: u8 = 2;
    pub(super) const ELEMENTS: u8 = 4;
    pub(super) const CHILDREN: u8 = 8;
}

impl Fragment {
    /// The bytes of the fragment: equal fragments have equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        write::fragment(self)
    }

    /// Reads a fragment back.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not exactly those of a fragment.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        read::fragment(bytes)
    }
}
