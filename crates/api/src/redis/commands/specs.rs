//! The list of commands, as COMMAND shows it and as words are looked up in it.

use super::super::error::RedisError;
use super::{Job, counters, expiry, hashes, keys, ranges, sets, sorted, strings};
use bytes::Bytes;

type Make = fn(&str, &[Bytes]) -> Result<Job, RedisError>;

/// A command.
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    /// How many words it has, its name among them; below zero: at least so many.
    pub(crate) arity: i64,
    /// Which words are keys: the first, the last (from the end when below zero), and how far apart. Zeros: none.
    pub(crate) keys: (i64, i64, i64),
    /// The actions of the data API that a credential must allow for it.
    pub(crate) actions: &'static [&'static str],
    pub(crate) make: Make,
}

impl Spec {
    /// Whether it may change a key.
    pub(crate) fn writes(&self) -> bool {
        self.actions.iter().any(|action| !matches!(*action, "GetItem" | "Scan"))
    }

    /// Checks the number of words.
    ///
    /// # Errors
    /// [`RedisError::Arity`].
    pub(crate) fn check(&self, args: &[Bytes]) -> Result<(), RedisError> {
        let words = i64::try_from(args.len()).unwrap_or(i64::MAX).saturating_add(1);
        if words < self.arity.abs() || (self.arity > 0 && words != self.arity) {
            return Err(RedisError::Arity(self.name.to_owned()));
        }
        Ok(())
    }

    /// The job of these words, whose number fits.
    ///
    /// # Errors
    /// [`RedisError`] in Redis's words.
    pub(crate) fn job(&self, args: &[Bytes]) -> Result<Job, RedisError> {
        self.check(args)?;
        (self.make)(self.name, args)
    }
}

const GET: &[&str] = &["GetItem"];
const PUT: &[&str] = &["PutItem"];
const UPDATE: &[&str] = &["UpdateItem"];
const DELETE: &[&str] = &["DeleteItem"];
const SCAN: &[&str] = &["Scan"];
const NONE: &[&str] = &[];
const ONE: (i64, i64, i64) = (1, 1, 1);
const ALL: (i64, i64, i64) = (1, -1, 1);
const NO_KEYS: (i64, i64, i64) = (0, 0, 0);

fn session(_: &str, _: &[Bytes]) -> Result<Job, RedisError> {
    Ok(Job::Session)
}

const fn spec(
    name: &'static str,
    arity: i64,
    keys: (i64, i64, i64),
    actions: &'static [&'static str],
    make: Make,
) -> Spec {
    Spec { name, arity, keys, actions, make }
}

