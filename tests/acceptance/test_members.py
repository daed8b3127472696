"""The nodes of a running cluster change by commands, under load: they join, leave, lose their disks and are replaced."""

import json
import shutil
import subprocess
import time
import urllib.request

import pytest
from cluster import BINARY, PRIMARY, REGIONS, Cluster, free_base_port, meridian, wait_until
from documents import blocks, clone, run
from load import Load

POLICY = "active-passive-semi-sync"
TABLE = "orders"


class Grown(Cluster):
    """A cluster that began with one node. Its table is the guide's."""

    def node_order(self, order: str, node: str):
        url = f"{self.file['supervisor']['control']}/v1/nodes/{node}/{order}"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60) as answer:
            return json.load(answer)

    def members(self) -> dict:
        return {node["id"]: node for node in self.json("node", "list")["nodes"]}

    def of_region(self, region: str) -> list:
        return [name for name, node in self.members().items() if node["region"] == region]

    def settled(self) -> bool:
        """Every group is where its policy wants it, led, and no replica lags."""
        groups = self.json("status")["groups"]
        lag = (replica["lag_entries"] for group in groups for replica in group["replicas"])
        return all(group["settled"] and group["leader"] for group in groups) and max(lag) < 64

    def whole(self) -> bool:
        return self.settled() and all(node["health"] == "healthy" for node in self.members().values())

    def log(self, node: str) -> str:
        return (self.folder / f"logs/{node}.log").read_text(errors="replace")

    def lost(self, load: Load) -> list:
        return self.missing(TABLE, load.acknowledged[TABLE], PRIMARY)


def bash_blocks(cluster, parts):
    start = f"meridian dev --base-port {cluster.base_port} "
    named = [(language, text.replace("meridian dev --detach", start + "--detach")) for language, text in parts]
    define = ("sh", 'meridian() { ./target/release/meridian "$@"; }\n')
    return run([define, *named], cluster.base_port, cluster.folder.parent)[1:]


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """Grown as the guide says, from one node over three zones to three regions, with a writer from the first moment."""
    folder = clone(tmp_path_factory.mktemp("grown"))
    cluster = Grown(folder / "meridian-dev")
    one, three_zones, new_regions, policy = blocks("docs/grow.md")[:4]
    began = time.monotonic()
    try:
        bash_blocks(cluster, [one])
        cluster.load = Load(cluster, [TABLE], [PRIMARY])
        with cluster.load:
            wait_until("the load runs", lambda: cluster.load.count() > 50)
            cluster.said = bash_blocks(cluster, [three_zones])
            wait_until("three zones vote", cluster.settled)
            cluster.zones = cluster.json("status")["groups"]
            cluster.said += bash_blocks(cluster, [new_regions, policy])
            time.sleep(0.5)
        cluster.took = time.monotonic() - began
        yield cluster
    finally:
        stopped = meridian("dev", "stop", "--dir", cluster.folder)
        panics = cluster.panics()
    assert stopped.returncode == 0, stopped.stderr
    assert not panics, "\n".join(panics)


@pytest.fixture
def whole(grown):
    wait_until("the cluster is whole", grown.whole)
    grown.clients.clear()
    return grown


def test_one_node_grows_to_three_regions_while_clients_write(grown, show):
    cluster = grown
    show(f"grown in {cluster.took:.1f} s under {cluster.load.count()} writes, errors {cluster.load.errors}")
    assert cluster.load.errors == {}, "growing refuses nothing"
    # Three zones of one region voted before there was another region.
    assert all(len(group["voters"]) == 3 for group in cluster.zones), cluster.zones
    groups = [group for group in cluster.json("status")["groups"] if group["policy"] == POLICY]
    homes = {node: entry["region"] for node, entry in cluster.members().items()}
    for group in groups:
        assert {homes[voter] for voter in group["voters"]} == set(REGIONS), group
    assert sorted(node["number"] for node in cluster.members().values()) == [1, 2, 3, 4, 5]
    assert cluster.lost(cluster.load) == []
    # What was written to one disk survives the region of that disk.
    cluster.order("kill", PRIMARY)
    try:
        survivor = REGIONS[1]
        keys = cluster.load.acknowledged[TABLE]
        wait_until("another region serves", lambda: cluster.json("status", region=survivor)["system"]["leader"])
        assert cluster.missing(TABLE, keys, survivor) == []
    finally:
        cluster.order("start", PRIMARY)


