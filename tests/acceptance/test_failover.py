"""A region that holds all votes of a table is given up: by an operator, by policy, and what it had alone comes back."""

import json
import threading
import time

import pytest
from cluster import PRIMARY, REGIONS, SURVIVORS, UNAVAILABLE, error_code, wait_until
from load import Load

POLICY = "active-passive-async"
# How long a severed leader goes on at most: 0.9 of three leases of 900 ms, and what a busy machine adds to an answer.
GRACE = 2.43
# How long a node tries to carry a write out: one that was on its way at the cut must not meet the new leader.
DEADLINE = 5.0
BOUND = 30.0


def sever(cluster, region, blocked, other="*"):
    """Blocks or heals both directions between a region and another, or all others."""
    cluster.link(**{"from": region, "to": other, "block": blocked})
    cluster.link(**{"from": other, "to": region, "block": blocked})
    assert is_severed(cluster, region, other) == blocked


def is_severed(cluster, region, other="*") -> bool:
    """Whether nothing passes between a region and another, or all others; some of the ways must not be blocked alone."""
    others = [name for name in REGIONS if name != region] if other == "*" else [other]
    ways = {way for name in others for way in ((region, name), (name, region))}
    blocked = ways & {tuple(pair) for pair in cluster.links()["blocked"]}
    assert blocked in (set(), ways), f"only {blocked} are blocked"
    return bool(blocked)


@pytest.fixture
def severed(wan):
    """The cluster with latency, for a test that takes the primary region away; given back whole and led from there."""
    yield wan
    sever(wan, PRIMARY, False)
    for region in REGIONS:
        wan.order("start", region)
    wait_until("a switchover back", lambda: wan.cli("switchover", "--to", PRIMARY).returncode == 0)
    wan.settle()


def attempt(call):
    """What a call gave, or `None` when it was refused or timed out."""
    try:
        return call()
    except UNAVAILABLE:
        return None


def put(client, table, key, value="x"):
    answer = client.put_item(TableName=table, Item={"pk": {"S": key}, "value": {"S": value}})
    return answer["ResponseMetadata"]["HTTPHeaders"]["x-meridian-token"]


def read_with(client, table, key, token):
    def carry(params, **_):
        params["headers"]["x-meridian-token"] = token

    client.meta.events.register("before-call.dynamodb.GetItem", carry)
    try:
        return client.get_item(TableName=table, Key={"pk": {"S": key}}).get("Item")
    finally:
        client.meta.events.unregister("before-call.dynamodb.GetItem", carry)


def fail_over(cluster, *options, region=SURVIVORS[0]):
    return cluster.cli("failover", "--from", PRIMARY, *options, region=region)


def salvage(cluster, region=SURVIVORS[0]) -> list:
    return cluster.json("salvage", "list", region=region)["entries"]


def key_of(entry) -> str:
    return entry["key"]["pk"]["S"]


def groups_of(cluster, policy, region=SURVIVORS[0]) -> list:
    return [group for group in cluster.json("status", region=region)["groups"] if group["policy"] == policy]


def records(cluster, groups, region=SURVIVORS[0]) -> dict:
    """The newest re-foundation of each of the groups."""
    ids = {group["id"] for group in groups}
    steps = cluster.json("status", region=region)["refoundations"]
    return {step["group"]: step for step in steps if step["group"] in ids}


def losses(cluster) -> dict:
    return {region["name"]: region["loses"] for region in cluster.json("status", region=SURVIVORS[0])["regions"]}


