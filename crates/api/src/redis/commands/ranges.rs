//! Ranges of sorted sets: by rank, and by score.

use super::super::args::{Words, float, integer, is, slice};
use super::super::error::RedisError;
use super::super::layout::{Members, member_of, name_of};
use super::super::reply::Reply;
use super::sorted::{remove_chosen, score, sorted_of};
use super::{Job, read};
use bytes::Bytes;
use core::ops::Range;

const BAD_BOUND: &str = "min or max is not a float";

/// A member with its score.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    score: f64,
    member: Bytes,
}

/// All members by score, then by their bytes.
fn ordered(members: Option<&Members>) -> Vec<Entry> {
    let entries = members.into_iter().flatten();
    let mut entries: Vec<Entry> =
        entries.map(|(name, value)| Entry { score: score(value), member: member_of(name) }).collect();
    entries.sort_by(|a, b| a.score.total_cmp(&b.score).then_with(|| a.member.cmp(&b.member)));
    entries
}

/// The end of a range of scores.
#[derive(Clone, Copy, Debug)]
struct Bound {
    value: f64,
    exclusive: bool,
}

impl Bound {
    fn read(word: &[u8]) -> Result<Self, RedisError> {
        let (exclusive, digits) = match word.strip_prefix(b"(") {
            Some(rest) => (true, rest),
            None => (false, word),
        };
        Ok(Self { value: float(digits, BAD_BOUND)?, exclusive })
    }

    fn below(self, score: f64) -> bool {
        score > self.value || (!self.exclusive && score == self.value)
    }

    fn above(self, score: f64) -> bool {
        score < self.value || (!self.exclusive && score == self.value)
    }
}

fn by_score(min: Bound, max: Bound) -> impl Fn(&Entry) -> bool {
    move |entry| min.below(entry.score) && max.above(entry.score)
}

/// What a range is, in the order that is asked for.
enum By {
    Rank(i64, i64),
    Score(Bound, Bound),
}

struct Wanted {
    by: By,
    reverse: bool,
    limit: Option<(i64, i64)>,
    scores: bool,
}

impl Wanted {
    fn choose(&self, members: Option<&Members>) -> Vec<Entry> {
        let mut entries = ordered(members);
        if self.reverse {
            entries.reverse();
        }
        match &self.by {
            By::Rank(start, end) => {
                let range = slice(*start, *end, entries.len());
                entries.drain(range).collect()
            }
            By::Score(min, max) => {
                entries.retain(by_score(*min, *max));
                let range = limited(self.limit, entries.len());
                entries.drain(range).collect()
            }
        }
    }

    fn job(self, key: &Bytes) -> Result<Job, RedisError> {
        read(key, move |live| {
            let entries = self.choose(sorted_of(live)?);
            let scores = self.scores;
            Ok(listed(entries, scores))
        })
    }
}

fn limited(limit: Option<(i64, i64)>, length: usize) -> Range<usize> {
    let Some((offset, count)) = limit else { return 0..length };
    let Ok(start) = usize::try_from(offset) else { return 0..0 };
    let start = start.min(length);
    let count = usize::try_from(count).unwrap_or(length);
    start..start.saturating_add(count).min(length)
}

/// Members, or members with scores: pairs in RESP3, flat in RESP2.
fn listed(entries: Vec<Entry>, scores: bool) -> Reply {
    if !scores {
        return Reply::Array(entries.into_iter().map(|entry| Reply::Bulk(entry.member)).collect());
    }
    let pairs = entries.into_iter().map(|entry| (Reply::Bulk(entry.member), Reply::Double(entry.score)));
    Reply::Pairs(pairs.collect())
}

/// ZRANGE.
pub(super) fn zrange(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let mut words = Words::new(&args[3..]);
    let (mut scores, mut reverse, mut by, mut limit) = (false, false, false, None);
    while let Some(word) = words.next() {
        if is(word, "withscores") {
            scores = true;
        } else if is(word, "rev") {
            reverse = true;
        } else if is(word, "byscore") {
            by = true;
        } else if is(word, "bylex") {
            return Err(RedisError::err("BYLEX is not supported: use ranges by score or by rank"));
        } else if is(word, "limit") {
            limit = Some((integer(words.value()?)?, integer(words.value()?)?));
        } else {
            return Err(RedisError::Syntax);
        }
    }
    if limit.is_some() && !by {
        return Err(RedisError::err(
            "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ));
    }
    let (first, second) = (&args[1], &args[2]);
    let by = match (by, reverse) {
        (false, _) => By::Rank(integer(first)?, integer(second)?),
        (true, false) => By::Score(Bound::read(first)?, Bound::read(second)?),
        (true, true) => By::Score(Bound::read(second)?, Bound::read(first)?),
    };
    Wanted { by, reverse, limit, scores }.job(&args[0])
}

/// ZREVRANGE.
pub(super) fn zrevrange(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let scores = match &args[3..] {
        [] => false,
        [word] if is(word, "withscores") => true,
        _ => return Err(RedisError::Syntax),
    };
    let by = By::Rank(integer(&args[1])?, integer(&args[2])?);
    Wanted { by, reverse: true, limit: None, scores }.job(&args[0])
}

/// ZRANGEBYSCORE and ZREVRANGEBYSCORE.
pub(super) fn zrangebyscore(name: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let reverse = name == "zrevrangebyscore";
    let (min, max) = if reverse { (&args[2], &args[1]) } else { (&args[1], &args[2]) };
    let by = By::Score(Bound::read(min)?, Bound::read(max)?);
    let (mut scores, mut limit) = (false, None);
    let mut words = Words::new(&args[3..]);
    while let Some(word) = words.next() {
        if is(word, "withscores") {
            scores = true;
        } else if is(word, "limit") {
            limit = Some((integer(words.value()?)?, integer(words.value()?)?));
        } else {
            return Err(RedisError::Syntax);
        }
    }
    Wanted { by, reverse, limit, scores }.job(&args[0])
}

pub(super) fn zcount(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let fits = by_score(Bound::read(&args[1])?, Bound::read(&args[2])?);
    read(&args[0], move |live| Ok(Reply::count(ordered(sorted_of(live)?).iter().filter(|e| fits(e)).count())))
}

/// ZRANK and ZREVRANK.
pub(super) fn zrank(name: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let (reverse, member) = (name == "zrevrank", args[1].clone());
    read(&args[0], move |live| {
        let mut entries = ordered(sorted_of(live)?);
        if reverse {
            entries.reverse();
        }
        let rank = entries.iter().position(|entry| entry.member == member);
        Ok(rank.map_or(Reply::Null, Reply::count))
    })
}

pub(super) fn zremrangebyscore(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let fits = by_score(Bound::read(&args[1])?, Bound::read(&args[2])?);
    remove_chosen(&args[0], move |members| {
        let chosen = ordered(Some(members)).into_iter().filter(|entry| fits(entry));
        chosen.map(|entry| name_of(&entry.member)).collect()
    })
}

pub(super) fn zremrangebyrank(_: &str, args: &[Bytes]) -> Result<Job, RedisError> {
    let (start, end) = (integer(&args[1])?, integer(&args[2])?);
    remove_chosen(&args[0], move |members| {
        let mut entries = ordered(Some(members));
        let range = slice(start, end, entries.len());
        entries.drain(range).map(|entry| name_of(&entry.member)).collect()
    })
}