def test_a_node_leaves_under_load(whole, show):
    cluster, leaver = whole, whole.of_region(PRIMARY)[-1]
    with Load(cluster, [TABLE], REGIONS) as load:
        wait_until("the load runs on every path", lambda: load.recovered(0.0) is not None)
        left = cluster.cli("node", "leave", leaver, "--output", "json")
        assert left.returncode == 0, left.stderr
        show(f"left in {json.loads(left.stdout)['took_s']} s under {load.count()} writes, errors {load.errors}")
        assert leaver not in cluster.members()
        time.sleep(0.5)
    assert load.errors == {}, "leaving refuses nothing"
    assert cluster.lost(load) == []
    wait_until("its process has ended", lambda: "has left the cluster" in cluster.log(leaver))
    groups = cluster.json("status")["groups"]
    assert all(leaver not in group["voters"] + group["learners"] for group in groups)
    # Its number and its name are not used again.
    added = json.loads(
        meridian("dev", "add-node", "--region", PRIMARY, "--dir", cluster.folder, "--output", "json").stdout
    )["nodes"][0]
    assert added["id"] != leaver
    assert cluster.members()[added["id"]]["number"] == 6


def test_a_node_that_is_needed_is_kept(whole):
    (only,) = whole.of_region(REGIONS[2])
    refused = whole.cli("node", "leave", only)
    assert refused.returncode == 1
    assert "is needed" in refused.stderr and "add one there" in refused.stderr, refused.stderr
    assert whole.members()[only]["leaving"] is False
    absent = whole.cli("node", "leave", "nobody")
    assert absent.returncode == 1 and "node list" in absent.stderr
    well = whole.cli("node", "remove", only, "--lost")
    assert well.returncode == 1 and "node leave" in well.stderr


def test_a_wiped_disk_never_comes_back_under_its_number(whole, show):
    cluster, victim = whole, whole.of_region(PRIMARY)[1]
    with Load(cluster, [TABLE], [REGIONS[1]]) as load:
        wait_until("the load runs", lambda: load.count() > 20)
        cluster.node_order("kill", victim)
        shutil.rmtree(cluster.folder / f"nodes/{victim}/data")
        cluster.node_order("start", victim)
        wait_until("it was refused", lambda: "must not come back under the same number" in cluster.log(victim))
        exited = lambda: cluster.node_order("stop", victim)["nodes"][0]["pid"] is None  # noqa: E731
        wait_until("its process has ended", exited)
        # Its place is taken by a new node, then it is removed.
        wait_until("it is missed", lambda: cluster.members()[victim]["health"] == "lost")
        unsaid = cluster.cli("node", "leave", victim)
        assert unsaid.returncode == 1 and "--lost" in unsaid.stderr
        began = time.monotonic()
        removed = cluster.cli("node", "remove", victim, "--lost")
        assert removed.returncode == 0, removed.stderr
        show(f"a lost node was removed in {time.monotonic() - began:.1f} s under {load.count()} writes")
    assert cluster.lost(load) == []
    assert meridian("dev", "add-node", "--region", PRIMARY, "--dir", cluster.folder).returncode == 0
    assert victim not in cluster.members()


def test_nodes_are_restarted_one_at_a_time_without_a_lost_write(whole, show):
    cluster = whole
    with Load(cluster, [TABLE], REGIONS) as load:
        wait_until("the load runs on every path", lambda: load.recovered(0.0) is not None)
        for node in cluster.members():
            cluster.node_order("stop", node)
            cluster.node_order("start", node)
            wait_until(f"{node} is back", cluster.whole)
        time.sleep(0.5)
    show(f"rolled {len(cluster.members())} nodes under {load.count()} writes, errors {load.errors}")
    assert cluster.lost(load) == []
    assert {node["protocol"] for node in cluster.members().values()} == {2}


