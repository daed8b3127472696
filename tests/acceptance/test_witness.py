"""Two regions with data and a witness: any one of the three may die."""

import time

import pytest
from cluster import UNAVAILABLE, running, wait_until

WITNESS = "eu-north-1"
DATA = ["us-east-1", "eu-west-1"]


@pytest.fixture
def pair(tmp_path):
    yield from running(tmp_path, options=["--regions", ",".join(DATA), "--witness", WITNESS])


def serves(cluster, table, key, region) -> bool:
    client = cluster.client(region, once=True)
    try:
        client.put_item(TableName=table, Item={"pk": {"S": key}})
        return "Item" in client.get_item(TableName=table, Key={"pk": {"S": key}}, ConsistentRead=True)
    except UNAVAILABLE:
        return False


@pytest.mark.parametrize("policy", ["active-passive-semi-sync", "active-passive-sync"])
def test_any_one_of_the_three_may_die(pair, policy, show):
    table = pair.make_table("pair", policy)
    kept = set()
    for lost in (*DATA, WITNESS):
        survivor = next(region for region in DATA if region != lost)
        assert serves(pair, table, f"before-{lost}", survivor)
        pair.order("kill", lost)
        began = time.monotonic()
        wait_until(f"served without {lost}", lambda: serves(pair, table, f"without-{lost}", survivor))
        show(f"{policy}: served again {time.monotonic() - began:.2f} s after {lost} died")
        kept |= {f"before-{lost}", f"without-{lost}"}
        assert pair.missing(table, kept, survivor) == []
        pair.order("start", lost)
        pair.settle()
        for region in DATA:
            assert pair.missing(table, kept, region) == [], (lost, region)
