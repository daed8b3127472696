"""The DNS and HTTP ports of the shipped binary against mutated messages: it goes on serving, and its memory stays bounded.

`MERIDIAN_FUZZ_SECONDS=3600` makes the run an hour long; `MERIDIAN_FUZZ_SEED` repeats one, as far as the network lets it.
"""

import os
import random
import socket
import ssl
import struct
import threading
import time

import dns.edns
import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest
from cluster import meridian, wait_until
from edge_backends import Client, backend, end
from test_edge_limits import HOST, Node

SECONDS = float(os.environ.get("MERIDIAN_FUZZ_SECONDS", "4"))
SEED = int(os.environ.get("MERIDIAN_FUZZ_SEED") or random.SystemRandom().randrange(1 << 32))
ZONE = HOST.split(".", 1)[1]
# What the process may take more than after its first requests, in MiB: caches and buffers, all of them bounded.
GROWTH = 96
# The longest that a good client waits while strangers send garbage.
PATIENCE = 10.0
MAX_DATAGRAM = 1232


def dns_seeds() -> list:
    names = (HOST, ZONE, f"r1.{HOST}", f"_http._tcp.{HOST}", f"nobody.{ZONE}", "www.example.org", ".", f"{'a.' * 100}{ZONE}")
    kinds = ("A", "AAAA", "SRV", "ANY", "SOA", "DNSKEY", "DS", "NSEC", "RRSIG", "TXT", "AXFR", "OPT", "TYPE128", "TYPE65535")
    options = (
        [],
        [dns.edns.ECSOption("192.0.2.0", 24)],
        [dns.edns.ECSOption("2001:db8::", 56), dns.edns.GenericOption(dns.edns.OptionType.NSID, b"")],
        [dns.edns.GenericOption(10, bytes(8)), dns.edns.GenericOption(12, bytes(64)), dns.edns.GenericOption(65001, b"x")],
    )
    plain = [dns.message.make_query(name, kind).to_wire() for name in names for kind in kinds]
    for name in names:
        for kind in ("A", "SRV", "DNSKEY", "MX"):
            for option in options:
                made = dns.message.make_query(name, kind, use_edns=0, options=option, want_dnssec=True, payload=4096)
                plain.append(made.to_wire())
    return plain


def http_seeds() -> list:
    host = f"Host: {HOST}\r\n"
    texts = [
        f"GET / HTTP/1.1\r\n{host}\r\n",
        f"GET /a?b=c HTTP/1.1\r\n{host}Cookie: a=b; c=d\r\nAccept-Encoding: gzip\r\nIf-None-Match: \"x\"\r\nRange: bytes=0-1\r\n\r\n",
        f"POST /p HTTP/1.1\r\n{host}Content-Length: 5\r\n\r\nhello",
        f"POST /p HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nTrailer: x\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n",
        f"PUT /p HTTP/1.1\r\n{host}Expect: 100-continue\r\nIdempotency-Key: k\r\nContent-Length: 3\r\n\r\nabc",
        f"GET /ws HTTP/1.1\r\n{host}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\x81\x05hello",
        f"GET http://{HOST}/ HTTP/1.1\r\n{host}Forwarded: for=192.0.2.1;proto=https\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
        f"OPTIONS * HTTP/1.0\r\n{host}Connection: keep-alive\r\n\r\n",
        f"HEAD / HTTP/1.1\r\n{host}Cache-Control: no-cache\r\n\r\nGET / HTTP/1.1\r\n{host}Connection: close\r\n\r\n",
    ]
    frame = lambda kind, flags, stream, body: struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body  # noqa: E731
    block = b"\x82\x84\x86\x41" + bytes([len(HOST)]) + HOST.encode()
    http2 = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"\0\x03\0\0\0\x64") + frame(1, 5, 1, block),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, block) + frame(0, 1, 1, b"body")
        + frame(3, 0, 1, b"\0\0\0\x08") + frame(6, 0, 0, bytes(8)) + frame(8, 0, 0, b"\0\0\xff\xff") + frame(9, 4, 1, block),
    ]  # fmt: skip
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=HOST).do_handshake()
    return [*(text.encode("latin-1") for text in texts), *http2, outgoing.read()]


def mutated(chance: random.Random, seeds: list) -> bytes:
    message = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((0, 1, 1, 2, 4, 16))):
        at = chance.randrange(len(message) + 1)
        way = chance.randrange(8)
        if way == 0:
            message[at:at] = chance.randbytes(chance.choice((1, 2, 12, 300)))
        elif way == 1:
            del message[at : at + chance.choice((1, 2, 12))]
        elif way == 2:
            message[at:] = chance.choice(seeds)[chance.randrange(12) :]
        elif way == 3:
            message[at:at] = message[at : at + chance.choice((4, 16, 64))] * chance.choice((1, 8))
        elif way == 4:
            del message[at:]
        elif at < len(message):
            message[at] = chance.choice((0, 1, 0x7F, 0x80, 0xC0, 0xFF, 10, 13, 32, message[at] ^ 1 << chance.randrange(8)))
    return bytes(message[:60_000])


