"""A development cluster as a person has it: the shipped binary, started, ordered about and stopped from outside."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).parents[2]
BINARY = os.environ.get("MERIDIAN_BIN", str(ROOT / "target/debug/meridian"))
REGIONS = ["us-east-1", "eu-west-1", "ap-southeast-1"]
PRIMARY, *SURVIVORS = REGIONS
POLICIES = ["active-passive-sync", "active-passive-semi-sync", "active-passive-async", "read-local"]
ACTIVE_POLICIES = ["active-active-lww", "active-active-merge", "active-active-crdt"]
# Those of which no acknowledged write may be lost with a region.
SAFE_POLICIES = ["active-passive-sync", "active-passive-semi-sync", "read-local"]
# What a client sees while a region is away: answers that say "retry", and silence.
UNAVAILABLE = (ClientError, BotoCoreError)

# How long anything may take before a test gives up. Not a goal: see `asserted`.
PATIENCE = 90.0


def error_code(error) -> str:
    """What a failed call is called."""
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__


def asserted() -> bool:
    """Whether figures are judged, not only printed: on a machine that has nothing else to do."""
    return os.environ.get("MERIDIAN_ASSERT_LATENCY") == "1"


def meridian(*arguments, timeout=180, binary=BINARY, **options) -> subprocess.CompletedProcess:
    """Runs the binary to its end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MERIDIAN_")}
    return subprocess.run(
        [str(binary), *map(str, arguments)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )


def wait_until(what: str, condition, patience=PATIENCE):
    """Waits for a condition to give something true, and hands that back."""
    deadline = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {patience} s: {what}"
        time.sleep(0.1)


def free_base_port(regions=3) -> int:
    """A base port whose ports are all free, from 20000 on; tests that run side by side look in ranges of their own."""

    def free(port: int) -> bool:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
            return True

    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    start = 20_000 + worker % 4 * 3_000
    for base in range(start, start + 3_000, 400):
        if all(free(base + 100 * region + port) for region in range(regions) for port in range(6)):
            return base
    raise AssertionError(f"no range of free ports from {start} on")


class Cluster:
    """One cluster and its folder."""

    def __init__(self, folder: Path, wan="none", options=(), binary=BINARY):
        self.folder = folder
        self.binary = binary
        self.wan = wan
        self.options = list(options)
        self.base_port = free_base_port()
        self.clients = {}

    # Life and death

    def start(self, *options, check=True) -> subprocess.CompletedProcess:
        done = meridian(
            "dev", "--detach", "--dir", self.folder, "--base-port", self.base_port, "--wan", self.wan,
            *self.options, *options, binary=self.binary,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
            self.clients.clear()
        return done

    def stop(self) -> subprocess.CompletedProcess:
        return meridian("dev", "stop", "--dir", self.folder)

    def kill_everything(self):
        """A power cut: the supervisor and every node at once."""
        pids = [self.file["supervisor"]["pid"], *self.pids()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until("all processes are gone", lambda: not any(alive(pid) for pid in pids))

    # What is written down about it

    @property
    def file(self) -> dict:
        return json.loads((self.folder / "cluster.json").read_text())

    def nodes(self) -> dict:
        return {region["name"]: region["nodes"][0] for region in self.file["regions"]}

    def pids(self) -> list:
        return [node["pid"] for node in self.nodes().values() if node["pid"]]

    def panics(self) -> list:
        """Lines of any log that speak of a panic."""
        logs = sorted(self.folder.glob("logs/*.log")) + sorted(self.folder.glob("*.log"))
        lines = ((log.name, line) for log in logs for line in log.read_text(errors="replace").splitlines())
        return [f"{name}: {line}" for name, line in lines if "panicked" in line]

    # Talking to it

    def client(self, region=PRIMARY, key=None, timeout=15, once=False):
        """A DynamoDB client that retries as the SDK does, or with `once` shows what a single request meets."""
        name = (region, key, timeout, once)
        if name not in self.clients:
            cluster = self.file
            node = next(entry for entry in cluster["regions"] if entry["name"] == region)["nodes"][0]
            secret = cluster["credentials"]
            own = key or (secret["access_key_id"], secret["secret_access_key"])
            self.clients[name] = boto3.client(
                "dynamodb",
                endpoint_url=node["dynamodb"],
                region_name=region,
                aws_access_key_id=own[0],
                aws_secret_access_key=own[1],
                config=Config(
                    retries={"mode": "standard", "total_max_attempts": 1 if once else 10},
                    connect_timeout=timeout,
                    read_timeout=timeout,
                    max_pool_connections=32,
                ),
            )
        return self.clients[name]

    def admin(self, region=PRIMARY) -> str:
        return self.nodes()[region]["admin"]

    def ask(self, what: str, region=PRIMARY) -> dict:
        with urllib.request.urlopen(f"{self.admin(region)}/v1/{what}", timeout=10) as answer:
            return json.load(answer)

    def cli(self, *arguments, region=PRIMARY, **options) -> subprocess.CompletedProcess:
        return meridian(*arguments, "--endpoint", self.admin(region), **options)

    def json(self, *arguments, region=PRIMARY) -> dict:
        done = self.cli(*arguments, "--output", "json", region=region)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def order(self, order: str, region: str) -> dict:
        """Has the supervisor `kill`, `start`, `freeze`, `thaw` or `stop` a region."""
        url = f"{self.file['supervisor']['control']}/v1/regions/{region}/{order}"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=PATIENCE) as answer:
            return json.load(answer)

    def link(self, **order) -> dict:
        """Has the supervisor block, slow or heal the links between regions."""
        return self.control("links", order)

    def links(self) -> dict:
        """The ordered pairs of regions between which nothing passes, and those between which it is slowed."""
        with urllib.request.urlopen(f"{self.file['supervisor']['control']}/v1/links", timeout=PATIENCE) as answer:
            found = json.load(answer)
        return {key: found[key] for key in ("blocked", "delayed")}

    def pretend(self, node: str, **pretence) -> dict:
        """Has a node take something for true."""
        return self.control(f"nodes/{node}/pretence", pretence)

    def control(self, path: str, order: dict) -> dict:
        url = f"{self.file['supervisor']['control']}/v1/{path}"
        request = urllib.request.Request(url, method="POST", data=json.dumps(order).encode())
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    # Waiting for it

    def unready(self) -> str:
        """What keeps the cluster from serving all of its groups, as every region sees it."""
        for region in self.nodes():
            try:
                status, policies = self.ask("status", region), self.ask("policies", region)["policies"]
            except (OSError, urllib.error.URLError) as error:
                return f"{region}: {error}"
            sick = [entry["name"] for entry in status["regions"] if entry["health"] != "healthy"]
            if sick:
                return f"{region} sees {sick} not healthy"
            # Groups of such a policy stay wherever a failover of any test has brought them.
            steady = [policy["name"] for policy in policies if policy.get("failback") == "manual"]
            groups = status["groups"]
            home = [
                group["leader_region"] == group.get("origin", PRIMARY)
                or group["leader_region"] and group["policy"] in steady
                for group in groups
            ]
            astray = [group["id"] for group, at_home in zip(groups, home) if not at_home]
            if astray or not groups:
                return f"{region} sees groups {astray} of {len(groups)} not led from where they should"
        return ""

    def settle(self, patience=PATIENCE):
        """Waits until every region is healthy and leads what it should."""
        deadline = time.monotonic() + patience
        while found := self.unready():
            assert time.monotonic() < deadline, f"not ready within {patience} s: {found}"
            time.sleep(0.2)

    # Policies and tables

    def make_policy(
        self, name: str, replication: str, *options, regions=tuple(REGIONS), pattern="active-passive"
    ) -> str:
        made = self.cli(
            "policy", "create", name, "--pattern", pattern, "--replication", replication,
            "--regions", ",".join(regions), *options,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        return name

    def make_table(self, name: str, policy: str, sort_key=None, region=PRIMARY):
        client = self.client(region)
        keys = [("pk", "HASH", "S")] + ([(sort_key, "RANGE", "N")] if sort_key else [])
        client.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": key, "KeyType": role} for key, role, _ in keys],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, _, kind in keys],
            BillingMode="PAY_PER_REQUEST",
            Tags=[{"Key": "meridian:policy", "Value": policy}],
        )
        for other in self.nodes():
            wait_until(f"table {name} is active in {other}", lambda other=other: self.active(name, other))
        return name

    def active(self, name: str, region: str) -> bool:
        try:
            table = self.client(region).describe_table(TableName=name)["Table"]
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ResourceNotFoundException", error
            return False
        return table["TableStatus"] == "ACTIVE"

    def missing(self, table: str, keys, region: str) -> list:
        """Those of the keys that a consistent read through a region does not find."""
        client, missing, keys = self.client(region, timeout=60), [], sorted(keys)
        for start in range(0, len(keys), 100):
            chunk = keys[start : start + 100]
            found, wanted = set(), [{"pk": {"S": key}} for key in chunk]
            deadline = time.monotonic() + PATIENCE
            while wanted:
                assert time.monotonic() < deadline, f"{table} through {region}: keys stay unprocessed"
                answer = client.batch_get_item(RequestItems={table: {"Keys": wanted, "ConsistentRead": True}})
                found.update(item["pk"]["S"] for item in answer["Responses"].get(table, []))
                wanted = answer["UnprocessedKeys"].get(table, {}).get("Keys", [])
            missing += [key for key in chunk if key not in found]
        return missing


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def running(folder, **options):
    """The body of a fixture: a cluster of its own, stopped in the end, in whose logs nobody panicked."""
    cluster = Cluster(folder / "dev", **options)
    try:
        cluster.start("--fresh")
        cluster.settle()
        yield cluster
    finally:
        stopped = cluster.stop()
        panics = cluster.panics()
    assert stopped.returncode == 0, stopped.stderr
    assert not panics, "\n".join(panics)
