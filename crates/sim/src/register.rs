//! What the simulated nodes serve: registers, compare-and-set, and lists that grow at the end.

use crate::active::{self, Act, Ask};
use bytes::Bytes;
use meridian_replication::{Evaluation, Evaluator, Mutation, View};
use serde::{Deserialize, Serialize};
use std::io;

/// A request of the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Replaces a register.
    Put(String, u64),
    /// Replaces a register when it holds what is expected.
    Swap(String, Option<u64>, u64),
    /// Adds to the end of a list.
    Append(String, u64),
    /// Adds to a number, of a table's item.
    Add(String, u64),
    /// Reads a register or a list.
    Read(String),
    /// Writes an item that every region writes.
    Active(Ask, Act),
    /// Reads one.
    ReadActive(Ask),
}

/// A response to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// The write took effect.
    Done,
    /// The register held something else.
    Refused,
    /// The values there: of a register at most one.
    Saw(Vec<u64>),
}

/// The first byte of what is encoded here. Requests for tables begin otherwise.
const OWN: u8 = 0xff;

/// Whether a request is one of the simulation's own.
#[must_use]
pub fn is_own(request: &[u8]) -> bool {
    request.first() == Some(&OWN)
}

/// Encodes a request or response.
///
/// # Errors
/// Never, in practice: the types are plain.
pub fn encode<T: Serialize>(value: &T) -> io::Result<Bytes> {
    postcard::to_extend(value, vec![OWN]).map(Bytes::from).map_err(io::Error::other)
}

/// Decodes what [`encode`] made.
///
/// # Errors
/// When the bytes are something else.
pub fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> io::Result<T> {
    let own =
        bytes.strip_prefix(&[OWN]).ok_or_else(|| io::Error::other("not one of the simulation's own"))?;
    postcard::from_bytes(own).map_err(io::Error::other)
}

/// Evaluates the workload's requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registers;

fn values(view: &dyn View, key: &str) -> io::Result<Vec<u64>> {
    let stored = view.get(key.as_bytes())?;
    Ok(stored.iter().flat_map(|bytes| bytes.chunks_exact(8)).map(number).collect())
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn store(key: &str, values: &[u64]) -> io::Result<Evaluation> {
    let value: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
    let key = Bytes::copy_from_slice(key.as_bytes());
    Ok(Evaluation {
        mutations: vec![Mutation { key, value: Some(value.into()) }],
        response: encode(&Response::Done)?,
    })
}

impl Evaluator for Registers {
    fn write(&self, request: &[u8], view: &dyn View) -> io::Result<Evaluation> {
        match decode(request)? {
            Request::Put(key, value) => store(&key, &[value]),
            Request::Swap(key, expected, value) => {
                if values(view, &key)?.first().copied() == expected {
                    return store(&key, &[value]);
                }
                Ok(Evaluation { mutations: Vec::new(), response: encode(&Response::Refused)? })
            }
            Request::Append(key, value) => {
                let mut list = values(view, &key)?;
                list.push(value);
                store(&key, &list)
            }
            Request::Add(key, more) => {
                let sum = values(view, &key)?.first().copied().unwrap_or_default() + more;
                store(&key, &[sum])
            }
            Request::Active(ask, act) => active::write(&ask, act, view),
            Request::Read(_) | Request::ReadActive(_) => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "a read is no write"))
            }
        }
    }

    fn read(&self, request: &[u8], view: &dyn View) -> io::Result<Bytes> {
        match decode(request)? {
            Request::Read(key) => encode(&Response::Saw(values(view, &key)?)),
            Request::ReadActive(ask) => active::read(&ask, view),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "a write is no read")),
        }
    }
}
