"""A cluster over a real network: each region in a network namespace of its own, joined by veth pairs and a bridge in one more.

Nothing of it touches the machine's own network. What the network does wrong is done by the kernel: packets are dropped by iptables, and
delayed by `tc netem`. Where the kernel does not have that, the regions are joined by TUN devices and a process that takes its time.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import boto3
import delay
from botocore.config import Config
from cluster import BINARY, PRIMARY, REGIONS, UNAVAILABLE, meridian, wait_until

CLONE_NEWNET = 0x40000000
KEY = ("AKIANAMESPACES000001", "0123456789abcdefghijABCDEFGHIJ0123456789")


def missing() -> str:
    """What keeps namespaces from being made here, in words; empty when nothing does."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    lacking = [tool for tool in ("ip", "tc", "iptables") if not shutil.which(tool)]
    if lacking:
        return f"{', '.join(lacking)} is missing; on Debian: apt install iproute2 iptables"
    probe = f"mprobe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return f"namespaces cannot be made: {made.stderr.strip()}"
    dropped = run_in(probe, "iptables", "-A", "INPUT", "-m", "statistic", "--mode", "random", "--probability", "0.1", "-j", "DROP", check=False)  # fmt: skip
    run("ip", "netns", "del", probe)
    return "" if dropped.returncode == 0 else f"iptables cannot drop packets: {dropped.stderr.strip()}"


def run(*command, check=True) -> subprocess.CompletedProcess:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.stderr}"
    return done


def run_in(namespace, *command, check=True) -> subprocess.CompletedProcess:
    return run("ip", "netns", "exec", namespace, *command, check=check)


def enter(namespace):
    """Moves the calling thread into a namespace: sockets that it opens from then on are there."""
    with open(f"/var/run/netns/{namespace}", "rb") as handle:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")


class Inside:
    """Calls things in a namespace, on a thread of its own."""

    def __init__(self, namespace):
        self.namespace = namespace

    def __call__(self, what):
        result = {}

        def body():
            enter(self.namespace)
            try:
                result["is"] = what()
            except BaseException as error:  # noqa: BLE001: handed on below
                result["error"] = error

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if "error" in result:
            raise result["error"]
        return result["is"]


class Network:
    """Regions in namespaces. A node answers its API inside of its own one."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.hub = f"m{os.getpid()}hub"
        self.spaces = {region: f"m{os.getpid()}r{number}" for number, region in enumerate(REGIONS, 1)}
        self.processes, self.delayed, self.relay = {}, None, None

    def address(self, region) -> str:
        return f"10.77.0.{REGIONS.index(region) + 1}"

    def make(self, delay_ms):
        for space in self.spaces.values():
            run("ip", "netns", "add", space)
            run_in(space, "ip", "link", "set", "lo", "up")
        # Half of the round trip on each way.
        probe = run_in(self.spaces[PRIMARY], "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms", check=False)  # fmt: skip
        if probe.returncode == 0:
            run_in(self.spaces[PRIMARY], "tc", "qdisc", "del", "dev", "lo", "root")
            self.make_bridge(f"{delay_ms / 2}ms")
            self.delayed = "netem"
        else:
            self.make_relay(delay_ms / 2000)
            self.delayed = "a relay between TUN devices"
        for region, space in self.spaces.items():
            run_in(space, "ip", "address", "add", f"{self.address(region)}/24", "dev", "wan")
            run_in(space, "ip", "link", "set", "wan", "up")

    def make_bridge(self, delay):
        run("ip", "netns", "add", self.hub)
        run_in(self.hub, "ip", "link", "add", "name", "wans", "type", "bridge")
        run_in(self.hub, "ip", "link", "set", "wans", "up")
        for number, space in enumerate(self.spaces.values(), 1):
            run("ip", "link", "add", "wan", "netns", space, "type", "veth", "peer", "name", f"port{number}", "netns", self.hub)  # fmt: skip
            run_in(self.hub, "ip", "link", "set", f"port{number}", "master", "wans", "up")
            run_in(space, "tc", "qdisc", "add", "dev", "wan", "root", "netem", "delay", delay)

    def make_relay(self, seconds):
        devices = {region: self.inside(region)(lambda: delay.device("wan")) for region in REGIONS}
        ends = [f"{self.address(region)}={descriptor}" for region, descriptor in devices.items()]
        command = [sys.executable, delay.__file__, str(seconds), *ends]
        self.relay = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=devices.values())
        for descriptor in devices.values():
            os.close(descriptor)

    def found(self, listen=lambda region: "", sections=lambda region: ""):
        """Starts a node a region; `listen` and `sections` are added to its configuration."""
        certificates = self.folder / "certs"
        ids = {region: f"node-{number}" for number, region in enumerate(REGIONS, 1)}
        for command in (["ca"], *(["node", node] for node in ids.values())):
            done = meridian("cert", *command, "--dir", certificates)
            assert done.returncode == 0, done.stderr
        bootstrap = self.folder / "bootstrap.toml"
        bootstrap.write_text(f'access_key_id = "{KEY[0]}"\nsecret_access_key = "{KEY[1]}"\n')
        bootstrap.chmod(0o600)
        nodes = "".join(
            f'[[cluster.nodes]]\nid = "{ids[region]}"\nnumber = {number}\nregion = "{region}"\nzone = "a"\npeer = "{self.address(region)}:8005"\n'
            for number, region in enumerate(REGIONS, 1)
        )
        for number, region in enumerate(REGIONS, 1):
            (self.folder / f"{region}.toml").write_text(f"""