/// In the order of their names.
static SPECS: &[Spec] = &[
    spec("append", 3, ONE, UPDATE, strings::append),
    spec("auth", -2, NO_KEYS, NONE, session),
    spec("client", -2, NO_KEYS, NONE, session),
    spec("command", -1, NO_KEYS, NONE, session),
    spec("config", -2, NO_KEYS, NONE, session),
    spec("dbsize", 1, NO_KEYS, SCAN, keys::dbsize),
    spec("decr", 2, ONE, UPDATE, counters::incr),
    spec("decrby", 3, ONE, UPDATE, counters::incr),
    spec("del", -2, ALL, DELETE, keys::del),
    spec("discard", 1, NO_KEYS, NONE, session),
    spec("echo", 2, NO_KEYS, NONE, session),
    spec("exec", 1, NO_KEYS, NONE, session),
    spec("exists", -2, ALL, GET, keys::exists),
    spec("expire", -3, ONE, UPDATE, expiry::expire),
    spec("expireat", -3, ONE, UPDATE, expiry::expire),
    spec("expiretime", 2, ONE, GET, expiry::ttl),
    spec("get", 2, ONE, GET, strings::get),
    spec("getdel", 2, ONE, DELETE, strings::getdel),
    spec("getex", -2, ONE, UPDATE, strings::getex),
    spec("getrange", 4, ONE, GET, strings::getrange),
    spec("getset", 3, ONE, PUT, strings::getset),
    spec("hdel", -3, ONE, UPDATE, hashes::hdel),
    spec("hello", -1, NO_KEYS, NONE, session),
    spec("hexists", 3, ONE, GET, hashes::hexists),
    spec("hget", 3, ONE, GET, hashes::hget),
    spec("hgetall", 2, ONE, GET, hashes::whole),
    spec("hincrby", 4, ONE, UPDATE, counters::hincrby),
    spec("hincrbyfloat", 4, ONE, UPDATE, counters::hincrbyfloat),
    spec("hkeys", 2, ONE, GET, hashes::whole),
    spec("hlen", 2, ONE, GET, hashes::whole),
    spec("hmget", -3, ONE, GET, hashes::hmget),
    spec("hmset", -4, ONE, UPDATE, hashes::hset),
    spec("hscan", -3, ONE, GET, hashes::hscan),
    spec("hset", -4, ONE, UPDATE, hashes::hset),
    spec("hsetnx", 4, ONE, UPDATE, hashes::hsetnx),
    spec("hstrlen", 3, ONE, GET, hashes::hstrlen),
    spec("hvals", 2, ONE, GET, hashes::whole),
    spec("incr", 2, ONE, UPDATE, counters::incr),
    spec("incrby", 3, ONE, UPDATE, counters::incr),
    spec("incrbyfloat", 3, ONE, UPDATE, counters::incrbyfloat),
    spec("info", -1, NO_KEYS, NONE, session),
    spec("keys", 2, NO_KEYS, SCAN, keys::keys),
    spec("mget", -2, ALL, GET, strings::mget),
    spec("mset", -3, (1, -1, 2), PUT, strings::mset),
    spec("multi", 1, NO_KEYS, NONE, session),
    spec("persist", 2, ONE, UPDATE, expiry::persist),
    spec("pexpire", -3, ONE, UPDATE, expiry::expire),
    spec("pexpireat", -3, ONE, UPDATE, expiry::expire),
    spec("pexpiretime", 2, ONE, GET, expiry::ttl),
    spec("ping", -1, NO_KEYS, NONE, session),
    spec("psetex", 4, ONE, PUT, strings::setex),
    spec("pttl", 2, ONE, GET, expiry::ttl),
    spec("quit", -1, NO_KEYS, NONE, session),
    spec("reset", 1, NO_KEYS, NONE, session),
    spec("sadd", -3, ONE, UPDATE, sets::sadd),
    spec("scan", -2, NO_KEYS, SCAN, keys::scan),
    spec("scard", 2, ONE, GET, sets::scard),
    spec("sdiff", -2, ALL, GET, sets::combined),
    spec("select", 2, NO_KEYS, NONE, session),
    spec("set", -3, ONE, PUT, strings::set),
    spec("setex", 4, ONE, PUT, strings::setex),
    spec("setnx", 3, ONE, PUT, strings::setnx),
    spec("setrange", 4, ONE, UPDATE, strings::setrange),
    spec("sinter", -2, ALL, GET, sets::combined),
    spec("sismember", 3, ONE, GET, sets::sismember),
    spec("smembers", 2, ONE, GET, sets::smembers),
    spec("smismember", -3, ONE, GET, sets::sismember),
    spec("srem", -3, ONE, UPDATE, sets::srem),
    spec("sscan", -3, ONE, GET, sets::sscan),
    spec("strlen", 2, ONE, GET, strings::strlen),
    spec("sunion", -2, ALL, GET, sets::combined),
    spec("touch", -2, ALL, GET, keys::exists),
    spec("ttl", 2, ONE, GET, expiry::ttl),
    spec("type", 2, ONE, GET, expiry::kind),
    spec("unlink", -2, ALL, DELETE, keys::del),
    spec("unwatch", 1, NO_KEYS, NONE, session),
    spec("zadd", -4, ONE, UPDATE, sorted::zadd),
    spec("zcard", 2, ONE, GET, sorted::zcard),
    spec("zcount", 4, ONE, GET, ranges::zcount),
    spec("zincrby", 4, ONE, UPDATE, sorted::zincrby),
    spec("zmscore", -3, ONE, GET, sorted::zscore),
    spec("zrange", -4, ONE, GET, ranges::zrange),
    spec("zrangebyscore", -4, ONE, GET, ranges::zrangebyscore),
    spec("zrank", 3, ONE, GET, ranges::zrank),
    spec("zrem", -3, ONE, UPDATE, sorted::zrem),
    spec("zremrangebyrank", 4, ONE, UPDATE, ranges::zremrangebyrank),
    spec("zremrangebyscore", 4, ONE, UPDATE, ranges::zremrangebyscore),
    spec("zrevrange", -4, ONE, GET, ranges::zrevrange),
    spec("zrevrangebyscore", -4, ONE, GET, ranges::zrangebyscore),
    spec("zrevrank", 3, ONE, GET, ranges::zrank),
    spec("zscan", -3, ONE, GET, sorted::zscan),
    spec("zscore", 3, ONE, GET, sorted::zscore),
];

