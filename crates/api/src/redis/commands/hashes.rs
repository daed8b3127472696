//! Hashes: maps that merge by field.

use super::super::args::{Words, integer, is, matches};
use super::super::decide::{Finished, Seen, Update, both, create};
use super::super::error::RedisError;
use super::super::layout::{
    FRACTIONS, HASH, Kind, Live, Members, equals, inside, is_kind, member_of, name_of, place, stored, text,
};
use super::super::reply::{OK, Reply};
use super::{Job, answer, read, read_members, refuse, write, wrong_kind};
use bytes::Bytes;
use meridian_dynamo::expr::{Comparator, Condition, Operand};
use meridian_dynamo::write::ReturnValues;
use meridian_dynamo::{AttributeValue, Item, Number};
use std::collections::BTreeSet;

/// HSET and HMSET.
pub(super) fn hset(name: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    if args.len().is_multiple_of(2) {
        return Err(RedisError::Arity(name.to_owned()));
    }
    let plain = name == "hmset";
    let (members, fractions) = members(&args[1..]);
    put(&args[0], members, fractions, false, move |new| if plain { OK } else { Reply::count(new) })
}

/// HSETNX.
pub(super) fn hsetnx(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let (members, fractions) = members(&args[1..]);
    put(&args[0], members, fractions, true, Reply::count)
}

/// Fields and values, and whether a number among them has a fraction.
fn members(pairs: &[Bytes]) -> (Members, bool) {
    let mut fractions = false;
    let pairs = pairs.chunks(2).map(|pair| {
        let (kind, value) = stored(&pair[1]);
        fractions |= kind == Kind::Decimal;
        (name_of(&pair[0]), value)
    });
    (pairs.collect(), fractions)
}

fn put(
    key: &Bytes,
    members: Members,
    fractions: bool,
    only_new: bool,
    reply: impl Fn(usize) -> Reply + Copy + Send + Sync + 'static,
) -> Result<Job, RedisError> {
    let name = key.clone();
    write(key, move |seen, now| {
        let live = seen.live(now);
        if wrong_kind(seen, now, |live| live.kind == Kind::Hash) {
            return refuse(RedisError::WrongType);
        }
        if matches!(seen, Seen::Item(_)) && live.is_none() {
            let mut attributes = vec![(HASH, AttributeValue::M(members.clone()))];
            attributes.extend(fractions.then_some((FRACTIONS, AttributeValue::Bool(true))));
            return create(&name, Kind::Hash, attributes, now).answer(reply(members.len()));
        }
        let has = |field: &String| live.and_then(Live::hash).is_some_and(|hash| hash.contains_key(field));
        if only_new && members.keys().any(has) {
            return answer(Reply::Int(0));
        }
        let mut conditions = vec![is_kind(&[Kind::Hash], now), has_members(HASH)];
        let mut update = Update::of(Kind::Hash);
        if fractions {
            update = update.set(place(FRACTIONS), AttributeValue::Bool(true));
        }
        for (field, value) in &members {
            update = update.set(inside(HASH, field), value.clone());
            if only_new {
                conditions.push(Condition::NotExists(inside(HASH, field)));
            }
        }
        let count = members.len();
        update.on(&name, Condition::And(conditions)).returning(ReturnValues::UpdatedOld, move |old| {
            Ok(reply(count - map_of(old, HASH).map_or(0, Members::len)))
        })
    })
}

/// The map is there and has members.
pub(super) fn has_members(attribute: &str) -> Condition {
    let nothing = Operand::Value(AttributeValue::N(Number::ZERO));
    Condition::Compare(Operand::Size(place(attribute)), Comparator::Greater, nothing)
}

pub(super) fn map_of<'a>(item: &'a Item, attribute: &str) -> Option<&'a Members> {
    match item.get(attribute) {
        Some(AttributeValue::M(map)) => Some(map),
        _ => None,
    }
}

/// HDEL.
pub(super) fn hdel(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    remove(&args[0], &args[1..], Kind::Hash, HASH)
}

