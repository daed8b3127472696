"""What `on_region_loss` makes of a lost region: `degrade` goes on without it, `block` refuses and says why."""

import pytest
from botocore.exceptions import ClientError
from cluster import PRIMARY, REGIONS, SURVIVORS, UNAVAILABLE, wait_until

LOST = SURVIVORS[-1]


def put(client, table, key):
    client.put_item(TableName=table, Item={"pk": {"S": key}})


def refusal(client, table, key):
    """The error of a write that is refused; `None` for any other outcome."""
    try:
        put(client, table, key)
    except ClientError as error:
        return error if error.response["Error"]["Code"] == "ServiceUnavailable" else None
    except UNAVAILABLE:
        return None
    return None


def serves(client, table, key) -> bool:
    try:
        put(client, table, key)
    except UNAVAILABLE:
        return False
    return True


def test_block_refuses_writes_until_the_region_is_back_and_degrade_goes_on(hurt):
    hurt.make_policy("all-or-nothing", "sync", "--primary", PRIMARY, "--groups", 1, "--on-region-loss", "block")
    blocking = hurt.make_table("loss-block", "all-or-nothing")
    degrading = hurt.make_table("loss-degrade", "active-passive-sync")
    clients = [hurt.client(region, timeout=5, once=True) for region in (PRIMARY, SURVIVORS[0])]
    for table in (blocking, degrading):
        put(hurt.client(), table, "before")
    hurt.order("kill", LOST)
    for client in clients:
        error = wait_until("a write is refused", lambda client=client: refusal(client, blocking, "meanwhile"))
        assert LOST in str(error) and "on_region_loss" in str(error)
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        wait_until("degrade goes on", lambda client=client: serves(client, degrading, "meanwhile"))
        # What needs no promise of the lost region is still answered.
        found = client.get_item(TableName=blocking, Key={"pk": {"S": "before"}})
        assert found["Item"] == {"pk": {"S": "before"}}
    assert refusal(clients[0], blocking, "refused") is not None
    hurt.order("start", LOST)
    wait_until("writes are taken again", lambda: serves(clients[1], blocking, "after"))
    hurt.settle()
    for region in REGIONS:
        assert hurt.missing(blocking, ["before", "after"], region) == []
        assert hurt.missing(degrading, ["before", "meanwhile"], region) == []
        assert hurt.missing(blocking, ["refused"], region) == ["refused"], "a refused write took effect"


@pytest.mark.parametrize("replication", ["semi-sync", "async"])
def test_only_sync_policies_can_block(lan, replication):
    done = lan.cli(
        "policy", "create", "cannot-block", "--pattern", "active-passive", "--replication", replication,
        "--regions", ",".join(REGIONS), "--on-region-loss", "block",
    )  # fmt: skip
    assert done.returncode != 0 and "`on_region_loss` is for sync policies" in done.stderr
