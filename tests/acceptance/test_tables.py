"""A table of each policy, all used at once, through every region."""

import pytest
from botocore.exceptions import ClientError
from cluster import POLICIES, REGIONS, error_code


@pytest.fixture(scope="module")
def tables(shared_lan):
    shared_lan.settle()
    return {policy: shared_lan.make_table(f"each-{policy}", policy, sort_key="sk") for policy in POLICIES}


def key(partition, number):
    return {"pk": {"S": partition}, "sk": {"N": str(number)}}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_table_says_its_policy(lan, tables, policy):
    client = lan.client()
    arn = client.describe_table(TableName=tables[policy])["Table"]["TableArn"]
    tags = client.list_tags_of_resource(ResourceArn=arn)["Tags"]
    assert {"Key": "meridian:policy", "Value": policy} in tags
    assert lan.json("table", "describe", tables[policy])["policy"] == policy


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("policy", POLICIES)
def test_every_operation_through_every_region(lan, tables, policy, region):
    # An addition must not be sent twice, so the SDK may not retry by itself. When leadership moves meanwhile, as it
    # may on a machine that is busy, the whole is done again with keys of its own.
    for attempt in range(3):
        try:
            return every_operation(lan, tables[policy], region, f"of-{region}-{attempt}")
        except ClientError as error:
            if attempt == 2 or error_code(error) not in ("InternalServerError", "ServiceUnavailable"):
                raise
            lan.settle()


def every_operation(lan, table, region, partition):
    client = lan.client(region, once=True)
    client.put_item(TableName=table, Item={**key(partition, 1), "n": {"N": "1"}, "note": {"S": "é ✓"}})
    with pytest.raises(ClientError) as refused:
        client.put_item(
            TableName=table, Item=key(partition, 1), ConditionExpression="attribute_not_exists(pk)"
        )
    assert refused.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
    answer = client.update_item(
        TableName=table,
        Key=key(partition, 1),
        UpdateExpression="ADD n :one SET #l = list_append(if_not_exists(#l, :empty), :more)",
        ExpressionAttributeNames={"#l": "list"},
        ExpressionAttributeValues={":one": {"N": "41"}, ":empty": {"L": []}, ":more": {"L": [{"BOOL": True}]}},
        ReturnValues="ALL_NEW",
    )
    expected = {**key(partition, 1), "n": {"N": "42"}, "note": {"S": "é ✓"}, "list": {"L": [{"BOOL": True}]}}
    assert answer["Attributes"] == expected
    for reader in REGIONS:
        found = lan.client(reader).get_item(TableName=table, Key=key(partition, 1), ConsistentRead=True)
        assert found["Item"] == expected, reader

    puts = [{"PutRequest": {"Item": {**key(partition, number), "batched": {"BOOL": True}}}} for number in range(2, 12)]
    assert client.batch_write_item(RequestItems={table: puts})["UnprocessedItems"] == {}
    answer = client.batch_get_item(
        RequestItems={table: {"Keys": [key(partition, number) for number in range(1, 21)], "ConsistentRead": True}}
    )
    assert len(answer["Responses"][table]) == 11 and answer["UnprocessedKeys"] == {}

    pages = client.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="pk = :pk AND sk BETWEEN :low AND :high",
        FilterExpression="attribute_exists(batched)",
        ExpressionAttributeValues={":pk": {"S": partition}, ":low": {"N": "1"}, ":high": {"N": "9"}},
        ScanIndexForward=False,
        ConsistentRead=True,
        PaginationConfig={"PageSize": 3},
    )
    pages = list(pages)
    assert len(pages) >= 3
    assert [item["sk"]["N"] for page in pages for item in page["Items"]] == [str(n) for n in range(9, 1, -1)]

    before = client.delete_item(TableName=table, Key=key(partition, 1), ReturnValues="ALL_OLD")
    assert before["Attributes"] == expected
    assert "Item" not in client.get_item(TableName=table, Key=key(partition, 1), ConsistentRead=True)


@pytest.mark.parametrize("policy", POLICIES)
def test_scans_in_segments_see_every_item_once(lan, policy):
    table = lan.make_table(f"scanned-{policy}", policy)
    names = {f"item-{number:03}" for number in range(60)}
    for start in range(0, 60, 20):
        puts = [{"PutRequest": {"Item": {"pk": {"S": name}}}} for name in sorted(names)[start : start + 20]]
        assert lan.client().batch_write_item(RequestItems={table: puts})["UnprocessedItems"] == {}
    for region in REGIONS:
        scan = lan.client(region).get_paginator("scan")
        for segments in (1, 3):
            found = []
            for segment in range(segments):
                pages = scan.paginate(
                    TableName=table, ConsistentRead=True, Segment=segment, TotalSegments=segments,
                    PaginationConfig={"PageSize": 7},
                )  # fmt: skip
                found += [item["pk"]["S"] for page in pages for item in page["Items"]]
            assert len(found) == 60 and set(found) == names, (region, segments)


def test_a_table_made_again_is_empty(lan):
    for policy in POLICIES[:3]:
        table = lan.make_table("made-again", policy)
        names = [f"old-{number}" for number in range(20)]
        puts = [{"PutRequest": {"Item": {"pk": {"S": name}}}} for name in names]
        lan.client().batch_write_item(RequestItems={table: puts})
        assert lan.missing(table, names, REGIONS[1]) == []
        lan.client(REGIONS[1]).delete_table(TableName=table)
        lan.client(REGIONS[1]).get_waiter("table_not_exists").wait(
            TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        with pytest.raises(ClientError) as refused:
            lan.client(REGIONS[1]).get_item(TableName=table, Key={"pk": {"S": "old-1"}})
        assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"

        lan.make_table(table, policy)
        for region in REGIONS:
            for consistent in (True, False):
                answer = lan.client(region).scan(TableName=table, ConsistentRead=consistent)
                assert answer["Items"] == [], (policy, region, consistent)
            assert sorted(lan.missing(table, names, region)) == sorted(names)
        lan.client().delete_table(TableName=table)
        for region in REGIONS:
            lan.client(region).get_waiter("table_not_exists").wait(
                TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
            )