/// Removes members of a map, and the key with the last of them.
pub(super) fn remove(
    key: &Bytes,
    members: &[Bytes],
    kind: Kind,
    attribute: &'static str,
) -> Result<Job, RedisError> {
    let names: BTreeSet<String> = members.iter().map(|member| name_of(member)).collect();
    let name = key.clone();
    write(key, move |seen, now| {
        if wrong_kind(seen, now, |live| live.kind == kind) {
            return refuse(RedisError::WrongType);
        }
        if matches!(seen, Seen::Item(_)) && seen.live(now).is_none() {
            return answer(Reply::Int(0));
        }
        let update =
            names.iter().fold(Update::of(kind), |update, member| update.remove(inside(attribute, member)));
        let names = names.clone();
        update.on(&name, both(is_kind(&[kind], now), Condition::Exists(place(attribute)))).finish(
            ReturnValues::AllOld,
            move |old| {
                let old = old.and_then(|old| map_of(old, attribute));
                let removed =
                    old.map_or(0, |old| names.iter().filter(|name| old.contains_key(*name)).count());
                let reply = Reply::count(removed);
                if old.is_some_and(|old| old.len() > removed) {
                    return Finished::Done(Ok(reply));
                }
                Finished::Emptied(reply, equals(place(attribute), AttributeValue::M(Members::new())))
            },
        )
    })
}

fn hash_of(live: Option<Live<'_>>) -> Result<Option<&Members>, RedisError> {
    Ok(live.map(|live| live.as_kind(Kind::Hash)).transpose()?.and_then(Live::hash))
}

/// Looks at some fields of a hash.
fn fields(
    key: &Bytes,
    fields: &[Bytes],
    view: impl FnOnce(Vec<Option<Bytes>>) -> Reply + Send + 'static,
) -> Result<Job, RedisError> {
    let names: Vec<String> = fields.iter().map(|field| name_of(field)).collect();
    let wanted = names.clone();
    read_members(key, HASH, names.iter().map(String::as_str), move |live| {
        let hash = hash_of(live)?;
        let value = |name: &String| hash.and_then(|hash| hash.get(name)).map(text);
        Ok(view(wanted.iter().map(value).collect()))
    })
}

pub(super) fn hget(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    fields(&args[0], &args[1..], |values| Reply::or_null(values.into_iter().next().flatten()))
}

pub(super) fn hmget(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    fields(&args[0], &args[1..], |values| Reply::Array(values.into_iter().map(Reply::or_null).collect()))
}

pub(super) fn hexists(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    fields(&args[0], &args[1..], |values| Reply::count(values.into_iter().flatten().count()))
}

pub(super) fn hstrlen(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    fields(&args[0], &args[1..], |values| {
        Reply::count(values.into_iter().flatten().next().map_or(0, |value| value.len()))
    })
}

/// HGETALL, HKEYS, HVALS and HLEN.
pub(super) fn whole(name: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let name = name.to_owned();
    read(&args[0], move |live| {
        let hash = hash_of(live)?;
        let entries = || hash.into_iter().flatten();
        let field = |name: &String| Reply::Bulk(member_of(name));
        Ok(match name.as_str() {
            "hgetall" => {
                Reply::Map(entries().map(|(name, value)| (field(name), Reply::Bulk(text(value)))).collect())
            }
            "hkeys" => Reply::Array(entries().map(|(name, _)| field(name)).collect()),
            "hvals" => Reply::Array(entries().map(|(_, value)| Reply::Bulk(text(value))).collect()),
            _ => Reply::count(entries().count()),
        })
    })
}

/// HSCAN.
pub(super) fn hscan(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let pattern = scan_options(&args[1..])?;
    read(&args[0], move |live| {
        let entries = hash_of(live)?.into_iter().flatten();
        let entries = entries.map(|(name, value)| (member_of(name), Reply::Bulk(text(value))));
        Ok(scanned(entries.filter(|(field, _)| fits(pattern.as_ref(), field)), true))
    })
}

/// The pattern of a scan through a collection, which is answered at once whatever the count.
pub(super) fn scan_options(words: &[Bytes]) -> Result<Option<Bytes>, RedisError> {
    let mut words = Words::new(words);
    let cursor = words.value()?;
    if core::str::from_utf8(cursor).ok().and_then(|text| text.parse::<u64>().ok()).is_none() {
        return Err(RedisError::Cursor);
    }
    let mut pattern = None;
    while let Some(word) = words.next() {
        if is(word, "match") {
            pattern = Some(words.value()?.clone());
        } else if is(word, "count") {
            if integer(words.value()?)? < 1 {
                return Err(RedisError::Syntax);
            }
        } else {
            return Err(RedisError::Syntax);
        }
    }
    Ok(pattern)
}

pub(super) fn fits(pattern: Option<&Bytes>, member: &[u8]) -> bool {
    pattern.is_none_or(|pattern| matches(pattern, member))
}

/// The reply of a scan that is at its end.
pub(super) fn scanned(entries: impl Iterator<Item = (Bytes, Reply)>, values: bool) -> Reply {
    let flat = entries
        .flat_map(|(member, value)| core::iter::once(Reply::Bulk(member)).chain(values.then_some(value)));
    Reply::Array(vec![Reply::text("0"), Reply::Array(flat.collect())])
}
