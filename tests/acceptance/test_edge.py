"""The HTTP edge: requests reach the region that should serve them, and go on in another one when it dies."""

import base64
import json
import os
import socket
import subprocess
import threading
import time

import pytest
from cluster import PRIMARY, REGIONS, SURVIVORS, asserted, wait_until
from edge_backends import Client, backend, end

NETWORKS = dict(zip(REGIONS, ["192.0.2.7", "198.51.100.7", "203.0.113.7"]))
# The goal on a machine that has nothing else to do; the bound elsewhere.
SLOWEST, BOUND = 2.0, 10.0
PAIRS = int(os.environ.get("MERIDIAN_TOKEN_TRIES", "160"))


class Site:
    """Two services of their own, each with a backend in every region: what one test does to them is nothing to another."""

    made = 0

    def __init__(self, cluster, *options):
        Site.made += 1
        self.cluster, self.shop, self.api = cluster, f"shop{Site.made}", f"api{Site.made}"
        self.backends = {(kind, region): backend(region) for kind in ("shop", "api") for region in REGIONS}
        self.add("api", self.api)
        self.add("shop", self.shop, "--route", f"/api={self.api}", "--jwt", "/private", "--timeout", "2s", *options)
        for region in REGIONS:
            wait_until(f"{region} judges both", lambda region=region: self.judged(region))
            wait_until(f"the edge of {region} serves", lambda region=region: self.steady(region))

    def add(self, kind, name, *options):
        urls = [["--backend", f"{region}={self.backends[kind, region].url}"] for region in REGIONS]
        self.cluster.json(
            "service", "add", name, "--host", f"{name}.edge.test", "--health", "/healthz", *options, *sum(urls, [])
        )

    def client(self, at, name=None):
        return Client(edge(self.cluster, at), f"{name or self.shop}.edge.test")

    def judged(self, region):
        status = self.cluster.json("service", "status", region=region)["services"]
        own = [service for service in status if service["name"] in (self.shop, self.api)]
        places = [place["verdict"] for service in own for place in service["regions"]]
        return places == ["healthy"] * 6

    def steady(self, region):
        """Whether the edge of a region sends every client to its own region."""
        try:
            return all(
                self.client(region, name)(x_forwarded_for=NETWORKS[near]).json["region"] == near
                for name in (self.shop, self.api)
                for near in REGIONS
            )
        except (OSError, ValueError, KeyError):
            return False

    def end(self):
        for name in (self.shop, self.api):
            self.cluster.cli("service", "remove", name)
        for server in self.backends.values():
            end(server)


@pytest.fixture
def own(lan):
    """A site of the test's own."""
    site = Site(lan)
    yield site
    site.end()


@pytest.fixture(scope="module")
def site(shared_lan):
    """A site for tests that hurt nobody."""
    shared_lan.settle()
    site = Site(shared_lan)
    yield site
    site.end()


def edge(cluster, region=PRIMARY):
    return cluster.nodes()[region]["edge"].removeprefix("http://")


def test_hosts_paths_and_headers(site):
    shop = site.client(SURVIVORS[0])
    for region in REGIONS:
        got = shop(x_forwarded_for=NETWORKS[region])
        assert (got.status, got.json["region"], got.headers["x-meridian-region"]) == (200, region, region)
    assert shop("POST", "/api/x?y=1", b"x" * 300_000).json["path"] == "/api/x?y=1"
    assert shop("GET", "/apis").json["headers"]["host"] == shop.host
    big = shop("PUT", "/big", iter([b"x" * 50_000] * 20)).json
    assert big["body"] == 1_000_000 and big["headers"].get("transfer-encoding") == "chunked"
    head = shop("HEAD", "/")
    assert (head.status, head.text) == (200, "") and int(head.headers["content-length"]) > 0
    told = shop(
        connection="keep-alive, x-secret", x_secret="1", te="trailers", x_meridian_claims="forged", x_real_ip="6.6.6.6"
    ).json["headers"]  # fmt: skip
    assert not {"x-secret", "te", "x-meridian-claims", "x-real-ip", "connection"} & set(told)
    assert told["forwarded"] == f'for=127.0.0.1;host="{shop.host}";proto=http'
    assert site.client(PRIMARY, "nobody")().status == 404
    for version in ("--http1.1", "--http2-prior-knowledge"):
        said = subprocess.run(
            ["curl", "-s", "-w", "\n%{http_version} %{http_code}", version, "-H", f"Host: {site.api}.edge.test",
             "-d", "a=b", f"http://{edge(site.cluster)}/over"],
            capture_output=True, text=True, timeout=20, check=True,
        ).stdout  # fmt: skip
        body, _, end_of = said.rpartition("\n")
        assert json.loads(body)["body"] == 3 and end_of in ("1.1 200", "2 200")


