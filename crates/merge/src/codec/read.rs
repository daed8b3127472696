//! Reading the form of version 1, from bytes that may be anything.

use super::stamps::{Stamps, read_hlc, read_origin};
use super::{VERSION, entry, part};
use crate::context::Context;
use crate::counter::{Counter, Reset, Tally};
use crate::fragment::{Fragment, Presence};
use crate::node::{Element, Entry, Node, SetKind};
use crate::stamp::{Origin, Stamp};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use meridian_dynamo::codec::{CodecError, Reader};
use meridian_dynamo::size::MAX_NESTING;

pub(super) fn fragment(bytes: &[u8]) -> Result<Fragment, CodecError> {
    let mut reader = Reader::new(bytes);
    match reader.byte()? {
        VERSION => {}
        other => return Err(CodecError::UnknownVersion(other)),
    }
    let key = reader.map(0)?;
    let context = context(&mut reader)?;
    let stamps = Stamps::read(&mut reader)?;
    let mut parts = Parts { reader, stamps, context: &context };
    let cleared = parts.optional()?;
    if cleared.is_some_and(|cleared| cleared.hlc <= context.floor) {
        return Err(CodecError::Damaged("a put is below the floor"));
    }
    let presence = parts.ordered(|parts| {
        let stamp = parts.dot()?;
        let present = parts.flag()?;
        Ok((stamp, Presence { present, base: parts.optional()? }))
    })?;
    let attributes = parts.nodes(0)?;
    let Parts { reader, stamps, .. } = parts;
    reader.finish()?;
    stamps.finish()?;
    Ok(Fragment { key, context, cleared, presence, attributes })
}

fn context(reader: &mut Reader<'_>) -> Result<Context, CodecError> {
    let floor = read_hlc(reader)?;
    let seen = reader.members(|reader| Ok((read_origin(reader)?, read_hlc(reader)?)))?;
    if seen.iter().any(|(_, seen)| *seen <= floor) {
        return Err(CodecError::Damaged("a write seen is below the floor"));
    }
    Ok(Context { floor, seen: in_order(seen)? })
}

fn in_order<K: Ord, V>(members: Vec<(K, V)>) -> Result<BTreeMap<K, V>, CodecError> {
    if members.is_sorted_by(|(a, _), (b, _)| a < b) {
        Ok(members.into_iter().collect())
    } else {
        Err(CodecError::Damaged("members are out of order"))
    }
}

struct Parts<'a> {
    reader: Reader<'a>,
    stamps: Stamps,
    context: &'a Context,
}

impl Parts<'_> {
    fn ordered<K: Ord, V>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<(K, V), CodecError>,
    ) -> Result<BTreeMap<K, V>, CodecError> {
        let count = self.reader.count()?;
        in_order((0..count).map(|_| read(self)).collect::<Result<_, _>>()?)
    }

    fn flag(&mut self) -> Result<bool, CodecError> {
        match self.reader.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::Damaged("a flag is neither set nor unset")),
        }
    }

    fn stamp(&mut self) -> Result<Stamp, CodecError> {
        self.stamps.follow(&mut self.reader)
    }

    fn optional(&mut self) -> Result<Option<Stamp>, CodecError> {
        if self.flag()? { self.stamp().map(Some) } else { Ok(None) }
    }

    /// The stamp of something held: the fragment has seen its write.
    fn dot(&mut self) -> Result<Stamp, CodecError> {
        let stamp = self.stamp()?;
        if self.context.covers(stamp) {
            Ok(stamp)
        } else {
            Err(CodecError::Damaged("it holds a write that it has not seen"))
        }
    }

    /// `level` is how many maps are around the nodes.
    fn nodes(&mut self, level: usize) -> Result<BTreeMap<String, Node>, CodecError> {
        if level >= MAX_NESTING {
            return Err(CodecError::Damaged("it is nested too deep"));
        }
        self.ordered(|parts| Ok((parts.reader.text()?, parts.node(level)?)))
    }

    fn node(&mut self, level: usize) -> Result<Node, CodecError> {
        let parts = self.reader.byte()?;
        if parts == 0 || parts > part::REGISTER | part::COUNTER | part::ELEMENTS | part::CHILDREN {
            return Err(CodecError::Damaged("the parts of an attribute are not known"));
        }
        let mut node = Node::default();
        if parts & part::REGISTER != 0 {
            node.register = self.ordered(|parts| Ok((parts.dot()?, parts.entry(level)?)))?;
        }
        if parts & part::COUNTER != 0 {
            node.counter = Counter(self.ordered(Self::tally)?);
        }
        if parts & part::ELEMENTS != 0 {
            node.elements = self.ordered(|parts| Ok((parts.element()?, parts.dots()?)))?;
        }
        if parts & part::CHILDREN != 0 {
            node.children = self.nodes(level + 1)?;
        }
        let held = [
            (part::REGISTER, node.register.is_empty()),
            (part::COUNTER, node.counter.is_empty()),
            (part::ELEMENTS, node.elements.is_empty()),
            (part::CHILDREN, node.children.is_empty()),
        ];
        if held.iter().any(|(part, empty)| *empty && parts & part != 0) {
            return Err(CodecError::Damaged("a part of an attribute is empty"));
        }
        Ok(node)
    }

    fn entry(&mut self, level: usize) -> Result<Entry, CodecError> {
        match self.reader.byte()? {
            entry::ABSENT => Ok(Entry::Absent),
            entry::VALUE => self.reader.value(level).map(Entry::Value),
            entry::MAP => Ok(Entry::Map),
            entry::TEXTS => Ok(Entry::Set(SetKind::Texts)),
            entry::NUMBERS => Ok(Entry::Set(SetKind::Numbers)),
            entry::BINARIES => Ok(Entry::Set(SetKind::Binaries)),
            _ => Err(CodecError::Damaged("an entry is not known")),
        }
    }

    fn dots(&mut self) -> Result<BTreeSet<Stamp>, CodecError> {
        let dots = self.ordered(|parts| Ok((parts.dot()?, ())))?;
        if dots.is_empty() {
            return Err(CodecError::Damaged("a member of a set was put there by nobody"));
        }
        Ok(dots.into_keys().collect())
    }

    fn element(&mut self) -> Result<Element, CodecError> {
        match self.reader.byte()? {
            entry::TEXTS => self.reader.text().map(Element::Text),
            entry::NUMBERS => self.reader.number().map(Element::Number),
            entry::BINARIES => self.reader.bytes().map(Element::Binary),
            _ => Err(CodecError::Damaged("a member's type is not known")),
        }
    }

    fn tally(&mut self) -> Result<(Origin, Tally), CodecError> {
        let (start, last) = (self.dot()?, self.dot()?);
        let sum = self.reader.number()?;
        let reset = if self.flag()? {
            let upto = self.stamp()?;
            Some((upto, Reset { upto: upto.hlc, sum: self.reader.number()?, at: self.dot()? }))
        } else {
            None
        };
        let of_one = start.origin == last.origin && reset.iter().all(|(upto, _)| upto.origin == start.origin);
        let within = reset.iter().all(|(upto, _)| (start..=last).contains(upto));
        if !of_one || !within || start > last {
            return Err(CodecError::Damaged("a counter contradicts itself"));
        }
        let reset = reset.map(|(_, reset)| reset);
        Ok((start.origin, Tally { start: start.hlc, last: last.hlc, sum, reset }))
    }
}
