"""Active-active tables: every region writes, nothing diverges, nothing vanishes."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError
from cluster import ACTIVE_POLICIES, PRIMARY, REGIONS, UNAVAILABLE, running, wait_until

# Concurrent writes are made by keeping the regions apart.
KEY = {"pk": {"S": "item"}}


def update(cluster, region, table, expression, key=KEY, names=None, **values):
    return cluster.client(region).update_item(
        TableName=table, Key=key, UpdateExpression=expression, ReturnValues="ALL_NEW",
        **({"ExpressionAttributeNames": names} if names else {}),
        **({"ExpressionAttributeValues": {f":{name}": value for name, value in values.items()}} if values else {}),
    )  # fmt: skip


def read(cluster, region, table, key=KEY, consistent=False, **options):
    return cluster.client(region).get_item(TableName=table, Key=key, ConsistentRead=consistent, **options)


def item_in(cluster, region, table, key=KEY):
    return read(cluster, region, table, key).get("Item")


def same_everywhere(cluster, table, key=KEY):
    """What all regions show, once they show the same."""
    def one():
        shown = [item_in(cluster, region, table, key) for region in REGIONS]
        return (shown[0],) if all(other == shown[0] for other in shown) else None

    return wait_until("all regions show the same", one)[0]


def converged(cluster, table):
    """The one checksum that all regions have, once they have applied the same."""
    def one():
        sums = [cluster.json("table", "checksum", table, region=region) for region in REGIONS]
        return sums[0] if all(entry["checksum"] == sums[0]["checksum"] for entry in sums) else None

    return wait_until("all regions have the same items", one)


@contextmanager
def apart(cluster, *regions):
    """Within it the regions, or all of them, do not hear of the others, and go on."""
    try:
        for region in regions or REGIONS:
            cluster.link(block=True, **{"from": region, "to": "*"})
            cluster.link(block=True, **{"from": "*", "to": region})
        yield
    finally:
        cluster.link(block=False, **{"from": "*", "to": "*"})


@pytest.fixture(scope="module")
def regions_apart(tmp_path_factory):
    yield from running(tmp_path_factory.mktemp("active"), wan="2ms")


@pytest.fixture
def active(regions_apart):
    regions_apart.settle()
    return regions_apart


def test_every_region_takes_writes_and_all_see_them(active):
    for policy in ACTIVE_POLICIES:
        table = active.make_table(f"all-{policy}", policy, sort_key="sk")
        for number, region in enumerate(REGIONS):
            for sk in range(20):
                put = active.client(region).put_item(
                    TableName=table, Item={"pk": {"S": "p"}, "sk": {"N": str(3 * sk + number)}, "by": {"S": region}}
                )
                assert put["ResponseMetadata"]["HTTPHeaders"]["x-meridian-region"] == region
        assert converged(active, table)["items"] == 60
        for region in REGIONS:
            query = dict(TableName=table, KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": {"S": "p"}})
            client = active.client(region)
            up = [int(item["sk"]["N"]) for item in client.query(**query)["Items"]]
            down = [int(item["sk"]["N"]) for item in client.query(**query, ScanIndexForward=False)["Items"]]
            assert up == list(range(60)) and down == up[::-1]
            scanned = client.get_paginator("scan").paginate(TableName=table, PaginationConfig={"PageSize": 7})
            assert sorted(int(i["sk"]["N"]) for page in scanned for i in page["Items"]) == up


def test_concurrent_adds_all_count(active):
    table = active.make_table("counts", "active-active-crdt")

    def add(number):
        region = REGIONS[number % 3]
        if number % 2:
            update(active, region, table, "ADD n :one", one={"N": "1"})
        else:
            update(active, region, table, "SET n = if_not_exists(n, :zero) + :one", zero={"N": "0"}, one={"N": "1"})

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(add, range(180)))
    assert same_everywhere(active, table)["n"] == {"N": "180"}


def test_a_severed_region_goes_on_and_merges_when_it_returns(active):
    lww, merge, crdt = (active.make_table(f"sev-{policy}", policy) for policy in ACTIVE_POLICIES)
    for table in (lww, crdt, merge):
        update(active, PRIMARY, table, "SET origin_of = :b, tags = :t, gone = :b", b={"S": "b"}, t={"SS": ["a", "b"]})
        same_everywhere(active, table)
    with apart(active):
        for number, region in enumerate(REGIONS):
            for table in (lww, crdt, merge):
                update(active, region, table, "SET #own = :v, same = :v", names={"#own": f"own-{number}"}, v={"S": region})
            update(active, region, crdt, "ADD hits :h, tags :t", h={"N": str(10 ** number)}, t={"SS": [region]})
        update(active, PRIMARY, crdt, "DELETE tags :t REMOVE gone", t={"SS": ["a"]})
        update(active, REGIONS[1], lww, "REMOVE gone")
    for table in (lww, crdt, merge):
        item = same_everywhere(active, table)
        for number, region in enumerate(REGIONS):
            assert item[f"own-{number}"] == {"S": region}, "different attributes both survive"
        assert item["same"]["S"] in REGIONS
    item = item_in(active, PRIMARY, crdt)
    assert item["hits"] == {"N": "111"}
    assert sorted(item["tags"]["SS"]) == sorted(["b", *REGIONS])
    assert "gone" not in item and "gone" not in item_in(active, PRIMARY, lww)

    # Under `merge` the three values are one conflict, which any SDK can see.
    answer = read(active, PRIMARY, merge)
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-meridian-conflict"] == "same"
    shown = read(
        active, REGIONS[1], merge, ProjectionExpression="pk, same, #c", ExpressionAttributeNames={"#c": "meridian:conflicts"}
    )["Item"]
    siblings = shown["meridian:conflicts"]["M"]["same"]["L"]
    assert {sibling["M"]["value"]["S"] for sibling in siblings} == set(REGIONS)
    assert siblings[0]["M"]["value"] == shown["same"]
    (listed,) = wait_until("the conflict is listed", lambda: active.json("conflicts", "list", "--table", merge)["conflicts"])
    assert (listed["table"], listed["path"], listed["state"]) == (merge, "same", "open")
    assert {side["region"] for side in [listed["winner"], *listed["others"]]} == set(REGIONS)
    # A conditional write on what is shown resolves it.
    active.client(REGIONS[2]).update_item(
        TableName=merge, Key=KEY, UpdateExpression="SET same = :all", ConditionExpression="same = :seen",
        ExpressionAttributeValues={":all": {"S": "all"}, ":seen": shown["same"]},
    )  # fmt: skip
    assert same_everywhere(active, merge)["same"] == {"S": "all"}
    wait_until("the conflict is gone", lambda: not active.json("conflicts", "list", "--table", merge)["conflicts"])

    # Under `lww` the losers are kept, and one can be restored.
    lost = wait_until(
        "both losers are listed",
        lambda: (found := active.json("conflicts", "list", "--table", lww)["conflicts"]) and len(found) == 2 and found,
    )
    assert {entry["state"] for entry in lost} == {"lost"} and {entry["path"] for entry in lost} == {"same"}
    restore = next(entry for entry in lost if entry["others"][0]["region"] == PRIMARY or entry is lost[-1])
    wanted = restore["others"][0]["value"]
    assert active.cli("conflicts", "resolve", restore["id"], "--take", restore["others"][0]["region"]).returncode == 0
    assert same_everywhere(active, lww)["same"] == wanted


def test_delete_against_update(active):
    outcome = {}
    for policy in ACTIVE_POLICIES:
        table = active.make_table(f"del-{policy}", policy)
        for key in ("first", "last"):
            update(active, PRIMARY, table, "SET a = :v, b = :v", key={"pk": {"S": key}}, v={"S": "old"})
            same_everywhere(active, table, {"pk": {"S": key}})
    with apart(active):
        for policy in ACTIVE_POLICIES:
            table = f"del-{policy}"
            active.client(PRIMARY).delete_item(TableName=table, Key={"pk": {"S": "first"}})
            time.sleep(0.01)
            for key in ("first", "last"):
                update(active, REGIONS[1], table, "SET a = :v", key={"pk": {"S": key}}, v={"S": "new"})
            time.sleep(0.01)
            active.client(PRIMARY).delete_item(TableName=table, Key={"pk": {"S": "last"}})
    for policy in ACTIVE_POLICIES:
        outcome[policy] = [same_everywhere(active, f"del-{policy}", {"pk": {"S": key}}) for key in ("first", "last")]
    updated = [{"pk": {"S": key}, "a": {"S": "new"}} for key in ("first", "last")]
    # The later one wins, as a whole.
    assert outcome["active-active-lww"] == [updated[0], None]
    # The update survives the delete that had not seen it.
    assert outcome["active-active-crdt"] == updated
    # Both are kept: the later is shown.
    assert outcome["active-active-merge"] == [updated[0], None]


def test_deletes_do_not_resurrect_and_leave_nothing_behind(active):
    table = active.make_table("graves", "active-active-crdt")
    keys = [{"pk": {"S": f"k{number}"}} for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: update(active, REGIONS[hash(key["pk"]["S"]) % 3], table, "ADD n :n", key=key, n={"N": "1"}), keys))
    converged(active, table)
    with apart(active, REGIONS[2]):
        for key in keys:
            active.client(PRIMARY).delete_item(TableName=table, Key=key)
        update(active, REGIONS[2], table, "ADD n :n", key=keys[0], n={"N": "5"})
    # What the severed region added is kept, what the delete had seen is gone.
    assert same_everywhere(active, table, keys[0]) == {**keys[0], "n": {"N": "5"}}
    assert converged(active, table)["items"] == 1
    wait_until("tombstones are collected", lambda: active.json("table", "checksum", table)["stored"] <= 3)
    update(active, REGIONS[1], table, "ADD n :n", key=keys[1], n={"N": "2"})
    assert same_everywhere(active, table, keys[1]) == {**keys[1], "n": {"N": "2"}}


def test_a_token_reads_own_writes_in_every_region(active, show):
    table, stale = active.make_table("tokens", "active-active-lww"), 0
    for number in range(300):
        write, look = REGIONS[number % 3], REGIONS[(number + 1) % 3]
        done = update(active, write, table, "SET v = :v", v={"N": str(number)})
        token = done["ResponseMetadata"]["HTTPHeaders"]["x-meridian-token"]
        shown = read_with(active.client(look), table, token)
        stale += shown["v"]["N"] != str(number)
    show(f"{stale} of 300 reads with a token were stale")
    assert stale == 0


def read_with(client, table, token):
    def carry(request, **_):
        request.headers["x-meridian-token"] = token

    client.meta.events.register_first("before-sign.dynamodb.GetItem", carry, unique_id="token")
    try:
        return client.get_item(TableName=table, Key=KEY)["Item"]
    finally:
        client.meta.events.unregister("before-sign.dynamodb.GetItem", carry, unique_id="token")


def test_a_lost_region_is_not_missed(active, show):
    tables = [active.make_table(f"lost-{policy}", policy) for policy in ACTIVE_POLICIES]
    stop, errors, counts = threading.Event(), [], {}

    def work(region):
        client = active.client(region)
        number = 0
        while not stop.is_set():
            for table in tables:
                try:
                    client.put_item(TableName=table, Item={"pk": {"S": f"{region}-{number}"}})
                    counts[region] = counts.get(region, 0) + 1
                except ClientError as error:
                    errors.append((region, error))
            number += 1

    threads = [threading.Thread(target=work, args=(region,)) for region in REGIONS[1:]]
    for thread in threads:
        thread.start()
    time.sleep(1)
    active.order("kill", PRIMARY)
    time.sleep(4)
    stop.set()
    for thread in threads:
        thread.join()
    show(f"{sum(counts.values())} writes around a region's death, {len(errors)} refused")
    assert errors == []
    active.order("start", PRIMARY)
    active.settle()
    for table in tables:
        converged(active, table)


def test_refusals(active):
    table = active.make_table("refusals", "active-active-lww")
    moved = active.cli("table", "move", table, "--policy", "active-passive-sync")
    assert moved.returncode != 0 and "active-active" in moved.stderr
    switched = active.cli("switchover", "--to", REGIONS[1], "--policy", "active-active-lww")
    assert switched.returncode != 0 and "every region takes writes" in switched.stderr
    with pytest.raises(ClientError, match="must be max, min, union, sum or keep-both"):
        active.client().create_table(
            TableName="bad-rule", KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}], BillingMode="PAY_PER_REQUEST",
            Tags=[{"Key": "meridian:policy", "Value": "active-active-merge"}, {"Key": "meridian:merge:x", "Value": "most"}],
        )  # fmt: skip


def test_semi_sync_loses_nothing_with_a_region(active, show):
    active.make_policy("pairs", "semi-sync", "--conflict", "crdt", pattern="active-active")
    table = active.make_table("pairs-table", "pairs")
    stop, done = threading.Event(), []

    def work():
        client, number = active.client(PRIMARY, timeout=5, once=True), 0
        while not stop.is_set():
            try:
                client.put_item(TableName=table, Item={"pk": {"S": f"k{number}"}})
                done.append(f"k{number}")
            except UNAVAILABLE:
                return
            number += 1

    worker = threading.Thread(target=work)
    worker.start()
    wait_until("writes are acknowledged", lambda: len(done) > 200)
    active.order("kill", PRIMARY)
    stop.set()
    worker.join()
    # All that the lost region has acknowledged is elsewhere, and is shown there while it is still lost.
    for region in REGIONS[1:]:
        wait_until("nothing is missing", lambda region=region: active.missing(table, done, region) == [])
    show(f"{len(done)} acknowledged by the lost region, none missing")
    active.order("start", PRIMARY)
    active.settle()
    converged(active, table)


def test_declared_rules_merge_single_attributes(active):
    tags = {"best": "max", "low": "min", "seen": "union", "hits": "sum", "notes": "keep-both"}
    client = active.client()
    client.create_table(
        TableName="declared", KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}], BillingMode="PAY_PER_REQUEST",
        Tags=[{"Key": "meridian:policy", "Value": "active-active-merge"}]
        + [{"Key": f"meridian:merge:{name}", "Value": rule} for name, rule in tags.items()],
    )  # fmt: skip
    for region in REGIONS:
        wait_until("the table is active", lambda region=region: active.active("declared", region))
    with apart(active):
        for number, region in enumerate(REGIONS):
            update(
                active, region, "declared", "SET best = :n, low = :n, seen = :s, notes = :t ADD hits :n",
                n={"N": str(number + 1)}, s={"SS": [region]}, t={"S": region},
            )  # fmt: skip
            time.sleep(0.01)
    item = same_everywhere(active, "declared")
    assert (item["best"], item["low"], item["hits"]) == ({"N": "3"}, {"N": "1"}, {"N": "6"})
    assert sorted(item["seen"]["SS"]) == sorted(REGIONS)
    assert item["notes"]["L"] == [{"S": region} for region in REGIONS]
    assert "x-meridian-conflict" not in read(active, PRIMARY, "declared")["ResponseMetadata"]["HTTPHeaders"]


def test_a_node_with_a_wrong_clock_refuses_writes(active):
    table = active.make_table("clocks", "active-active-lww")
    update(active, PRIMARY, table, "SET v = :v", v={"S": "before"})
    wrong, client = active.nodes()[REGIONS[2]]["id"], active.client(REGIONS[2], once=True)
    try:
        active.pretend(wrong, clock_shift_ms=60_000)

        def refusal():
            try:
                client.put_item(TableName=table, Item=KEY)
            except ClientError as error:
                return error
            return None

        error = wait_until("the write is refused", refusal)
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        assert "clock is" in str(error) and "ahead of most of the cluster's" in str(error)
        # The others go on.
        update(active, REGIONS[1], table, "SET v = :v", v={"S": "meanwhile"})
    finally:
        active.pretend(wrong, clock_shift_ms=0)
    wait_until("the write is taken again", lambda: refusal() is None)
    assert same_everywhere(active, table) == KEY
