//! When keys expire.

use super::super::args::{Words, integer, is};
use super::super::decide::{Next, Seen, Update, both, delete};
use super::super::error::RedisError;
use super::super::layout::{EXPIRES, Live, between, is_live, place};
use super::super::reply::Reply;
use super::{Job, answer, read, write};
use bytes::Bytes;
use meridian_dynamo::expr::Condition;

/// The latest moment that is stored, far beyond any that is meant.
const LATEST: i64 = i64::MAX / 2;

/// How a moment is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    milliseconds: i64,
    absolute: bool,
}

/// A moment, or a time from now on; in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline {
    value: i64,
    absolute: bool,
}

impl Unit {
    /// Reads an expiry of a command that takes only what lies ahead.
    ///
    /// # Errors
    /// [`RedisError::NotAnInteger`], [`RedisError::ExpireTime`].
    pub(super) fn read(self, word: &[u8], command: &'static str) -> Result<Deadline, RedisError> {
        let value = integer(word)?;
        let value = value.checked_mul(self.milliseconds).filter(|value| (1..LATEST).contains(value));
        let value = value.ok_or(RedisError::ExpireTime(command))?;
        Ok(Deadline { value, absolute: self.absolute })
    }
}

impl Deadline {
    /// How the moment behind an option is given; nothing when it is no such option.
    pub(super) fn option(word: &Bytes) -> Option<Unit> {
        let units = [("ex", 1_000, false), ("px", 1, false), ("exat", 1_000, true), ("pxat", 1, true)];
        let found = units.into_iter().find(|(name, ..)| is(word, name))?;
        Some(Unit { milliseconds: found.1, absolute: found.2 })
    }

    /// The moment, in milliseconds since 1970.
    pub(super) fn at(&self, now: i64) -> i64 {
        if self.absolute { self.value } else { self.value.saturating_add(now) }
    }
}

/// When EXPIRE changes the expiry.
fn condition(words: &[Bytes], at: i64) -> Result<Vec<Condition>, RedisError> {
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    let mut words = Words::new(words);
    while let Some(word) = words.next() {
        let known = [("nx", &mut nx), ("xx", &mut xx), ("gt", &mut gt), ("lt", &mut lt)];
        match known.into_iter().find(|(name, _)| is(word, name)) {
            Some((_, flag)) => *flag = true,
            None => {
                let word = String::from_utf8_lossy(word);
                return Err(RedisError::err(format_args!("Unsupported option {word}")));
            }
        }
    }
    if nx && (xx || gt || lt) {
        return Err(RedisError::err("NX and XX, GT or LT options at the same time are not compatible"));
    }
    if gt && lt {
        return Err(RedisError::err("GT and LT options at the same time are not compatible"));
    }
    let has = between(place(EXPIRES), 1, i64::MAX);
    let mut all = Vec::new();
    if nx {
        all.push(Condition::Not(Box::new(has.clone())));
    }
    if xx {
        all.push(has.clone());
    }
    if gt {
        all.push(between(place(EXPIRES), 1, at.saturating_sub(1).max(1)));
    }
    if lt {
        let later = between(place(EXPIRES), at.saturating_add(1).max(1), i64::MAX);
        all.push(Condition::Or(vec![Condition::Not(Box::new(has)), later]));
    }
    Ok(all)
}

/// EXPIRE, PEXPIRE, EXPIREAT and PEXPIREAT.
pub(super) fn expire(name: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let (command, milliseconds, absolute) = match name {
        "expire" => ("expire", 1_000, false),
        "pexpire" => ("pexpire", 1, false),
        "expireat" => ("expireat", 1_000, true),
        _ => ("pexpireat", 1, true),
    };
    let value = integer(&args[1])?.checked_mul(milliseconds).filter(|value| value.abs() < LATEST);
    let deadline = Deadline { value: value.ok_or(RedisError::ExpireTime(command))?, absolute };
    // Whether the options are right does not depend on the moment.
    condition(&args[2..], 0)?;
    let (key, options) = (args[0].clone(), args[2..].to_vec());
    write(&args[0], move |seen, now| {
        if matches!(seen, Seen::Item(_)) {
            return answer(Reply::Int(0));
        }
        let at = deadline.at(now);
        let mut conditions = match condition(&options, at) {
            Ok(conditions) => conditions,
            Err(error) => return Next::Answer(Err(error)),
        };
        conditions.push(is_live(now));
        let condition = Condition::And(conditions);
        let attempt = if at <= now {
            delete(&key, condition)
        } else {
            Update::default().expire(Some(at)).on(&key, condition)
        };
        attempt.answer(Reply::Int(1))
    })
}

pub(super) fn persist(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let key = args[0].clone();
    write(&args[0], move |seen, now| {
        if matches!(seen, Seen::Item(_)) {
            return answer(Reply::Int(0));
        }
        let condition = both(is_live(now), between(place(EXPIRES), 1, i64::MAX));
        Update::default().expire(None).on(&key, condition).answer(Reply::Int(1))
    })
}

/// TTL, PTTL, EXPIRETIME and PEXPIRETIME.
pub(super) fn ttl(name: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let (seconds, absolute) = (!name.starts_with('p'), name.ends_with("expiretime"));
    Ok(Job::Read {
        key: args[0].clone(),
        places: Vec::new(),
        view: Box::new(move |live| {
            let Some(live) = live else { return Ok(Reply::Int(-2)) };
            let Some(at) = live.expires() else { return Ok(Reply::Int(-1)) };
            let value = if absolute { at } else { at.saturating_sub(live.now).max(0) };
            Ok(Reply::Int(if seconds { value.saturating_add(500) / 1_000 } else { value }))
        }),
    })
}

pub(super) fn kind(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    read(&args[0], |live: Option<Live<'_>>| {
        Ok(Reply::Simple(live.map_or("none", |live| live.kind.redis_type())))
    })
}
