"""An upgrade under load: nodes of the oldest release that is supported and of this version, in one cluster."""

import os
import shutil
import time
import urllib.error
from pathlib import Path

import pytest
from cluster import BINARY, PRIMARY, REGIONS, ROOT, SURVIVORS, running, wait_until
from load import Load

COMMIT = (ROOT / "tests/acceptance/oldest_release").read_text().strip()
OLDEST = Path(os.environ.get("MERIDIAN_OLDEST_BIN", Path(BINARY).parents[1] / f"oldest-{COMMIT}" / "meridian"))
POLICIES = ["active-passive-sync", "active-passive-semi-sync"]


class Versions:
    """Which binary a node that starts from now on gets. The supervisor goes by the path."""

    def __init__(self, path: Path):
        self.path = path

    def use(self, binary):
        fresh = self.path.with_suffix(".new")
        shutil.copy2(binary, fresh)
        os.replace(fresh, self.path)


@pytest.fixture
def upgrading(tmp_path):
    if not OLDEST.exists():
        why = f"{OLDEST} is missing; make it with `bash tests/acceptance/build_oldest`"
        assert os.environ.get("MERIDIAN_REQUIRE_CLIENTS") != "1", why
        pytest.skip(why)
    versions = Versions(tmp_path / "meridian")
    versions.use(OLDEST)
    for cluster in running(tmp_path, binary=versions.path):
        yield cluster, versions


def protocols(cluster, region) -> dict:
    return {node["region"]: node["protocol"] for node in cluster.json("node", "list", region=region)["nodes"]}


def test_nodes_are_upgraded_one_by_one_under_load_and_one_goes_back_meanwhile(upgrading, show):
    cluster, versions = upgrading
    tables = [cluster.make_table(f"kept-{policy}", policy) for policy in POLICIES]

    def restart(region, binary, protocol):
        versions.use(binary)
        cluster.order("stop", region)
        cluster.order("start", region)
        wait_until(f"{region} speaks {protocol}", lambda: protocols(cluster, region)[region] == protocol)
        cluster.settle()
        written = time.monotonic()
        wait_until("writes go through every region to every table", lambda: load.recovered(written) is not None)

    def level(region):
        return cluster.json("status", region=region)["system"]["level"]

    began = time.monotonic()
    with Load(cluster, tables, REGIONS) as load:
        wait_until("the load runs on every path", lambda: load.recovered(0.0) is not None)
        first, second = SURVIVORS
        restart(first, BINARY, 2)
        restart(first, OLDEST, 1)
        restart(first, BINARY, 2)
        restart(second, BINARY, 2)
        assert protocols(cluster, first) == {PRIMARY: 1, first: 2, second: 2}
        assert level(first) == level(second) == 1, "a node that does not know the next level is in the cluster"
        # Two versions, and the region that leads is lost.
        killed = time.monotonic()
        cluster.order("kill", PRIMARY)
        survivors = [path for path in load.paths if path[1] in SURVIVORS]

        def recovered():
            firsts = [next((end for begin, end in load.successes[path] if begin >= killed), None) for path in survivors]
            return max(firsts) - killed if all(firsts) else None

        took = wait_until("the others serve", recovered)
        versions.use(OLDEST)
        cluster.order("start", PRIMARY)
        cluster.settle()
        restart(PRIMARY, BINARY, 2)
        wait_until("the cluster is at level 2", lambda: all(level(region) == 2 for region in REGIONS))
    show(f"{load.count()} acknowledged writes; region of the old version lost: the new ones wrote after {took:.1f} s")

    versioned = [cluster.folder / "nodes" / node["id"] / "data/VERSION" for node in cluster.nodes().values()]
    assert {file.read_text() for file in versioned} == {"meridian-store 2\n"}
    # There is no way back from here, and the old version says so.
    versions.use(OLDEST)
    cluster.order("stop", first)
    try:
        cluster.order("start", first)
    except urllib.error.HTTPError:
        pass
    log = cluster.folder / "logs" / f"{cluster.nodes()[first]['id']}.log"
    wait_until("the old version refuses", lambda: "unknown store format" in log.read_text(errors="replace"))
    versions.use(BINARY)
    cluster.order("start", first)
    cluster.settle()
    for table in tables:
        for region in REGIONS:
            assert cluster.missing(table, load.acknowledged[table], region) == [], (table, region)
    show(f"the whole upgrade, twice forth and once back: {time.monotonic() - began:.0f} s")
