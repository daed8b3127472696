//! Sorted sets: maps of scores that merge by member. Reading ranges of them is in `ranges`.

use super::super::args::{float, is, matches};
use super::super::decide::{Finished, Next, Seen, Update, both, create};
use super::super::error::RedisError;
use super::super::layout::{Kind, Live, Members, SORTED, equals, inside, is_kind, member_of, name_of, place};
use super::super::reply::{Reply, double};
use super::counters::begin_map;
use super::hashes::{has_members, map_of, remove, scan_options, scanned};
use super::{Job, answer, read, read_members, refuse, write, wrong_kind};
use bytes::Bytes;
use meridian_dynamo::expr::Condition;
use meridian_dynamo::write::ReturnValues;
use meridian_dynamo::{AttributeValue, Item};

const NOT_A_FLOAT: &str = "value is not a valid float";

/// A score as it is stored: its shortest decimal, or a text where it is infinite or does not fit.
fn stored_score(score: f64) -> AttributeValue {
    let text = double(score);
    text.parse().map_or(AttributeValue::S(text), AttributeValue::N)
}

/// A stored score.
pub(super) fn score(value: &AttributeValue) -> f64 {
    let text = match value {
        AttributeValue::N(number) => number.to_string(),
        AttributeValue::S(text) => text.clone(),
        _ => String::new(),
    };
    text.parse().unwrap_or_default()
}

/// The members of a sorted set.
pub(super) fn sorted_of(live: Option<Live<'_>>) -> Result<Option<&Members>, RedisError> {
    Ok(live.map(|live| live.as_kind(Kind::Sorted)).transpose()?.and_then(Live::sorted))
}

/// What ZADD was told beside scores and members.
#[derive(Clone, Copy, Default)]
struct Options {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    changed: bool,
    incr: bool,
}

impl Options {
    /// Whether a member gets this score.
    fn allow(self, old: Option<f64>, new: f64) -> bool {
        match old {
            None => !self.xx,
            Some(old) => !(self.nx || self.gt && new <= old || self.lt && new >= old),
        }
    }

    fn plain(self) -> bool {
        !(self.nx || self.xx || self.gt || self.lt || self.changed || self.incr)
    }
}

pub(super) fn zadd(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let mut options = Options::default();
    let mut rest = &args[1..];
    while let Some((word, tail)) = rest.split_first() {
        let flags = [
            ("nx", &mut options.nx),
            ("xx", &mut options.xx),
            ("gt", &mut options.gt),
            ("lt", &mut options.lt),
            ("ch", &mut options.changed),
            ("incr", &mut options.incr),
        ];
        let Some((_, flag)) = flags.into_iter().find(|(name, _)| is(word, name)) else { break };
        *flag = true;
        rest = tail;
    }
    if rest.is_empty() || rest.len() % 2 == 1 {
        return Err(RedisError::Syntax);
    }
    if options.nx && options.xx {
        return Err(RedisError::err("XX and NX options at the same time are not compatible"));
    }
    if options.gt && options.lt || options.nx && (options.gt || options.lt) {
        return Err(RedisError::err("GT, LT, and/or NX options at the same time are not compatible"));
    }
    if options.incr && rest.len() > 2 {
        return Err(RedisError::err("INCR option supports a single increment-element pair"));
    }
    let mut given = Vec::with_capacity(rest.len() / 2);
    for pair in rest.chunks(2) {
        given.push((name_of(&pair[1]), float(&pair[0], NOT_A_FLOAT)?));
    }
    let only_incr = Options { incr: false, ..options };
    if options.incr && only_incr.plain() {
        return zincrby("zincrby", &[args[0].clone(), rest[0].clone(), rest[1].clone()]);
    }
    let key = args[0].clone();
    write(&args[0], move |seen, now| add(&key, &given, options, seen, now))
}

fn add(key: &Bytes, given: &[(String, f64)], options: Options, seen: &Seen, now: i64) -> Next {
    if wrong_kind(seen, now, |live| live.kind == Kind::Sorted) {
        return refuse(RedisError::WrongType);
    }
    if matches!(seen, Seen::Unknown) {
        return if options.plain() { add_all(key, given, now) } else { Next::Read };
    }
    let empty = Members::new();
    let live = seen.live(now);
    let old = live.and_then(Live::sorted).unwrap_or(&empty);
    // A member that is given twice is changed twice.
    let (mut after, mut added, mut changed, mut result) = (Members::new(), 0, 0, None);
    for (member, amount) in given {
        let before = after.get(member).or_else(|| old.get(member)).map(score);
        let new = if options.incr { before.unwrap_or(0.0) + amount } else { *amount };
        if new.is_nan() {
            return refuse(RedisError::err("resulting score is not a number (NaN)"));
        }
        if options.allow(before, new) {
            added += usize::from(before.is_none());
            changed += usize::from(before.is_some_and(|before| before != new));
            after.insert(member.clone(), stored_score(new));
            result = Some(new);
        }
    }
    let reply = if options.incr {
        result.map_or(Reply::Null, Reply::Double)
    } else {
        Reply::count(if options.changed { added + changed } else { added })
    };
    if after.is_empty() {
        return answer(reply);
    }
    if live.is_none() {
        return create(key, Kind::Sorted, [(SORTED, AttributeValue::M(after))], now).answer(reply);
    }
    let mut conditions = vec![is_kind(&[Kind::Sorted], now), has_members(SORTED)];
    let mut update = Update::of(Kind::Sorted);
    for (member, new) in after {
        let at = inside(SORTED, &member);
        conditions.push(match old.get(&member) {
            Some(was) => equals(at.clone(), was.clone()),
            None => Condition::NotExists(at.clone()),
        });
        update = update.set(at, new);
    }
    update.on(key, Condition::And(conditions)).answer(reply)
}