class Machines:
    """Nodes set up by hand, as on real machines, with certificates of their own."""

    def __init__(self, folder):
        self.folder, self.base, self.processes = folder, free_base_port(), {}
        self.certs = folder / "certs"
        assert meridian("cert", "ca", "--dir", self.certs).returncode == 0

    def ports(self, place: int) -> dict:
        first = self.base + 10 * place
        return {name: f"127.0.0.1:{first + n}" for n, name in enumerate(["dynamodb", "admin", "", "", "", "peer"])}

    def found(self, name: str):
        at, folder = self.ports(0), self.folder / name
        folder.mkdir()
        self.certify(name)
        listen = "".join(f'{what} = "127.0.0.1:{self.base + n}"\n' for n, what in enumerate(
            ["dynamodb", "admin", "redis", "edge", "dns", "peer"]))  # fmt: skip
        (folder / "node.toml").write_text(
            f'[node]\nid = "{name}"\nnumber = 1\nregion = "r"\nzone = "a"\ndata_dir = "data"\n'
            f'[listen]\n{listen}[tls]\nca = "{self.certs}/ca.pem"\ncert = "{self.certs}/{name}.pem"\n'
            f'key = "{self.certs}/{name}-key.pem"\n[cluster]\nname = "shop"\n'
            f'[[cluster.nodes]]\nid = "{name}"\nnumber = 1\nregion = "r"\nzone = "a"\npeer = "{at["peer"]}"\n'
        )
        self.run(name)

    def certify(self, name: str):
        assert meridian("cert", "node", name, "--dir", self.certs).returncode == 0

    def join(self, name: str, place: int, token: str):
        at = self.ports(place)
        return meridian(
            "node", "join", "--token", token, "--seed", self.ports(0)["admin"], "--name", name, "--peer", at["peer"],
            "--dir", self.folder / name, "--ca", self.certs / "ca.pem", "--cert", self.certs / f"{name}.pem",
            "--key", self.certs / f"{name}-key.pem", "--dynamodb", at["dynamodb"], "--admin", at["admin"],
        )  # fmt: skip

    def run(self, name: str):
        log = (self.folder / f"{name}.log").open("a")
        file = self.folder / name / "node.toml"
        self.processes[name] = subprocess.Popen([BINARY, "node", "--config", file], stdout=log, stderr=log)

    def cli(self, *arguments):
        return meridian(*arguments, "--endpoint", f"http://{self.ports(0)['admin']}")

    def members(self) -> dict:
        done = self.cli("node", "list", "--output", "json")
        return {node["id"]: node for node in json.loads(done.stdout)["nodes"]} if done.returncode == 0 else {}

    def token(self, *arguments) -> str:
        done = self.cli("node", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def test_tokens_and_certificates_let_machines_in(tmp_path):
    machines = Machines(tmp_path)
    try:
        machines.found("one")
        wait_until("the first node serves", lambda: machines.members().get("one", {}).get("protocol") == 2)
        for name in ("two", "three"):
            machines.certify(name)
        wrong = machines.join("two", 1, "meridian-join-guess")
        assert wrong.returncode == 1 and "is not known" in wrong.stderr, wrong.stderr
        expired = machines.token("token", "create", "--region", "r", "--zone", "b", "--ttl", "1s")
        time.sleep(1.1)
        late = machines.join("two", 1, expired)
        assert late.returncode == 1 and "has expired" in late.stderr, late.stderr
        token = machines.token("token", "create", "--region", "r", "--zone", "b")
        joined = machines.join("two", 1, token)
        assert joined.returncode == 0, joined.stderr
        used = machines.join("three", 2, token)
        assert used.returncode == 1 and "was used by node two" in used.stderr, used.stderr
        # With another's certificate its own number is of no use.
        config = tmp_path / "two/node.toml"
        honest = config.read_text()
        config.write_text(honest.replace("/two.pem", "/three.pem").replace("/two-key.pem", "/three-key.pem"))
        machines.run("two")
        log = tmp_path / "two.log"
        wait_until("it is refused", lambda: "the certificate is not for node two" in log.read_text())
        machines.processes["two"].kill()
        machines.processes["two"].wait()
        config.write_text(honest)
        machines.run("two")
        wait_until("it has replicas", lambda: machines.members()["two"]["replicas"])
        # Replaced: the new node joins as the old one leaves.
        replacement = machines.join("three", 2, machines.token("replace", "two"))
        assert replacement.returncode == 0, replacement.stderr
        machines.run("three")
        wait_until("the old one has left", lambda: "two" not in machines.members())
        assert machines.processes["two"].wait(30) == 0, "it was asked to leave, and did"
        assert {name: node["number"] for name, node in machines.members().items()} == {"one": 1, "three": 4}
        assert machines.members()["three"]["zone"] == "b"
        # A disk that is another node's is not taken up.
        machines.processes["three"].kill()
        machines.processes["three"].wait()
        shutil.rmtree(tmp_path / "three/data")
        shutil.move(tmp_path / "two/data", tmp_path / "three/data")
        machines.run("three")
        assert machines.processes["three"].wait(30) == 2
        assert "belongs to node 3" in (tmp_path / "three.log").read_text()
    finally:
        for process in machines.processes.values():
            process.kill()
            process.wait()
