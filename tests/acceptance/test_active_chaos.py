"""Random concurrent writes to active-active tables while links between regions come and go: in the end all regions have the same items, and no
acknowledged update is missing.

`MERIDIAN_ACTIVE_SECONDS` says for how long; a quarter of a minute unless told.
"""

import os
import random
import threading
import time

from botocore.exceptions import ClientError
from cluster import REGIONS, UNAVAILABLE, running, wait_until

import pytest

SECONDS = float(os.environ.get("MERIDIAN_ACTIVE_SECONDS", "15"))
KEYS = [{"pk": {"S": f"key-{number}"}} for number in range(12)]
CONFLICTS = {"#c": "meridian:conflicts"}


@pytest.fixture
def cluster(tmp_path):
    yield from running(tmp_path, wan="2ms")


class Writer(threading.Thread):
    """Writes through one region, and remembers what was acknowledged and what may have been."""

    def __init__(self, cluster, region, seed, until):
        super().__init__()
        self.client, self.region = cluster.client(region, timeout=10, once=True), region
        self.random, self.until, self.number = random.Random(seed), until, 0
        self.name_of = f"{region}-{seed}"
        self.acknowledged = {table: {key["pk"]["S"]: [] for key in KEYS} for table in ("count", "set", "app")}
        self.unknown = {table: {key["pk"]["S"]: [] for key in KEYS} for table in ("count", "set", "app")}
        self.refused = 0

    def run(self):
        while time.monotonic() < self.until:
            self.number += 1
            kind = self.random.choice(["count", "set", "app", "lww", "delete"])
            key = self.random.choice(KEYS)
            try:
                done = getattr(self, kind)(key, f"{self.name_of}-{self.number}")
            except ClientError as error:
                code = error.response["Error"]["Code"]
                assert code in ("ConditionalCheckFailedException", "ServiceUnavailable", "InternalServerError"), error
                self.refused += 1
                if code == "InternalServerError" and kind in self.unknown:
                    self.unknown[kind][key["pk"]["S"]].append(f"{self.name_of}-{self.number}")
                continue
            except UNAVAILABLE:
                if kind in self.unknown:
                    self.unknown[kind][key["pk"]["S"]].append(f"{self.name_of}-{self.number}")
                continue
            if kind in self.acknowledged and done:
                self.acknowledged[kind][key["pk"]["S"]].append(f"{self.name_of}-{self.number}")

    def update(self, table, key, expression, condition=None, names=None, **values):
        self.client.update_item(
            TableName=table, Key=key, UpdateExpression=expression,
            ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
            **({"ConditionExpression": condition} if condition else {}),
            **({"ExpressionAttributeNames": names} if names else {}),
        )  # fmt: skip
        return True

    def count(self, key, _):
        return self.update("crdt", key, "ADD n :one", one={"N": "1"})

    def set(self, key, value):
        return self.update("crdt", key, "ADD members :s", s={"SS": [value]})

    def lww(self, key, value):
        return self.update("lww", key, f"SET a{self.random.randrange(3)} = :v", v={"S": f"{key['pk']['S']}/{value}"})

    def delete(self, key, value):
        self.client.delete_item(TableName="lww", Key=key)

    def app(self, key, value):
        """The application's own merge: all values that are kept, and one more."""
        seen = self.client.get_item(
            TableName="merge", Key=key, ConsistentRead=True, ProjectionExpression="v, #c", ExpressionAttributeNames=CONFLICTS
        ).get("Item", {})
        if "v" not in seen:
            return self.update("merge", key, "SET v = :v", "attribute_not_exists(v)", v={"SS": [value]})
        if "meridian:conflicts" not in seen:
            everything = {*seen["v"]["SS"], value}
            return self.update(
                "merge", key, "SET v = :v", "v = :seen AND attribute_not_exists(#c)", CONFLICTS,
                v={"SS": sorted(everything)}, seen=seen["v"],
            )  # fmt: skip
        siblings = seen["meridian:conflicts"]["M"]["v"]["L"]
        everything = {member for sibling in siblings for member in sibling["M"]["value"]["SS"]} | {value}
        return self.update(
            "merge", key, "SET v = :v", "v = :seen AND #c = :all", CONFLICTS,
            v={"SS": sorted(everything)}, seen=seen["v"], all=seen["meridian:conflicts"],
        )  # fmt: skip


