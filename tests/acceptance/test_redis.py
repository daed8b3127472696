"""The Redis protocol: the same answers as Redis, one keyspace in all regions, sessions that outlive their region."""

import os
import random
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import redis_commands
from cluster import PRIMARY, REGIONS, SURVIVORS, running, wait_until
from redis.connection import Connection
from redis.exceptions import ResponseError


def address(cluster, region=PRIMARY):
    host, port = cluster.nodes()[region]["redis"].removeprefix("redis://").split(":")
    return {"host": host, "port": int(port)}


def login(cluster):
    secret = cluster.file["credentials"]
    return {"username": secret["access_key_id"], "password": secret["secret_access_key"]}


def client(cluster, region=PRIMARY, protocol=2, **options):
    options = {"decode_responses": True, **login(cluster), **options}
    return redis.Redis(**address(cluster, region), protocol=protocol, socket_timeout=30, **options)


@pytest.fixture(scope="module")
def regions(tmp_path_factory):
    yield from running(tmp_path_factory.mktemp("redis"), wan="2ms")


@pytest.fixture
def cluster(regions):
    regions.settle()
    for region in REGIONS:
        wait_until("the table is there", lambda region=region: client(regions, region).set("first", "1"))
    return regions


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Debian's own Redis."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("real")
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--save", "", "--bind", "127.0.0.1", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        yield {"host": "127.0.0.1", "port": port}
    finally:
        server.kill()
        server.wait()


def connect(protocol, **options):
    """A connection that shows replies as they are."""
    connection = Connection(protocol=protocol, socket_timeout=30, driver_info=None, **options)
    connection.connect()
    return connection


def ask(connection, *words):
    # What is not text stands for single bytes.
    connection.send_command(*(word.encode(errors="surrogateescape") for word in words))
    try:
        return connection.read_response()
    except redis.exceptions.RedisError as error:
        return error


def plain(reply):
    """A reply that can be compared: errors by their words, sets and maps in order."""
    if isinstance(reply, Exception):
        return f"{type(reply).__name__}: {reply}"
    if isinstance(reply, list):
        return [plain(part) for part in reply]
    if isinstance(reply, dict):
        return sorted((plain(key), plain(value)) for key, value in reply.items())
    if isinstance(reply, (set, frozenset)):
        return sorted(map(plain, reply), key=repr)
    return reply


def sorted_reply(command, reply):
    reply = plain(reply)
    if not isinstance(reply, list):
        return reply
    if command in redis_commands.PAIRS and reply and not isinstance(reply[0], tuple):
        return sorted(zip(reply[::2], reply[1::2]))
    return sorted(reply, key=repr) if command in redis_commands.UNORDERED else reply


def alike(ours, theirs, lines):
    """The commands that are not answered alike, of those for which no difference is known; and those of which one is."""
    wrong, differed = [], set()
    for words in lines:
        line = " ".join(words)
        mine = sorted_reply(words[0], ask(ours, *words))
        its = sorted_reply(words[0], ask(theirs, *words))
        if line in redis_commands.DIFFERENT:
            differed.add(line)
            shown = mine.decode() if isinstance(mine, bytes) else str(mine).removeprefix("ResponseError: ")
            assert shown.startswith(redis_commands.DIFFERENT[line]), f"{line}: {mine}"
        elif words[0] == "ttl" and isinstance(mine, int) and isinstance(its, int) and min(mine, its) >= 0:
            # The two were not asked at the same moment.
            assert abs(mine - its) <= 1, line
        elif mine != its:
            wrong.append(f"{line}\n    Meridian: {mine}\n    Redis:    {its}")
    return wrong, differed


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_same_commands_get_the_same_answers_as_from_redis(cluster, real, protocol):
    whole = client(cluster)
    for key in whole.scan_iter():
        whole.unlink(key)
    ours, theirs = connect(protocol, **address(cluster), **login(cluster)), connect(protocol, **real)
    wait_until("redis-server is up", lambda: ask(theirs, "flushall") == b"OK")
    wrong, differed = alike(ours, theirs, redis_commands.commands())
    assert not wrong, "\n".join(wrong)
    assert differed == set(redis_commands.DIFFERENT)
    assert len(redis_commands.commands()) > 300
    # And whatever comes, on few keys.
    seed = int(os.environ.get("MERIDIAN_REDIS_SEED", "1")) + protocol
    wrong, _ = alike(ours, theirs, redis_commands.anything(seed, int(os.environ.get("MERIDIAN_REDIS_COMMANDS", "1500"))))
    assert not wrong, f"seed {seed}:\n" + "\n".join(wrong)


