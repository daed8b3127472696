//! Writing the form of version 1.

use super::stamps::{Stamps, write_hlc};
use super::{VERSION, entry, part};
use crate::counter::Tally;
use crate::fragment::Fragment;
use crate::node::{Element, Entry, Node, SetKind};
use crate::stamp::{Origin, Stamp};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use meridian_dynamo::codec::{write_bytes, write_length, write_map, write_number, write_value};

pub(super) fn fragment(fragment: &Fragment) -> Vec<u8> {
    let mut out = Vec::from([VERSION]);
    write_map(&fragment.key, &mut out);
    write_hlc(fragment.context.floor, &mut out);
    write_length(fragment.context.seen.len(), &mut out);
    for (origin, seen) in &fragment.context.seen {
        write_length(usize::from(origin.0), &mut out);
        write_hlc(*seen, &mut out);
    }
    let stamps = Stamps::of(fragment);
    stamps.write(&mut out);
    let mut writer = Writer { stamps, out };
    writer.optional(fragment.cleared);
    write_length(fragment.presence.len(), &mut writer.out);
    for (stamp, presence) in &fragment.presence {
        writer.stamp(*stamp);
        writer.out.push(u8::from(presence.present));
        writer.optional(presence.base);
    }
    writer.nodes(&fragment.attributes);
    writer.out
}

struct Writer {
    stamps: Stamps,
    out: Vec<u8>,
}

impl Writer {
    fn stamp(&mut self, stamp: Stamp) {
        self.stamps.refer(stamp, &mut self.out);
    }

    fn optional(&mut self, stamp: Option<Stamp>) {
        self.out.push(u8::from(stamp.is_some()));
        if let Some(stamp) = stamp {
            self.stamp(stamp);
        }
    }

    fn nodes(&mut self, nodes: &BTreeMap<String, Node>) {
        write_length(nodes.len(), &mut self.out);
        for (name, node) in nodes {
            write_bytes(name.as_bytes(), &mut self.out);
            self.node(node);
        }
    }

    fn node(&mut self, node: &Node) {
        let parts = [
            (part::REGISTER, node.register.is_empty()),
            (part::COUNTER, node.counter.is_empty()),
            (part::ELEMENTS, node.elements.is_empty()),
            (part::CHILDREN, node.children.is_empty()),
        ];
        self.out.push(parts.iter().filter(|(_, empty)| !empty).map(|(part, _)| part).sum());
        if !node.register.is_empty() {
            write_length(node.register.len(), &mut self.out);
            for (stamp, entry) in &node.register {
                self.stamp(*stamp);
                self.entry(entry);
            }
        }
        if !node.counter.is_empty() {
            write_length(node.counter.0.len(), &mut self.out);
            for (origin, tally) in &node.counter.0 {
                self.tally(*origin, tally);
            }
        }
        if !node.elements.is_empty() {
            write_length(node.elements.len(), &mut self.out);
            for (element, stamps) in &node.elements {
                self.element(element);
                write_length(stamps.len(), &mut self.out);
                stamps.iter().for_each(|stamp| self.stamp(*stamp));
            }
        }
        if !node.children.is_empty() {
            self.nodes(&node.children);
        }
    }

    fn entry(&mut self, entry: &Entry) {
        self.out.push(match entry {
            Entry::Absent => entry::ABSENT,
            Entry::Value(_) => entry::VALUE,
            Entry::Map => entry::MAP,
            Entry::Set(SetKind::Texts) => entry::TEXTS,
            Entry::Set(SetKind::Numbers) => entry::NUMBERS,
            Entry::Set(SetKind::Binaries) => entry::BINARIES,
        });
        if let Entry::Value(value) = entry {
            write_value(value, &mut self.out);
        }
    }

    /// The stamps of additions are the origin's own, so that the list has the origin.
    fn tally(&mut self, origin: Origin, tally: &Tally) {
        let by = |hlc| Stamp { hlc, origin };
        self.stamp(by(tally.start));
        self.stamp(by(tally.last));
        write_number(tally.sum, &mut self.out);
        self.out.push(u8::from(tally.reset.is_some()));
        if let Some(reset) = &tally.reset {
            self.stamp(by(reset.upto));
            write_number(reset.sum, &mut self.out);
            self.stamp(reset.at);
        }
    }

    fn element(&mut self, element: &Element) {
        match element {
            Element::Text(text) => {
                self.out.push(entry::TEXTS);
                write_bytes(text.as_bytes(), &mut self.out);
            }
            Element::Number(number) => {
                self.out.push(entry::NUMBERS);
                write_number(*number, &mut self.out);
            }
            Element::Binary(bytes) => {
                self.out.push(entry::BINARIES);
                write_bytes(bytes, &mut self.out);
            }
        }
    }
}
