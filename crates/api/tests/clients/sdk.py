"""Drives a DynamoDB endpoint with boto3 and with hand-made signatures. Usage: sdk.py ENDPOINT (keys from the environment)."""

import datetime
import hashlib
import hmac
import json
import os
import sys
import urllib.error
import urllib.request
from decimal import Decimal

import boto3
from boto3.dynamodb.types import Binary
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT = sys.argv[1]
KEY_ID = os.environ["MERIDIAN_ACCESS_KEY_ID"]
READER_ID = os.environ["MERIDIAN_READER_ID"]
SECRET = os.environ["MERIDIAN_SECRET_ACCESS_KEY"]


def client(key_id=KEY_ID, secret=SECRET, region="us-east-1", token=None, kind="client"):
    make = getattr(boto3.session.Session(), kind)
    return make(
        "dynamodb", endpoint_url=ENDPOINT, region_name=region, aws_access_key_id=key_id,
        aws_secret_access_key=secret, aws_session_token=token,
        config=Config(retries={"max_attempts": 1, "mode": "standard"}),
    )


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return error.response
    raise AssertionError(f"{code} was expected")


def create(db, name, sort=None):
    keys = [("pk", "S", "HASH")] + ([(sort, "N", "RANGE")] if sort else [])
    return db.create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": key, "KeyType": role} for key, _, role in keys],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, kind, _ in keys],
        Tags=[{"Key": "meridian:policy", "Value": "read-local"}],
    )["TableDescription"]


def tables(db):
    described = create(db, "music", "year")
    assert described["TableStatus"] in ("CREATING", "ACTIVE"), described
    arn = described["TableArn"]
    assert arn == "arn:aws:dynamodb:us-east-1:000000000000:table/music", arn
    db.get_waiter("table_exists").wait(TableName="music")
    assert db.describe_table(TableName="music")["Table"]["KeySchema"][1]["AttributeName"] == "year"
    assert db.list_tables()["TableNames"] == ["music"]
    refused("ResourceInUseException", create, db=db, name="music")
    db.tag_resource(ResourceArn=arn, Tags=[{"Key": "team", "Value": "a"}])
    db.untag_resource(ResourceArn=arn, TagKeys=["meridian:policy"])
    assert db.list_tags_of_resource(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "a"}]
    db.update_table(TableName="music", DeletionProtectionEnabled=True)
    refused("ValidationException", db.delete_table, TableName="music")
    db.update_table(TableName="music", DeletionProtectionEnabled=False)
    refused("ResourceNotFoundException", db.describe_table, TableName="nothere")
    assert db.describe_limits()["TableMaxReadCapacityUnits"] > 0


def items(db):
    table = client(kind="resource").Table("music")
    item = {
        "pk": "a", "year": 1999, "text": "ä€😀", "number": Decimal("-1.2345678901234567890123456789012345678E-100"),
        "binary": Binary(b"\x00\xff"), "yes": True, "nothing": None, "map": {"list": [1, "two", {"three": None}]},
        "texts": {"a", "b"}, "numbers": {Decimal(1), Decimal("2.5")}, "binaries": {Binary(b"a"), Binary(b"b")},
    }
    table.put_item(Item=item)
    assert table.get_item(Key={"pk": "a", "year": 1999}, ConsistentRead=True)["Item"] == item
    failed = refused(
        "ConditionalCheckFailedException", table.put_item, Item=item,
        ConditionExpression="attribute_not_exists(pk)", ReturnValuesOnConditionCheckFailure="ALL_OLD",
    )
    assert failed["Item"]["pk"] == {"S": "a"}, failed
    updated = table.update_item(
        Key={"pk": "a", "year": 1999}, UpdateExpression="ADD plays :one SET #t = list_append(:l, #m.#l)",
        ExpressionAttributeNames={"#t": "tail", "#m": "map", "#l": "list"},
        ExpressionAttributeValues={":one": 1, ":l": [0]}, ReturnValues="UPDATED_NEW", ReturnConsumedCapacity="TOTAL",
    )
    assert updated["Attributes"] == {"plays": 1, "tail": [0, 1, "two", {"three": None}]}, updated
    assert updated["ConsumedCapacity"]["CapacityUnits"] == 1.0, updated
    old = table.delete_item(Key={"pk": "a", "year": 1999}, ReturnValues="ALL_OLD")["Attributes"]
    assert old["plays"] == 1
    assert "Item" not in table.get_item(Key={"pk": "a", "year": 1999})