[node]
id = "{ids[region]}"
number = {number}
region = "{region}"
zone = "a"
data_dir = "{self.folder / region}"
[listen]
dynamodb = "127.0.0.1:8000"
admin = "127.0.0.1:8001"
peer = "{self.address(region)}:8005"
{listen(region)}
[tls]
ca = "{certificates / "ca.pem"}"
cert = "{certificates / ids[region]}.pem"
key = "{certificates / ids[region]}-key.pem"
[cluster]
name = "namespaces"
{nodes}
[auth]
bootstrap_credentials = "{bootstrap}"
{sections(region)}
""")
            self.start(region)
        wait_until("every node is ready", lambda: all(self.health(region).get("ready") for region in REGIONS))

    def start(self, region):
        log = (self.folder / f"{region}.log").open("ab")
        command = ["ip", "netns", "exec", self.spaces[region], BINARY, "node", "--config", str(self.folder / f"{region}.toml")]  # fmt: skip
        self.processes[region] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def admin(self, region, path) -> dict:
        done = run_in(self.spaces[region], "curl", "-s", "-m", "5", f"http://127.0.0.1:8001/v1/{path}", check=False)
        return json.loads(done.stdout) if done.stdout else {}

    def health(self, region) -> dict:
        return self.admin(region, "health")

    def is_led_from(self, region) -> bool:
        groups = self.admin(region, "status").get("groups", [])
        return bool(groups) and all(
            group["leader_region"] == group.get("origin", region) for group in groups if group["id"]
        )

    def client(self, region):
        """A DynamoDB client; to be used on a thread that has entered the region."""
        return boto3.session.Session().client(
            "dynamodb",
            endpoint_url="http://127.0.0.1:8000",
            region_name=region,
            aws_access_key_id=KEY[0],
            aws_secret_access_key=KEY[1],
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=8),
        )

    def inside(self, region) -> Inside:
        return Inside(self.spaces[region])

    # What goes wrong

    def drop(self, region, *directions, probability=None):
        """Has the kernel drop what comes in or goes out of a region, all of it or some."""
        chance = ["-m", "statistic", "--mode", "random", "--probability", str(probability)] if probability else []
        for chain in directions:
            run_in(self.spaces[region], "iptables", "-A", chain, "-i" if chain == "INPUT" else "-o", "wan", *chance, "-j", "DROP")  # fmt: skip

    def heal(self):
        for space in self.spaces.values():
            run_in(space, "iptables", "-F")

    def end(self) -> list:
        """Stops everything and hands back what went wrong in it."""
        early = [f"{region} ended with {process.poll()}" for region, process in self.processes.items() if process.poll() is not None]  # fmt: skip
        for process in self.processes.values():
            process.terminate()
        for region, process in self.processes.items():
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                early.append(f"{region} did not stop")
                process.kill()
        if self.relay:
            if self.relay.poll() is not None:
                early.append(f"the relay ended with {self.relay.returncode}")
            self.relay.kill()
            self.relay.wait()
        for space in [*self.spaces.values(), self.hub]:
            run("ip", "netns", "del", space, check=False)
        logs = (line for log in self.folder.glob("*.log") for line in log.read_text(errors="replace").splitlines())
        return early + [line for line in logs if "panicked" in line]


class Writer(threading.Thread):
    """Puts one new item after the other through a region's node, and notes when which was acknowledged."""

    def __init__(self, network, region, table):
        super().__init__(daemon=True)
        self.network, self.region, self.table = network, region, table
        self.acknowledged, self.ending, self.failed = {}, threading.Event(), None

    def run(self):
        try:
            enter(self.network.spaces[self.region])
            client, number = self.network.client(self.region), 0
            while not self.ending.is_set():
                number += 1
                key, began = f"{self.region}-{number}", time.monotonic()
                try:
                    client.put_item(TableName=self.table, Item={"pk": {"S": key}})
                    self.acknowledged[key] = (began, time.monotonic())
                except UNAVAILABLE:
                    pass
                time.sleep(0.05)
        except BaseException as error:  # noqa: BLE001: handed on by `end`
            self.failed = error

    def first_after(self, moment):
        """When the first write that began after a moment was acknowledged; `None` when none was yet."""
        return min((ended for began, ended in list(self.acknowledged.values()) if began > moment), default=None)

    def end(self) -> set:
        self.ending.set()
        self.join(timeout=20)
        assert not self.is_alive(), f"the writer in {self.region} hangs"
        if self.failed:
            raise self.failed
        return set(self.acknowledged)


def make_table(network, name, policy):
    def make():
        network.client(PRIMARY).create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            Tags=[{"Key": "meridian:policy", "Value": policy}],
        )

    network.inside(PRIMARY)(make)
    for region in REGIONS:

        def active(region=region):
            try:
                found = network.client(region).describe_table(TableName=name)
            except UNAVAILABLE:
                return False
            return found["Table"]["TableStatus"] == "ACTIVE"

        wait_until(f"{name} is active in {region}", lambda: network.inside(region)(active))  # noqa: B023
    return name
