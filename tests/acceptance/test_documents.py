"""The commands of the README and of the quick start do what they say, pasted as they stand. Only ports are adapted."""

import json
import re
import urllib.request

import pytest
from cluster import ROOT, Cluster, meridian, wait_until
from documents import block_with, blocks, clone, need_clients, run


def items(output: str) -> list:
    """The items that `aws dynamodb get-item` printed."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while (at := output.find("{", at)) >= 0:
        try:
            value, at = decoder.raw_decode(output, at)
        except json.JSONDecodeError:
            at += 1
            continue
        found += [value["Item"]] if "Item" in value else []
    return found


def short(parts) -> list:
    """The blocks with a drill that does not hold the fault for half a minute."""
    return [(language, re.sub(r"(drill \S+)", r"\1 --for 5s", text)) for language, text in parts]


def figures(report) -> dict:
    """A drill's figures. Whether they are good is for the tests of drills to say, not for those of words."""
    measured = json.loads(report.read_text())["measured"]
    assert measured["acknowledged_writes"] > 100, measured
    return {name: measured[name] for name in ("rto_s", "lost_writes", "duplicate_effects", "stale_reads")}


def test_the_readme(hurt, tmp_path, show):
    need_clients()
    folder = clone(tmp_path, hurt)
    parts = [block_with("README.md", words) for words in ("aws dynamodb put-item", "import boto3")]
    try:
        shell, python = run(parts, hurt.base_port, folder)
        assert items(shell) == [{"pk": {"S": "a"}, "total": {"N": "42"}}]
        status = shell[shell.index("cluster dev, system leader ") :]
        assert "active-passive-semi-sync" in status and "lost" not in status
        # Dictionaries have no order across the wire.
        assert eval(python, {"Decimal": int}) == {"pk": "b", "total": 7}  # noqa: S307

        # A busy machine may miss the objective of time: that is exit code 3, and no fault of the words.
        _, drill = block_with("README.md", "meridian drill")
        called = 'meridian() { ./target/release/meridian "$@"; }\n' + f"{drill.rstrip()} || [ $? -eq 3 ]\n"
        run(short([("sh", called)]), hurt.base_port, folder)
        show(f"the README's drill: {figures(folder / 'report/report.json')}")
    finally:
        hurt.cli("table", "delete", "orders")


def test_the_quick_start(tmp_path, show):
    need_clients()
    folder = clone(tmp_path)
    cluster = Cluster(folder / "meridian-dev")
    parts = short(blocks("docs/quick-start.md"))
    start = f"./target/release/meridian dev --base-port {cluster.base_port} "
    parts = [(language, text.replace("cargo run --release -- dev ", start)) for language, text in parts]
    try:
        started, written, added, lost, back, drilled, stopped = run(parts, cluster.base_port, folder)
    finally:
        meridian("dev", "stop", "--dir", cluster.folder)
    assert f"http://127.0.0.1:{cluster.base_port}" in started
    alice = {"pk": {"S": "alice"}, "balance": {"N": "100"}}
    assert items(written) == [alice]
    assert eval(added, {"Decimal": int}) == {"pk": "alice", "balance": 105}  # noqa: S307
    assert items(lost) == [{**alice, "balance": {"N": "105"}}]
    assert "us-east-1\tlost" in lost
    assert items(back) == [{"pk": {"S": "bob"}, "balance": {"N": "7"}}]
    assert "# Drill region-kill" in drilled
    show(f"the quick start's drill: {figures(folder / 'report/report.json')}")
    assert stopped == "stopped\n"
    assert cluster.panics() == []


def test_tokens_and_policies_as_documented(lan, tmp_path):
    need_clients()
    folder = clone(tmp_path, lan)
    language, keys = block_with("README.md", "export AWS_ACCESS_KEY_ID")
    # The credentials alone: the rest of that block is the README's own.
    keys = "".join(line for line in keys.splitlines(keepends=True) if line.startswith("export"))
    words = ["aws dynamodb create-table", "x-meridian-token", "aws dynamodb tag-resource"]
    parts = [(language, keys), *(block_with("docs/reference/dynamodb.md", word) for word in words)]
    try:
        assert run(parts, lan.base_port, folder)[2] == "{'pk': {'S': 'c1'}}\n"
        policy = "active-passive-semi-sync"
        wait_until("the table has moved", lambda: lan.json("table", "describe", "charges")["policy"] == policy)
    finally:
        lan.cli("table", "delete", "charges")


def test_a_table_moves_as_documented(lan, tmp_path):
    folder = clone(tmp_path, lan)
    lan.make_table("orders", "active-passive-semi-sync")
    called = 'meridian() { ./target/release/meridian "$@"; }\n'
    try:
        language, text = block_with("docs/operations.md", "meridian table move")
        [shown] = run([(language, called + text)], lan.base_port, folder)
        assert re.search(r"^orders\s+pk:S\s+active-passive-sync\s", shown, re.MULTILINE), shown
    finally:
        lan.cli("table", "delete", "orders")


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_every_metric_is_documented(lan, region):
    with urllib.request.urlopen(f"{lan.admin(region)}/metrics", timeout=10) as answer:
        names = set(re.findall(r"^# TYPE (\S+)", answer.read().decode(), flags=re.MULTILINE))
    page = (ROOT / "docs/reference/admin-api.md").read_text()
    assert names == set(re.findall(r"^\| `(meridian_\w+)`", page, flags=re.MULTILINE))