def flap(cluster, until, chance):
    """Blocks random links for random times."""
    while time.monotonic() < until - 1:
        a, b = chance.sample(REGIONS, 2)
        ways = [(a, b)] if chance.random() < 0.3 else [(a, b), (b, a)]
        for source, target in ways:
            cluster.link(block=True, **{"from": source, "to": target})
        time.sleep(chance.uniform(0.1, 2.0))
        for source, target in ways:
            cluster.link(block=False, **{"from": source, "to": target})
        time.sleep(chance.uniform(0.0, 1.0))


def test_nothing_diverges_and_nothing_vanishes(cluster, show):
    seed = int(os.environ.get("MERIDIAN_ACTIVE_SEED", "1"))
    for name in ("lww", "merge", "crdt"):
        cluster.make_table(name, f"active-active-{name}")
    until = time.monotonic() + SECONDS
    writers = [Writer(cluster, region, seed * 100 + number, until) for number in range(2) for region in REGIONS]
    for writer in writers:
        writer.start()
    flap(cluster, until, random.Random(seed))
    for writer in writers:
        writer.join()
    cluster.link(block=False, **{"from": "*", "to": "*"})
    cluster.settle()

    def same(table):
        sums = [cluster.json("table", "checksum", table, region=region) for region in REGIONS]
        return len({entry["checksum"] for entry in sums}) == 1

    for table in ("lww", "merge", "crdt"):
        wait_until(f"all regions have the same {table}", lambda table=table: same(table))
    acknowledged = missing = 0
    for region in REGIONS:
        client = cluster.client(region)
        for key in KEYS:
            of = lambda what, kind: [one for writer in writers for one in getattr(writer, what)[kind][key["pk"]["S"]]]  # noqa: E731, B023
            item = client.get_item(TableName="crdt", Key=key).get("Item", {})
            counted, members = int(item.get("n", {"N": "0"})["N"]), set(item.get("members", {"SS": []})["SS"])
            low = len(of("acknowledged", "count"))
            assert low <= counted <= low + len(of("unknown", "count")), (key, counted, low)
            assert members <= {*of("acknowledged", "set"), *of("unknown", "set")}
            lost = set(of("acknowledged", "set")) - members
            kept = client.get_item(
                TableName="merge", Key=key, ProjectionExpression="v, #c", ExpressionAttributeNames=CONFLICTS
            ).get("Item", {})
            siblings = kept.get("meridian:conflicts", {"M": {}})["M"].get("v", {"L": []})["L"]
            there = {member for sibling in siblings for member in sibling["M"]["value"]["SS"]}
            there |= set(kept.get("v", {"SS": []})["SS"])
            assert there <= {*of("acknowledged", "app"), *of("unknown", "app")}, "values of another key"
            lost |= set(of("acknowledged", "app")) - there
            assert not lost, (region, key, sorted(lost)[:5])
            missing += len(lost)
            acknowledged += low + len(of("acknowledged", "set")) + len(of("acknowledged", "app"))
        # Every value says to which key it was written.
        for item in client.scan(TableName="lww")["Items"]:
            key = item.pop("pk")["S"]
            assert all(value["S"].startswith(f"{key}/") for value in item.values()), (region, key, item)
    refused = sum(writer.refused for writer in writers)
    show(f"{acknowledged // 3} updates acknowledged in {SECONDS:.0f} s, {refused} refused or conditions failed, {missing} missing")
    assert acknowledged > 0
