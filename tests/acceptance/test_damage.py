"""Bits that flip on a disk: never served, found, mended from the other regions; and what cannot be mended says what to run."""

import hashlib
import re
import urllib.request

import pytest
from cluster import PRIMARY, REGIONS, UNAVAILABLE, running, wait_until
from load import Load

PAIR, WITNESS = REGIONS[:2], "eu-north-1"
# Enough to be in tables, not only in the journal.
ITEMS, BYTES = 120, 390_000


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


@pytest.fixture
def three(tmp_path):
    yield from running(tmp_path)


@pytest.fixture
def pair(tmp_path):
    yield from running(tmp_path, options=["--regions", ",".join(PAIR), "--witness", WITNESS])


def mend(own, hurt, other, show):
    """Damages a region's replicas, has them mended, and takes another voter away, so that writes need them."""
    table, busy = (own.make_table(name, "active-passive-semi-sync") for name in ("kept", "busy"))
    for number in range(ITEMS):
        item = {"pk": {"S": name(number)}, "data": {"B": value(number)}}
        own.client(PRIMARY).put_item(TableName=table, Item=item)
    wait_until(
        f"{hurt} has all", lambda: own.client(hurt).get_item(TableName=table, Key={"pk": {"S": name(ITEMS - 1)}}).get("Item")
    )  # fmt: skip
    data = own.folder / "nodes" / own.nodes()[hurt]["id"] / "data"
    own.order("stop", hurt)
    flipped = flip(data.rglob("tables/*"), value(ITEMS // 2)[:32])
    assert flipped, "the item has been written to a table"

    def read(number, region=hurt):
        """An item as a region's own replica has it, or as it is forwarded."""
        try:
            return own.client(region).get_item(TableName=table, Key={"pk": {"S": name(number)}}).get("Item")
        except UNAVAILABLE:
            return None

    with Load(own, [busy], [PRIMARY]) as load:
        own.order("start", hurt)
        wrong = []

        def mended():
            for number in (ITEMS // 2, 0, ITEMS - 1):
                item = read(number)
                if item and item["data"]["B"] != value(number):
                    wrong.append(number)
            return metric(own, hurt, "meridian_reseeded_replicas") >= 1

        wait_until("the damage is found and the replica thrown away", mended)
        assert not wrong
        own.settle()
        wait_until("nothing is out of use", lambda: metric(own, hurt, "meridian_damaged_replicas") == 0)
    assert load.count() > 10
    show(f"flipped bits in {len(flipped)} tables; {load.count()} writes meanwhile, errors {load.errors}")
    for number in range(ITEMS):
        item = wait_until(f"item {number} is read", lambda number=number: read(number))
        assert item["data"]["B"] == value(number), number
    # It counts again.
    own.order("kill", other)
    own.client(hurt).put_item(TableName=table, Item={"pk": {"S": "after"}})
    own.order("start", other)
    own.settle()
    assert own.missing(table, [name(number) for number in range(ITEMS)] + ["after"], hurt) == []


def test_damaged_replicas_are_never_served_and_are_filled_again(three, show):
    hurt, other = REGIONS[2], REGIONS[1]
    mend(three, hurt, other, show)

    # A journal has what the node has promised: a node without it must not come back, and says so.
    data = three.folder / "nodes" / three.nodes()[hurt]["id"] / "data"
    journal = max(data.rglob("*.jnl"), key=lambda file: int(file.stem))
    three.order("stop", hurt)
    data_in_it = bytearray(journal.read_bytes())
    data_in_it[20] ^= 0x08
    journal.write_bytes(data_in_it)
    three.order("start", hurt)
    log = three.folder / "logs" / f"{three.nodes()[hurt]['id']}.log"
    wait_until(
        "the node says what to run", lambda: f"meridian node replace {three.nodes()[hurt]['id']}" in log.read_text()
    )
    three.client(PRIMARY).put_item(TableName="kept", Item={"pk": {"S": "without"}})


def test_a_data_region_beside_a_witness_is_mended_when_the_other_one_leads(pair, show):
    mend(pair, PAIR[1], WITNESS, show)
