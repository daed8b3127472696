"""Access keys: what they allow, and no more."""

import pytest
from botocore.exceptions import ClientError
from cluster import REGIONS, wait_until


def code(call, **arguments):
    """The error that a call gives; empty for none."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


@pytest.fixture(scope="module")
def tables(shared_lan):
    shared_lan.settle()
    return [shared_lan.make_table(name, "active-passive-async") for name in ("ledger", "gossip")]


@pytest.fixture
def reader(lan, tables):
    made = lan.json("key", "create", "reader", "--table", "ledger", "--action", "GetItem", "--action", "Query")
    listed = {entry["access_key_id"]: entry for entry in lan.json("key", "list")["keys"]}[made["access_key_id"]]
    assert (listed["name"], listed["tables"], listed["actions"]) == ("reader", ["ledger"], ["GetItem", "Query"])
    yield made["access_key_id"], made["secret_access_key"]
    done = lan.cli("key", "delete", made["access_key_id"])
    assert done.returncode == 0, done.stderr


GET = {"Key": {"pk": {"S": "a"}}}


@pytest.mark.parametrize("region", REGIONS)
def test_a_key_allows_its_tables_and_actions_alone(lan, reader, region):
    client = lan.client(region, key=reader)
    wait_until("the key is known", lambda: code(client.get_item, TableName="ledger", **GET) == "")
    assert code(client.get_item, TableName="gossip", **GET) == "AccessDeniedException"
    assert code(client.put_item, TableName="ledger", Item={"pk": {"S": "a"}}) == "AccessDeniedException"
    assert code(client.delete_item, TableName="ledger", **GET) == "AccessDeniedException"
    assert code(client.scan, TableName="ledger") == "AccessDeniedException"
    assert code(client.delete_table, TableName="ledger") == "AccessDeniedException"
    both = {name: {"Keys": [{"pk": {"S": "a"}}]} for name in ("ledger", "gossip")}
    assert code(client.batch_get_item, RequestItems=both) == "AccessDeniedException"
    # Nor does it tell which other tables there are.
    assert code(client.get_item, TableName="no-such-table", **GET) == "AccessDeniedException"


def test_wrong_credentials_are_refused(lan, reader):
    client = lan.client(key=(reader[0], "wrong" * 8))
    assert code(client.get_item, TableName="ledger", **GET) == "InvalidSignatureException"
    client = lan.client(key=("AKIAUNKNOWN000000000", reader[1]))
    assert code(client.get_item, TableName="ledger", **GET) == "UnrecognizedClientException"


def test_a_deleted_key_is_refused(lan, tables):
    made = lan.json("key", "create", "short-lived")
    client = lan.client(key=(made["access_key_id"], made["secret_access_key"]))
    wait_until("the key is known", lambda: code(client.get_item, TableName="ledger", **GET) == "")
    assert made["access_key_id"] in {entry["access_key_id"] for entry in lan.json("key", "list")["keys"]}
    assert lan.cli("key", "delete", made["access_key_id"]).returncode == 0
    wait_until(
        "the key is refused",
        lambda: code(client.get_item, TableName="ledger", **GET) == "UnrecognizedClientException",
    )


def test_secrets_are_shown_once(lan, reader):
    assert reader[1] not in lan.cli("key", "list", "--output", "json").stdout
    for log in lan.folder.glob("logs/*.log"):
        assert reader[1] not in log.read_text(errors="replace"), log
