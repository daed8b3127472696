"""The primary region stops for a while without dying: it must not go on as if nothing had happened."""

import json
import threading
import time

from cluster import PRIMARY, SAFE_POLICIES, SURVIVORS, UNAVAILABLE, meridian, wait_until

FROZEN = 6.0


def put(client, table, key, version):
    client.put_item(TableName=table, Item={"pk": {"S": key}, "version": {"N": str(version)}})


def attempt(call):
    """What a call gave, or `None` when it was refused or timed out."""
    try:
        return call()
    except UNAVAILABLE:
        return None


def test_the_old_leader_answers_nothing_old(hurt, show):
    survivor, old = hurt.client(SURVIVORS[0], once=True), hurt.client(PRIMARY, timeout=40, once=True)
    tables = [hurt.make_table(f"freeze-{policy}", policy) for policy in SAFE_POLICIES]
    for table in tables:
        for number in range(20):
            put(hurt.client(PRIMARY), table, f"key-{number}", 1)

    hurt.order("freeze", PRIMARY)
    frozen = time.monotonic()
    for table in tables:
        for number in range(20):
            wait_until(
                f"{table} takes writes without {PRIMARY}",
                lambda table=table, number=number: (
                    attempt(lambda: put(survivor, table, f"key-{number}", 2) or True)
                ),
            )
    show(f"region-freeze: writes through {SURVIVORS[0]} again within {time.monotonic() - frozen:.2f} s")
    time.sleep(max(0.0, FROZEN - (time.monotonic() - frozen)))

    # These requests wait in the frozen process's socket: they are the first thing that it sees when it thaws,
    # by a clock that says its lease still holds unless it looks.
    stale, answered, acknowledged, refused = [], [], set(), []

    def read(table, number, rounds):
        for _ in range(rounds):
            answer = attempt(lambda: old.get_item(TableName=table, Key={"pk": {"S": f"key-{number}"}}, ConsistentRead=True))
            if answer is None:
                refused.append(number)
                continue
            answered.append(number)
            if answer["Item"]["version"]["N"] != "2":
                stale.append((table, number, answer))

    def write(table, number):
        key = f"late-{number}"
        if attempt(lambda: put(old, table, key, 3) or True):
            acknowledged.add((table, key))
        else:
            refused.append(number)

    threads = [
        threading.Thread(target=read, args=(table, number, 10)) for table in tables for number in range(5)
    ] + [threading.Thread(target=write, args=(table, number)) for table in tables for number in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    hurt.order("thaw", PRIMARY)
    for thread in threads:
        thread.join()
    show(
        f"region-freeze: after the thaw {len(answered)} consistent reads answered, {len(stale)} of them stale; "
        f"{len(acknowledged)} writes acknowledged, {len(refused)} requests refused"
    )
    assert stale == []

    hurt.settle()
    for table in tables:
        late = {key for name, key in acknowledged if name == table}
        for region in (PRIMARY, *SURVIVORS):
            client = hurt.client(region)
            for number in range(20):
                answer = client.get_item(TableName=table, Key={"pk": {"S": f"key-{number}"}}, ConsistentRead=True)
                assert answer["Item"]["version"]["N"] == "2", (table, region, number)
            assert hurt.missing(table, late, region) == [], (table, region)


def test_a_drill_that_misses_its_objective_is_exit_code_3(hurt, show):
    done = meridian(
        "drill", "region-freeze", "--region", PRIMARY, "--dir", hurt.folder, "--for", "6s",
        "--max-rto", "1ms", "--output", "json",
    )  # fmt: skip
    assert done.returncode == 3, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    report = json.loads(done.stdout)
    measured = report["measured"]
    show(f"drill region-freeze: rto {measured['rto_s']} s, rpo {measured['rpo_s']} s")
    assert (report["drill"], report["verdict"]) == ("region-freeze", "fail")
    for figure in ("lost_writes", "duplicate_effects", "stale_reads"):
        assert measured[figure] == 0, figure
    assert "objectives were missed" in done.stderr
