"""A table moves to another policy while clients use it: nothing is lost, refused, done twice or shown too old."""

import json
import threading
import time

import pytest
from cluster import PRIMARY, REGIONS, SURVIVORS, meridian, wait_until
from load import Background, Load
from test_switchover import longest_pause
from test_tokens import Carrier, header

ITEMS = 3_000


def fill(cluster, table):
    client = cluster.client()
    for start in range(0, ITEMS, 25):
        puts = [
            {"PutRequest": {"Item": {"pk": {"S": f"old-{number:05}"}, "text": {"S": "x" * 200}}}}
            for number in range(start, start + 25)
        ]
        while puts:
            answer = client.batch_write_item(RequestItems={table: puts})
            puts = answer["UnprocessedItems"].get(table, [])


class Users(Background):
    """Each adds to a counter of its own through one region, and reads it through another with the token of that."""

    def __init__(self, cluster, table):
        super().__init__()
        self.clients = {region: cluster.client(region) for region in REGIONS}
        self.carrier = Carrier(self.clients.values())
        self.table, self.wrong, self.added = table, [], {}
        pairs = [(writer, reader) for writer in REGIONS for reader in REGIONS if writer != reader]
        self.threads = [threading.Thread(target=self._run, args=pair, daemon=True) for pair in pairs]

    def _run(self, writer, reader):
        key = {"pk": {"S": f"user-{writer}-{reader}"}}
        count = 0
        try:
            while not self.done.is_set():
                self.carrier.current.token = None
                added = self.clients[writer].update_item(
                    TableName=self.table,
                    Key=key,
                    UpdateExpression="ADD visits :one",
                    ExpressionAttributeValues={":one": {"N": "1"}},
                )
                count += 1
                self.carrier.current.token = header(added, "x-meridian-token")
                read = self.clients[reader].get_item(TableName=self.table, Key=key)
                seen = int(read.get("Item", {}).get("visits", {}).get("N", 0))
                if seen != count:
                    self.wrong.append((writer, reader, count, seen))
                self.added[writer, reader] = count
        except Exception as error:  # A thread's failure must fail the test.
            self.wrong.append((writer, reader, repr(error)))


def policy_of(cluster, table, region=PRIMARY):
    return cluster.json("table", "describe", table, region=region)["policy"]


def test_a_table_moves_under_load_and_nothing_is_lost(lan, show):
    table = lan.make_table("moving", "active-passive-async")
    fill(lan, table)
    client = lan.client()
    arn = client.describe_table(TableName=table)["Table"]["TableArn"]
    with Load(lan, [table], REGIONS) as load, Users(lan, table) as users:
        wait_until("the load runs on every path", lambda: load.recovered(0.0) is not None and load.count() > 200)
        moved = lan.json("table", "move", table, "--policy", "active-passive-sync")
        assert moved["policy"] == "active-passive-sync"
        show(f"table move: {moved['copied_items']} items copied in {moved['took_s']} s")
        time.sleep(1.0)
        # The way of any SDK: the tag of the policy.
        client.tag_resource(ResourceArn=arn, Tags=[{"Key": "meridian:policy", "Value": "read-local"}])
        for region in SURVIVORS:
            wait_until("it has moved", lambda region=region: policy_of(lan, table, region) == "read-local")
        # Back to where it was: what the first move has left there is in nobody's way.
        back = ("table", "move", table, "--policy", "active-passive-async")
        wait_until("what was left is cleared away", lambda: lan.cli(*back).returncode == 0)
        time.sleep(1.0)
    show(
        f"{load.count()} writes and {sum(users.added.values())} additions meanwhile, errors {load.errors}; longest "
        f"pause of a path {longest_pause(load, load.paths):.3f} s"
    )
    assert load.errors == {}, "a move refuses nothing"
    assert users.wrong == [], "every user reads their own writes"
    tags = {tag["Key"]: tag["Value"] for tag in client.list_tags_of_resource(ResourceArn=arn)["Tags"]}
    assert tags["meridian:policy"] == "active-passive-async"
    keys = load.acknowledged[table] | {f"old-{number:05}" for number in range(ITEMS)}
    for region in REGIONS:
        assert lan.missing(table, keys, region) == [], region
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    scanned = {item["pk"]["S"]: item for page in pages for item in page["Items"]}
    assert keys <= scanned.keys()
    for (writer, reader), count in users.added.items():
        assert int(scanned[f"user-{writer}-{reader}"]["visits"]["N"]) == count, "no addition twice, and none lost"


