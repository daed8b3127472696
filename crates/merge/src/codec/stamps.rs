//! The list of stamps that a fragment refers to.

use crate::fragment::Fragment;
use crate::node::Node;
use crate::stamp::{Origin, Stamp};
use alloc::vec::Vec;
use meridian_dynamo::codec::{CodecError, Reader, write_length};
use meridian_types::Hlc;

const ODD: CodecError = CodecError::Damaged("a stamp is not in its one form");

/// Distinct, in order; each with whether it has been referred to in what was read.
pub(super) struct Stamps(Vec<(Stamp, bool)>);

impl Stamps {
    /// All that the fragment refers to outside its context.
    pub(super) fn of(fragment: &Fragment) -> Self {
        let mut all: Vec<Stamp> = fragment.cleared.into_iter().collect();
        for (stamp, presence) in &fragment.presence {
            all.push(*stamp);
            all.extend(presence.base);
        }
        fragment.attributes.values().for_each(|node| collect(node, &mut all));
        all.sort_unstable();
        all.dedup();
        Self(all.into_iter().map(|stamp| (stamp, false)).collect())
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write_length(self.0.len(), out);
        for (stamp, _) in &self.0 {
            write_length(usize::from(stamp.origin.0), out);
            write_hlc(stamp.hlc, out);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let stamps = reader.members(|reader| {
            let origin = read_origin(reader)?;
            Ok((Stamp { hlc: read_hlc(reader)?, origin }, false))
        })?;
        if stamps.is_sorted_by(|(a, _), (b, _)| a < b) { Ok(Self(stamps)) } else { Err(ODD) }
    }

    /// The place of a stamp in the list.
    pub(super) fn refer(&self, stamp: Stamp, out: &mut Vec<u8>) {
        // Every stamp of the fragment was collected.
        let place = self.0.binary_search_by_key(&stamp, |(stamp, _)| *stamp);
        write_length(place.unwrap_or(self.0.len()), out);
    }

    /// What [`Stamps::refer`] wrote.
    pub(super) fn follow(&mut self, reader: &mut Reader<'_>) -> Result<Stamp, CodecError> {
        let place = reader.length()?;
        let (stamp, used) = self.0.get_mut(place).ok_or(CodecError::Damaged("a stamp is not in the list"))?;
        *used = true;
        Ok(*stamp)
    }

    /// Ends the reading: all were referred to, as they are when this version wrote them.
    pub(super) fn finish(&self) -> Result<(), CodecError> {
        if self.0.iter().all(|(_, used)| *used) {
            Ok(())
        } else {
            Err(CodecError::Damaged("a stamp is listed and not used"))
        }
    }
}

fn collect(node: &Node, all: &mut Vec<Stamp>) {
    all.extend(node.register.keys());
    for (origin, tally) in &node.counter.0 {
        let by = |hlc: Hlc| Stamp { hlc, origin: *origin };
        all.extend([by(tally.start), by(tally.last)]);
        all.extend(tally.reset.iter().flat_map(|reset| [by(reset.upto), reset.at]));
    }
    node.elements.values().for_each(|stamps| all.extend(stamps));
    node.children.values().for_each(|child| collect(child, all));
}

pub(super) fn read_origin(reader: &mut Reader<'_>) -> Result<Origin, CodecError> {
    u16::try_from(reader.length()?).map(Origin).map_err(|_| CodecError::Damaged("an origin is too large"))
}

/// Six bytes of milliseconds and two of counter, the high ones first.
pub(super) fn write_hlc(hlc: Hlc, out: &mut Vec<u8>) {
    let [_, _, wall @ ..] = hlc.wall_ms().to_be_bytes();
    out.extend(wall);
    out.extend(hlc.counter().to_be_bytes());
}

pub(super) fn read_hlc(reader: &mut Reader<'_>) -> Result<Hlc, CodecError> {
    let bytes: [u8; 8] = reader.take(8)?.try_into().map_err(|_| CodecError::CutShort)?;
    let [a, b, c, d, e, f, high, low] = bytes;
    Ok(Hlc::new(u64::from_be_bytes([0, 0, a, b, c, d, e, f]), u16::from_be_bytes([high, low])))
}
