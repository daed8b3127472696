"""A zone dies, and its region carries on: three nodes a region, under load on tables of every kind of replication."""

import json
from collections import Counter

import boto3
import pytest
from botocore.config import Config
from cluster import PRIMARY, SURVIVORS, asserted, meridian, running
from load import Load
from test_drills import NEVER

DRILLED, *BESIDE = ["active-passive-semi-sync", "active-passive-sync", "active-passive-async"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    yield from running(tmp_path_factory.mktemp("zones"), options=["--nodes-per-region", "3"])


class Through:
    """The cluster as clients use it that go to one node."""

    def __init__(self, cluster, node):
        secret = cluster.file["credentials"]
        self.made = boto3.client(
            "dynamodb",
            endpoint_url=node["dynamodb"],
            region_name=PRIMARY,
            aws_access_key_id=secret["access_key_id"],
            aws_secret_access_key=secret["secret_access_key"],
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=3, read_timeout=10),
        )

    def client(self, region, once=True):
        return self.made


def spared(cluster) -> dict:
    """A node of the primary region that the drill leaves alone: not the one that leads most of the policy's groups."""
    groups = cluster.json("status")["groups"]
    leads = Counter(group["leader"] for group in groups if group.get("policy") == DRILLED)
    nodes = next(region["nodes"] for region in cluster.file["regions"] if region["name"] == PRIMARY)
    victim = max(nodes, key=lambda node: leads[node["id"]])
    return next(node for node in nodes if node["id"] != victim["id"])


def test_a_zone_dies_and_the_region_carries_on(cluster, show):
    tables = {policy: cluster.make_table(f"zone-{policy}", policy) for policy in BESIDE}
    node = spared(cluster)
    with Load(Through(cluster, node), list(tables.values()), [PRIMARY]) as load:
        done = meridian(
            "drill", "zone-kill", "--region", PRIMARY, "--dir", cluster.folder, "--for", "4s", "--policy", DRILLED,
            "--output", "json",
        )  # fmt: skip
    assert done.returncode in ((0,) if asserted() else (0, 3)), f"{done.stdout}\n{done.stderr}"
    report = json.loads(done.stdout)
    measured = report["measured"]
    show(f"zone-kill of {report['nodes']}: rto {measured['rto_s']} s, {report['led_groups']} groups led, {report['missed']}")
    assert {figure: measured[figure] for figure in NEVER} == dict.fromkeys(NEVER, 0)
    # The region itself is expected to serve, and clients of it did write while its zone was dead.
    assert PRIMARY in report["serving"] and len(report["nodes"]) == 1 and node["id"] not in report["nodes"]
    assert measured["rto_s"] is not None, "writes succeeded again through every region before the zone was back"
    for policy, table in tables.items():
        ends = [ended for _, ended in load.successes[table, PRIMARY]]
        pause = max((later - earlier for earlier, later in zip(ends, ends[1:])), default=None)
        show(f"{policy}: {len(ends)} writes, longest pause {pause:.2f} s; errors {load.errors}")
        assert pause < 15
        for region in (PRIMARY, SURVIVORS[0]):
            assert cluster.missing(table, load.acknowledged[table], region) == []
    cluster.settle()