def test_a_region_whose_real_requests_fail_is_left_although_probes_succeed(own):
    near, first = {"x_forwarded_for": NETWORKS[PRIMARY]}, own.backends["shop", PRIMARY]
    numbers, broken = iter(range(100_000)), threading.Event()
    broken.set()
    # Every third request, so that nothing looks dead.
    first.pages["/gray"] = lambda _: (503 if broken.is_set() and next(numbers) % 3 == 0 else 200, {}, PRIMARY)

    def place(region):
        status = own.cluster.json("service", "status", own.shop, region=region)["services"][0]
        return next(place for place in status["regions"] if place["region"] == PRIMARY)

    for _ in range(45):
        assert own.client(SURVIVORS[0])("GET", "/gray", **near).status == 200, "sent again elsewhere"
    for region in REGIONS:
        wait_until(f"{region} judges it degraded", lambda region=region: place(region)["verdict"] == "degraded")
    because = " ".join(place(PRIMARY)["because"])
    assert f"failing from {SURVIVORS[0]} (too many of its requests fail)" in because and "up from" in because
    wait_until("its clients are served elsewhere", lambda: own.client(PRIMARY)(**near).json["region"] != PRIMARY)
    assert own.client(PRIMARY, own.api)(**near).json["region"] == PRIMARY, "the other service stays"
    broken.clear()
    wait_until("it is given another chance", lambda: own.client(PRIMARY)(**near).json["region"] == PRIMARY, 40)


def test_a_write_is_never_sent_twice_and_what_may_be_repeated_is(own):
    near = {"x_forwarded_for": NETWORKS[PRIMARY]}
    shop, backends = own.client(SURVIVORS[0]), own.backends
    first = backends["shop", PRIMARY]
    first.mode = {"GET": "drop", "POST": "drop", "PUT": "drop"}

    def count(method, path):
        return {r: backends["shop", r].seen[method, path] for r in REGIONS if backends["shop", r].seen[method, path]}

    lost = shop("POST", "/1", b"pay", **near)
    assert lost.status == 502 and lost.headers["retry-after"] == "1" and "not known" in lost.text
    assert count("POST", "/1") == {PRIMARY: 1}
    keyed = shop("POST", "/2", b"pay", idempotency_key="7", **near)
    assert keyed.status == 200 and keyed.json["body"] == 3 and len(count("POST", "/2")) == 2
    assert shop("PUT", "/3", b"x", **near).status == 200 and len(count("PUT", "/3")) == 2
    assert shop("GET", "/4", **near).status == 200 and len(count("GET", "/4")) == 2
    status = own.cluster.json("service", "status", own.shop, region=SURVIVORS[0])["services"][0]
    evidence = next(place for place in status["regions"] if place["region"] == PRIMARY)["backends"][0]["edge"]
    assert evidence["failures"] >= 4 and evidence["last_fault"] == "closed without a response"
    # A server that says nothing: the client is told in time, and it is asked no second time.
    first.mode = {"POST": "hang"}
    slow = shop("POST", "/5", b"pay", **near)
    assert (slow.status, slow.headers["retry-after"]) == (504, "1") and count("POST", "/5") == {PRIMARY: 1}
    # A server that cannot be reached has not been asked: even a write goes on elsewhere.
    first.mode = {}
    end(backends["api", PRIMARY])
    wrote = own.client(SURVIVORS[0], own.api)("POST", "/6", b"pay", **near)
    assert wrote.status == 200 and wrote.json["region"] != PRIMARY


def test_a_slow_region_is_hedged_and_what_is_slow_everywhere_is_not_cut_off(lan):
    site = Site(lan, "--hedge", "100ms")

    def slow(_):
        time.sleep(1)
        return 200, {}, "slow"

    for server in site.backends.values():
        server.pages["/all"] = slow
    site.backends["shop", PRIMARY].pages["/one"] = slow
    shop, near = site.client(SURVIVORS[0]), {"x_forwarded_for": NETWORKS[PRIMARY]}
    begun = time.monotonic()
    hedged = shop("GET", "/one", **near)
    assert hedged.headers["x-meridian-region"] != PRIMARY and time.monotonic() - begun < 0.9
    assert shop("GET", "/all", **near).headers["x-meridian-region"] == PRIMARY
    site.end()