def test_increments_in_all_regions_add_up(cluster):
    def count(region, key, times):
        one = client(cluster, region)
        for _ in range(times):
            one.incr(key)
            one.hincrby("counters", key, 2)
            one.zincrby("scores", 0.1, key)

    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda job: count(*job), [(region, "hits", 20) for region in REGIONS for _ in range(3)]))
    total = 20 * 3 * len(REGIONS)
    for region in REGIONS:
        one = client(cluster, region)
        wait_until("all increments are seen", lambda one=one: one.get("hits") == str(total))
        wait_until("in the hash too", lambda one=one: one.hget("counters", "hits") == str(2 * total))
        wait_until("and in the scores", lambda one=one: one.zscore("scores", "hits") == total / 10)


def test_fields_and_members_of_two_regions_merge(cluster):
    cut = {"from": PRIMARY, "to": "*"}, {"from": "*", "to": PRIMARY}
    here, there = client(cluster, PRIMARY), client(cluster, SURVIVORS[0])
    here.sadd("tags", "both")
    wait_until("it has arrived", lambda: there.scard("tags") == 1)
    try:
        for link in cut:
            cluster.link(block=True, **link)
        for name, one in (("here", here), ("there", there)):
            one.hset("profile", name, "1")
            one.sadd("tags", name)
            one.zadd("board", {name: 1})
            one.incrbyfloat("balance", "0.1")
        here.srem("tags", "both")
        there.sadd("tags", "both")
    finally:
        cluster.link(block=False, **{"from": "*", "to": "*"})
    for one in (here, there):
        wait_until("fields", lambda one=one: one.hgetall("profile") == {"here": "1", "there": "1"})
        wait_until("members", lambda one=one: one.smembers("tags") == {"here", "there", "both"})
        wait_until("scores", lambda one=one: one.zrange("board", 0, -1) == ["here", "there"])
        wait_until("sums", lambda one=one: one.get("balance") == "0.2")


def test_who_does_not_log_in_gets_nothing(cluster):
    stranger = connect(2, **address(cluster))
    assert str(ask(stranger, "GET", "first")) == "Authentication required."
    assert str(ask(stranger, "FOO")).startswith("unknown command 'FOO'")
    assert "invalid username-password" in str(ask(stranger, "AUTH", "nobody", "x" * 40))
    assert "invalid username-password" in str(ask(stranger, "AUTH", login(cluster)["username"], "wrong"))
    assert str(ask(stranger, "HELLO", "3")).startswith("HELLO must be called")
    hello = ask(stranger, "HELLO", "2", "AUTH", *login(cluster).values(), "SETNAME", "me")
    assert dict(zip(hello[::2], hello[1::2]))[b"proto"] == 2
    assert ask(stranger, "CLIENT", "GETNAME") == b"me"
    assert ask(stranger, "GET", "first") == b"1"
    assert ask(stranger, "RESET") == b"RESET"
    assert str(ask(stranger, "GET", "first")) == "Authentication required."


def test_a_key_may_do_what_it_is_allowed(cluster):
    made = cluster.json("key", "create", "reader", "--table", "redis", "--action", "GetItem")
    key = {"username": made["access_key_id"], "password": made["secret_access_key"]}
    reader = client(cluster, **key)
    assert reader.get("first") == "1"
    for refused in (lambda: reader.set("first", "2"), lambda: reader.delete("first"), reader.dbsize):
        with pytest.raises(redis.exceptions.NoPermissionError):
            refused()
    cluster.json("key", "delete", made["access_key_id"])
    with pytest.raises(redis.exceptions.AuthenticationError):
        reader.get("first")


def test_pipelines_are_answered_in_their_order(cluster):
    one = client(cluster)
    with one.pipeline(transaction=False) as pipe:
        for number in range(10_000):
            if number % 2:
                pipe.get(f"p{number % 500}")
            else:
                pipe.set(f"p{(number + 1) % 500}", number)
        answers = pipe.execute()
    assert answers[::2] == [True] * 5_000
    # Each read sees the write of its key before it.
    assert answers[1::2] == [str(number) for number in range(0, 10_000, 2)]
    with one.pipeline(transaction=True) as pipe:
        pipe.set("t", 1).incr("t").hget("t", "x").get("t")
        set_, incremented, wrong, got = pipe.execute(raise_on_error=False)
    assert (set_, incremented, got) == (True, 2, "2")
    assert "WRONGTYPE" in str(wrong)


def test_what_there_is_not_is_said(cluster):
    one = client(cluster)
    for words in ("SUBSCRIBE c", "PUBLISH c m", "BLPOP l 0", "EVAL return 0", "WATCH k", "FLUSHALL", "RENAME a b"):
        with pytest.raises(ResponseError, match="is not supported: "):
            one.execute_command(*words.split())
    with pytest.raises(ResponseError, match="larger than 400 KB"):
        one.set("huge", "x" * 410_000)
    assert one.set("large", "x" * 400_000) and one.strlen("large") == 400_000
    with pytest.raises(ResponseError, match="a key is 1 to 2048 bytes"):
        one.get("k" * 2_049)


