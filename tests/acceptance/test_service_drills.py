"""The sample application behind edge and DNS, and drills that lose one process of it, or a region."""

import json
import subprocess
import threading
import time
import urllib.request
from itertools import pairwise

import pytest
from cluster import PRIMARY, REGIONS, SURVIVORS, asserted, meridian, running, wait_until
from edge_backends import Client
from load import Background, Load
from test_edge import NETWORKS, edge

HOST = "demo.example.com"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    for cluster in running(tmp_path_factory.mktemp("service"), wan="20ms"):
        started = meridian("service", "demo", "--host", HOST, "--dir", cluster.folder, "--endpoint", endpoint(cluster), "--output", "json")  # fmt: skip
        assert started.returncode == 0, started.stderr
        assert [app["region"] for app in json.loads(started.stdout)["apps"]] == sorted(REGIONS)

        def healthy():
            done = meridian("service", "status", "demo", "--endpoint", endpoint(cluster), "--output", "json")
            places = json.loads(done.stdout)["services"][0]["regions"]
            return all(place["verdict"] == "healthy" for place in places)

        wait_until("the application is healthy everywhere", healthy, patience=30)
        for region in cluster.file["regions"]:
            edge = region["nodes"][0]["edge"]
            wait_until(f"{edge} is open", lambda edge=edge: curl(edge + "/healthz", check=False) == "ok\n", patience=30)
        yield cluster


def endpoint(cluster) -> str:
    return cluster.file["regions"][0]["nodes"][0]["admin"]


def curl(*words, check=True) -> str:
    done = subprocess.run(["curl", "-sS", "-m", "10", "-H", f"Host: {HOST}", *words], capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout


def test_a_note_that_is_written_through_one_edge_is_read_through_all_of_them_at_once(cluster, tmp_path):
    edges = [region["nodes"][0]["edge"] for region in cluster.file["regions"]]
    for number in range(20):
        jar, text = tmp_path / "jar", f"hello {number}"
        written = json.loads(curl("-c", jar, "-X", "PUT", "-d", text, f"{edges[number % 3]}/notes/a"))
        assert written["region"] == REGIONS[number % 3]
        # The token alone, so that the reads go to each edge's own region.
        cookies = [line for line in jar.read_text().splitlines() if "meridian_region" not in line]
        jar.write_text("\n".join(cookies) + "\n")
        for edge in edges:
            assert json.loads(curl("-b", jar, f"{edge}/notes/a"))["text"] == text


def drill(cluster, name, region, *options):
    done = meridian("drill", name, "--region", region, "--dir", cluster.folder, "--output", "json", *options)
    assert done.returncode in ((0,) if asserted() else (0, 3)), f"{done.stdout}\n{done.stderr}"
    report = json.loads(done.stdout)
    assert report["measured"]["lost_writes"] == 0
    return report


def test_one_process_down_is_left_by_dns_and_never_seen_through_an_edge(cluster, show):
    report = drill(cluster, "service-down", REGIONS[1], "--for", "10s")
    service = report["measured"]["service"]
    show(f"service-down: {report['measured']['rto_by_path']}, edge {service['edge']}")
    assert service["edge"]["requests"] > 1000
    assert service["edge"]["failed"] == 0, "a safe request goes on in another region"
    assert service["dns"]["failed"] > 0, "the resolvers that had it keep an answer for its time to live"
    assert report["measured"]["rto_by_path"]["dns"] is not None
    with urllib.request.urlopen(f"{cluster.file['supervisor']['control']}/v1/apps", timeout=10) as answer:
        assert all(app["pid"] for app in json.load(answer)["apps"]), "it was started again"


def test_a_region_that_dies_is_not_seen_through_a_surviving_edge(cluster, show):
    report = drill(cluster, "region-kill", PRIMARY, "--service", "demo", "--edge-rate", "500", "--for", "12s")
    service, ways = report["measured"]["service"], report["measured"]["rto_by_path"]
    show(f"region-kill: {ways}, edge {service['edge']}")
    assert service["edge"]["failed"] == 0
    assert service["edge"]["requests"] > 5_000, "that is no 500 a second"
    assert all(ways[way] is not None for way in ("api", "edge", "dns"))
    if asserted():
        assert service["edge"]["slowest_s"] < 2.0


def test_mistakes_are_named_with_the_fix(cluster):
    for command, part in [
        (("service-down", "--service", "other"), "only the processes of the sample application"),
        (("region-kill", "--service", "nowhere"), "there are: demo"),
    ]:
        done = meridian("drill", *command, "--region", PRIMARY, "--dir", cluster.folder)
        assert done.returncode == 2 and part in done.stderr, done.stderr


class Putters(Background):
    """Users of one edge that put notes all the time, and remember what was refused and when."""

    def __init__(self, edge, count, near):
        super().__init__()
        self.edge, self.near, self.regions, self.done_at, self.refused = edge, near, set(), [], []
        self.threads = [threading.Thread(target=self.run, args=(number,), daemon=True) for number in range(count)]

    def run(self, number):
        client = Client(self.edge, HOST)
        while not self.done.is_set():
            try:
                got = client("PUT", f"/notes/{number}", b"text", x_forwarded_for=self.near)
                status = got.status
            except OSError as error:
                client, status = Client(self.edge, HOST), repr(error)
            if status == 200:
                self.regions.add(got.json["region"])
                self.done_at.append(time.monotonic())
            else:
                self.refused.append((time.monotonic(), status))
            self.done.wait(0.02)


def test_writes_through_a_surviving_edge_are_refused_for_no_longer_than_the_data_path_is_down(cluster, show):
    table = cluster.make_table("beside-the-service", "active-passive-semi-sync")
    # The data path as its own clients see it, which the table of the application shares.
    data = Load(cluster, [table], SURVIVORS[:1])
    with data, Putters(edge(cluster, SURVIVORS[0]), 16, NETWORKS[PRIMARY]) as users:
        wait_until("users write", lambda: len(users.done_at) > 100)
        assert users.refused == [] and users.regions == {PRIMARY}
        killed = time.monotonic()
        cluster.order("kill", PRIMARY)
        wait_until("they write for a while", lambda: users.done_at[-1] > killed + 5, patience=30)
    cluster.order("start", PRIMARY)
    cluster.settle()
    down = max(later - earlier for (_, earlier), (_, later) in pairwise(data.successes[table, SURVIVORS[0]]))
    longest = max(later - earlier for earlier, later in pairwise(users.done_at))
    show(f"{len(users.done_at)} writes through an edge, longest pause {longest:.2f} s, refused {users.refused[:3]}; the data path's {down:.2f} s")
    assert all(status in (502, 503, 504) and at < killed + down + 1 for at, status in users.refused)
    assert longest < down + 1
