"""Bits that flip on a disk: never served, found, mended from the other regions; and what cannot be mended says what to run."""

import hashlib
import re
import urllib.request

import pytest
from cluster import PRIMARY, SURVIVORS, UNAVAILABLE, running, wait_until
from load import Load

HURT = SURVIVORS[1]
# Enough to be in tables, not only in the journal.
ITEMS, BYTES = 120, 390_000


@pytest.fixture
def own(tmp_path):
    yield from running(tmp_path)


def name(number) -> str:
    return f"item-{number:04}"


def value(number) -> bytes:
    """What does not compress, and can be found again in a file."""
    return name(number).encode() + hashlib.shake_256(name(number).encode()).digest(BYTES)


def flip(files, what: bytes) -> list:
    """Flips a bit behind every place in the files at which the bytes are; the names of those that have any."""
    flipped = []
    for file in files:
        data = bytearray(file.read_bytes())
        places = [found.end() + 1_000 for found in re.finditer(re.escape(what), data)]
        for place in places:
            data[place] ^= 0x08
        if places:
            file.write_bytes(data)
            flipped.append(file.name)
    return flipped


def metric(cluster, region, wanted) -> float:
    with urllib.request.urlopen(f"{cluster.admin(region)}/metrics", timeout=10) as answer:
        rows = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#"))
    return float(rows[wanted])


def test_damaged_replicas_are_never_served_and_are_filled_again(own, show):
    table, busy = (own.make_table(name, "active-passive-sync") for name in ("kept", "busy"))
    for number in range(ITEMS):
        item = {"pk": {"S": name(number)}, "data": {"B": value(number)}}
        own.client(PRIMARY).put_item(TableName=table, Item=item)
    wait_until(
        f"{HURT} has all", lambda: own.client(HURT).get_item(TableName=table, Key={"pk": {"S": name(ITEMS - 1)}}).get("Item")
    )  # fmt: skip
    data = own.folder / "nodes" / own.nodes()[HURT]["id"] / "data"
    own.order("stop", HURT)
    flipped = flip(data.rglob("tables/*"), value(ITEMS // 2)[:32])
    assert flipped, "the item has been written to a table"

    def read(number, region=HURT):
        """An item as a region's own replica has it, or as it is forwarded."""
        try:
            return own.client(region).get_item(TableName=table, Key={"pk": {"S": name(number)}}).get("Item")
        except UNAVAILABLE:
            return None

    with Load(own, [busy], [PRIMARY]) as load:
        own.order("start", HURT)
        wrong = []

        def mended():
            for number in (ITEMS // 2, 0, ITEMS - 1):
                item = read(number)
                if item and item["data"]["B"] != value(number):
                    wrong.append(number)
            return metric(own, HURT, "meridian_reseeded_replicas") >= 1

        wait_until("the damage is found and the replica thrown away", mended)
        assert not wrong
        own.settle()
        wait_until("nothing is out of use", lambda: metric(own, HURT, "meridian_damaged_replicas") == 0)
    assert load.count() > 10
    show(f"flipped bits in {len(flipped)} tables; {load.count()} writes meanwhile, errors {load.errors}")
    for number in range(ITEMS):
        assert read(number)["data"]["B"] == value(number), number
    # It counts again: without another region, writes need it.
    own.order("kill", SURVIVORS[0])
    own.client(HURT).put_item(TableName=table, Item={"pk": {"S": "after"}})
    own.order("start", SURVIVORS[0])
    own.settle()
    assert own.missing(table, [name(number) for number in range(ITEMS)] + ["after"], HURT) == []

    # A journal has what the node has promised: a node without it must not come back, and says so.
    journal = max(data.rglob("*.jnl"), key=lambda file: int(file.stem))
    own.order("stop", HURT)
    data_in_it = bytearray(journal.read_bytes())
    data_in_it[20] ^= 0x08
    journal.write_bytes(data_in_it)
    own.order("start", HURT)
    log = own.folder / "logs" / f"{own.nodes()[HURT]['id']}.log"
    wait_until(
        "the node says what to run", lambda: f"meridian node replace {own.nodes()[HURT]['id']}" in log.read_text()
    )
    own.client(PRIMARY).put_item(TableName=table, Item={"pk": {"S": "without"}})
