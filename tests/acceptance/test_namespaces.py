"""Partitions, deaf ends and lost packets made by the kernel, between nodes that are configured as in production."""

import time

import pytest
from cluster import PRIMARY, REGIONS, SURVIVORS, UNAVAILABLE, asserted, wait_until
from namespaces import Network, Writer, make_table, missing

# Longer than an election takes, shorter than a test may.
HOLD = 4.0
RTO = 10.0
# Seconds from one region to another and back.
RTT = 0.08


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    if why := missing():
        pytest.skip(why)
    network = Network(tmp_path_factory.mktemp("namespaces"))
    try:
        network.make(delay_ms=RTT * 1000)
        network.found()
        yield network
    finally:
        wrong = network.end()
    assert not wrong, wrong


def test_a_sync_write_pays_the_round_trip_and_an_async_one_does_not(network, show):
    tables = [make_table(network, f"paid-{kind}", f"active-passive-{kind}") for kind in ("sync", "async")]
    wait_until(f"{PRIMARY} leads", lambda: network.is_led_from(PRIMARY))

    def median(table):
        client, took = network.client(PRIMARY), []
        for number in range(21):
            began = time.monotonic()
            client.put_item(TableName=table, Item={"pk": {"S": str(number)}})
            took.append(time.monotonic() - began)
        return sorted(took)[10]

    sync, local = (network.inside(PRIMARY)(lambda table=table: median(table)) for table in tables)
    show(f"round trips of {RTT} s by {network.delayed}: a sync write takes {sync:.3f} s, an async one {local:.3f} s")
    assert sync >= RTT > local
    if asserted():
        assert sync < 1.5 * RTT


def test_a_region_cut_off_by_the_kernel_and_links_that_lose_packets_lose_no_write(network, show):
    table = make_table(network, "kept", "active-passive-semi-sync")
    writers = [Writer(network, region, table) for region in REGIONS]
    for writer in writers:
        writer.start()
    survivors = [writer for writer in writers if writer.region in SURVIVORS]

    def recovered(what, moment):
        def all_write():
            firsts = [writer.first_after(moment) for writer in survivors]
            return max(firsts) - moment if all(firsts) else None

        took = wait_until(f"the others write again, {what}", all_write, patience=60)
        show(f"{what}: the others wrote again after {took:.2f} s")
        if asserted():
            assert took < RTO
        return took

    wait_until("all write", lambda: all(len(writer.acknowledged) > 5 for writer in writers))
    for what, directions in [("cut off", ("INPUT", "OUTPUT")), ("not heard", ("OUTPUT",))]:
        wait_until(f"{PRIMARY} leads", lambda: network.is_led_from(PRIMARY))
        network.drop(PRIMARY, *directions)
        begun = time.monotonic()
        recovered(what, begun)
        time.sleep(max(0.0, begun + HOLD - time.monotonic()))
        assert writers[0].first_after(begun) is None, "the region that is cut off acknowledged a write on its own"
        healed = time.monotonic()
        network.heal()
        wait_until(f"{PRIMARY} serves again", lambda healed=healed: writers[0].first_after(healed), patience=60)

    begun = time.monotonic()
    for region in REGIONS:
        network.drop(region, "INPUT", probability=0.03)
    time.sleep(HOLD)
    during = [sum(began > begun for began, _ in list(writer.acknowledged.values())) for writer in writers]
    show(f"3 % of packets lost: {during} writes in {HOLD} s")
    assert all(during), "writes went on through every region while packets were lost"
    network.heal()

    kept = set().union(*(writer.end() for writer in writers))
    show(f"{len(kept)} acknowledged writes")

    def absent():
        client, gone = network.client(SURVIVORS[0]), []
        for key in sorted(kept):
            for _ in range(20):
                try:
                    found = client.get_item(TableName=table, Key={"pk": {"S": key}}, ConsistentRead=True)
                    break
                except UNAVAILABLE:
                    time.sleep(0.5)
            if "Item" not in found:
                gone.append(key)
        return gone

    assert network.inside(SURVIVORS[0])(absent) == []