def test_users_stay_where_they_wrote_and_carry_what_they_have_seen(site):
    shop, backends, cluster = site.client(SURVIVORS[0]), site.backends, site.cluster
    far = NETWORKS[REGIONS[2]]
    wrote = shop("POST", "/", b"x", x_forwarded_for=NETWORKS[PRIMARY])
    assert wrote.cookies["meridian_region"] == PRIMARY
    kept = wrote.headers["set-cookie"]
    assert all(part in kept for part in ("Max-Age=5", "HttpOnly", "SameSite=Lax"))
    assert shop(x_forwarded_for=far).json["region"] == REGIONS[2]
    stayed = shop(x_forwarded_for=far, cookie=f"sid=1; meridian_region={PRIMARY}")
    assert stayed.json["region"] == PRIMARY and stayed.json["headers"]["cookie"] == "sid=1"
    backends["shop", PRIMARY].status = {"POST": 409}
    assert not shop("POST", "/", b"x", x_forwarded_for=NETWORKS[PRIMARY]).cookies, "nothing was written"

    def token(table):
        answer = cluster.client().put_item(TableName=table, Item={"pk": {"S": "a"}})
        return answer["ResponseMetadata"]["HTTPHeaders"]["x-meridian-token"]

    for policy in ("active-passive-sync", "active-passive-async"):
        cluster.make_table(f"edge-{policy}", policy)
    one, other = token("edge-active-passive-sync"), token("edge-active-passive-async")
    for server in backends.values():
        server.headers = {"x-meridian-token": one}
    first = shop().cookies["meridian_token"]
    for server in backends.values():
        server.headers = {"x-meridian-token": other}
    both = shop(cookie=f"meridian_token={first}")
    assert both.json["headers"]["x-meridian-token"] == one and "cookie" not in both.json["headers"]
    joined = both.cookies["meridian_token"]
    assert len(joined) > max(len(one), len(other))
    assert shop(cookie=f"meridian_token={joined}").json["headers"]["x-meridian-token"] == joined
    assert "x-meridian-token" not in shop(cookie="meridian_token=forged").json["headers"]
    for server in backends.values():
        server.headers, server.status = {}, {}
    for table in ("edge-active-passive-sync", "edge-active-passive-async"):
        cluster.client().delete_table(TableName=table)


def test_guarded_paths_need_a_session(site):
    shop, cluster = site.client(SURVIVORS[1]), site.cluster
    for path in ("/private", "/private/x", "/a/../private", "/%70rivate", "//private"):
        refused = shop("GET", path)
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer"), path
    cluster.json("key", "jwt", "create", "--max-ttl", "1h")
    signed = cluster.json("key", "jwt", "sign", "--claims", '{"sub":"7","name":"Zoë"}', "--ttl", "5m")["token"]
    claims = shop("GET", "/private/x", authorization=f"Bearer {signed}", x_meridian_claims="e30").json
    claims = claims["headers"]["x-meridian-claims"]
    read = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert (read["sub"], read["name"]) == ("7", "Zoë")
    forged = shop("GET", "/private", authorization=f"Bearer {signed[:-4]}AAAA")
    assert forged.status == 401 and 'error="invalid_token"' in forged.headers["www-authenticate"]
    for key in cluster.json("key", "jwt", "list")["keys"]:
        cluster.cli("key", "jwt", "delete", key["kid"])


def test_websockets_pass(site):
    host, port = edge(site.cluster, SURVIVORS[0]).rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as stream:
        stream.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {site.shop}.edge.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += stream.recv(4096)
        head = answer.split(b"\r\n\r\n")[0].lower()
        assert head.startswith(b"http/1.1 101") and b"s3pplmbitxaq9kygzzhzrbk+xoo=" in head
        assert b"upgrade: websocket" in head
        for text in (b"hello", b"x" * 3_000):
            stream.sendall(text)
            got = b""
            while len(got) < len(text):
                got += stream.recv(4096)
            assert got == text


