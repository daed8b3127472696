//! Sets: what one region adds and another removes at the same moment stays.

use super::super::decide::{Finished, Seen, Update, both, create};
use super::super::error::RedisError;
use super::super::layout::{Kind, Live, SET, is_kind, place};
use super::super::reply::Reply;
use super::hashes::{fits, scan_options, scanned};
use super::{Job, answer, read, refuse, write, wrong_kind};
use bytes::Bytes;
use meridian_dynamo::expr::Condition;
use meridian_dynamo::write::ReturnValues;
use meridian_dynamo::{AttributeValue, Item};
use std::collections::BTreeSet;

type Bytesets = BTreeSet<Vec<u8>>;

fn set_in(item: &Item) -> Option<&Bytesets> {
    match item.get(SET) {
        Some(AttributeValue::Bs(set)) => Some(set),
        _ => None,
    }
}

fn given(members: &[Bytes]) -> Bytesets {
    members.iter().map(|member| member.to_vec()).collect()
}

pub(super) fn sadd(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let (key, members) = (args[0].clone(), given(&args[1..]));
    write(&args[0], move |seen, now| {
        if wrong_kind(seen, now, |live| live.kind == Kind::Set) {
            return refuse(RedisError::WrongType);
        }
        let value = AttributeValue::Bs(members.clone());
        if matches!(seen, Seen::Item(_)) && seen.live(now).is_none() {
            return create(&key, Kind::Set, [(SET, value)], now).answer(Reply::count(members.len()));
        }
        let members = members.clone();
        Update::of(Kind::Set)
            .add(place(SET), value)
            .on(&key, both(is_kind(&[Kind::Set], now), Condition::Exists(place(SET))))
            .returning(ReturnValues::UpdatedOld, move |old| {
                let old = set_in(old);
                let new = members.iter().filter(|member| !old.is_some_and(|old| old.contains(*member)));
                Ok(Reply::count(new.count()))
            })
    })
}

pub(super) fn srem(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let (key, members) = (args[0].clone(), given(&args[1..]));
    write(&args[0], move |seen, now| {
        if wrong_kind(seen, now, |live| live.kind == Kind::Set) {
            return refuse(RedisError::WrongType);
        }
        if matches!(seen, Seen::Item(_)) && seen.live(now).is_none() {
            return answer(Reply::Int(0));
        }
        let members = members.clone();
        Update::of(Kind::Set)
            .delete(place(SET), AttributeValue::Bs(members.clone()))
            .on(&key, both(is_kind(&[Kind::Set], now), Condition::Exists(place(SET))))
            .finish(ReturnValues::AllOld, move |old| {
                let old = old.and_then(set_in);
                let removed =
                    old.map_or(0, |old| members.iter().filter(|member| old.contains(*member)).count());
                let reply = Reply::count(removed);
                if old.is_some_and(|old| old.len() > removed) {
                    return Finished::Done(Ok(reply));
                }
                Finished::Emptied(reply, Condition::NotExists(place(SET)))
            })
    })
}

fn set_of(live: Option<Live<'_>>) -> Result<Option<&Bytesets>, RedisError> {
    Ok(live.map(|live| live.as_kind(Kind::Set)).transpose()?.and_then(|live| set_in(live.item)))
}

fn bulk(member: &[u8]) -> Reply {
    Reply::Bulk(Bytes::copy_from_slice(member))
}

pub(super) fn smembers(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    read(&args[0], |live| {
        Ok(Reply::Set(set_of(live)?.into_iter().flatten().map(|member| bulk(member)).collect()))
    })
}

pub(super) fn scard(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    read(&args[0], |live| Ok(Reply::count(set_of(live)?.map_or(0, BTreeSet::len))))
}

/// SISMEMBER and SMISMEMBER.
pub(super) fn sismember(name: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let (one, members) = (name == "sismember", args[1..].to_vec());
    read(&args[0], move |live| {
        let set = set_of(live)?;
        let is_in = |member: &Bytes| Reply::Int(i64::from(set.is_some_and(|set| set.contains(&member[..]))));
        let mut found: Vec<Reply> = members.iter().map(is_in).collect();
        Ok(if one { found.remove(0) } else { Reply::Array(found) })
    })
}

pub(super) fn sscan(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let pattern = scan_options(&args[1..])?;
    read(&args[0], move |live| {
        let members = set_of(live)?.into_iter().flatten();
        let members = members.map(|member| (Bytes::copy_from_slice(member), Reply::Null));
        Ok(scanned(members.filter(|(member, _)| fits(pattern.as_ref(), member)), false))
    })
}

/// SINTER, SUNION and SDIFF.
pub(super) fn combined(name: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let combine: fn(&Bytesets, &Bytesets) -> Bytesets = match name {
        "sinter" => |a, b| a & b,
        "sunion" => |a, b| a | b,
        _ => |a, b| a - b,
    };
    let view = move |all: Vec<Option<Live<'_>>>| {
        let nothing = Bytesets::new();
        let sets = all.into_iter().map(|live| Ok(set_of(live)?.unwrap_or(&nothing)));
        let sets = sets.collect::<Result<Vec<_>, RedisError>>()?;
        let Some((first, others)) = sets.split_first() else { return Ok(Reply::Set(Vec::new())) };
        let result = others.iter().fold((*first).clone(), |result, other| combine(&result, other));
        Ok(Reply::Set(result.iter().map(|member| bulk(member)).collect()))
    };
    Ok(Job::ReadAll { keys: args.to_vec(), view: Box::new(view) })
}
