"""What a write costs, by policy: with 100 ms between regions and with none. Printed; judged only when asked for."""

import statistics
import time

from cluster import POLICIES, asserted

WRITES = 30
# Milliseconds that the median write through the primary region may take.
WITH_WAN = {
    "active-passive-sync": (100, 110),
    "active-passive-semi-sync": (100, 110),
    "active-passive-async": (0, 10),
    "read-local": (100, 110),
}


def medians(cluster, prefix):
    client, found = cluster.client(), {}
    for policy in POLICIES:
        table = cluster.make_table(f"{prefix}-{policy}", policy)
        taken = []
        for number in range(WRITES):
            began = time.perf_counter()
            client.put_item(TableName=table, Item={"pk": {"S": f"item-{number}"}})
            taken.append((time.perf_counter() - began) * 1000)
        found[policy] = statistics.median(taken)
    return found


def test_writes_wait_for_what_their_policy_names(wan, show):
    for policy, median in medians(wan, "latency").items():
        low, high = WITH_WAN[policy]
        show(f"write, 100 ms between regions, {policy}: median {median:.1f} ms (goal {low} to {high})")
        # Light's part of it holds on any machine: the answer cannot come before another region has the write.
        assert median >= low * 0.99, policy
        if asserted():
            assert median <= high, policy


def test_writes_without_distance_are_quick(lan, show):
    for policy, median in medians(lan, "latency").items():
        show(f"write, no distance between regions, {policy}: median {median:.1f} ms (goal under 5)")
        if asserted():
            assert median < 5, policy
