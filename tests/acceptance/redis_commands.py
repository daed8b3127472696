"""Commands that Meridian and Redis must answer alike, in the order in which they are sent. One connection, keys of their own."""

import random
import shlex

# Replies that are sets: their order tells nothing.
UNORDERED = {"smembers", "sinter", "sunion", "sdiff", "hkeys", "hvals", "keys"}
# Replies that are pairs of field and value in any order.
PAIRS = {"hgetall"}

COMMANDS = r"""
ping
ping hello
echo text
set s abc
get s
get missing
set n 10
incr n
incrby n 5
decr n
decrby n 3
get n
incrby n 9223372036854775807
incr s
incr f
incrby f notanumber
set big 9223372036854775807
incr big
decrby big -9223372036854775808
set d 1.5
incr d
incrbyfloat d 0.25
get d
incrbyfloat d 0.25
incr d
set sci 3.0e3
incrbyfloat sci 200
incrbyfloat s 1
incrbyfloat fresh 2.5
incrbyfloat d abc
strlen s
strlen missing
append s def
append new first
get s
getrange s 1 3
getrange s -3 -1
getrange s 0 -1
getrange s 5 2
getrange missing 0 1
getrange s 0 -50
getrange s -50 -50
setrange s 2 XY
get s
setrange pad 3 x
get pad
setrange s -1 x
setrange missing2 0 ""
exists missing2
set s v nx
set s v xx
get s
set absent v xx
get absent
set absent v nx
set s w get
set nothere w get nx
set nothere w2 get nx
set s v2 ex 100
ttl s
set s v3 keepttl
ttl s
set s v4
ttl s
set s v ex 0
set s v ex -1
set s v ex abc
set s v px 10 ex 10
set s v nx xx
set s v bogus
set s v ex
set s v keepttl ex 10
setnx s v
setnx snx v
setex sx 100 v
ttl sx
setex sx 0 v
psetex sx 100000 v
psetex sx 0 v
setex sx abc v
getset s other
getset gs new
getset gs newer
getdel gs
getdel gs
exists gs
getex s ex 100
ttl s
getex s persist
ttl s
getex s
getex missing ex 10
getex s bogus
getex s ex 0
mset m1 a m2 b
mget m1 m2 missing
mset m1
mset m1 a m2
mset m1 a m1 b
get m1
del m1 m2 missing
exists s n missing s
type s
type n
type missing
touch s n missing
expire s 100
ttl s
pexpire s 100000
expire s 200 nx
expire s 200 xx
expire s 100 gt
expire s 300 gt
expire s 400 lt
expire s 50 lt
ttl s
expire missing 10
expire s 10 nx xx
expire s 10 gt lt
expire s 10 bogus
expire s abc
persist s
persist s
expire s 10 gt
expire s 10 lt
expireat s 33177117420
expiretime s
pexpireat s 33177117420123
pexpiretime s
expiretime s
expiretime missing
pexpiretime n
expire s -1
exists s
expireat n 1
get n
expire f 9223372036854775807
ttl missing
pttl missing
hset h a 1 b two
hset h a 2 c 3
hget h a
hget h missing
hget missing a
hmget h a b missing
hgetall h
hgetall missing
hkeys h
hvals h
hlen h
hlen missing
hexists h a
hexists h missing
hstrlen h b
hstrlen h missing
hsetnx h a x
hsetnx h z new
hsetnx hfresh z new
hmset hm a 1 b 2
hincrby h a 5
hincrby h b 1
hincrby h fresh 7
hincrby hnew f 1
hincrby h a 9223372036854775807
hincrby h a abc
hincrbyfloat h a 0.5
hincrby h a 1
hincrbyfloat h a 0.5
hincrby h a 1
hincrbyfloat h b 1
hincrbyfloat h a abc
hincrbyfloat hnew2 f 1.25
hset h frac 2.5
hincrby h frac 1
hset h
hset h a
hset h a 1 b
hdel h a missing
hdel h b c z fresh frac
exists h
hdel missing a
type hm
hscan hm 0
hscan hm 0 match a*
hscan hm 0 count 100
hscan hm abc
hscan missing 0
sadd set a b c
sadd set c d
scard set
scard missing
smembers set
sismember set a
sismember set x
smismember set a x
smismember missing a x
srem set a x
srem missing a
sadd set2 c d e
sinter set set2
sunion set set2
sdiff set set2
sinter set missing
sunion set missing
srem set b c d
exists set
type set2
sscan set2 0 match c
zadd z 1 a 2 b 3 c
zadd z 5 a
zadd z ch 6 a 2 b
zadd z nx 9 a 4 d
zadd z xx 7 a 8 e
zadd z gt 1 a
zadd z gt ch 10 a
zadd z lt ch 9 a
zadd z incr 2 a
zadd z xx incr 2 nope
zadd z nx incr 1 a
zadd z nx xx 1 a
zadd z gt lt 1 a
zadd z gt nx 1 a
zadd z abc a
zadd z 1
zadd z 1 a 2
zadd z incr 1 a 2 b
zadd z inf i -inf j
zscore z a
zscore z i
zscore z missing
zmscore z a missing
zmscore missing a
zcard z
zcard missing
zrange z 0 -1
zrange z 0 -1 withscores
zrange z 0 1 rev
zrange z -2 -1
zrange z 5 2
zrange z 2 3 byscore
zrange z (2 +inf byscore withscores
zrange z +inf (2 byscore rev
zrange z -inf +inf byscore limit 1 2
zrange z -inf +inf byscore limit 1 -1
zrange z 0 -1 limit 0 1
zrange z a b
zrange z a b byscore
zrange z 0 -1 bogus
zrangebyscore z 2 10 withscores limit 0 2
zrangebyscore z (2 (10
zrevrangebyscore z +inf -inf
zrevrange z 0 1 withscores
zrank z a
zrank z missing
zrevrank z a
zcount z 2 10
zcount z -inf +inf
zincrby z 3 b
zincrby z 1.5 fresh
zincrby znew 2 m
zincrby z abc b
zincrby z 1 i
zincrby z -inf i
zscan z 0 match a
zrem z a missing
zremrangebyscore z 2 4
zremrangebyrank z 0 0
zrange z 0 -1
zremrangebyrank z 0 -1
exists z
zadd ties 1 b 1 a 1 c 0 z
zrange ties 0 -1
zrevrange ties 0 -1
get ties
incr ties
hget ties a
sadd ties a
zadd set2 1 a
lpush l a
getset ties x
set ties x get
getdel ties
getex ties
append ties x
setrange ties 0 x
strlen ties
hset ties a b
hsetnx ties a b
hincrby ties a 1
hincrbyfloat ties a 1
zincrby set2 1 a
srem ties a
hdel ties a
zrem set2 a
sinter ties set2
zscore set2 a
smembers ties
mget ties set2
set ties now-a-string
get ties
del ties
unlink set2 missing
dbsize extra
get
get a b
set a
hget h
nosuchcommand
nosuchcommand with some args
select 0
select 1
select abc
client setname me
client getname
client setname "with space"
client bogus
client setinfo lib-name x
multi
set t 1
incr t
get t
exec
multi
multi
discard
discard
exec
multi
set t 2
discard
get t
multi
nosuch
set t 3
exec
get t
multi
incr t
hget t a
ping
exec
command count extra
object
"""

