"""The disk fills up: clear refusals, reads go on, and it works again when there is space."""

import os
import subprocess

import pytest
from botocore.exceptions import ClientError
from cluster import REGIONS, running, wait_until

SIZE = 640 << 20


@pytest.fixture
def small_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("NOTICE: not root, so no small disk can be mounted; a full disk was not tested")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "meridian-acceptance", disk],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip(f"NOTICE: no small disk, so a full one was not tested: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.fixture
def cluster(small_disk):
    yield from running(small_disk)


def fill(file):
    with open(file, "ab", buffering=0) as filler:
        block = bytes(1 << 20)
        while True:
            try:
                filler.write(block)
            except OSError:
                return


def test_a_full_disk_refuses_writes_and_goes_on_reading(cluster, small_disk, show):
    table = cluster.make_table("full", "active-passive-sync")
    item = {"pk": {"S": "before"}, "note": {"S": "kept"}}
    cluster.client().put_item(TableName=table, Item=item)

    fill(small_disk / "filler")

    def refusal():
        try:
            cluster.client(once=True).put_item(
                TableName=table, Item={"pk": {"S": "during"}, "note": {"S": "x" * 1000}}
            )
        except ClientError as error:
            return error.response
        return None

    def clear_refusal():
        # A write that is under way when the space ends is honestly unknown; those after it are refused.
        response = refusal()
        if response is None:
            # The engine has freed some since: it deletes what it has compacted.
            fill(small_disk / "filler")
        return response if response and "almost full" in response["Error"]["Message"] else None

    refused = wait_until("writes are refused, and say why", clear_refusal)
    show(f"disk full: {refused['Error']['Code']}: {refused['Error']['Message']}")
    # Retryable, as an SDK understands it.
    assert refused["ResponseMetadata"]["HTTPStatusCode"] in (500, 503)
    for region in REGIONS:
        for consistent in (True, False):
            answer = cluster.client(region).get_item(
                TableName=table, Key={"pk": {"S": "before"}}, ConsistentRead=consistent
            )
            assert answer["Item"] == item, (region, consistent)

    (small_disk / "filler").unlink()
    wait_until("writes are taken again", lambda: refusal() is None)
    cluster.settle()
    for region in REGIONS:
        cluster.client(region).put_item(TableName=table, Item={"pk": {"S": f"after-{region}"}})
    assert cluster.missing(table, {"before", "during", *(f"after-{region}" for region in REGIONS)}, REGIONS[1]) == []
