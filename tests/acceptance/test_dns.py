"""GeoDNS: who asks gets the region that should serve them, and no region that cannot."""

import http.server
import random
import socket
import subprocess
import threading
import time

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest
from cluster import PRIMARY, REGIONS, SURVIVORS, asserted, wait_until

NETWORKS = dict(zip(REGIONS, ["192.0.2", "198.51.100", "203.0.113"]))
# Every region's backends have an address of their own, so that an answer tells which region it names.
ADDRESSES = dict(zip(REGIONS, ["127.0.0.1", "127.0.0.2", "127.0.0.3"]))
SHOP, TILL, DEAD = "shop.example.test", "till.example.test", "dead.example.test"
# The goal on a machine that has nothing else to do; the bound elsewhere.
GONE_WITHIN, BOUND = 3.0, 20.0


class Backend(http.server.BaseHTTPRequestHandler):
    """Says that it is well, or whatever status it is told to say."""

    def do_GET(self):
        self.send_response(self.server.status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def backends():
    """A server for each service and region."""
    servers = {}
    for service in ("shop", "till"):
        for region, address in ADDRESSES.items():
            server = http.server.ThreadingHTTPServer((address, 0), Backend)
            server.status = 200
            threading.Thread(target=server.serve_forever, daemon=True).start()
            servers[service, region] = server
    yield servers
    for server in servers.values():
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def served(shared_lan, backends):
    """The cluster with two services that are well, and one whose backends are all dead."""
    cluster = shared_lan
    cluster.settle()
    for service in ("shop", "till"):
        urls = [
            ["--backend", f"{region}=http://{ADDRESSES[region]}:{backends[service, region].server_port}"]
            for region in REGIONS
        ]
        cluster.json(
            "service", "add", service, "--host", f"{service}.example.test", "--health", "/healthz", "--ttl", 5,
            *sum(urls, []),
        )  # fmt: skip
    dead = [["--backend", f"{r}=http://{ADDRESSES[r]}:{port}"] for r in REGIONS for port in range(1, 9)]
    cluster.json("service", "add", "dead", "--host", DEAD, "--health", "/", *sum(dead, []))
    for region in REGIONS:
        wait_until(f"{region} judges every service", lambda region=region: judged(cluster, region))
    yield cluster
    for service in ("shop", "till", "dead"):
        cluster.cli("service", "remove", service)


def judged(cluster, region):
    status = cluster.json("service", "status", region=region)["services"]
    verdicts = {entry["name"]: {place["verdict"] for place in entry["regions"]} for entry in status}
    return verdicts == {"shop": {"healthy"}, "till": {"healthy"}, "dead": {"lost"}}


def server(cluster, region):
    address, port = cluster.nodes()[region]["dns"].rsplit(":", 1)
    return address, int(port)


def ask(cluster, name, kind="A", client=None, at=PRIMARY, tcp=False, options=(), edns=True):
    options = list(options)
    if client:
        options.append(dns.edns.ECSOption(client, 24))
    query = dns.message.make_query(name, kind, use_edns=0 if edns else -1, options=options if edns else None)
    address, port = server(cluster, at)
    send = dns.query.tcp if tcp else dns.query.udp
    return send(query, address, port=port, timeout=5)


def addresses(answer):
    return [item.address for rrset in answer.answer if rrset.rdtype == dns.rdatatype.A for item in rrset]


def answered(cluster, name, region, at=PRIMARY):
    """What a client near a region is told."""
    try:
        return addresses(ask(cluster, name, client=f"{NETWORKS[region]}.7", at=at))
    except dns.exception.Timeout:
        # A datagram may be lost where many come at once; clients ask again.
        return None


def test_clients_are_sent_to_the_nearest_region(served):
    for at in REGIONS:
        for region in REGIONS:
            answer = ask(served, SHOP, client=f"{NETWORKS[region]}.7", at=at)
            assert addresses(answer) == [ADDRESSES[region]], (at, region)
            assert answer.answer[0].ttl == 5
            assert answer.flags & dns.flags.AA and not answer.flags & dns.flags.RA
            assert [option.scopelen for option in answer.options] == [24]
    address, port = server(served, PRIMARY)
    for region in REGIONS:
        subnet = f"+subnet={NETWORKS[region]}.0/24"
        said = subprocess.run(
            ["dig", f"@{address}", "-p", str(port), SHOP, "A", subnet, "+short"],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
        assert said.stdout.split() == [ADDRESSES[region]]


def test_what_is_not_there_and_what_is_not_ours(served):
    assert ask(served, "www.example.org").rcode() == dns.rcode.REFUSED
    assert ask(served, ".", "NS").rcode() == dns.rcode.REFUSED
    assert ask(served, SHOP, "AXFR", tcp=False).rcode() == dns.rcode.REFUSED
    nothing = ask(served, "nobody.example.test")
    nodata = ask(served, SHOP, "MX")
    assert (nothing.rcode(), nodata.rcode()) == (dns.rcode.NXDOMAIN, dns.rcode.NOERROR)
    for answer in (nothing, nodata):
        assert not answer.answer
        assert [(str(r.name), r.rdtype) for r in answer.authority] == [("example.test.", dns.rdatatype.SOA)]
    assert ask(served, "example.test", "SOA").answer and ask(served, "example.test", "NS").answer
    named = ask(served, SHOP, options=[dns.edns.GenericOption(dns.edns.OptionType.NSID, b"")])
    ids = [option.to_text() for option in named.options if option.otype == dns.edns.OptionType.NSID]
    assert len(ids) == 1 and f"{PRIMARY}-a-0" in ids[0]


def test_what_is_served_is_a_sound_zone(served, tmp_path):
    """By BIND's checker, which looks at what is at the apex, whether names have their addresses, and what may not stand side by side."""
    names = ["example.test", "ns1.example.test", SHOP, TILL, f"_http._tcp.{SHOP}", *(f"{r}.{SHOP}" for r in REGIONS)]
    records = set()
    for name in names:
        for kind in ("SOA", "NS", "A", "AAAA", "SRV", "TXT", "CNAME", "HTTPS"):
            for rrset in ask(served, name, kind, client=f"{NETWORKS[PRIMARY]}.7").answer:
                records.update(rrset.to_text().splitlines())
    zone = tmp_path / "example.test.zone"
    soa = sorted(record for record in records if " SOA " in record)
    assert len(soa) == 1
    zone.write_text("\n".join([*soa, *sorted(records - set(soa))]) + "\n")
    checked = subprocess.run(
        ["named-checkzone", "-k", "fail", "-n", "fail", "-m", "fail", "-i", "local", "example.test", zone],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert checked.returncode == 0 and "OK" in checked.stdout, f"{checked.stdout}\n{zone.read_text()}"


def test_when_everything_is_dead_everything_is_answered(served):
    answer = answered(served, DEAD, REGIONS[1])
    assert sorted(answer) == sorted(ADDRESSES.values()) and answer[0] == ADDRESSES[REGIONS[1]]
    status = served.json("service", "status", "dead")["services"][0]
    assert status["fail_open"] and all("connection refused" in place["because"][0] for place in status["regions"])
    shown = served.cli("service", "status", "dead").stdout
    assert "fail open" in shown
    # Where they listen does not fit a plain datagram.
    name = f"_http._tcp.{DEAD}"
    short = ask(served, name, "SRV", edns=False)
    assert short.flags & dns.flags.TC and not short.answer
    whole = ask(served, name, "SRV", tcp=True)
    assert not whole.flags & dns.flags.TC and len(whole.answer[0]) == 24
    address, port = server(served, PRIMARY)
    said = subprocess.run(
        ["kdig", f"@{address}", "-p", str(port), name, "SRV", "+noedns", "+short"],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert said.stdout.count(DEAD) == 24, "kdig comes back over TCP"


def test_one_failing_service_moves_alone(served, backends, show):
    region = REGIONS[1]
    backends["shop", region].status = 503
    start = time.monotonic()
    moved = wait_until("the service has moved", lambda: answered(served, SHOP, region) != [ADDRESSES[region]])
    show(f"dns: a failing service left the answers after {time.monotonic() - start:.2f} s")
    assert moved
    for other in REGIONS:
        assert answered(served, TILL, other) == [ADDRESSES[other]], "the other service stays"
        if other != region:
            assert answered(served, SHOP, other) == [ADDRESSES[other]], "other regions stay"
    status = served.json("service", "status", "shop")["services"][0]
    place = next(place for place in status["regions"] if place["region"] == region)
    assert place["verdict"] == "lost" and "status 503" in place["because"][0], place
    backends["shop", region].status = 200
    wait_until("it is back", lambda: answered(served, SHOP, region) == [ADDRESSES[region]])


def test_garbage_is_survived(served):
    generator, target = random.Random(7), server(served, PRIMARY)
    query = dns.message.make_query(SHOP, "A").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as garbage:
        for number in range(3_000):
            message = bytearray(query) if number % 2 else bytearray(generator.randbytes(generator.randrange(300)))
            for _ in range(3):
                if message:
                    message[generator.randrange(len(message))] = generator.randrange(256)
            garbage.sendto(message, target)
    for length in (b"", b"\0", b"\0\0", b"\xff\xff" + bytes(100), b"\0\x0c" + bytes(12)):
        with socket.create_connection(target, timeout=5) as stream:
            stream.sendall(length)
    wait_until("it still answers", lambda: answered(served, SHOP, PRIMARY) == [ADDRESSES[PRIMARY]])
    assert addresses(ask(served, SHOP, client="192.0.2.1", tcp=True)) == [ADDRESSES[PRIMARY]]


def test_services_and_mistakes_on_the_command_line(served):
    listed = served.json("service", "list")["services"]
    assert [entry["name"] for entry in listed] == ["dead", "shop", "till"]
    taken = served.cli("service", "add", "other", "--host", SHOP, "--backend", f"{PRIMARY}=http://127.0.0.1:1")
    assert taken.returncode == 1 and "belongs to service shop" in taken.stderr
    nowhere = served.cli("service", "add", "other", "--host", "o.example.test", "--backend", "mars=http://127.0.0.1:1")
    assert nowhere.returncode == 1 and "region mars" in nowhere.stderr
    for mistake in (["--backend", f"{PRIMARY}=127.0.0.1:1"], ["--backend", f"{PRIMARY}=http://a.b", "--ttl", "61"]):
        wrong = served.cli("service", "add", "other", "--host", "o.example.test", *mistake)
        assert wrong.returncode == 2, wrong.stderr


def test_a_killed_region_leaves_the_answers(served, hurt, show):
    lost = SURVIVORS[0]
    hurt.order("kill", lost)
    killed = time.monotonic()
    rest = [region for region in REGIONS if region != lost]

    def gone():
        return all(ADDRESSES[lost] not in answered(hurt, SHOP, lost, at=at) for at in rest)

    wait_until("the region has left the answers of every survivor", gone)
    took = time.monotonic() - killed
    show(f"dns: a killed region left the answers after {took:.2f} s (goal {GONE_WITHIN:.0f})")
    assert took < (GONE_WITHIN if asserted() else BOUND)
    for region in rest:
        assert answered(hurt, SHOP, region, at=rest[0]) == [ADDRESSES[region]], "nobody else has moved"
    status = hurt.json("service", "status", "shop")["services"][0]
    place = next(place for place in status["regions"] if place["region"] == lost)
    assert place["verdict"] == "lost" and "silent" in " ".join(place["because"]), place
    hurt.order("start", lost)
    hurt.settle()
    wait_until("it is back", lambda: answered(hurt, SHOP, lost) == [ADDRESSES[lost]])
