"""Writers that remember exactly what was acknowledged to them."""

import threading
import time

from cluster import UNAVAILABLE, error_code


class Background:
    """Threads that work until they are stopped, for as long as the block lasts."""

    def __init__(self):
        self.done = threading.Event()
        self.threads = []

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()


class Load(Background):
    """Puts items with keys of their own, through each region into each table, until stopped."""

    def __init__(self, cluster, tables, regions):
        super().__init__()
        self.paths = [(table, region) for table in tables for region in regions]
        self.acknowledged = {table: set() for table in tables}
        self.successes = {path: [] for path in self.paths}  # (began, ended) of each acknowledged write
        self.errors = {}
        # Clients are made here: making one is not safe in several threads at once.
        clients = {region: cluster.client(region, once=True) for region in regions}
        self.threads = [
            threading.Thread(target=self._run, args=(clients[region], table, region), daemon=True)
            for table, region in self.paths
        ]

    def _run(self, client, table, region):
        sequence = 0
        while not self.done.is_set():
            sequence += 1
            key = f"{region}-{sequence:06}"
            began = time.monotonic()
            try:
                client.put_item(TableName=table, Item={"pk": {"S": key}, "sequence": {"N": str(sequence)}})
            except UNAVAILABLE as error:
                # Refused or unknown: nothing is promised about the item.
                name = error_code(error)
                self.errors[name] = self.errors.get(name, 0) + 1
                self.done.wait(0.05)
            else:
                self.acknowledged[table].add(key)
                self.successes[table, region].append((began, time.monotonic()))
                self.done.wait(0.01)

    def count(self) -> int:
        return sum(len(keys) for keys in self.acknowledged.values())

    def recovered(self, since: float):
        """Seconds from `since` until every path has acknowledged a write begun after it; `None` while one has not."""
        ends = []
        for path in self.paths:
            end = next((ended for began, ended in self.successes[path] if began >= since), None)
            if end is None:
                return None
            ends.append(end - since)
        return max(ends)