def test_a_table_moves_to_active_active_under_load(lan, show):
    table = lan.make_table("going-active", "active-passive-semi-sync")
    fill(lan, table)
    with Load(lan, [table], REGIONS) as load, Users(lan, table) as users:
        wait_until("the load runs on every path", lambda: load.recovered(0.0) is not None and load.count() > 200)
        moved = lan.json("table", "move", table, "--policy", "active-active-crdt")
        assert moved["policy"] == "active-active-crdt"
        time.sleep(1.5)
    show(
        f"to active-active: {moved['copied_items']} items in {moved['took_s']} s; {load.count()} writes and {sum(users.added.values())} additions "
        f"meanwhile, errors {load.errors}; longest pause of a path {longest_pause(load, load.paths):.3f} s"
    )
    assert load.errors == {}, "a move refuses nothing"
    assert users.wrong == [], "every user reads their own writes"

    def sums():
        found = [lan.json("table", "checksum", table, region=region) for region in REGIONS]
        return found[0] if len({(entry["checksum"], entry["items"]) for entry in found}) == 1 else None

    whole = wait_until("all regions have the same items", sums)
    keys = load.acknowledged[table] | {f"old-{number:05}" for number in range(ITEMS)}
    for region in REGIONS:
        assert lan.missing(table, keys, region) == [], region
        # Every region takes writes by itself now.
        put = lan.client(region).put_item(TableName=table, Item={"pk": {"S": f"by-{region}"}})
        assert header(put, "x-meridian-region") == region
    assert whole["items"] >= len(keys) + len(users.added)
    for (writer, reader), count in users.added.items():
        item = lan.client(reader).get_item(TableName=table, Key={"pk": {"S": f"user-{writer}-{reader}"}})["Item"]
        assert int(item["visits"]["N"]) == count, "no addition twice, and none lost"
    back = lan.cli("table", "move", table, "--policy", "active-passive-semi-sync")
    assert back.returncode != 0 and "active-active" in back.stderr
    lan.client().delete_table(TableName=table)


def test_a_move_that_cannot_go_on_is_called_off(hurt):
    away = SURVIVORS[0]
    hurt.make_policy("move-strictly", "sync", "--on-region-loss", "block")
    table = hurt.make_table("staying", "active-passive-async")
    fill(hurt, table)
    hurt.order("kill", away)
    asked = hurt.cli("table", "move", table, "--policy", "move-strictly", "--wait", "2s")
    assert asked.returncode == 1 and "--cancel" in asked.stderr, asked.stderr
    assert "move-strictly" in hurt.cli("table", "describe", table).stdout
    client = hurt.client()
    assert client.describe_table(TableName=table)["Table"]["TableStatus"] == "UPDATING"
    client.put_item(TableName=table, Item={"pk": {"S": "meanwhile"}})
    third = hurt.cli("table", "move", table, "--policy", "read-local")
    assert third.returncode == 1 and "moved" in third.stderr
    with pytest.raises(client.exceptions.ResourceInUseException):
        client.delete_table(TableName=table)

    done = hurt.cli("table", "move", table, "--cancel", "--output", "json")
    assert done.returncode == 0 and json.loads(done.stdout) == {"cancelled": table}, done.stderr
    again = hurt.cli("table", "move", table, "--cancel")
    assert again.returncode == 1 and "not being moved" in again.stderr
    client.put_item(TableName=table, Item={"pk": {"S": "afterwards"}})
    hurt.order("start", away)
    keys = {"meanwhile", "afterwards"} | {f"old-{number:05}" for number in range(ITEMS)}
    assert hurt.missing(table, keys, PRIMARY) == []
    # Once the region is back the policy takes writes, and the table.
    wait_until("it moves", lambda: hurt.cli("table", "move", table, "--policy", "move-strictly").returncode == 0)
    assert hurt.missing(table, keys, SURVIVORS[1]) == []
    client.delete_table(TableName=table)


def test_a_move_that_makes_no_sense_is_refused(lan):
    table = lan.make_table("settled", "read-local")
    unknown = lan.cli("table", "move", table, "--policy", "nothing-like-it")
    assert unknown.returncode == 1 and "policy list" in unknown.stderr
    missing = lan.cli("table", "move", "no-such-table", "--policy", "read-local")
    assert missing.returncode == 1 and "no-such-table" in missing.stderr
    nothing = meridian("table", "move", table, "--endpoint", lan.admin())
    assert nothing.returncode == 2 and "--policy" in nothing.stderr
    # It is there already.
    assert lan.cli("table", "move", table, "--policy", "read-local").returncode == 0
