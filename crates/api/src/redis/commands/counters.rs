//! Numbers that are added to: what several regions add at once adds up.

use super::super::args::{decimal, integer};
use super::super::decide::{Next, Seen, Update, both, create, expiry};
use super::super::error::RedisError;
use super::super::layout::{
    EXPIRES, FRACTIONS, HASH, KEY, KIND, Kind, VALUE, between, equals, inside, integer as whole, is_kind,
    name_of, place, text,
};
use super::super::reply::Reply;
use super::strings::new_text;
use super::{Job, refuse, write};
use bytes::Bytes;
use meridian_dynamo::expr::Condition;
use meridian_dynamo::write::ReturnValues;
use meridian_dynamo::{AttributeValue, Item, Number};

/// INCR, DECR, INCRBY and DECRBY.
pub(super) fn incr(name: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let given = args.get(1).map_or(Ok(1), |word| integer(word))?;
    let amount = match name {
        "incr" | "incrby" => given,
        _ => given.checked_neg().ok_or(RedisError::DecrementOverflow)?,
    };
    let key = args[0].clone();
    write(&args[0], move |seen, now| {
        let fits = between(place(VALUE), low(amount), high(amount));
        let add = || Update::of(Kind::Int).add_number(place(VALUE), amount);
        let there = |kind| both(is_kind(&[kind], now), fits.clone());
        let (update, condition) = match (seen, seen.live(now)) {
            // A key that is not there begins with what is added, so that beginnings in two regions add up as well.
            (Seen::Unknown, _) => (add(), Condition::Or(vec![absent(), there(Kind::Int)])),
            (Seen::Item(None), _) => (add(), absent()),
            (_, None) => {
                let attributes = [(VALUE, AttributeValue::N(amount.into())), expiry(None)];
                return create(&key, Kind::Int, attributes, now).answer(Reply::Int(amount));
            }
            (_, Some(live)) if !live.kind.is_string() => return refuse(RedisError::WrongType),
            (_, Some(live)) => match live.item.get(VALUE) {
                Some(AttributeValue::N(number)) => match whole(number) {
                    None => return refuse(RedisError::NotAnInteger),
                    Some(value) if value.checked_add(amount).is_none() => {
                        return refuse(RedisError::Overflow);
                    }
                    // A sum that has become whole again.
                    Some(_) if live.kind != Kind::Int => {
                        (add(), both(there(live.kind), equals(place(VALUE), AttributeValue::N(*number))))
                    }
                    Some(_) => (add(), there(Kind::Int)),
                },
                _ => return refuse(RedisError::NotAnInteger),
            },
        };
        update.on(&key, condition).returning(ReturnValues::UpdatedNew, |item| {
            let text = new_text(item);
            integer(&text).map(Reply::Int)
        })
    })
}

pub(super) fn incrbyfloat(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let amount = decimal(&args[1])?;
    let key = args[0].clone();
    write(&args[0], move |seen, now| {
        let add = || Update::of(Kind::Decimal).add_number(place(VALUE), amount);
        let numbers = is_kind(&[Kind::Int, Kind::Decimal], now);
        let (update, condition) = match (seen, seen.live(now)) {
            (Seen::Unknown, _) => (add(), Condition::Or(vec![absent(), numbers])),
            (Seen::Item(None), _) => (add(), absent()),
            (_, None) => {
                let attributes = [(VALUE, AttributeValue::N(amount)), expiry(None)];
                return create(&key, Kind::Decimal, attributes, now).answer(Reply::bulk(amount.to_string()));
            }
            (_, Some(live)) if !live.kind.is_string() => return refuse(RedisError::WrongType),
            (_, Some(live)) => match live.item.get(VALUE) {
                Some(AttributeValue::N(_)) => (add(), numbers),
                // A number in another form, such as 3.0e3.
                other => match sum_of_text(other, amount, RedisError::NotAFloat) {
                    Err(error) => return refuse(error),
                    Ok((sum, was)) => (
                        Update::of(Kind::Decimal).set(place(VALUE), AttributeValue::N(sum)),
                        both(is_kind(&[live.kind], now), equals(place(VALUE), was)),
                    ),
                },
            },
        };
        update.on(&key, condition).returning(ReturnValues::UpdatedNew, |item| Ok(Reply::Bulk(new_text(item))))
    })
}

fn sum_of_text(
    value: Option<&AttributeValue>,
    amount: Number,
    error: RedisError,
) -> Result<(Number, AttributeValue), RedisError> {
    let Some(was) = value else { return Err(error) };
    let number = decimal(&text(was)).map_err(|_| error)?;
    let sum = number.checked_add(amount).map_err(RedisError::err)?;
    Ok((sum, was.clone()))
}

fn absent() -> Condition {
    Condition::NotExists(place(KEY))
}

/// The least and the most that can be added to.
fn low(amount: i64) -> i64 {
    i64::MIN.saturating_sub(amount.min(0))
}

fn high(amount: i64) -> i64 {
    i64::MAX.saturating_sub(amount.max(0))
}