def test_what_is_lost_is_counted_kept_and_brought_back(severed, show):
    table = severed.make_table("failover", POLICY)
    survivor = severed.client(SURVIVORS[0])
    assert losses(severed)[PRIMARY] is not None
    # Every region has groups of active-active policies to itself.
    assert losses(severed)[SURVIVORS[0]]["writes"] == 0
    with Load(severed, [table], REGIONS) as load:
        wait_until("the load runs on every path", lambda: load.recovered(0.0) is not None and load.count() > 200)
        kept = put(severed.client(PRIMARY), table, "kept")
        time.sleep(1.0)

        sever(severed, PRIMARY, True)
        cut_off = time.monotonic()
        lost_token = put(severed.client(PRIMARY), table, "lost")
        time.sleep(DEADLINE + 1.5)
        ends = [ended for _, ended in load.successes[table, PRIMARY]]
        show(f"failover: the severed leader acknowledged writes for {ends[-1] - cut_off:.2f} s (at most {GRACE} s)")
        assert ends[-1] - cut_off < GRACE + 1.0
        assert is_severed(severed, PRIMARY), "healed before its time"
        severed.order("kill", PRIMARY)

        refused = fail_over(severed)
        assert refused.returncode == 2, refused.stderr
        assert "--accept-loss" in refused.stderr and "at risk" in refused.stderr
        began = time.monotonic()
        done = fail_over(severed, "--accept-loss", "--policy", POLICY, "--output", "json")
        assert done.returncode == 0, done.stderr
        took = time.monotonic() - began
        load.paths = [(table, region) for region in SURVIVORS]
        recovered = wait_until("writes succeed again", lambda: load.recovered(began))
        show(f"failover: the order took {took:.2f} s; writes again after {recovered:.2f} s")
        assert {group["error"] for group in json.loads(done.stdout)["groups"]} == {None}
    acknowledged = load.acknowledged[table] | {"kept", "lost"}
    lost = set(severed.missing(table, acknowledged, SURVIVORS[0]))
    show(f"failover: {len(acknowledged)} writes acknowledged, {len(lost)} of them lost; errors {load.errors}")
    assert "lost" in lost and "kept" not in lost
    assert all(key == "lost" or key.startswith(PRIMARY) for key in lost)

    # A token of the old incarnation: met up to the cut; beyond it the read is answered from what there is, at once.
    began = time.monotonic()
    for region in SURVIVORS:
        assert read_with(severed.client(region), table, "kept", kept) is not None
        assert read_with(severed.client(region), table, "lost", lost_token) is None
    assert time.monotonic() - began < 8.0

    changed, discarded, *_ = sorted(lost - {"lost"})
    put(survivor, table, changed, "newer")
    sever(severed, PRIMARY, False)
    severed.order("start", PRIMARY)
    found = wait_until("the salvage is there", lambda: (e := salvage(severed), lost <= {key_of(x) for x in e})[1] and e)
    entries = {key_of(entry): entry for entry in found}
    # Besides those acknowledged there may be some whose clients never heard: never any that is not lost.
    assert set(entries) & acknowledged == lost
    assert {entry["table"] for entry in found} == {table}
    assert [key for key, entry in entries.items() if entry["changed"]] == [changed]
    assert entries[changed]["current"]["value"]["S"] == "newer" and entries[changed]["old"]["pk"]["S"] == changed
    steps = wait_until(
        "the records say what was found",
        lambda: (r := records(severed, groups_of(severed, POLICY)), all(s["found_writes"] is not None for s in r.values() if any(e["group"] == s["group"] for e in found)))[1] and r,
    )
    counted = sum(step["found_writes"] or 0 for step in steps.values())
    show(f"failover: {len(found)} items kept as salvage, {counted} writes on record")
    assert counted == len(found)
    assert not any(step["automatic"] for step in steps.values())

    one = entries[discarded]["id"]
    shown = severed.json("salvage", "show", one, region=SURVIVORS[1])
    assert shown == entries[discarded]
    assert severed.cli("salvage", "discard", one).returncode == 0
    applied = severed.cli("salvage", "apply", "--all", "--output", "json", region=SURVIVORS[1])
    assert applied.returncode == 1 and "changed since" in applied.stderr
    left = salvage(severed)
    assert [key_of(entry) for entry in left] == [changed]
    assert severed.missing(table, acknowledged, PRIMARY) == [discarded]
    assert survivor.get_item(TableName=table, Key={"pk": {"S": changed}}, ConsistentRead=True)["Item"]["value"]["S"] == "newer"
    assert severed.cli("salvage", "apply", entries[changed]["id"], "--force").returncode == 0
    item = survivor.get_item(TableName=table, Key={"pk": {"S": changed}}, ConsistentRead=True)["Item"]
    assert item == entries[changed]["old"]
    assert salvage(severed) == []