def test_garbage_harms_nobody(cluster):
    where, noise = tuple(address(cluster).values()), random.Random(7)
    for number in range(60):
        with socket.create_connection(where, timeout=10) as client_:
            lead = [b"", b"*3\r\n$3\r\nSET\r\n", b"*1000000000\r\n", b"*1\r\n" * 5_000, b"POST / HTTP/1.1\r\n"][number % 5]
            try:
                client_.sendall(lead + noise.randbytes(noise.randrange(5_000)))
                client_.shutdown(socket.SHUT_WR)
                while client_.recv(65_536):
                    pass
            except ConnectionError:
                pass
    assert client(cluster).ping()


def test_expired_keys_are_gone_and_sessions_outlive_their_region(cluster):
    here, there = client(cluster, PRIMARY), client(cluster, SURVIVORS[0])
    here.set("soon", "x", px=300)
    here.set("later", "x", px=300)
    here.persist("later")
    assert here.get("soon") == "x"
    wait_until("it has expired", lambda: here.get("soon") is None, patience=5)
    assert (here.exists("soon"), here.ttl("soon"), here.get("later")) == (0, -2, "x")
    assert "soon" not in list(here.scan_iter("so*"))
    assert here.set("soon", "again", nx=True)

    with here.pipeline(transaction=False) as pipe:
        for number in range(200):
            pipe.set(f"session:{number}", f"user-{number}", ex=600)
        pipe.hset("session:h", mapping={"user": "7", "cart": "3"}).expire("session:h", 600)
        assert all(pipe.execute())
    started = time.time()
    wait_until("the last has arrived", lambda: there.ttl("session:h") > 0)
    try:
        cluster.order("kill", PRIMARY)
        names = [f"session:{number}" for number in range(200)]
        assert there.mget(names) == [f"user-{number}" for number in range(200)]
        assert there.hgetall("session:h") == {"user": "7", "cart": "3"}
        left, most = there.ttl("session:7"), 600 - int(time.time() - started)
        assert most - 2 <= left <= 600
        # And it goes on there at once.
        assert there.expire("session:7", 900) and there.set("session:new", "x", ex=60)
    finally:
        cluster.order("start", PRIMARY)
    cluster.settle()
    wait_until("it is seen at home", lambda: client(cluster, PRIMARY).ttl("session:7") > 600)


def test_the_tools_of_redis_work(cluster, show):
    port, secret = str(address(cluster)["port"]), login(cluster)
    environment = {**os.environ, "REDISCLI_AUTH": secret["password"]}
    base = ["redis-cli", "-p", port, "--user", secret["username"], "--no-auth-warning"]
    def cli(*words, typed=None):
        done = subprocess.run([*base, *words], env=environment, input=typed, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert cli("SET", "cli", "hello") == "OK"
    assert cli("-3", "HGETALL", "missing") == ""
    assert "meridian_region:us-east-1" in cli("INFO")
    assert cli(typed="SET a 1\nINCR a\nGET a\n").splitlines() == ["OK", "2", "2"]
    with client(cluster).pipeline(transaction=False) as pipe:
        for number in range(300):
            pipe.set(f"scan:{number}", "x")
        pipe.execute()
    found = cli("--scan", "--pattern", "scan:*").splitlines()
    assert sorted(found) == sorted(f"scan:{number}" for number in range(300)), "each once"
    done = subprocess.run(
        ["redis-benchmark", "-p", port, "--user", secret["username"], "-a", secret["password"],
         "-t", "set,get,incr", "-n", "500", "-r", "500", "-P", "4", "-c", "10", "-q"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    figures = [line.split("\r")[-1].strip() for line in done.stdout.splitlines() if "requests per second" in line]
    assert len(figures) == 3, done.stdout + done.stderr
    for figure in figures:
        show(figure)


def test_a_slow_reader_and_a_crowd_leave_others_alone(cluster):
    one = client(cluster)
    one.set("big", "x" * 300_000)
    slow = socket.create_connection(tuple(address(cluster).values()), timeout=10)
    secret = login(cluster)
    slow.sendall(f"AUTH {secret['username']} {secret['password']}\r\n".encode())
    # It asks for 60 MB and reads none of it.
    slow.sendall(b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n" * 200)
    crowd = [threading.Thread(target=lambda: client(cluster).incr("crowd")) for _ in range(50)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(20)
    assert one.get("crowd") == "50"
    slow.close()