def pages(db):
    table = client(kind="resource").Table("music")
    with table.batch_writer() as batch:
        for year in range(60):
            batch.put_item(Item={"pk": "many", "year": year, "filler": "x" * 50_000})
    key = boto3.dynamodb.conditions.Key
    first = table.query(KeyConditionExpression=key("pk").eq("many"))
    assert first["Count"] == 20 and first["LastEvaluatedKey"] == {"pk": "many", "year": 19}, first["Count"]
    years = [
        int(item["year"]["N"])
        for page in db.get_paginator("query").paginate(
            TableName="music", KeyConditionExpression="pk = :p AND #y BETWEEN :a AND :b", ScanIndexForward=False,
            ExpressionAttributeNames={"#y": "year"},
            ExpressionAttributeValues={":p": {"S": "many"}, ":a": {"N": "5"}, ":b": {"N": "54"}},
        )
        for item in page["Items"]
    ]
    assert years == list(range(54, 4, -1)), years
    seen = []
    for segment in range(4):
        for page in db.get_paginator("scan").paginate(
            TableName="music", Segment=segment, TotalSegments=4, ProjectionExpression="#y",
            ExpressionAttributeNames={"#y": "year"}, PaginationConfig={"PageSize": 7},
        ):
            seen += [int(item["year"]["N"]) for item in page["Items"]]
    assert sorted(seen) == list(range(60)), seen
    keys = [{"pk": {"S": "many"}, "year": {"N": str(year)}} for year in range(30, 90)]
    got = db.batch_get_item(RequestItems={"music": {"Keys": keys, "ProjectionExpression": "pk"}})
    assert len(got["Responses"]["music"]) == 30 and got["UnprocessedKeys"] == {}
    duplicate = [{"DeleteRequest": {"Key": keys[0]}}] * 2
    refused("ValidationException", db.batch_write_item, RequestItems={"music": duplicate})
    count = db.scan(TableName="music", Select="COUNT", FilterExpression="#y < :n",
                    ExpressionAttributeNames={"#y": "year"}, ExpressionAttributeValues={":n": {"N": "10"}})
    assert count["Count"] == 10 and count["ScannedCount"] == 20 and "Items" not in count, count


def large_batch(db):
    create(db, "large")
    for start in range(0, 60, 20):
        db.batch_write_item(RequestItems={"large": [
            {"PutRequest": {"Item": {"pk": {"S": str(n)}, "x": {"S": "x" * 390_000}}}} for n in range(start, start + 20)
        ]})
    left = {"large": {"Keys": [{"pk": {"S": str(n)}} for n in range(60)], "ConsistentRead": True}}
    got, rounds = 0, 0
    while left:
        answer = db.batch_get_item(RequestItems=left)
        got, rounds, left = got + len(answer["Responses"].get("large", [])), rounds + 1, answer["UnprocessedKeys"]
    assert (got, rounds) == (60, 2), (got, rounds)


def sign(operation, body, region="us-east-1", service="dynamodb", skew=0, signed=("content-type", "host", "x-amz-date", "x-amz-target"),
         secret=SECRET, key_id=KEY_ID, send=None, date=None):
    """Signs as RFC-like prose of the SigV4 documentation says, and sends."""
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=skew)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), date or now.strftime("%Y%m%d")
    headers = {
        "content-type": "application/x-amz-json-1.0", "host": ENDPOINT.split("//")[1], "x-amz-date": stamp,
        "x-amz-target": "DynamoDB_20120810." + operation,
    }
    canonical = "\n".join(
        ["POST", "/", ""] + [f"{name}:{headers[name]}" for name in signed]
        + ["", ";".join(signed), hashlib.sha256(body).hexdigest()])
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={';'.join(signed)}, Signature={signature}")
    return post(send or body, headers)


