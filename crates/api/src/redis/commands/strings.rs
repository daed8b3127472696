//! Strings.

use super::super::args::{Words, integer, is, slice};
use super::super::decide::{Attempt, Next, Seen, Update, both, delete, expiry, fresh};
use super::super::error::RedisError;
use super::super::layout::{
    EXPIRES, Live, STRINGS, VALUE, equals, is_dead, is_kind, is_live, place, stored, text,
};
use super::super::reply::{OK, Reply};
use super::expiry::Deadline;
use super::{Job, answer, read, refuse, write, wrong_kind};
use bytes::{Bytes, BytesMut};
use meridian_dynamo::Item;
use meridian_dynamo::expr::Condition;
use meridian_dynamo::size::MAX_ITEM_SIZE;
use meridian_dynamo::write::{ReturnValues, WriteKind};

/// When SET writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    Absent,
    Present,
}

/// What SET was told beside the value.
#[derive(Clone, Copy)]
struct SetOptions {
    when: When,
    deadline: Option<Deadline>,
    keep: bool,
    get: bool,
}

pub(super) fn get(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    read(&args[0], |live| live.map(Live::text).transpose().map(Reply::or_null))
}

pub(super) fn strlen(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    read(&args[0], |live| {
        let text = live.map(Live::text).transpose()?;
        Ok(Reply::count(text.map_or(0, |text| text.len())))
    })
}

pub(super) fn getrange(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let (start, end) = (integer(&args[1])?, integer(&args[2])?);
    read(&args[0], move |live| {
        let text = live.map(Live::text).transpose()?.unwrap_or_default();
        // An end before the first byte means the first byte, unless the start is behind it as written.
        let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
        let last = if end < 0 { end.saturating_add(length).max(0) } else { end };
        let range = if start < 0 && start > end && end < 0 { 0..0 } else { slice(start, last, text.len()) };
        Ok(Reply::Bulk(text.slice(range)))
    })
}

pub(super) fn mget(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let view = |all: Vec<Option<Live<'_>>>| {
        let one = |live: Option<Live<'_>>| Reply::or_null(live.and_then(|live| live.text().ok()));
        Ok(Reply::Array(all.into_iter().map(one).collect()))
    };
    Ok(Job::ReadAll { keys: args.to_vec(), view: Box::new(view) })
}

pub(super) fn mset(name: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    if args.len() % 2 == 1 {
        return Err(RedisError::Arity(name.to_owned()));
    }
    let mut writes = Vec::with_capacity(args.len() / 2);
    for pair in args.chunks(2) {
        match set_job(&pair[0], &pair[1], SetOptions::plain())? {
            Job::Write { key, decide } => writes.push((key, decide)),
            _ => return Err(RedisError::Syntax),
        }
    }
    Ok(Job::WriteAll { writes, join: |_| OK })
}

impl SetOptions {
    fn plain() -> Self {
        Self { when: When::Always, deadline: None, keep: false, get: false }
    }

    fn read(words: &[Bytes]) -> Result<Self, RedisError> {
        let mut options = Self::plain();
        let mut words = Words::new(words);
        while let Some(word) = words.next() {
            if is(word, "nx") && options.when == When::Always {
                options.when = When::Absent;
            } else if is(word, "xx") && options.when == When::Always {
                options.when = When::Present;
            } else if is(word, "get") {
                options.get = true;
            } else if is(word, "keepttl") && options.deadline.is_none() {
                options.keep = true;
            } else if let Some(unit) = Deadline::option(word).filter(|_| !options.keep)
                && options.deadline.is_none()
            {
                options.deadline = Some(unit.read(words.value()?, "set")?);
            } else {
                return Err(RedisError::Syntax);
            }
        }
        Ok(options)
    }
}

pub(super) fn set(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    set_job(&args[0], &args[1], SetOptions::read(&args[2..])?)
}

pub(super) fn setnx(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let (key, value) = (args[0].clone(), args[1].clone());
    write(&args[0], move |seen, now| {
        if seen.live(now).is_some() {
            return answer(Reply::Int(0));
        }
        put(&key, &value, None, Some(is_dead(now))).answer(Reply::Int(1))
    })
}

pub(super) fn setex(name: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let (unit, name) = if name == "setex" { ("ex", "setex") } else { ("px", "psetex") };
    let unit = Deadline::option(&Bytes::from_static(unit.as_bytes())).ok_or(RedisError::Syntax)?;
    let deadline = Some(unit.read(&args[1], name)?);
    set_job(&args[0], &args[2], SetOptions { deadline, ..SetOptions::plain() })
}

pub(super) fn getset(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    set_job(&args[0], &args[1], SetOptions { get: true, ..SetOptions::plain() })
}

fn put(key: &Bytes, value: &Bytes, at: Option<i64>, condition: Option<Condition>) -> Attempt {
    let (kind, value) = stored(value);
    Attempt::new(WriteKind::Put { item: fresh(key, kind, [(VALUE, value), expiry(at)]) }, condition)
}

