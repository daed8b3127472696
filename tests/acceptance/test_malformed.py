"""The table of malformed requests, each with its exact answer, against a real node."""

import http.client
import json

import pytest
from cluster import REGIONS, ROOT, Cluster

CASES = ROOT / "crates/api/tests/data/malformed.json"
NESTED = '{"L":['


def filled(text: str) -> str:
    """Texts too long or too deep to be written down; the words are those of the table's own runner."""

    def nested(levels):
        return NESTED * levels + '{"NULL":true}' + "]}" * levels

    for word, meaning in {
        '"@NEST33@"': nested(33),
        '"@NEST100@"': nested(100),
        '"@NEST10000@"': nested(10_000),
        '"@LISTS10000@"': "[" * 10_000 + "]" * 10_000,
        "@PARENS10000@": "(" * 10_000 + "a = a" + ")" * 10_000,
        "@NOTS10000@": "NOT " * 10_000 + "attribute_exists(a)",
        "@BIG@": "x" * (400 * 1024),
    }.items():
        text = text.replace(word, meaning)
    return text


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path / "dev", options=["--regions", REGIONS[0], "--no-auth"])
    try:
        cluster.start("--fresh")
        yield cluster
    finally:
        cluster.stop()
        panics = cluster.panics()
    assert not panics, "\n".join(panics)


def test_every_malformed_request_has_its_exact_answer(cluster):
    client = cluster.client()
    for table, keys in {"hash": ["pk:S"], "range": ["pk:S,sk:N"], "binary": ["pk:B"]}.items():
        done = cluster.cli("table", "create", table, "--key", *keys)
        assert done.returncode == 0, done.stderr
        client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    connection = http.client.HTTPConnection("127.0.0.1", cluster.base_port, timeout=30)
    wrong = []
    cases = json.loads(CASES.read_text())
    assert len(cases) >= 100
    for case in cases:
        compact = json.dumps(case.get("body"), ensure_ascii=False, separators=(",", ":"))
        body = filled(compact) if "body" in case else case["text"]
        headers = {
            "content-type": "application/x-amz-json-1.0",
            "x-amz-target": f"DynamoDB_20120810.{case['operation']}",
            **case.get("headers", {}),
        }
        headers = {name: value for name, value in headers.items() if value != ""}
        connection.request("POST", "/", body.encode(), headers)
        answer = connection.getresponse()
        found = json.loads(answer.read() or b"{}")
        message = found.get("message", found.get("Message"))
        found = (answer.status, found.get("__type", "").rpartition("#")[2], message)
        expected = (case["status"], case["type"], case["message"])
        if found != expected:
            wrong.append(f"{case['name']}:\n  expected {expected}\n  found    {found}")
    assert not wrong, f"{len(wrong)} of {len(cases)} cases:\n" + "\n".join(wrong)
    client.put_item(TableName="hash", Item={"pk": {"S": "well"}})
