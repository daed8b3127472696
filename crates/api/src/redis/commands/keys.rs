//! Keys as such, whatever they hold.

use super::super::args::{Words, integer, is};
use super::super::decide::{Next, Seen, delete};
use super::super::error::RedisError;
use super::super::layout::{Live, is_live};
use super::super::reply::Reply;
use super::{Job, Listing, answer};
use bytes::Bytes;

/// How many keys SCAN looks for when it is not told.
const DEFAULT_COUNT: u32 = 10;
/// The most that one SCAN looks for.
const MAX_COUNT: u32 = 1_000;

/// DEL and UNLINK.
pub(super) fn del(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let one = |key: &Bytes| {
        let name = key.clone();
        let decide = move |seen: &Seen, now: i64| -> Next {
            match seen {
                Seen::Unknown => delete(&name, is_live(now)).answer(Reply::Int(1)),
                Seen::Item(_) => answer(Reply::Int(0)),
            }
        };
        (key.clone(), Box::new(decide) as super::Decide)
    };
    Ok(Job::WriteAll { writes: args.iter().map(one).collect(), join: sum })
}

fn sum(replies: Vec<Reply>) -> Reply {
    let counts = replies.into_iter().map(|reply| if let Reply::Int(count) = reply { count } else { 0 });
    Reply::Int(counts.sum())
}

/// EXISTS and TOUCH.
pub(super) fn exists(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let view = |all: Vec<Option<Live<'_>>>| Ok(Reply::count(all.into_iter().flatten().count()));
    Ok(Job::ReadAll { keys: args.to_vec(), view: Box::new(view) })
}

pub(super) fn scan(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let cursor = core::str::from_utf8(&args[0]).ok().and_then(|text| text.parse().ok());
    let cursor = cursor.ok_or(RedisError::Cursor)?;
    let (mut count, mut pattern, mut kind) = (DEFAULT_COUNT, None, None);
    let mut words = Words::new(&args[1..]);
    while let Some(word) = words.next() {
        if is(word, "match") {
            pattern = Some(words.value()?.clone());
        } else if is(word, "count") {
            let wanted = integer(words.value()?)?;
            if wanted < 1 {
                return Err(RedisError::Syntax);
            }
            count = u32::try_from(wanted).unwrap_or(MAX_COUNT).min(MAX_COUNT);
        } else if is(word, "type") {
            kind = Some(words.value()?.clone());
        } else {
            return Err(RedisError::Syntax);
        }
    }
    Ok(Job::List(Listing::Scan { cursor, count, pattern, kind }))
}

pub(super) fn keys(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    Ok(Job::List(Listing::Keys { pattern: args[0].clone() }))
}

pub(super) fn dbsize(_: &str, _: &[Bytes]) -> Result<Job, RedisError> {
    Ok(Job::List(Listing::Count))
}
