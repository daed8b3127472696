"""A user reads their own writes from any region by carrying the token of an earlier response."""

import os
import threading

from cluster import REGIONS

TRIES = int(os.environ.get("MERIDIAN_TOKEN_TRIES", "500"))
THREADS = 8


def header(answer, name):
    return answer["ResponseMetadata"]["HTTPHeaders"].get(name)


class Carrier:
    """Puts a token into the requests of the current thread."""

    def __init__(self, clients):
        self.current = threading.local()
        for client in clients:
            client.meta.events.register("before-call.dynamodb", self.add)

    def add(self, params, **_):
        token = getattr(self.current, "token", None)
        if token:
            params["headers"]["x-meridian-token"] = token


def test_a_read_with_a_token_is_never_older(wan, show):
    clients = {region: wan.client(region, timeout=31) for region in REGIONS}
    carrier = Carrier(clients.values())
    tables = [wan.make_table(f"token-{policy}", policy) for policy in ("active-passive-async", "read-local")]
    turns = -(-TRIES // THREADS)
    stale, plain_stale, wrong_headers, failed, counts = [], [], [], [], {"leader": 0, "local": 0}

    def version(answer):
        return int(answer.get("Item", {}).get("version", {}).get("N", 0))

    def user(number):
        key = {"pk": {"S": f"user-{number}"}}
        for turn in range(1, turns + 1):
            table = tables[turn % len(tables)]
            writer = clients[REGIONS[0] if turn % 5 else REGIONS[1 + turn % 2]]
            reader = clients[REGIONS[1 + turn % 2]]
            carrier.current.token = None
            written = writer.put_item(TableName=table, Item={**key, "version": {"N": str(turn)}})
            plain = reader.get_item(TableName=table, Key=key)
            carrier.current.token = header(written, "x-meridian-token")
            read = reader.get_item(TableName=table, Key=key)
            if version(read) != turn:
                stale.append((number, turn, version(read)))
            if version(plain) != turn:
                plain_stale.append(number)
            for answer in (plain, read):
                kind = header(answer, "x-meridian-staleness")
                if kind not in counts or not header(answer, "x-meridian-token"):
                    wrong_headers.append(answer["ResponseMetadata"])
                else:
                    counts[kind] += 1

    def guarded(number):
        try:
            user(number)
        except Exception as error:  # A thread's failure must fail the test.
            failed.append(repr(error))

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tries = turns * THREADS
    show(
        f"tokens: {len(stale)} of {tries} reads with a token stale; {len(plain_stale)} of {tries} plain reads were, "
        f"as they may be; x-meridian-staleness {counts}"
    )
    assert failed == []
    assert wrong_headers == []
    assert stale == []
    assert counts["local"] > 0, "no read was answered by the reader's own region"