def test_a_severed_primary_answers_nothing_old(severed, show):
    table = severed.make_table("severed", POLICY)
    old, new = severed.client(PRIMARY, once=True, timeout=20), severed.client(SURVIVORS[0])
    put(old, table, "key", "old")
    incarnations = {group["id"]: group["incarnation"] for group in groups_of(severed, POLICY)}
    time.sleep(1.0)
    reads, done = [], threading.Event()

    def read():
        while not done.is_set():
            began = time.monotonic()
            answer = attempt(lambda: old.get_item(TableName=table, Key={"pk": {"S": "key"}}, ConsistentRead=True))
            if answer is not None:
                reads.append((began, time.monotonic(), answer["Item"]["value"]["S"]))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    sever(severed, PRIMARY, True)
    cut_off = time.monotonic()
    assert fail_over(severed, "--accept-loss").returncode == 0
    put(new, table, "key", "new")
    acknowledged = time.monotonic()
    show(f"failover of a severed region: another region writes {acknowledged - cut_off:.2f} s after the cut")
    time.sleep(3.0)
    sever(severed, PRIMARY, False)
    wait_until("the old primary answers again", lambda: reads and reads[-1][2] == "new")
    done.set()
    for thread in threads:
        thread.join()
    stale = [read for read in reads if read[0] >= acknowledged and read[2] != "new"]
    late = max((ended - cut_off for _, ended, value in reads if value == "old"), default=0.0)
    show(f"failover of a severed region: {len(reads)} consistent reads, the last old one {late:.2f} s after the cut")
    assert stale == []
    assert late < GRACE + 1.0
    after = {group["id"]: group["incarnation"] for group in groups_of(severed, POLICY)}
    assert all(after[group] == incarnation + 1 for group, incarnation in incarnations.items())
    severed.cli("salvage", "discard", "--all")


def test_a_policy_gives_the_primary_up_by_itself(severed, show):
    own = ("--primary", PRIMARY, "--groups", 2, "--auto-failover", "--failover-after", "3s")
    severed.make_policy("async-auto", "async", *own)
    table, manual = severed.make_table("automatic", "async-auto"), severed.make_table("manual", POLICY)
    before = {group["id"]: group["incarnation"] for group in groups_of(severed, POLICY)}
    put(severed.client(PRIMARY), table, "before")
    time.sleep(1.0)
    severed.order("kill", PRIMARY)
    killed = time.monotonic()
    client = severed.client(SURVIVORS[0], once=True)
    wait_until("writes succeed again", lambda: attempt(lambda: put(client, table, "after")), BOUND)
    show(f"automatic failover: writes again {time.monotonic() - killed:.2f} s after the kill (3 s of silence asked for)")
    assert severed.missing(table, {"before", "after"}, SURVIVORS[1]) == []
    steps = records(severed, groups_of(severed, "async-auto"))
    assert len(steps) == 2 and all(step["automatic"] and step["from"] == PRIMARY for step in steps.values())
    after = {group["id"]: group["incarnation"] for group in groups_of(severed, POLICY)}
    assert after == before, "the other policy leaves it to an operator"
    assert attempt(lambda: put(client, manual, "refused")) is None


def test_writes_are_refused_rather_than_put_at_risk(severed, show):
    own = ("--primary", PRIMARY, "--groups", 1, "--max-lag", "1s")
    severed.make_policy("async-budget", "async", *own, regions=REGIONS[:2])
    table = severed.make_table("budget", "async-budget")
    client = severed.client(PRIMARY, once=True)
    put(client, table, "before")
    time.sleep(1.0)
    sever(severed, PRIMARY, True, SURVIVORS[0])
    began, count, refusal = time.monotonic(), 0, None
    while refusal is None and time.monotonic() - began < 10.0:
        try:
            put(client, table, f"at-risk-{count}")
            count += 1
            time.sleep(0.02)
        except UNAVAILABLE as error:
            refusal = error
    after = time.monotonic() - began
    said = severed.json("status", region=SURVIVORS[1])
    loses = next(region["loses"] for region in said["regions"] if region["name"] == PRIMARY)
    group = next(group for group in said["groups"] if group["policy"] == "async-budget")
    shown = severed.cli("status", region=SURVIVORS[1]).stdout
    show(f"max_lag: {count} writes at risk, then refused after {after:.2f} s (1 s asked for); status says {loses}")
    assert error_code(refusal) == "ServiceUnavailable" and "max_lag" in str(refusal)
    assert 0.9 < after < 4.0
    assert group["at_risk"]["writes"] == count and loses["writes"] == count and loses["ms"] >= 1000
    assert f"lose {PRIMARY} now: {count} writes" in shown
    sever(severed, PRIMARY, False, SURVIVORS[0])
    wait_until("writes are taken again", lambda: attempt(lambda: put(client, table, "later")))