/// HINCRBY.
pub(super) fn hincrby(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let amount = integer(&args[2])?;
    let (key, field) = (args[0].clone(), name_of(&args[1]));
    write(&args[0], move |seen, now| {
        let at = inside(HASH, &field);
        let is_hash = both(is_kind(&[Kind::Hash], now), Condition::Exists(place(HASH)));
        let fits = between(at.clone(), low(amount), high(amount));
        let update = Update::of(Kind::Hash).add_number(at.clone(), amount);
        let condition = match (seen, seen.live(now)) {
            (Seen::Unknown, _) => Condition::And(vec![
                is_hash,
                Condition::NotExists(place(FRACTIONS)),
                Condition::Or(vec![Condition::NotExists(at), fits]),
            ]),
            (Seen::Item(item), None) => match begin(&key, item.as_ref(), now) {
                Some(next) => return next,
                None => both(is_hash, Condition::NotExists(at)),
            },
            (_, Some(live)) if live.kind != Kind::Hash => return refuse(RedisError::WrongType),
            (_, Some(live)) => match live.hash().and_then(|hash| hash.get(&field)) {
                None => both(is_hash, Condition::NotExists(at)),
                Some(AttributeValue::N(number)) => match whole(number) {
                    None => return refuse(RedisError::HashNotAnInteger),
                    Some(value) if value.checked_add(amount).is_none() => {
                        return refuse(RedisError::Overflow);
                    }
                    Some(_) if live.item.contains_key(FRACTIONS) => {
                        both(is_hash, equals(at, AttributeValue::N(*number)))
                    }
                    Some(_) => both(is_hash, fits),
                },
                Some(_) => return refuse(RedisError::HashNotAnInteger),
            },
        };
        let field = field.clone();
        update.on(&key, condition).returning(ReturnValues::UpdatedNew, move |item| {
            integer(&field_text(item, &field)).map(Reply::Int).map_err(|_| RedisError::HashNotAnInteger)
        })
    })
}

/// HINCRBYFLOAT.
pub(super) fn hincrbyfloat(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let amount = decimal(&args[2])?;
    let (key, field) = (args[0].clone(), name_of(&args[1]));
    write(&args[0], move |seen, now| {
        let at = inside(HASH, &field);
        let is_hash = both(is_kind(&[Kind::Hash], now), Condition::Exists(place(HASH)));
        let of_hash = Update::of(Kind::Hash).set(place(FRACTIONS), AttributeValue::Bool(true));
        let number = Condition::HasType(at.clone(), meridian_dynamo::AttributeType::N);
        let adds = Condition::Or(vec![Condition::NotExists(at.clone()), number]);
        let (update, condition) = match (seen, seen.live(now)) {
            (Seen::Item(item), None) => match begin(&key, item.as_ref(), now) {
                Some(next) => return next,
                None => (of_hash.add_number(at, amount), both(is_hash, adds)),
            },
            (_, Some(live)) if live.kind != Kind::Hash => return refuse(RedisError::WrongType),
            (_, Some(live)) => match live.hash().and_then(|hash| hash.get(&field)) {
                None | Some(AttributeValue::N(_)) => (of_hash.add_number(at, amount), both(is_hash, adds)),
                other => match sum_of_text(other, amount, RedisError::HashNotAFloat) {
                    Err(error) => return refuse(error),
                    Ok((sum, was)) => {
                        (of_hash.set(at.clone(), AttributeValue::N(sum)), both(is_hash, equals(at, was)))
                    }
                },
            },
            (Seen::Unknown, _) => (of_hash.add_number(at, amount), both(is_hash, adds)),
        };
        let field = field.clone();
        update
            .on(&key, condition)
            .returning(ReturnValues::UpdatedNew, move |item| Ok(Reply::Bulk(field_text(item, &field))))
    })
}

fn field_text(item: &Item, field: &str) -> Bytes {
    match item.get(HASH) {
        Some(AttributeValue::M(hash)) => hash.get(field).map_or_else(Bytes::new, text),
        _ => Bytes::new(),
    }
}

/// Where there is no hash: makes an empty one, to which is added then, so that beginnings in two regions add up.
/// Nothing when it has been made.
pub(super) fn begin(key: &Bytes, item: Option<&Item>, now: i64) -> Option<Next> {
    begin_map(key, item, (Kind::Hash, HASH), now)
}

/// As [`begin`], for the map of any kind.
pub(super) fn begin_map(
    key: &Bytes,
    item: Option<&Item>,
    (kind, attribute): (Kind, &'static str),
    now: i64,
) -> Option<Next> {
    let made = item.is_some_and(|item| {
        let empty = matches!(item.get(attribute), Some(AttributeValue::M(map)) if map.is_empty());
        let current = !matches!(item.get(EXPIRES), Some(AttributeValue::N(at)) if *at > Number::ZERO);
        empty && current && item.get(KIND) == Some(&kind.value())
    });
    if made {
        return None;
    }
    let empty = AttributeValue::M(Default::default());
    let attempt = create(key, kind, [(attribute, empty)], now);
    Some(attempt.finish(ReturnValues::None, |_| super::super::decide::Finished::Again))
}
