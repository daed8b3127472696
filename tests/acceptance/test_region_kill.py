"""The primary region dies under load."""

import json
import time

from cluster import PRIMARY, REGIONS, SAFE_POLICIES, SURVIVORS, asserted, meridian, wait_until
from load import Load

# The goal is 3 s and the limit 5 s on a quiet machine; this bound is for one that is not.
BOUND = 20.0


def test_nothing_acknowledged_is_lost_and_writes_go_on(hurt, show):
    tables = [hurt.make_table(f"kill-{policy}", policy) for policy in SAFE_POLICIES]
    with Load(hurt, tables, REGIONS) as load:
        wait_until("the load runs on every path", lambda: load.recovered(0.0) is not None and load.count() > 200)
        before = load.count()
        hurt.order("kill", PRIMARY)
        killed = time.monotonic()
        # The killed region's own paths recover only with it.
        load.paths = [(table, region) for table in tables for region in SURVIVORS]
        took = wait_until("writes succeed again", lambda: load.recovered(killed))
        show(f"region-kill: writes through every surviving region again after {took:.2f} s (goal 3, limit 5)")
        time.sleep(1.0)
    show(f"region-kill: {before} writes acknowledged before, {load.count() - before} after; errors {load.errors}")
    for table in tables:
        for region in SURVIVORS:
            assert hurt.missing(table, load.acknowledged[table], region) == [], (table, region)

    hurt.order("start", PRIMARY)
    hurt.settle()
    for table in tables:
        assert hurt.missing(table, load.acknowledged[table], PRIMARY) == [], table
    assert took < (5.0 if asserted() else BOUND)


def test_the_drill_says_the_same(hurt, show, tmp_path):
    bound = "5s" if asserted() else f"{BOUND:.0f}s"
    done = meridian(
        "drill", "region-kill", "--region", PRIMARY, "--dir", hurt.folder, "--for", "15s",
        "--max-rto", bound, "--max-rpo", "0s", "--report", tmp_path / "report", "--output", "json",
    )  # fmt: skip
    # On a busy machine the time objective may be missed; what must hold there too is asserted figure by figure.
    assert done.returncode in ((0,) if asserted() else (0, 3)), f"{done.stdout}\n{done.stderr}"
    report = json.loads(done.stdout)
    measured = report["measured"]
    show(f"drill region-kill: rto {measured['rto_s']} s, rpo {measured['rpo_s']} s, {measured['requests']} requests")
    assert (report["drill"], report["region"]) == ("region-kill", PRIMARY)
    assert (report["verdict"] == "pass") == (done.returncode == 0)
    assert report["policy"] == "active-passive-semi-sync"
    assert report["objectives"] == {"rto_s": float(bound[:-1]), "rpo_s": 0.0}
    for figure in ("lost_writes", "duplicate_effects", "stale_reads", "rpo_s"):
        assert measured[figure] == 0, figure
    assert measured["acknowledged_writes"] > 0
    assert done.returncode == 3 or measured["rto_s"] > 0
    assert "rto_by_path" in measured and "detect_s" in measured
    assert any("fault injected" in entry["event"] for entry in report["timeline"])
    kinds = {file.suffix for file in (tmp_path / "report").rglob("*") if file.is_file()}
    assert {".json", ".md"} <= kinds
    hurt.settle()

    def left_behind():
        return [name for name in hurt.client().list_tables()["TableNames"] if "drill" in name]

    # A table that is being deleted is listed until its items are gone.
    wait_until("the drill's table is gone", lambda: not left_behind())
