//! The commands: what each is called, what it may be given, and what it asks of the tables.

mod counters;
mod expiry;
mod hashes;
mod keys;
mod ranges;
mod sets;
mod sorted;
mod specs;
mod strings;

use super::decide::{Decide, Next, Seen};
use super::error::RedisError;
use super::layout::{EXPIRES, KIND, Live, SET, inside, place};
use super::reply::Reply;
use bytes::Bytes;
use meridian_dynamo::expr::Path;
use meridian_dynamo::key::MAX_PARTITION_KEY;
pub(crate) use specs::{Spec, all, find, refused};

/// Makes a reply of a key.
pub(crate) type View = Box<dyn FnOnce(Option<Live<'_>>) -> Result<Reply, RedisError> + Send>;
/// Makes a reply of several keys, in the order in which they were asked for.
pub(crate) type ViewAll = Box<dyn FnOnce(Vec<Option<Live<'_>>>) -> Result<Reply, RedisError> + Send>;

/// What a command asks of the tables.
pub(crate) enum Job {
    /// One key is read; of its item only the places, when there are any.
    Read { key: Bytes, places: Vec<Path>, view: View },
    /// Several keys are read, each for itself.
    ReadAll { keys: Vec<Bytes>, view: ViewAll },
    /// One key is written.
    Write { key: Bytes, decide: Decide },
    /// Several keys are written, each for itself. The replies become one.
    WriteAll { writes: Vec<(Bytes, Decide)>, join: fn(Vec<Reply>) -> Reply },
    /// Keys are listed.
    List(Listing),
    /// The connection itself is asked.
    Session,
}

/// How keys are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    /// Some of them, from a cursor on.
    Scan { cursor: u64, count: u32, pattern: Option<Bytes>, kind: Option<Bytes> },
    /// All of them.
    Keys { pattern: Bytes },
    /// Only how many they are.
    Count,
}

impl Job {
    /// The one key that it reads or writes.
    pub(crate) fn key(&self) -> Option<&Bytes> {
        match self {
            Self::Read { key, .. } | Self::Write { key, .. } => Some(key),
            _ => None,
        }
    }
}

/// Refuses a key that the table cannot hold.
pub(crate) fn check_key(key: &Bytes) -> Result<(), RedisError> {
    if key.is_empty() || key.len() > MAX_PARTITION_KEY {
        return Err(RedisError::err(format_args!("a key is 1 to {MAX_PARTITION_KEY} bytes here")));
    }
    Ok(())
}

fn read(
    key: &Bytes,
    view: impl FnOnce(Option<Live<'_>>) -> Result<Reply, RedisError> + Send + 'static,
) -> Result<Job, RedisError> {
    Ok(Job::Read { key: key.clone(), places: Vec::new(), view: Box::new(view) })
}

/// Reads these members of a map only.
fn read_members<'a>(
    key: &Bytes,
    attribute: &str,
    names: impl Iterator<Item = &'a str>,
    view: impl FnOnce(Option<Live<'_>>) -> Result<Reply, RedisError> + Send + 'static,
) -> Result<Job, RedisError> {
    // A set is known to be one by its members, whose command this is not.
    let mut places = vec![place(KIND), place(EXPIRES), place(SET)];
    places.extend(names.map(|name| inside(attribute, name)));
    Ok(Job::Read { key: key.clone(), places, view: Box::new(view) })
}

fn write(
    key: &Bytes,
    decide: impl Fn(&Seen, i64) -> Next + Send + Sync + 'static,
) -> Result<Job, RedisError> {
    Ok(Job::Write { key: key.clone(), decide: Box::new(decide) })
}

fn answer(reply: Reply) -> Next {
    Next::Answer(Ok(reply))
}

fn refuse(error: RedisError) -> Next {
    Next::Answer(Err(error))
}

/// Whether the key, if it is there, is of another kind.
fn wrong_kind(seen: &Seen, now: i64, fits: impl FnOnce(Live<'_>) -> bool) -> bool {
    seen.live(now).is_some_and(|live| !fits(live))
}