def post(body, headers):
    request = urllib.request.Request(ENDPOINT + "/", data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, None, None
    except urllib.error.HTTPError as error:
        answer = json.loads(error.read())
        return error.code, answer["__type"].split("#")[1], answer.get("message")


def signatures(db):
    assert sign("ListTables", b"{}")[0] == 200
    assert sign("ListTables", b"{}", region="mars-north-9")[0] == 200, "any region name is accepted"
    assert sign("ListTables", b"{}", skew=-14 * 60)[0] == 200
    assert sign("ListTables", b"{}", skew=14 * 60)[0] == 200
    bad = "InvalidSignatureException"
    expired = sign("ListTables", b"{}", skew=-16 * 60)
    assert expired[:2] == (400, bad) and expired[2].startswith("Signature expired: "), expired
    early = sign("ListTables", b"{}", skew=16 * 60)
    assert early[:2] == (400, bad) and early[2].startswith("Signature not yet current: "), early
    mismatch = sign("ListTables", b"{}", secret="x" * 40)
    assert mismatch == (400, bad, "The request signature we calculated does not match the signature you provided. Check "
                        "your AWS Secret Access Key and signing method. Consult the service documentation for details."), mismatch
    assert sign("ListTables", b"{}", send=b'{"Limit":1}')[:2] == (400, bad), "a changed body"
    scope = sign("ListTables", b"{}", service="s3")
    assert scope == (400, bad, "Credential should be scoped to correct service: 'dynamodb'."), scope
    assert sign("ListTables", b"{}", date="20200101")[:2] == (400, bad), "a scope of another day"
    target = sign("ListTables", b"{}", signed=("host", "x-amz-date"))
    assert target == (400, bad, "'X-Amz-Target' must be a 'SignedHeader' in the AWS Authorization."), target
    unknown = sign("ListTables", b"{}", key_id="MERIDIANNOBODY000000")
    assert unknown == (400, "UnrecognizedClientException", "The security token included in the request is invalid."), unknown
    plain = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.ListTables"}
    missing = (400, "MissingAuthenticationTokenException", "Request is missing Authentication Token")
    assert post(b"{}", plain) == missing
    assert post(b"{}", plain | {"authorization": "Basic YTpi"}) == missing
    incomplete = "IncompleteSignatureException"
    assert post(b"{}", plain | {"authorization": "AWS4-HMAC-SHA256 Credential=a"})[:2] == (400, incomplete)
    assert post(b"{}", plain | {"authorization": "AWS4-HMAC-SHA256 nonsense"})[:2] == (400, incomplete)
    assert post(b"{}", plain | {"authorization": "AWS4-HMAC-SHA512 Credential=a"})[:2] == (400, incomplete)
    assert post(b"{}", plain | {"authorization": "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host;x-amz-target, Signature=b",
                                "x-amz-date": "yesterday"})[:2] == (400, incomplete)
    short = post(b"{}", plain | {"authorization": "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host;x-amz-target, Signature=b",
                                 "x-amz-date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")})
    assert short[:2] == (400, incomplete), short
    refused("UnrecognizedClientException", client(token="temporary").list_tables)
    refused("InvalidSignatureException", client(secret="y" * 40).list_tables)


def permissions(db):
    create(db, "audit-log")
    reader = client(key_id=READER_ID)
    key = {"pk": {"S": "a"}}
    assert "Item" not in reader.get_item(TableName="audit-log", Key=key)
    denied = refused("AccessDeniedException", reader.put_item, TableName="audit-log", Item=key)
    assert denied["Error"]["Message"] == (
        f"User: arn:aws:iam::000000000000:user/{READER_ID} is not authorized to perform: dynamodb:PutItem on resource: "
        "arn:aws:dynamodb:us-east-1:000000000000:table/audit-log"), denied
    refused("AccessDeniedException", reader.get_item, TableName="large", Key=key)
    refused("AccessDeniedException", reader.list_tables)
    refused("AccessDeniedException", reader.batch_get_item, RequestItems={"audit-log": {"Keys": [key]}})


def main():
    db = client()
    for step in (tables, items, pages, large_batch, signatures, permissions):
        step(db)
        print(step.__name__, "passed")
    for name in db.list_tables()["TableNames"]:
        db.delete_table(TableName=name)
    assert db.list_tables()["TableNames"] == []
    print("all passed")


main()