# Where Meridian answers otherwise, and why. The word is the beginning of its answer.
DIFFERENT = {
    "lpush l a": "LPUSH is not supported",  # Lists of two regions do not merge.
    "select 1": "DB index is out of range",  # There is one database.
    "client setinfo lib-name x": "OK",  # Newer than the Redis of Debian; clients send it.
    "command count extra": "",  # The number of commands.
    "object": "OBJECT is not supported",
}


def commands():
    """The commands as lists of words."""
    return [shlex.split(line) for line in COMMANDS.strip().splitlines()]


def anything(seed, count):
    """Commands that a seed draws, on a few keys of any type."""
    draw = random.Random(seed)
    key = lambda: draw.choice(["ka", "kb", "kc", "kd"])  # noqa: E731
    member = lambda: draw.choice(["a", "b", "c", "\udcff\udcfe", ""])  # noqa: E731
    number = lambda: str(draw.randrange(-5, 50))  # noqa: E731
    value = lambda: draw.choice([number(), "text", "1.5", "", "0.25"])  # noqa: E731
    score = lambda: draw.choice([number(), "0.5", "inf", "-inf"])  # noqa: E731
    flags = lambda *words: [word for word in words if draw.random() < 0.25]  # noqa: E731
    makers = [
        lambda: ["set", key(), value(), *flags(draw.choice(["nx", "xx"])), *flags("get"), *flags("keepttl")],
        lambda: ["set", key(), value(), "ex", "100", *flags("nx"), *flags("get")],
        lambda: [draw.choice(["get", "getdel", "strlen", "type", "persist", "ttl", "getex"]), key()],
        lambda: [draw.choice(["append", "getset", "setnx"]), key(), value()],
        lambda: [draw.choice(["incr", "decr"]), key()],
        lambda: [draw.choice(["incrby", "decrby"]), key(), number()],
        lambda: ["incrbyfloat", key(), draw.choice(["0.5", "-1.25", "3"])],
        lambda: ["setrange", key(), str(draw.randrange(6)), value()],
        lambda: ["getrange", key(), number(), number()],
        lambda: [draw.choice(["del", "unlink", "exists", "mget"]), key(), key()],
        lambda: ["mset", key(), value(), key(), value()],
        lambda: ["expire", key(), draw.choice(["100", "200", "-1"]), *flags(draw.choice(["nx", "xx", "gt", "lt"]))],
        lambda: ["hset", key(), member(), value(), *draw.choice([[], [member(), value()]])],
        lambda: [draw.choice(["hget", "hdel", "hexists", "hmget", "hstrlen"]), key(), member()],
        lambda: ["hdel", key(), member(), member()],
        lambda: [draw.choice(["hgetall", "hkeys", "hlen"]), key()],
        lambda: [draw.choice(["hsetnx", "hincrby", "hincrbyfloat"]), key(), member(), number()],
        lambda: [draw.choice(["sadd", "srem", "smismember"]), key(), member(), member()],
        lambda: [draw.choice(["smembers", "scard"]), key()],
        lambda: [draw.choice(["sinter", "sunion", "sdiff"]), key(), key()],
        lambda: ["zadd", key(), *flags("ch"), *flags(draw.choice(["nx", "xx", "gt", "lt"])), score(), member()],
        lambda: ["zadd", key(), score(), member(), score(), member()],
        lambda: ["zadd", key(), *flags("xx"), "incr", score(), member()],
        lambda: ["zincrby", key(), score(), member()],
        lambda: [draw.choice(["zscore", "zrem", "zrank", "zrevrank"]), key(), member()],
        lambda: [draw.choice(["zrange", "zrevrange"]), key(), number(), number(), *flags("withscores")],
        lambda: [draw.choice(["zcount", "zrangebyscore", "zremrangebyscore"]), key(), score(), score()],
        lambda: ["zremrangebyrank", key(), number(), number()],
        lambda: [draw.choice(["zcard", "dbsize"]), key()],
    ]
    return [draw.choice(makers)() for _ in range(count)]
