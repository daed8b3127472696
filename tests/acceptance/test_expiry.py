"""Items that expire by a time to live, under every pattern."""

import time

import pytest
from botocore.exceptions import ClientError
from cluster import PRIMARY, REGIONS, running, wait_until
from test_active_active import apart, converged, item_in, same_everywhere, update

POLICIES = ["active-passive-sync", "active-passive-semi-sync", "active-passive-async", "active-active-lww", "active-active-merge", "active-active-crdt"]
AWAY = REGIONS[1]
YEAR = 365 * 24 * 60 * 60


@pytest.fixture(scope="module")
def expiring(tmp_path_factory):
    yield from running(tmp_path_factory.mktemp("expiry"), wan="2ms")


def key(name):
    return {"pk": {"S": name}}


def specify(client, table, enabled=True, attribute="until"):
    return client.update_time_to_live(TableName=table, TimeToLiveSpecification={"Enabled": enabled, "AttributeName": attribute})


def gone_everywhere(cluster, table, *names):
    for name in names:
        for region in REGIONS:
            wait_until(
                f"{name} of {table} is gone in {region}",
                lambda name=name, region=region: item_in(cluster, region, table, key(name)) is None,
            )


def test_a_time_to_live_is_described_and_refused_as_the_api_does(expiring):
    client, table = expiring.client(), expiring.make_table("described", "active-passive-sync")
    assert client.describe_time_to_live(TableName=table)["TimeToLiveDescription"] == {"TimeToLiveStatus": "DISABLED"}
    with pytest.raises(ClientError, match="ValidationException.*TimeToLive is already disabled"):
        specify(client, table, enabled=False)
    assert specify(client, table)["TimeToLiveSpecification"] == {"Enabled": True, "AttributeName": "until"}
    described = {"TimeToLiveStatus": "ENABLED", "AttributeName": "until"}
    for region in REGIONS:
        wait_until(
            "every region knows",
            lambda region=region: expiring.client(region).describe_time_to_live(TableName=table)["TimeToLiveDescription"] == described,
        )
    with pytest.raises(ClientError, match="ValidationException.*TimeToLive is already enabled"):
        specify(client, table)
    with pytest.raises(ClientError, match="active on a different AttributeName: current AttributeName is until"):
        specify(client, table, attribute="else")
    assert specify(client, table, enabled=False)["TimeToLiveSpecification"]["Enabled"] is False
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        specify(client, "nowhere")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client.describe_time_to_live(TableName="nowhere")


def test_expired_items_are_deleted_and_no_others(expiring):
    now = int(time.time())
    tables = [expiring.make_table(f"ttl-{policy}", policy, sort_key="sk") for policy in POLICIES]
    stays = {
        "later": {"N": str(now + 600)}, "text": {"S": str(now - 10)}, "ages-ago": {"N": str(now - 6 * YEAR)},
        "milliseconds": {"N": str(now * 1000)}, "list": {"L": [{"N": str(now - 10)}]},
    }  # fmt: skip
    goes = {"now": {"N": str(now)}, "before": {"N": str(now - 100)}, "years-ago": {"N": str(now - 4 * YEAR)}, "part": {"N": f"{now - 1}.5"}}
    for table in tables:
        specify(expiring.client(), table)
        for number, (name, until) in enumerate({**stays, **goes}.items()):
            item = {**key(name), "sk": {"N": str(number)}, "until": until}
            client = expiring.client(REGIONS[number % 3])
            client.put_item(TableName=table, Item=item)
            # What has expired is shown for as long as it is there.
            shown = client.get_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]}, ConsistentRead=True)
            assert shown.get("Item") in (item, None) and (name in goes or "Item" in shown)
        expiring.client().put_item(TableName=table, Item={**key("none"), "sk": {"N": "0"}})

    def names(table, region):
        pages = expiring.client(region).get_paginator("scan").paginate(TableName=table)
        return {item["pk"]["S"] for page in pages for item in page["Items"]}

    for table in tables:
        for region in REGIONS:
            wait_until(f"{table} in {region}", lambda table=table, region=region: names(table, region) == {*stays, "none"})


def test_an_expiry_happens_in_every_region_and_an_update_follows_the_rule(expiring, show):
    tables = {rule: expiring.make_table(f"ttl-apart-{rule}", f"active-active-{rule}") for rule in ("lww", "merge", "crdt")}
    soon = {"N": str(int(time.time()) + 3)}
    for table in tables.values():
        specify(expiring.client(), table)
        for name in ("alone", "prolonged", "updated"):
            expiring.client(AWAY).put_item(TableName=table, Item={**key(name), "until": soon, "n": {"N": "1"}})
            same_everywhere(expiring, table, key(name))
    with apart(expiring, AWAY):
        # The severed region has prolonged and updated, without the others knowing.
        for table in tables.values():
            update(expiring, AWAY, table, "SET #u = :u", key=key("prolonged"), names={"#u": "until"}, u={"N": str(int(time.time()) + 900)})
            update(expiring, AWAY, table, "ADD n :n", key=key("updated"), n={"N": "1"})
        for table in tables.values():
            for name in ("alone", "prolonged", "updated"):
                wait_until("the others delete what has expired", lambda table=table, name=name: item_in(expiring, PRIMARY, table, key(name)) is None)
            assert item_in(expiring, AWAY, table, key("prolonged"))["n"] == {"N": "1"}
            # By itself, a while later: nobody tells it.
            for name in ("alone", "updated"):
                wait_until("the severed one, too", lambda table=table, name=name: item_in(expiring, AWAY, table, key(name)) is None)
    for rule, table in tables.items():
        gone_everywhere(expiring, table, "alone", "updated")
        converged(expiring, table)
        prolonged = same_everywhere(expiring, table, key("prolonged"))
        if rule == "crdt":
            # What the update wrote is kept, as with any delete that had not seen it.
            assert set(prolonged) == {"pk", "until"}
        else:
            # The later write is shown; under `merge` the other is kept as a conflict.
            assert prolonged is None
    wait_until("the conflict is listed", lambda: expiring.json("conflicts", "list", "--table", tables["merge"])["conflicts"])
    show("an expiry happened in every region")


def test_an_item_stays_while_its_time_is_in_conflict(expiring):
    table = expiring.make_table("ttl-disputed", "active-active-merge")
    past, later = {"N": str(int(time.time()) - 5)}, {"N": str(int(time.time()) + 900)}
    for name in ("disputed", "agreed"):
        expiring.client().put_item(TableName=table, Item={**key(name), "n": {"N": "1"}, "until": past})
        same_everywhere(expiring, table, key(name))
    with apart(expiring, AWAY):
        for region, until, n in ((AWAY, later, "2"), (PRIMARY, past, "3")):
            update(expiring, region, table, "SET #u = :u", key=key("disputed"), names={"#u": "until"}, u=until)
            update(expiring, region, table, "SET n = :n", key=key("agreed"), n={"N": n})
    assert converged(expiring, table)
    specify(expiring.client(), table)
    # A conflict elsewhere in the item does not keep it.
    gone_everywhere(expiring, table, "agreed")
    time.sleep(1)
    assert same_everywhere(expiring, table, key("disputed"))["until"] == past
    update(expiring, AWAY, table, "SET #u = :u", key=key("disputed"), names={"#u": "until"}, u=past)
    gone_everywhere(expiring, table, "disputed")
