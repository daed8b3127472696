"""The command line on a live cluster: exit codes, and the shapes of JSON that scripts rely on."""

import json

from cluster import ACTIVE_POLICIES, POLICIES, REGIONS, Cluster, alive, free_base_port, meridian, wait_until


def test_exit_codes(lan):
    assert lan.cli("status").returncode == 0
    failed = lan.cli("table", "describe", "no-such-table")
    assert failed.returncode == 1
    assert "no-such-table does not exist" in failed.stderr
    usage = lan.cli("table", "create", "orders", "--key", "pk")
    assert usage.returncode == 2
    assert "write NAME:TYPE" in usage.stderr
    # 3, an objective that was missed, is in test_region_freeze.
    unreachable = meridian("status", "--endpoint", f"http://127.0.0.1:{free_base_port()}")
    assert unreachable.returncode == 4
    assert "is the node running" in unreachable.stderr


def test_status(lan):
    for region in REGIONS:
        status = lan.json("status", region=region)
        assert status["cluster"] == "dev"
        assert status["system"]["leader"] and status["system"]["term"] >= 1
        assert [entry["name"] for entry in status["regions"]] == REGIONS
        for entry in status["regions"]:
            assert entry["health"] == "healthy"
            assert [set(node) for node in entry["nodes"]] == [{"id", "zone", "health"}]
        fields = {
            "id", "policy", "incarnation", "leader", "leader_region", "lease_ms", "voters", "learners",
            "committed", "answerable", "replicas",
        }  # fmt: skip
        for group in status["groups"]:
            assert fields <= set(group)
            assert group["policy"] in POLICIES + ACTIVE_POLICIES
            assert 0 <= group["answerable"] <= group["committed"], group
            for replica in group["replicas"]:
                assert {"node", "applied", "lag_entries", "lag_ms"} <= set(replica)
        assert {policy["name"] for policy in status["policies"]} >= {*POLICIES, *ACTIVE_POLICIES}
        for policy in status["policies"]:
            assert {"name", "pattern", "replication", "regions", "tables", "groups"} <= set(policy)
    people = lan.cli("status")
    assert "\x1b" not in people.stdout and REGIONS[2] in people.stdout


def test_voters_and_learners_are_those_of_the_policy(lan):
    for group in lan.json("status")["groups"]:
        voters = {voter.removesuffix("-a-0") for voter in group["voters"]}
        learners = {learner.removesuffix("-a-0") for learner in group["learners"]}
        alone = group.get("origin") or (group["policy"] == "active-passive-async" and REGIONS[0])
        if alone:
            assert (voters, learners) == ({alone}, set(REGIONS) - {alone})
        else:
            assert (voters, learners) == (set(REGIONS), set())


def test_tables_and_policies(lan):
    made = lan.json("table", "create", "by-hand", "--key", "pk:S,sk:N", "--policy", "read-local")
    assert {"name": "by-hand", "key": "pk:S,sk:N", "policy": "read-local"}.items() <= made.items()
    assert lan.json("table", "describe", "by-hand", region=REGIONS[1]) == made
    assert made in lan.json("table", "list")["tables"]
    again = lan.cli("table", "create", "by-hand", "--key", "pk:S")
    assert again.returncode == 1 and "already exists" in again.stderr
    assert lan.cli("table", "create", "astray", "--key", "pk:S", "--policy", "no-such-policy").returncode != 0
    wait_until("the table is active", lambda: lan.active("by-hand", REGIONS[0]))
    assert lan.cli("table", "delete", "by-hand").returncode == 0
    wait_until("the table is gone", lambda: "by-hand" not in lan.client().list_tables()["TableNames"])

    own = lan.json(
        "policy", "create", "own", "--pattern", "active-passive", "--replication", "semi-sync",
        "--regions", ",".join(REGIONS), "--primary", REGIONS[0], "--groups", "1",
    )  # fmt: skip
    assert (own["name"], own["primary"], own["groups"]) == ("own", [REGIONS[0]], 1)
    assert own in lan.json("policy", "list", region=REGIONS[2])["policies"]
    refused = lan.cli(
        "policy", "create", "weak", "--pattern", "active-passive", "--replication", "sync",
        "--regions", ",".join(REGIONS[:2]),
    )  # fmt: skip
    assert refused.returncode in (1, 2) and "witness" in refused.stderr
    lan.settle()
    lan.make_table("of-own-policy", "own")
    lan.client(REGIONS[1]).put_item(TableName="of-own-policy", Item={"pk": {"S": "a"}})
    assert lan.missing("of-own-policy", ["a"], REGIONS[2]) == []


def test_a_second_cluster_on_the_same_ports_is_refused(lan, tmp_path):
    other = Cluster(tmp_path / "other")
    other.base_port = lan.base_port
    done = other.start(check=False)
    assert done.returncode == 1
    assert f"port {lan.base_port} " in done.stderr and "--base-port" in done.stderr
    again = lan.start(check=False)
    assert again.returncode == 1 and "already running" in again.stderr
    lan.settle()


def test_stop_ends_every_process(tmp_path):
    cluster = Cluster(tmp_path / "dev", options=["--regions", REGIONS[0]])
    cluster.start("--fresh")
    pids = [cluster.file["supervisor"]["pid"], *cluster.pids()]
    stopped = cluster.stop()
    assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
    assert not any(alive(pid) for pid in pids)
    assert not (cluster.folder / "cluster.json").exists()
    assert cluster.panics() == []
    assert cluster.stop().returncode == 4


def test_the_printed_json_is_the_file(tmp_path):
    cluster = Cluster(tmp_path / "dev", options=["--regions", REGIONS[0]])
    try:
        done = cluster.start("--fresh", "--output", "json")
        assert json.loads(done.stdout) == cluster.file
        node = cluster.file["regions"][0]["nodes"][0]
        assert node["dynamodb"] == f"http://127.0.0.1:{cluster.base_port}"
        assert node["admin"] == f"http://127.0.0.1:{cluster.base_port + 1}"
    finally:
        cluster.stop()
