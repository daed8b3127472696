//! Items as bytes for the disk: compact, versioned, one form per item, and safe to read whatever the bytes are.
//!
//! A version byte, the count of attributes, then names and values in order. Lengths and counts are base-128 with the
//! low bits first. It is part of the disk format: a new form gets a new version, and the old ones stay readable. Other
//! forms that hold values are built of the same parts: [`Reader`] and the functions that write.

use crate::number::Number;
use crate::size::MAX_NESTING;
use crate::value::{AttributeValue, Item};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

const VERSION: u8 = 1;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const TEXT: u8 = 3;
const NUMBER: u8 = 4;
const BINARY: u8 = 5;
const MAP: u8 = 6;
const LIST: u8 = 7;
const TEXTS: u8 = 8;
const NUMBERS: u8 = 9;
const BINARIES: u8 = 10;

/// In the first byte of a number: it is below zero.
const NEGATIVE: u8 = 0x80;

/// Why bytes are not an item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Written by a version that this one does not know.
    #[error("the item has format {0}, which this version does not know")]
    UnknownVersion(u8),
    /// The bytes end in the middle.
    #[error("the item's bytes are cut short")]
    CutShort,
    /// Bytes that no version writes.
    #[error("the item's bytes are damaged: {0}")]
    Damaged(&'static str),
}

/// The bytes of an item.
#[must_use]
pub fn encode_item(item: &Item) -> Vec<u8> {
    let mut out = Vec::with_capacity(crate::size::item_size(item) + 4 * item.len() + 4);
    out.push(VERSION);
    write_map(item, &mut out);
    out
}

/// Reads an item back.
///
/// # Errors
/// [`CodecError`] when the bytes are not exactly those of an item.
pub fn decode_item(bytes: &[u8]) -> Result<Item, CodecError> {
    let mut reader = Reader::new(bytes);
    match reader.byte()? {
        VERSION => {}
        other => return Err(CodecError::UnknownVersion(other)),
    }
    // Names and values of an item are those of a map one level up.
    let item = reader.map(0)?;
    reader.finish()?;
    Ok(item)
}

/// Appends names and values, in order.
pub fn write_map(map: &BTreeMap<String, AttributeValue>, out: &mut Vec<u8>) {
    write_length(map.len(), out);
    for (name, value) in map {
        write_bytes(name.as_bytes(), out);
        write_value(value, out);
    }
}

/// Appends a value: a byte for its type, and what it is.
pub fn write_value(value: &AttributeValue, out: &mut Vec<u8>) {
    match value {
        AttributeValue::Null => out.push(NULL),
        AttributeValue::Bool(false) => out.push(FALSE),
        AttributeValue::Bool(true) => out.push(TRUE),
        AttributeValue::S(text) => {
            out.push(TEXT);
            write_bytes(text.as_bytes(), out);
        }
        AttributeValue::N(number) => {
            out.push(NUMBER);
            write_number(*number, out);
        }
        AttributeValue::B(bytes) => {
            out.push(BINARY);
            write_bytes(bytes, out);
        }
        AttributeValue::M(map) => {
            out.push(MAP);
            write_map(map, out);
        }
        AttributeValue::L(list) => {
            out.push(LIST);
            write_length(list.len(), out);
            list.iter().for_each(|value| write_value(value, out));
        }
        AttributeValue::Ss(set) => {
            out.push(TEXTS);
            write_length(set.len(), out);
            set.iter().for_each(|text| write_bytes(text.as_bytes(), out));
        }
        AttributeValue::Ns(set) => {
            out.push(NUMBERS);
            write_length(set.len(), out);
            set.iter().for_each(|number| write_number(*number, out));
        }
        AttributeValue::Bs(set) => {
            out.push(BINARIES);
            write_length(set.len(), out);
            set.iter().for_each(|bytes| write_bytes(bytes, out));
        }
    }
}

/// Appends a length and that many bytes.
pub fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// Appends a length or a count, in base 128 with the low bits first.
pub fn write_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        // The low seven bits.
        out.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or(0));
}

/// Appends a byte of sign and length, the coefficient's bytes without leading zeros, and the exponent turned into a length.
pub fn write_number(number: Number, out: &mut Vec<u8>) {
    let (negative, coefficient, exponent) = number.parts();
    let bytes = coefficient.to_be_bytes();
    let skipped = usize::try_from(coefficient.leading_zeros() / 8).unwrap_or(0);
    let significant = bytes.get(skipped..).unwrap_or_default();
    let length = u8::try_from(significant.len()).unwrap_or(0);
    out.push(length | if negative { NEGATIVE } else { 0 });
    out.extend_from_slice(significant);
    if length > 0 {
        // Small exponents of either sign in one byte: 0, -1, 1, -2, ...
        let zigzag = (exponent << 1) ^ (exponent >> 15);
        write_length(usize::from(zigzag.cast_unsigned()), out);
    }
}