/// All commands, in the order of their names.
pub(crate) fn all() -> &'static [Spec] {
    SPECS
}

/// The command of a name in lower case.
pub(crate) fn find(name: &str) -> Option<&'static Spec> {
    SPECS.binary_search_by_key(&name, |spec| spec.name).ok().and_then(|at| SPECS.get(at))
}

/// Commands of Redis that are not here, with what to do instead: names with a space between them.
const REFUSED: &[(&str, &str)] = &[
    (
        "subscribe psubscribe ssubscribe publish spublish pubsub unsubscribe punsubscribe",
        "messages are not kept for another region; use a change of a key, and read it",
    ),
    (
        "blpop brpop blmove brpoplpush blmpop bzpopmin bzpopmax bzmpop wait xread",
        "no command blocks; ask again",
    ),
    (
        "lpush rpush lpushx rpushx lpop rpop llen lrange lindex lset lrem ltrim linsert lpos lmove lmpop \
         rpoplpush sort sort_ro",
        "lists of two regions do not merge in a way that makes sense; use a sorted set or a hash",
    ),
    (
        "eval evalsha eval_ro evalsha_ro script function fcall fcall_ro",
        "scripts run in one region only; use the commands that change a key at once, such as SET NX or HINCRBY",
    ),
    (
        "watch",
        "a transaction here is a row of single writes; use SET NX, HSETNX, INCR or ZADD with conditions",
    ),
    (
        "msetnx rename renamenx copy move smove sinterstore sunionstore sdiffstore zunionstore zinterstore \
         zrangestore",
        "several keys are not changed together",
    ),
    (
        "flushdb flushall swapdb",
        "delete the table with `meridian table delete`, or the keys by SCAN and UNLINK",
    ),
    (
        "spop srandmember hrandfield zpopmin zpopmax zrandmember randomkey zrangebylex zlexcount setbit \
         getbit bitcount bitop bitfield bitpos pfadd pfcount pfmerge geoadd geosearch geopos geodist xadd \
         xrange xlen xdel dump restore object debug monitor migrate cluster acl save bgsave shutdown slowlog \
         latency memory replicaof psync asking",
        "see the list of commands in docs/redis.md",
    ),
];

/// Why a command that Redis has is refused here, by its name in lower case; nothing when Redis does not have it either.
pub(crate) fn refused(name: &str) -> Option<&'static str> {
    let named = |names: &str| names.split_ascii_whitespace().any(|known| known == name);
    REFUSED.iter().find(|(names, _)| named(names)).map(|(_, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_and_none_is_refused_as_well() {
        assert!(SPECS.is_sorted_by_key(|spec| spec.name));
        for spec in SPECS {
            assert_eq!(find(spec.name).map(|found| found.name), Some(spec.name));
            assert_eq!(refused(spec.name), None, "{}", spec.name);
        }
        assert!(find("lpush").is_none() && refused("lpush").is_some());
        assert!(find("nothing").is_none() && refused("nothing").is_none());
    }

    #[test]
    fn the_number_of_words_is_checked_before_any_is_looked_at() {
        for spec in SPECS {
            let least = usize::try_from(spec.arity.abs()).unwrap() - 1;
            for count in (0..least).chain((spec.arity > 0).then_some(least + 1)) {
                let args = vec![Bytes::from_static(b"1"); count];
                assert_eq!(
                    spec.job(&args).err(),
                    Some(RedisError::Arity(spec.name.to_owned())),
                    "{}",
                    spec.name
                );
            }
            // Whatever the words are, there is a job or a refusal.
            for count in least..least + 4 {
                for word in ["1", "", "x", "ex"] {
                    let _ = spec.job(&vec![Bytes::from_static(word.as_bytes()); count]);
                }
            }
        }
    }
}