class Getters:
    """Clients of one edge that read all the time."""

    def __init__(self, client, count, near):
        self.client, self.near, self.failed, self.times = client, near, [], []
        self.regions, self.stop = set(), threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(count)]

    def run(self):
        client = self.client()
        while not self.stop.is_set():
            begun = time.monotonic()
            try:
                got = client(x_forwarded_for=self.near)
                if got.status != 200:
                    self.failed.append((got.status, got.text))
                else:
                    self.regions.add(got.headers["x-meridian-region"])
            except OSError as error:
                self.failed.append(repr(error))
                client = self.client()
            self.times.append(time.monotonic() - begun)
            time.sleep(0.005)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("how", ["silent", "killed"])
def test_a_dead_region_fails_no_reader_of_a_surviving_edge(own, show, how):
    victim = own.backends["shop", PRIMARY]
    with Getters(lambda: own.client(SURVIVORS[0]), 8, NETWORKS[PRIMARY]) as getters:
        wait_until("the region serves its clients", lambda: len(getters.times) > 50)
        assert getters.regions == {PRIMARY}
        if how == "killed":
            own.cluster.order("kill", PRIMARY)
            end(victim)
        else:
            victim.mode = {"GET": "hang"}
        wait_until("another region serves them", lambda: len(getters.regions) > 1)
        time.sleep(2)
    if how == "killed":
        own.cluster.order("start", PRIMARY)
        own.cluster.settle()
    show(f"{how}: {len(getters.times)} requests, slowest {max(getters.times):.2f} s, failed {getters.failed[:3]}")
    assert getters.failed == []
    assert max(getters.times) < (SLOWEST if asserted() else BOUND)


class Notes:
    """A web application that keeps its state in Meridian: it passes tokens on, and knows no other."""

    def __init__(self, cluster, table, region):
        self.table, self.dynamodb, self.current = table, cluster.client(region, timeout=31), threading.local()
        self.dynamodb.meta.events.register("before-call.dynamodb", self.carry)

    def carry(self, params, **_):
        if token := getattr(self.current, "token", None):
            params["headers"]["x-meridian-token"] = token

    def __call__(self, request):
        self.current.token = request.headers.get("x-meridian-token")
        key = {"pk": {"S": request.path.rpartition("/")[2]}}
        if request.command == "POST":
            new = {**key, "text": {"S": request.headers["x-text"]}}
            answer = self.dynamodb.put_item(TableName=self.table, Item=new)
        else:
            answer = self.dynamodb.get_item(TableName=self.table, Key=key)
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        text = answer.get("Item", {}).get("text", {}).get("S", "")
        return 200, {"x-meridian-token": headers["x-meridian-token"]}, text


def test_users_that_bounce_between_regions_read_their_own_writes(wan, show):
    table = wan.make_table("edge-notes", "active-passive-async")
    site = Site(wan, "--sticky", "0s")
    users = 8
    for (kind, region), server in site.backends.items():
        server.pages = dict.fromkeys([f"/{number}" for number in range(users)], Notes(wan, table, region))
    stale, plain, failed = [], [], []

    def user(number):
        cookie = None
        clients = {region: site.client(region) for region in REGIONS}
        for turn in range(PAIRS // users):
            there, here = REGIONS[turn % 3], REGIONS[(turn + 1) % 3]
            wrote = clients[there]("POST", f"/{number}", b"", x_text=str(turn), cookie=cookie, x_forwarded_for=NETWORKS[there])
            assert wrote.status == 200, wrote.text
            cookie = f"meridian_token={wrote.cookies['meridian_token']}"
            for seen, brought in ((plain, None), (stale, cookie)):
                read = clients[here]("GET", f"/{number}", cookie=brought, x_forwarded_for=NETWORKS[here])
                assert read.status == 200 and read.headers["x-meridian-region"] == here
                if read.text != str(turn):
                    seen.append((number, turn, read.text))
            cookie = f"meridian_token={read.cookies['meridian_token']}"

    def guarded(number):
        try:
            user(number)
        except Exception as error:  # A thread's failure must fail the test.
            failed.append(repr(error))

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    site.end()
    show(f"own writes through edges: {len(stale)} of {PAIRS} stale; without the cookie {len(plain)} were, as they may be")
    assert failed == [] and stale == []
    assert plain, "nothing was ever behind, so nothing was shown"
