"""A power cut in every region at once."""

from cluster import POLICIES, REGIONS, wait_until
from load import Load


def test_what_was_acknowledged_is_there_after_a_power_cut(lan, show):
    tables = [lan.make_table(f"cut-{policy}", policy) for policy in POLICIES]
    credentials = lan.file["credentials"]
    with Load(lan, tables, [REGIONS[0], REGIONS[2]]) as load:
        wait_until("the load runs on every path", lambda: load.recovered(0.0) is not None and load.count() > 300)
        lan.kill_everything()
    lan.start()
    assert lan.file["credentials"] == credentials
    lan.settle()
    show(f"power cut: {load.count()} acknowledged writes are looked for")
    for table in tables:
        for region in REGIONS:
            assert lan.missing(table, load.acknowledged[table], region) == [], (table, region)
    for table in tables:
        for region in REGIONS:
            lan.client(region).put_item(TableName=table, Item={"pk": {"S": f"after-{region}"}})
