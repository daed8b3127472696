"""A region that is away for long: the others go on without it, and it comes back without bringing anything back."""

import json

import pytest
from cluster import REGIONS, running, wait_until
from test_active_active import apart, converged, item_in, same_everywhere, update

HERE, OTHER, AWAY = REGIONS


@pytest.fixture(scope="module")
def expelling(tmp_path_factory):
    yield from running(tmp_path_factory.mktemp("expel"), wan="2ms")


def key(name):
    return {"pk": {"S": name}}


def salvage(cluster):
    return {entry["key"]["pk"]["S"]: entry for entry in cluster.json("salvage", "list")["entries"]}


def expelled(cluster, region=HERE):
    return {entry["name"] for entry in cluster.json("region", "list", region=region)["regions"] if entry["expelled"]}


def test_an_expelled_region_brings_nothing_back(expelling, show):
    tables = [expelling.make_table(f"expel-{rule}", f"active-active-{rule}") for rule in ("lww", "crdt")]
    gone, kept = [f"gone-{number}" for number in range(30)], [f"kept-{number}" for number in range(10)]
    for table in tables:
        for number, name in enumerate(gone + kept):
            update(expelling, REGIONS[number % 3], table, "ADD n :n SET was = :old", key=key(name), n={"N": "1"}, old={"S": "old"})
        assert converged(expelling, table)["items"] == 40

    # A table that answers once another region has a write: there is nothing that only one region has.
    expelling.make_policy("pairs", "semi-sync", "--conflict", "crdt", pattern="active-active")
    pairs = expelling.make_table("expel-pairs", "pairs")
    for number, name in enumerate(gone):
        update(expelling, REGIONS[number % 3], pairs, "ADD n :n", key=key(name), n={"N": "1"})
    converged(expelling, pairs)

    refused = expelling.cli("region", "expel", AWAY, "--yes")
    assert refused.returncode != 0 and "answers" in refused.stderr
    with apart(expelling, AWAY):
        wait_until("the region is seen to be lost", lambda: expelling.json("region", "list")["regions"][2]["health"] == "lost")
        for table in tables:
            for name in gone:
                expelling.client(HERE if name < "gone-2" else OTHER).delete_item(TableName=table, Key=key(name))
            # What only the severed region has: of an item that is deleted, of one that is there, and a new one.
            for name in ("gone-0", "gone-9", "kept-0", "new"):
                update(expelling, AWAY, table, "ADD n :n SET late = :late", key=key(name), n={"N": "5"}, late={"S": "late"})
            update(expelling, OTHER, table, "SET extra = :o", key=key("kept-1"), o={"S": "o"})
        for name in gone:
            expelling.client(HERE).delete_item(TableName=pairs, Key=key(name))
        wait_until("it is said whom the tombstones wait for", lambda: waits_for(expelling))
        stored = [expelling.json("table", "checksum", table)["stored"] for table in tables]
        assert stored == [40, 40], "tombstones are there until somebody decides"

        asked = expelling.cli("region", "expel", AWAY)
        assert asked.returncode != 0 and "nothing was done" in asked.stderr and "salvage" in asked.stderr
        assert expelled(expelling) == set()
        done = expelling.cli("region", "expel", AWAY, "--yes", "--output", "json")
        assert done.returncode == 0, done.stderr
        assert {group["error"] for group in json.loads(done.stdout)["groups"]} == {None}
        assert expelled(expelling) == expelled(expelling, OTHER) == {AWAY}
        for table in tables:
            wait_until("tombstones are collected", lambda table=table: expelling.json("table", "checksum", table)["stored"] == 10)
        wait_until("tombstones are collected", lambda: expelling.json("table", "checksum", pairs)["stored"] == 0)
        # It does not know of it, and goes on.
        assert update(expelling, AWAY, tables[0], "ADD n :n", key=key("new"), n={"N": "1"})["Attributes"]["n"] == {"N": "6"}
        refused = expelling.cli("region", "readmit", AWAY)
        assert refused.returncode != 0 and "no node of region" in refused.stderr

    wait_until("the region knows", lambda: expelled(expelling, AWAY) == {AWAY})
    # Its clients are served meanwhile, of what the others have.
    for table in tables:
        wait_until("its own state is gone", lambda table=table: item_in(expelling, AWAY, table, key("gone-0")) is None)
        assert item_in(expelling, AWAY, table, key("kept-1"))["extra"] == {"S": "o"}
        written = update(expelling, AWAY, table, "ADD n :n", key=key("gone-0"), n={"N": "7"})
        assert written["Attributes"] == {**key("gone-0"), "n": {"N": "7"}}
    assert update(expelling, AWAY, pairs, "ADD n :n", key=key("gone-0"), n={"N": "7"})["Attributes"]["n"] == {"N": "7"}
    assert expelling.cli("region", "readmit", AWAY).returncode == 0
    assert expelled(expelling) == set()
    expelling.settle()
    assert converged(expelling, pairs)["items"] == 1
    for table in tables:
        assert converged(expelling, table)["items"] == 11
        for name in gone[1:] + ["new"]:
            assert item_in(expelling, AWAY, table, key(name)) is None
        # It writes by itself again, and is waited for again.
        answer = update(expelling, AWAY, table, "ADD n :n", key=key("gone-0"), n={"N": "1"})
        assert answer["ResponseMetadata"]["HTTPHeaders"]["x-meridian-region"] == AWAY
        assert same_everywhere(expelling, table, key("gone-0")) == {**key("gone-0"), "n": {"N": "8"}}
        expelling.client(AWAY).delete_item(TableName=table, Key=key("gone-0"))
        assert converged(expelling, table)["items"] == 10
        wait_until("its tombstones are collected", lambda table=table: expelling.json("table", "checksum", table)["stored"] == 10)

    # What it had alone is listed, and applied when somebody says so.
    def listed():
        entries = expelling.json("salvage", "list")["entries"]
        names = [(entry["table"], entry["key"]["pk"]["S"]) for entry in entries]
        wanted = {(table, name) for table in tables for name in ("gone-0", "gone-9", "kept-0", "new")}
        return entries if set(names) == wanted else None

    entries = wait_until("all that it had alone is listed", listed)
    for entry in entries:
        name = entry["key"]["pk"]["S"]
        assert entry["old"]["late"] == {"S": "late"}
        assert (entry["current"] is None) == (name != "kept-0")
        applied = expelling.cli("salvage", "apply", entry["id"])
        # Of what is not there now nobody knows any more whether it was deleted.
        assert (applied.returncode == 0) == (name == "kept-0"), applied.stderr
        if name == "new":
            assert expelling.cli("salvage", "apply", entry["id"], "--force").returncode == 0
        elif name != "kept-0":
            assert expelling.cli("salvage", "discard", entry["id"]).returncode == 0
    for table in tables:
        assert same_everywhere(expelling, table, key("kept-0"))["late"] == {"S": "late"}
        assert same_everywhere(expelling, table, key("kept-0"))["n"] == {"N": "6"}
        assert converged(expelling, table)["items"] == 11
    wait_until("all is decided", lambda: not expelling.json("salvage", "list")["entries"])
    show(f"{len(entries)} items that the expelled region had alone were listed")


def waits_for(cluster):
    import urllib.request

    with urllib.request.urlopen(f"{cluster.admin(HERE)}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return [line for line in lines if line.startswith("meridian_tombstones_wait") and not line.endswith(" 0")]