/// Sets scores whatever they were.
fn add_all(key: &Bytes, given: &[(String, f64)], now: i64) -> Next {
    let scores: Members =
        given.iter().map(|(member, score)| (member.clone(), stored_score(*score))).collect();
    let count = scores.len();
    let set = |update: Update, (member, score): (String, _)| update.set(inside(SORTED, &member), score);
    let update = scores.into_iter().fold(Update::of(Kind::Sorted), set);
    let condition = both(is_kind(&[Kind::Sorted], now), has_members(SORTED));
    update.on(key, condition).returning(ReturnValues::UpdatedOld, move |old| {
        Ok(Reply::count(count - map_of(old, SORTED).map_or(0, Members::len)))
    })
}

pub(super) fn zincrby(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let amount = float(&args[1], NOT_A_FLOAT)?;
    let (key, member) = (args[0].clone(), name_of(&args[2]));
    write(&args[0], move |seen, now| {
        let at = inside(SORTED, &member);
        let AttributeValue::N(number) = stored_score(amount) else {
            let options = Options { incr: true, ..Options::default() };
            return add(&key, &[(member.clone(), amount)], options, seen, now);
        };
        match (seen, seen.live(now)) {
            (_, Some(live)) if live.kind != Kind::Sorted => return refuse(RedisError::WrongType),
            (_, Some(live)) => {
                let old = live.sorted().and_then(|sorted| sorted.get(&member));
                if old.is_some_and(|old| !matches!(old, AttributeValue::N(_))) {
                    return answer(Reply::Double(old.map_or(amount, score)));
                }
            }
            (Seen::Item(item), None) => {
                if let Some(next) = begin_map(&key, item.as_ref(), (Kind::Sorted, SORTED), now) {
                    return next;
                }
            }
            (Seen::Unknown, _) => {}
        }
        let finite = Condition::Or(vec![
            Condition::NotExists(at.clone()),
            Condition::HasType(at.clone(), meridian_dynamo::AttributeType::N),
        ]);
        let condition =
            Condition::And(vec![is_kind(&[Kind::Sorted], now), Condition::Exists(place(SORTED)), finite]);
        let member = member.clone();
        Update::of(Kind::Sorted).add_number(at, number).on(&key, condition).returning(
            ReturnValues::UpdatedNew,
            move |item| {
                let new = map_of(item, SORTED).and_then(|sorted| sorted.get(&member));
                Ok(Reply::Double(new.map(score).unwrap_or_default()))
            },
        )
    })
}

pub(super) fn zrem(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    remove(&args[0], &args[1..], Kind::Sorted, SORTED)
}

/// Removes the members that are chosen from what there is, unless their scores have changed.
pub(super) fn remove_chosen(
    key: &Bytes,
    choose: impl Fn(&Members) -> Vec<String> + Send + Sync + 'static,
) -> Result<Job, RedisError> {
    let name = key.clone();
    write(key, move |seen, now| {
        if matches!(seen, Seen::Unknown) {
            return Next::Read;
        }
        let old = match sorted_of(seen.live(now)) {
            Ok(old) => old,
            Err(error) => return refuse(error),
        };
        let Some(old) = old else { return answer(Reply::Int(0)) };
        let chosen = choose(old);
        if chosen.is_empty() {
            return answer(Reply::Int(0));
        }
        let mut conditions = vec![is_kind(&[Kind::Sorted], now)];
        let mut update = Update::of(Kind::Sorted);
        for member in &chosen {
            let at = inside(SORTED, member);
            conditions.extend(old.get(member).map(|was| equals(at.clone(), was.clone())));
            update = update.remove(at);
        }
        let count = chosen.len();
        update.on(&name, Condition::And(conditions)).finish(
            ReturnValues::AllOld,
            move |old: Option<&Item>| {
                let left =
                    old.and_then(|old| map_of(old, SORTED)).map_or(0, |old| old.len().saturating_sub(count));
                if left > 0 {
                    return Finished::Done(Ok(Reply::count(count)));
                }
                Finished::Emptied(
                    Reply::count(count),
                    equals(place(SORTED), AttributeValue::M(Members::new())),
                )
            },
        )
    })
}

/// ZSCORE and ZMSCORE.
pub(super) fn zscore(name: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let one = name == "zscore";
    let names: Vec<String> = args[1..].iter().map(|member| name_of(member)).collect();
    let wanted = names.clone();
    read_members(&args[0], SORTED, names.iter().map(String::as_str), move |live| {
        let sorted = sorted_of(live)?;
        let find = |name: &String| sorted.and_then(|sorted| sorted.get(name));
        let mut found: Vec<Reply> = wanted
            .iter()
            .map(|name| find(name).map_or(Reply::Null, |value| Reply::Double(score(value))))
            .collect();
        Ok(if one { found.remove(0) } else { Reply::Array(found) })
    })
}

pub(super) fn zcard(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    read(&args[0], |live| Ok(Reply::count(sorted_of(live)?.map_or(0, Members::len))))
}

pub(super) fn zscan(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let pattern = scan_options(&args[1..])?;
    read(&args[0], move |live| {
        let entries = sorted_of(live)?.into_iter().flatten();
        let entries = entries.map(|(name, value)| (member_of(name), Reply::bulk(double(score(value)))));
        let fits = |member: &Bytes| pattern.as_ref().is_none_or(|pattern| matches(pattern, member));
        Ok(scanned(entries.filter(|(member, _)| fits(member)), true))
    })
}