class Stranger(threading.Thread):
    """Sends until it is told to stop; what it finds wrong is for the test to say."""

    def __init__(self, name, send, stop):
        super().__init__(name=name, daemon=True)
        self.send, self.stop, self.sent, self.cut, self.wrong = send, stop, 0, 0, []
        self.chance = random.Random(f"{SEED} {name}")

    def run(self):
        while not self.stop.is_set():
            try:
                self.sent += self.send(self.chance)
            except AssertionError as found:
                self.wrong.append(str(found))
            except OSError:
                # A connection that the node has cut short, as it may.
                self.cut += 1


def datagrams(target):
    seeds, stream = dns_seeds(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stream.connect(target)
    stream.settimeout(0.02)

    def send(chance):
        burst = [mutated(chance, seeds) for _ in range(32)]
        for message in burst:
            stream.send(message)
        try:
            for _ in burst:
                answer = stream.recv(65_535)
                assert 12 <= len(answer) <= MAX_DATAGRAM and answer[2] & 0x80, answer.hex()
        except TimeoutError:
            pass
        return len(burst)

    return send


def streams(target):
    seeds = dns_seeds()

    def send(chance):
        with socket.create_connection(target, timeout=2) as stream:
            for _ in range(chance.choice((1, 1, 4))):
                message = mutated(chance, seeds)
                length = len(message) if chance.random() < 0.8 else chance.randrange(65_536)
                stream.sendall(struct.pack(">H", length) + message)
            stream.shutdown(socket.SHUT_WR)
            stream.settimeout(0.5)
            while stream.recv(65_536):
                pass
        return 1

    return send


def requests(target):
    seeds = http_seeds()

    def send(chance):
        with socket.create_connection(target, timeout=2) as stream:
            message = mutated(chance, seeds)
            cut = chance.randrange(len(message) + 1)
            for part in (message[:cut], message[cut:]) if chance.random() < 0.3 else (message,):
                stream.sendall(part)
            if chance.random() < 0.7:
                stream.shutdown(socket.SHUT_WR)
            stream.settimeout(chance.choice((0.002, 0.01, 0.01, 0.2)))
            try:
                while stream.recv(65_536):
                    pass
            except TimeoutError:
                pass
        return 1

    return send


@pytest.fixture
def node(tmp_path):
    app = backend("r1")
    made = meridian("key", "dnssec", "--zone", ZONE, "--out", tmp_path / "zone.pem")
    assert made.returncode == 0, made.stderr
    node = Node(tmp_path, f"[[dns.zone_key]]\nzone='{ZONE}'\nfile='zone.pem'\n")
    node.cli("service", "add", "shop", "--host", HOST, "--health", "/healthz", "--backend", f"r1={app.url}", "--cache")
    wait_until("it serves", lambda: served(node))
    yield node
    node.stop()
    end(app)


def served(node) -> bool:
    """A good client of each port."""
    query = dns.message.make_query(HOST, "A", want_dnssec=True)
    try:
        for send in (dns.query.udp, dns.query.tcp):
            answer = send(query, node.dns[0], port=node.dns[1], timeout=2)
            if answer.rcode() != dns.rcode.NOERROR or len(answer.answer) != 2:
                return False
        return Client(node.edge, HOST, timeout=2)("GET", "/good").status == 200
    except (OSError, dns.exception.DNSException):
        return False


def test_mutated_messages_are_survived(node, show):
    host, port = node.edge.rsplit(":", 1)
    stop = threading.Event()
    strangers = [
        Stranger("datagrams", datagrams(node.dns), stop),
        Stranger("streams", streams(node.dns), stop),
        Stranger("requests", requests((host, int(port))), stop),
        Stranger("more requests", requests((host, int(port))), stop),
    ]
    for stranger in strangers:
        stranger.start()
    began, slowest, first, highest = time.monotonic(), 0.0, None, 0.0
    while time.monotonic() - began < SECONDS:
        asked = time.monotonic()
        wait_until(f"good clients are served, seed {SEED}", lambda: served(node), patience=PATIENCE)
        slowest = max(slowest, time.monotonic() - asked)
        assert node.process.poll() is None, f"the node ended, seed {SEED}"
        highest = max(highest, node.memory())
        if first is None and time.monotonic() - began > min(SECONDS / 4, 60):
            first = node.memory()
        time.sleep(0.2)
    stop.set()
    for stranger in strangers:
        stranger.join(20)
    counts = ", ".join(f"{stranger.sent} {stranger.name} ({stranger.cut} cut short)" for stranger in strangers)
    show(f"fuzz, seed {SEED}: {counts} in {SECONDS:.0f} s; memory {first:.0f} MiB, at most {highest:.0f}; slowest good client {slowest:.2f} s")
    assert not [wrong for stranger in strangers for wrong in stranger.wrong]
    assert all(stranger.sent > 0 for stranger in strangers)
    assert highest - first < GROWTH, f"seed {SEED}"
    wait_until("it serves when they are gone", lambda: served(node), patience=PATIENCE)