/// Reads the parts of a form from the front of bytes that may be anything: every read is bounded by what is there.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`CodecError::Damaged`] when something is left.
    pub fn finish(self) -> Result<(), CodecError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CodecError::Damaged("something follows the item")) }
    }

    /// One byte.
    ///
    /// # Errors
    /// [`CodecError::CutShort`] when there is none.
    pub fn byte(&mut self) -> Result<u8, CodecError> {
        let (first, rest) = self.rest.split_first().ok_or(CodecError::CutShort)?;
        self.rest = rest;
        Ok(*first)
    }

    /// That many bytes.
    ///
    /// # Errors
    /// [`CodecError::CutShort`] when there are fewer.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CodecError::CutShort)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A length, as [`write_length`] wrote it.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not exactly that.
    pub fn length(&mut self) -> Result<usize, CodecError> {
        let mut length = 0usize;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte == 0 && shift > 0 {
                return Err(CodecError::Damaged("a length is not in its one form"));
            }
            if byte & 0x80 == 0 {
                return Ok(length);
            }
        }
        // Items are smaller than what four bytes count.
        Err(CodecError::Damaged("a length is too large"))
    }

    /// A count of members; each takes a byte at least, so that a forged count reserves no memory.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not exactly that.
    pub fn count(&mut self) -> Result<usize, CodecError> {
        let count = self.length()?;
        if count > self.rest.len() { Err(CodecError::CutShort) } else { Ok(count) }
    }

    /// What [`write_bytes`] wrote.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not exactly that.
    pub fn bytes(&mut self) -> Result<Vec<u8>, CodecError> {
        let length = self.length()?;
        self.take(length).map(<[u8]>::to_vec)
    }

    /// A text that [`write_bytes`] wrote.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not exactly that.
    pub fn text(&mut self) -> Result<String, CodecError> {
        let length = self.length()?;
        match core::str::from_utf8(self.take(length)?) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(CodecError::Damaged("a text is not UTF-8")),
        }
    }

    /// What [`write_number`] wrote.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not exactly that.
    pub fn number(&mut self) -> Result<Number, CodecError> {
        let odd = CodecError::Damaged("a number is not in its one form");
        let header = self.byte()?;
        let length = usize::from(header & !NEGATIVE);
        let mut bytes = [0u8; 16];
        let significant = self.take(length)?;
        match bytes.len().checked_sub(length).and_then(|start| bytes.get_mut(start..)) {
            Some(target) => target.copy_from_slice(significant),
            None => return Err(odd),
        }
        let exponent = if length == 0 { 0 } else { self.exponent()? };
        let parts = (header & NEGATIVE != 0, u128::from_be_bytes(bytes), exponent);
        match Number::from_parts(parts.0, parts.1, i32::from(exponent)) {
            Ok(number) if number.parts() == parts && significant.first() != Some(&0) => Ok(number),
            _ => Err(odd),
        }
    }

    fn exponent(&mut self) -> Result<i16, CodecError> {
        let zigzag =
            u16::try_from(self.length()?).map_err(|_| CodecError::Damaged("an exponent is too large"))?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    fn set<T: Ord>(
        &mut self,
        read: fn(&mut Self) -> Result<T, CodecError>,
    ) -> Result<BTreeSet<T>, CodecError> {
        let members = self.members(read)?;
        if !members.is_sorted_by(|a, b| a < b) {
            return Err(CodecError::Damaged("a set is out of order"));
        }
        Ok(members.into_iter().collect())
    }

    /// A count and that many members, each at least a byte long.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not exactly that.
    pub fn members<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        (0..self.count()?).map(|_| read(self)).collect()
    }

    /// What [`write_map`] wrote; `level` is how many maps and lists are around it, and bounds how deep it may go.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not exactly that.
    pub fn map(&mut self, level: usize) -> Result<BTreeMap<String, AttributeValue>, CodecError> {
        let members = self.members(|reader| Ok((reader.text()?, reader.value(level)?)))?;
        if !members.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(CodecError::Damaged("names are out of order"));
        }
        Ok(members.into_iter().collect())
    }

    /// What [`write_value`] wrote; `level` as in [`Reader::map`].
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not exactly that.
    pub fn value(&mut self, level: usize) -> Result<AttributeValue, CodecError> {
        if level >= MAX_NESTING {
            return Err(CodecError::Damaged("it is nested too deep"));
        }
        match self.byte()? {
            NULL => Ok(AttributeValue::Null),
            FALSE => Ok(AttributeValue::Bool(false)),
            TRUE => Ok(AttributeValue::Bool(true)),
            TEXT => self.text().map(AttributeValue::S),
            NUMBER => self.number().map(AttributeValue::N),
            BINARY => self.bytes().map(AttributeValue::B),
            MAP => self.map(level + 1).map(AttributeValue::M),
            LIST => self.members(|reader| reader.value(level + 1)).map(AttributeValue::L),
            TEXTS => self.set(Self::text).map(AttributeValue::Ss),
            NUMBERS => self.set(Self::number).map(AttributeValue::Ns),
            BINARIES => self.set(Self::bytes).map(AttributeValue::Bs),
            _ => Err(CodecError::Damaged("a type is not known")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn number(text: &str) -> Number {
        text.parse().unwrap()
    }

    fn full() -> Item {
        let values = [
            AttributeValue::Null,
            AttributeValue::Bool(false),
            AttributeValue::Bool(true),
            AttributeValue::S("é".into()),
            AttributeValue::N(number("-1.5")),
            AttributeValue::B(vec![0, 255]),
            AttributeValue::M([("k".into(), AttributeValue::N(Number::ZERO))].into()),
            AttributeValue::L(vec![AttributeValue::S(String::new())]),
            AttributeValue::Ss(["a".into(), "b".into()].into()),
            AttributeValue::Ns([number("-1e125"), number("100")].into()),
            AttributeValue::Bs([vec![1]].into()),
        ];
        (b'a'..).map(|name| char::from(name).into()).zip(values).collect()
    }

    #[test]
    fn the_form_of_version_1_is_pinned_because_disks_depend_on_it() {
        let mut bytes = vec![1, 11];
        bytes.extend(
            b"\x01a\x00\x01b\x01\x01c\x02\x01d\x03\x02\xc3\xa9\x01e\x04\x81\x0f\x01\x01f\x05\x02\x00\xff",
        );
        bytes.extend(b"\x01g\x06\x01\x01k\x04\x00\x01h\x07\x01\x03\x00\x01i\x08\x02\x01a\x01b");
        bytes.extend(b"\x01j\x09\x02\x81\x01\xfa\x01\x01\x01\x04\x01k\x0a\x01\x01\x01");
        assert_eq!(encode_item(&full()), bytes);
        assert_eq!(decode_item(&bytes), Ok(full()));
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_an_error_or_another_item() {
        let bytes = encode_item(&full());
        for end in 0..bytes.len() {
            assert!(decode_item(&bytes[..end]).is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            for flip in 1..=255 {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                assert!(decode_item(&damaged) != Ok(full()), "byte {at} ^ {flip}");
            }
        }
    }

    #[test]
    fn damage_is_named() {
        let refused = |bytes: &[u8]| decode_item(bytes).unwrap_err();
        assert_eq!(refused(&[2, 0]), CodecError::UnknownVersion(2));
        assert_eq!(refused(&[]), CodecError::CutShort);
        assert_eq!(refused(&[1, 0, 0]), CodecError::Damaged("something follows the item"));
        assert_eq!(refused(&[1, 2, 1, b'b', 0, 1, b'a', 0]), CodecError::Damaged("names are out of order"));
        assert_eq!(refused(&[1, 1, 0, 8, 2, 1, b'b', 1, b'a']), CodecError::Damaged("a set is out of order"));
        assert_eq!(refused(&[1, 1, 1, 0xff, 0]), CodecError::Damaged("a text is not UTF-8"));
        let odd_number = CodecError::Damaged("a number is not in its one form");
        for number in [&[17; 18][..], &[NEGATIVE], &[1, 0, 0], &[1, 10, 0], &[2, 0, 1, 0], &[1, 1, 0xff, 2]] {
            assert_eq!(refused(&[&[1, 1, 0, NUMBER], number].concat()), odd_number, "{number:?}");
        }
        assert_eq!(refused(&[1, 0x80, 0]), CodecError::Damaged("a length is not in its one form"));
        assert_eq!(refused(&[1, 1, 0, 11]), CodecError::Damaged("a type is not known"));
        assert_eq!(refused(&[1, 0xff, 0xff, 0xff, 0x7f]), CodecError::CutShort);
        assert_eq!(refused(&[1, 0xff, 0xff, 0xff, 0xff, 1]), CodecError::Damaged("a length is too large"));
        let deep = [&[1, 1, 0][..], &[LIST, 1].repeat(100_000), &[NULL]].concat();
        assert_eq!(refused(&deep), CodecError::Damaged("it is nested too deep"));
    }
}