fn set_job(key: &Bytes, value: &Bytes, options: SetOptions) -> Result<Job, RedisError> {
    let (name, value) = (key.clone(), value.clone());
    write(key, move |seen, now| {
        let live = seen.live(now);
        if options.get && wrong_kind(seen, now, |live| live.kind.is_string()) {
            return refuse(RedisError::WrongType);
        }
        let refused = match options.when {
            When::Always => false,
            When::Absent => live.is_some(),
            When::Present => matches!(seen, Seen::Item(_)) && live.is_none(),
        };
        if refused {
            let old = live.filter(|_| options.get).and_then(|live| live.text().ok());
            return answer(Reply::or_null(old));
        }
        if options.keep && matches!(seen, Seen::Unknown) {
            return Next::Read;
        }
        let mut conditions = Vec::new();
        match options.when {
            When::Always => {}
            When::Absent => conditions.push(is_dead(now)),
            When::Present => conditions.push(is_live(now)),
        }
        if options.get {
            conditions.push(Condition::Or(vec![is_dead(now), is_kind(STRINGS, now)]));
        }
        let mut at = options.deadline.as_ref().map(|deadline| deadline.at(now));
        if options.keep {
            at = live.and_then(Live::expires);
            conditions.push(same_expiry(seen, now));
        }
        let condition = if conditions.is_empty() { None } else { Some(Condition::And(conditions)) };
        let attempt = put(&name, &value, at, condition);
        if options.get {
            return attempt.returning(ReturnValues::AllOld, move |old| old_text(old, now));
        }
        attempt.answer(OK)
    })
}

/// The expiry is still the one that was seen.
fn same_expiry(seen: &Seen, now: i64) -> Condition {
    let Some(live) = seen.live(now) else { return is_dead(now) };
    match live.item.get(EXPIRES) {
        Some(expires) => equals(place(EXPIRES), expires.clone()),
        None => Condition::NotExists(place(EXPIRES)),
    }
}

fn old_text(old: &Item, now: i64) -> Result<Reply, RedisError> {
    Live::of(Some(old), now).map(Live::text).transpose().map(Reply::or_null)
}

pub(super) fn getdel(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let key = args[0].clone();
    write(&args[0], move |seen, now| match seen {
        Seen::Unknown => {
            delete(&key, is_kind(STRINGS, now)).returning(ReturnValues::AllOld, move |old| old_text(old, now))
        }
        Seen::Item(_) if wrong_kind(seen, now, |live| live.kind.is_string()) => refuse(RedisError::WrongType),
        Seen::Item(_) if seen.live(now).is_some() => {
            delete(&key, is_kind(STRINGS, now)).returning(ReturnValues::AllOld, move |old| old_text(old, now))
        }
        Seen::Item(_) => answer(Reply::Null),
    })
}

pub(super) fn getex(name: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let mut words = Words::new(&args[1..]);
    let change = match words.next() {
        None => return get(name, args),
        Some(word) if is(word, "persist") => None,
        Some(word) => {
            let unit = Deadline::option(word).ok_or(RedisError::Syntax)?;
            Some(unit.read(words.value()?, "getex")?)
        }
    };
    if words.left() > 0 {
        return Err(RedisError::Syntax);
    }
    let key = args[0].clone();
    write(&args[0], move |seen, now| {
        match seen {
            Seen::Item(_) if wrong_kind(seen, now, |live| live.kind.is_string()) => {
                return refuse(RedisError::WrongType);
            }
            Seen::Item(_) if seen.live(now).is_none() => return answer(Reply::Null),
            _ => {}
        }
        let at = change.as_ref().map(|deadline| deadline.at(now));
        let attempt = match at {
            Some(at) if at <= now => delete(&key, is_kind(STRINGS, now)),
            at => Update::default().expire(at).on(&key, is_kind(STRINGS, now)),
        };
        attempt.returning(ReturnValues::AllOld, move |old| old_text(old, now))
    })
}

/// Changes a string by what it is: `change` gives the new one and the reply, or nothing when there is nothing to do.
fn rewrite(
    key: &Bytes,
    change: impl Fn(&[u8]) -> Result<(Option<Vec<u8>>, Reply), RedisError> + Send + Sync + 'static,
) -> Result<Job, RedisError> {
    let name = key.clone();
    write(key, move |seen, now| {
        if matches!(seen, Seen::Unknown) {
            return Next::Read;
        }
        let live = seen.live(now);
        let old = match live.map(Live::text).transpose() {
            Ok(old) => old,
            Err(error) => return refuse(error),
        };
        match change(old.as_deref().unwrap_or_default()) {
            Err(error) => refuse(error),
            Ok((None, reply)) => answer(reply),
            Ok((Some(new), reply)) => {
                let (kind, value) = stored(&new);
                let Some(was) = live.and_then(|live| live.item.get(VALUE)) else {
                    return put(&name, &new.into(), None, Some(is_dead(now))).answer(reply);
                };
                let unchanged = both(is_kind(STRINGS, now), equals(place(VALUE), was.clone()));
                Update::of(kind).set(place(VALUE), value).on(&name, unchanged).answer(reply)
            }
        }
    })
}

pub(super) fn append(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let suffix = args[1].clone();
    rewrite(&args[0], move |old| {
        let new = [old, &suffix].concat();
        let reply = Reply::count(new.len());
        Ok((Some(new), reply))
    })
}

pub(super) fn setrange(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let offset = integer(&args[1])?;
    let offset = usize::try_from(offset).map_err(|_| RedisError::err("offset is out of range"))?;
    let patch = args[2].clone();
    rewrite(&args[0], move |old| {
        if patch.is_empty() {
            return Ok((None, Reply::count(old.len())));
        }
        let end = offset.saturating_add(patch.len());
        if end > MAX_ITEM_SIZE {
            return Err(RedisError::TooLarge);
        }
        let mut new = BytesMut::from(old);
        if new.len() < end {
            new.resize(end, 0);
        }
        if let Some(place) = new.get_mut(offset..end) {
            place.copy_from_slice(&patch);
        }
        let reply = Reply::count(new.len());
        Ok((Some(new.to_vec()), reply))
    })
}

/// The text of a string that an update has left.
pub(super) fn new_text(item: &Item) -> Bytes {
    item.get(VALUE).map_or_else(Bytes::new, text)
}
