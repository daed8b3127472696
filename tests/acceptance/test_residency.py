"""Residency: what must stay in some regions is on no disk and on no link outside them."""

import os
import re
import subprocess

import pytest
from botocore.exceptions import ClientError
from cluster import REGIONS, running, wait_until

HOME, *ABROAD = REGIONS[1], REGIONS[0], REGIONS[2]
MARKER = b"RESIDENT-MARKER-7f3a"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    yield from running(tmp_path_factory.mktemp("residency"))


def received(cluster, region) -> int:
    """Bytes that a node has received from other nodes, over the connections that it has now."""
    port = int(cluster.nodes()[region]["peer"].rsplit(":", 1)[1])
    pid = cluster.nodes()[region]["pid"]
    listed = subprocess.run(["ss", "-tnpiH", "state", "established"], capture_output=True, text=True, check=True).stdout
    total, of_node = 0, False
    peers = {int(node["peer"].rsplit(":", 1)[1]) for node in cluster.nodes().values()}
    for line in listed.splitlines():
        if not line.startswith(("\t", " \t")):
            ports = {int(port) for port in re.findall(r":(\d+)\s", line + " ")}
            of_node = f"pid={pid}," in line and bool(ports & (peers | {port}))
        elif of_node and (found := re.search(r"bytes_received:(\d+)", line)):
            total += int(found[1])
    return total


def on_disk(cluster, region) -> bool:
    folder = cluster.folder / "nodes" / f"{region}-a-0"
    files = (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
    return any(MARKER in open(path, "rb").read() for path in files)


def resident(cluster, table, key, attribute="payload"):
    # Large, and not to be compressed: it shows in what links carry.
    for number in range(40):
        value = MARKER + os.urandom(100_000)
        cluster.client(HOME).put_item(
            TableName=table, Item={"pk": {"S": f"{key}{number}"}, attribute: {"B": value}, "text": {"S": MARKER.decode()}}
        )


@pytest.mark.parametrize("pattern", ["active-passive", "active-active"])
def test_items_stay_in_the_regions_of_their_rule(cluster, show, pattern):
    conflict = ["--conflict", "lww"] if pattern == "active-active" else []
    policy = f"home-{pattern}"
    cluster.make_policy(policy, "async", *conflict, regions=(HOME,), pattern=pattern)
    everywhere = "active-active-lww" if conflict else "active-passive-sync"
    client, table = cluster.client(HOME), f"people-{pattern}"
    client.create_table(
        TableName=table, KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}], BillingMode="PAY_PER_REQUEST",
        Tags=[{"Key": "meridian:policy", "Value": everywhere}, {"Key": "meridian:residency:eu#", "Value": policy}],
    )  # fmt: skip
    for region in REGIONS:
        wait_until("the table is active", lambda region=region: cluster.active(table, region))
    before = {region: received(cluster, region) for region in ABROAD}
    resident(cluster, table, "eu#")
    for region in ABROAD:
        grown = received(cluster, region) - before[region]
        show(f"{region} received {grown} bytes from other nodes while 4 MB were written at home")
        assert 0 <= grown < 1_000_000
        other = cluster.client(region)
        for call in (
            lambda other=other: other.get_item(TableName=table, Key={"pk": {"S": "eu#1"}}),
            lambda other=other: other.put_item(TableName=table, Item={"pk": {"S": "eu#1"}}),
            lambda other=other: other.query(
                TableName=table, KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": {"S": "eu#1"}}
            ),
        ):
            with pytest.raises(ClientError, match="keys that begin with .eu#. stay in the regions of policy") as refused:
                call()
            assert refused.value.response["Error"]["Code"] == "ValidationException"
        other.put_item(TableName=table, Item={"pk": {"S": f"free-{region}"}})
    free = {f"free-{region}" for region in ABROAD}
    scan = dict(TableName=table, ConsistentRead=True, ProjectionExpression="pk")
    pages = client.get_paginator("scan").paginate(**scan, PaginationConfig={"PageSize": 9})
    at_home = {item["pk"]["S"] for page in pages for item in page["Items"]}
    assert at_home >= {f"eu#{number}" for number in range(40)}
    for region in ABROAD:
        seen = {item["pk"]["S"] for item in cluster.client(region).scan(**scan)["Items"]}
        assert not any(key.startswith("eu#") for key in seen)
    wait_until("what is free is seen at home", lambda: free <= {
        item["pk"]["S"] for page in client.get_paginator("scan").paginate(**scan) for item in page["Items"]
    })  # fmt: skip
    cluster.stop()
    assert on_disk(cluster, HOME)
    for region in ABROAD:
        assert not on_disk(cluster, region), f"resident data is on a disk of {region}"
    cluster.start()


def test_rules_that_cannot_be_kept_are_refused(cluster):
    def create(**tags):
        cluster.client().create_table(
            TableName="refused", KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}], BillingMode="PAY_PER_REQUEST",
            Tags=[{"Key": "meridian:policy", "Value": "active-passive-sync"}]
            + [{"Key": f"meridian:residency:{prefix}", "Value": policy} for prefix, policy in tags.items()],
        )  # fmt: skip

    with pytest.raises(ClientError, match="names policy .nowhere., which there is not"):
        create(eu="nowhere")
    with pytest.raises(ClientError, match="items of one table merge alike"):
        create(eu="active-active-lww")
