"""The HTTP edge against clients that mean no good, TLS whose certificate changes, and the cache: one node with bounds of its own."""

import datetime
import os
import resource
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

import pytest
from cluster import BINARY, free_base_port, meridian, wait_until
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from edge_backends import Client, backend, end, raw

HOST = "shop.edge.test"
MANY = int(os.environ.get("MERIDIAN_IDLE_CONNECTIONS", "500"))
# Long enough to open them all.
IDLE = max(5.0, MANY / 200)


class Node:
    """One node by its own configuration file, and by what is to be added to it."""

    def __init__(self, folder, more=""):
        base = free_base_port(1)
        self.folder, self.edge, self.admin = folder, f"127.0.0.1:{base + 3}", f"http://127.0.0.1:{base + 1}"
        self.dns = ("127.0.0.1", base + 4)
        listen = dict(zip(["dynamodb", "admin", "redis", "edge", "dns", "peer"], range(base, base + 6)))
        self.certify("one")
        (folder / "node.toml").write_text(
            "[node]\nid='n1'\nnumber=1\nregion='r1'\nzone='a'\ndata_dir='data'\n[listen]\n"
            + "".join(f"{name}='127.0.0.1:{port}'\n" for name, port in listen.items())
            + "[cluster]\nname='edge'\nnodes=[{id='n1',number=1,region='r1',zone='a',peer='127.0.0.1:1'}]\n"
            + "[auth]\nmode='none'\n[edge]\nmax_body='100KiB'\nmax_header_bytes='8KiB'\nmax_headers=20\n"
            + f"idle_timeout='{int(IDLE * 1000)}ms'\nmin_body_rate='1MiB'\nmax_connections_per_client={MANY + 100}\n"
            + "max_in_flight=24\ntrusted=['127.0.0.2/32']\nmax_connections=20000\ncache_size='1MiB'\n[[edge.certificate]]\ncert='edge.pem'\nkey='edge.key'\n"
            + more
        )
        self.log = open(folder / "node.log", "wb")  # noqa: SIM115
        self.process = subprocess.Popen(
            [BINARY, "node", "--config", folder / "node.toml"], stdout=self.log, stderr=self.log
        )
        wait_until("the node is ready", self.ready)

    def ready(self):
        assert self.process.poll() is None, (self.folder / "node.log").read_text()
        try:
            with urllib.request.urlopen(f"{self.admin}/v1/health", timeout=5) as answer:
                return b'"ready":true' in answer.read()
        except OSError:
            return False

    def certify(self, name):
        """Writes a certificate of its own making, whose serial number tells it from others."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
            .sign(key, hashes.SHA256())
        )  # fmt: skip
        plain = serialization.NoEncryption()
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        for file, content in (("edge.key", private), ("edge.pem", made.public_bytes(serialization.Encoding.PEM))):
            path = self.folder / f"new-{file}"
            path.write_bytes(content)
            path.chmod(0o600)
            path.rename(self.folder / file)
        self.serial = made.serial_number

    def cli(self, *arguments):
        done = meridian(*arguments, "--endpoint", self.admin)
        assert done.returncode == 0, done.stderr
        return done

    def metric(self, name):
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return float(next(line for line in lines if line.startswith(name)).rsplit(" ", 1)[1])

    def memory(self):
        """Resident memory of the process, in MiB."""
        with open(f"/proc/{self.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize() / 2**20

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0
        self.log.close()
        assert "panicked" not in (self.folder / "node.log").read_text()


@pytest.fixture(scope="module")
def app():
    server = backend("r1")
    yield server
    end(server)


@pytest.fixture(scope="module")
def node(tmp_path_factory, app):
    node = Node(tmp_path_factory.mktemp("edge"))
    node.cli(
        "service", "add", "shop", "--host", HOST, "--health", "/healthz", "--backend", f"r1={app.url}", "--cache",
        "--timeout", "3s",
    )  # fmt: skip
    wait_until("the edge serves", lambda: answers(node))
    yield node
    node.stop()


def answers(node):
    try:
        return Client(node.edge, HOST)("GET", "/up").status == 200
    except OSError:
        return False


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:80]
    return int(answer.split()[1])


def test_bad_requests_get_clear_answers(node, app):
    head = f"Host: {HOST}\r\n"
    ask = lambda text: raw(node.edge, text.encode())  # noqa: E731
    close = "Connection: close\r\n"
    assert status(ask(f"GET / HTTP/1.1\r\n{head}X-Big: {'x' * 10_000}\r\n\r\n")) == 431
    assert status(ask(f"GET / HTTP/1.1\r\n{head}{''.join(f'x-{n}: 1{chr(13)}{chr(10)}' for n in range(30))}\r\n")) == 431
    assert status(ask(f"GET / HTTP/1.1\r\n{close}\r\n")) == 400
    assert status(ask(f"GET / HTTP/1.1\r\n{head}{head}{close}\r\n")) == 400
    assert status(ask(f"CONNECT {HOST}:80 HTTP/1.1\r\n{head}{close}\r\n")) == 501
    assert status(ask("garbage\r\n\r\n")) == 400
    assert status(ask(f"POST / HTTP/1.1\r\n{head}{close}Content-Length: 200000\r\n\r\n")) == 413
    chunk = f"{0x4000:x}\r\n{'x' * 0x4000}\r\n"
    assert status(ask(f"POST / HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n{chunk * 8}0\r\n\r\n")) == 413
    for twice in ("Content-Length: 5\r\nContent-Length: 6\r\n", "Transfer-Encoding: chunked, gzip\r\n"):
        assert status(ask(f"POST / HTTP/1.1\r\n{head}{twice}\r\nhello")) == 400
    # Both lengths: read by one of them only, and nothing behind it is taken for a request.
    app.seen.clear()
    both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    answer = ask(f"POST /a HTTP/1.1\r\n{head}{both}GET /smuggled HTTP/1.1\r\n{head}\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1 and dict(app.seen) == {("POST", "/a"): 1}
    # A body that comes too slowly, and one that ends before its end.
    started = time.monotonic()
    assert status(raw(node.edge, f"POST / HTTP/1.1\r\n{head}Content-Length: 100\r\n\r\nabc".encode())) == 408
    assert 4 < time.monotonic() - started < 10


def test_slow_and_idle_connections_are_harmless(node, show):
    host, port = node.edge.rsplit(":", 1)
    limit = min(MANY, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
    before, idle = node.memory(), []
    started = time.monotonic()
    for number in range(limit):
        stream = socket.create_connection((host, int(port)), timeout=10)
        if number % 2:
            stream.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Slow:".encode())
        idle.append(stream)
    opened = time.monotonic() - started
    held = node.metric("meridian_edge_connections")
    begun = time.monotonic()
    assert Client(node.edge, HOST)("GET", "/idle").status == 200
    took, grown = time.monotonic() - begun, node.memory() - before
    show(f"{limit} idle connections: opened in {opened:.1f} s, {held:.0f} held, {grown:.1f} MiB more, a request {took * 1000:.0f} ms")
    assert grown < 50 + limit * 0.05 and took < 5
    # One client has no more than its share of connections.
    extra = []
    for _ in range(MANY + 101 - limit):
        extra.append(socket.create_connection((host, int(port)), timeout=10))
    refused = extra[-1].recv(4096)
    assert status(refused) == 503 and node.metric("meridian_edge_connections_refused_total") > 0
    # HTTP/2 that says nothing after its greeting.
    silent = extra[0]
    silent.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
    # Slowloris: each drips a byte now and then, and is closed all the same.
    slow = socket.create_connection((host, int(port)), timeout=10)
    slow.sendall(b"GET / HTTP/1.1\r\n")
    begun = time.monotonic()
    with pytest.raises(OSError):  # noqa: PT012
        while time.monotonic() < begun + IDLE + 10:
            slow.sendall(b"x")
            time.sleep(0.1)
    assert time.monotonic() - begun < IDLE + 3
    wait_until("all are closed", lambda: node.metric("meridian_edge_connections") < 5, patience=IDLE + 20)
    for stream in idle + extra:
        stream.close()


def test_a_long_response_outlives_the_idle_timeout(node, app):
    def pieces(request):
        request.send_response(200)
        request.send_header("transfer-encoding", "chunked")
        request.end_headers()
        for _ in range(7):
            request.wfile.write(b"1\r\nx\r\n")
            time.sleep(1)
        request.wfile.write(b"0\r\n\r\n")

    app.streams["/long"] = pieces
    client = Client(node.edge, HOST)
    assert client("GET", "/long").text == "x" * 7
    assert client("GET", "/after").headers.get("connection") != "close", "the connection is still good"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def test_a_client_over_http2_that_never_takes_its_response_is_let_go(node, app):
    """It grants no window, answers pings, and so looks alive: what it holds on to would be lost to others."""
    data, headers, settings, ping = 0, 1, 4, 6
    host = HOST.encode()
    block = b"\x82\x86\x04" + bytes([len(b"/large")]) + b"/large" + b"\x01" + bytes([len(host)]) + host
    app.pages["/large"] = (200, {}, "x" * 100_000)
    address, port = node.edge.rsplit(":", 1)
    began = time.monotonic()
    with socket.create_connection((address, int(port)), timeout=5) as stream:
        stream.settimeout(5 * IDLE)
        no_window = (4).to_bytes(2, "big") + (0).to_bytes(4, "big")
        stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(settings, 0, 0, no_window) + frame(headers, 5, 1, block))
        seen, rest = set(), b""
        while True:
            try:
                read = stream.recv(65536)
            except ConnectionError:
                break
            if not read:
                break
            rest += read
            while len(rest) >= 9 and len(rest) >= 9 + int.from_bytes(rest[:3], "big"):
                length, kind, flags = int.from_bytes(rest[:3], "big"), rest[3], rest[4]
                seen.add(kind)
                if kind in (settings, ping) and not flags & 1:
                    stream.sendall(frame(kind, 1, 0, rest[9 : 9 + length] if kind == ping else b""))
                rest = rest[9 + length :]
    assert headers in seen and data not in seen, "the response began, and could not go on"
    assert IDLE * 0.8 < time.monotonic() - began < 4 * IDLE
    wait_until("nothing is held any more", lambda: Client(node.edge, HOST)("GET", "/after").status == 200)


def test_certificates_change_under_open_connections(node):
    def connect():
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        host, port = node.edge.rsplit(":", 1)
        return context.wrap_socket(socket.create_connection((host, int(port)), timeout=10), server_hostname=HOST)

    def serial(stream):
        return x509.load_der_x509_certificate(stream.getpeercert(binary_form=True)).serial_number

    def get(stream):
        stream.sendall(f"GET /tls HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"}"):
            answer += stream.recv(65536)
        return status(answer), b"proto=https" in answer

    old, first = connect(), node.serial
    assert serial(old) == first and get(old) == (200, True)
    node.certify("two")
    assert node.serial != first

    def renewed():
        assert get(old) == (200, True), "the open connection goes on"
        with connect() as stream:
            return serial(stream) == node.serial

    wait_until("new connections get the new certificate", renewed, patience=20)
    assert get(old) == (200, True)
    (node.folder / "edge.pem").write_text("not a certificate")
    time.sleep(1.5)
    with connect() as stream:
        assert serial(stream) == node.serial, "what was there before stays"
    node.certify("three")
    said = subprocess.run(
        ["curl", "-sk", "--http2", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "--connect-to",
         f"{HOST}:443:{node.edge}", f"https://{HOST}/h2"],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert said.stdout == "2 200"


def test_the_cache_serves_collapses_revalidates_and_forgets(node, app):
    client = Client(node.edge, HOST)
    counted = lambda path: app.seen["GET", path]  # noqa: E731
    page = {"cache-control": "max-age=60", "etag": '"1"', "cache-tag": "products", "vary": "accept-language"}
    app.pages["/page"] = (200, page, "hello")
    first, second = client("GET", "/page"), client("GET", "/page")
    assert first.headers["cache-status"] == "meridian; fwd=uri-miss; stored" and first.text == second.text == "hello"
    assert second.headers["cache-status"].startswith("meridian; hit; ttl=") and second.headers["age"] is not None
    assert client("HEAD", "/page").headers["content-length"] == "5" and counted("/page") == 1
    known = client("GET", "/page", if_none_match='W/"1"')
    assert (known.status, known.text) == (304, "")
    assert client("GET", "/page", accept_language="de").headers["cache-status"] == "meridian; fwd=vary-miss; stored"
    assert counted("/page") == 2
    # Never what is somebody's own.
    app.pages["/own"] = (200, {"cache-control": "max-age=60", "set-cookie": "sid=1"}, "own")
    app.pages["/auth"] = (200, {"cache-control": "max-age=60"}, "auth")
    for _ in range(2):
        assert "hit" not in client("GET", "/own").headers["cache-status"]
        assert "hit" not in client("GET", "/auth", authorization="Basic eDp5").headers["cache-status"]
        assert "hit" not in client("GET", "/auth", cookie="sid=7").headers["cache-status"]
    # Ten who ask at once are one request.
    def slow(_):
        time.sleep(0.4)
        return 200, {"cache-control": "max-age=60"}, "slow"

    app.pages["/slow"] = slow
    got = []
    threads = [threading.Thread(target=lambda: got.append(Client(node.edge, HOST)("GET", "/slow").text)) for _ in range(10)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["slow"] * 10 and counted("/slow") == 1
    # By tag, by a change, and all of it.
    node.cli("service", "purge", "shop", "--tag", "products")
    wait_until("the page is forgotten", lambda: "fwd" in client("GET", "/page").headers["cache-status"], patience=5)
    assert "hit" in client("GET", "/slow").headers["cache-status"]
    assert "hit" in client("GET", "/page").headers["cache-status"]
    client("POST", "/page", b"changed")
    assert "fwd" in client("GET", "/page").headers["cache-status"]
    node.cli("service", "purge", "shop")
    wait_until("all is forgotten", lambda: "fwd" in client("GET", "/slow").headers["cache-status"], patience=5)
    # Beyond its lifetime: served while it is looked at anew, confirmed by 304, and kept when the backend fails.
    stale = {"cache-control": "max-age=1, stale-while-revalidate=1, stale-if-error=60", "etag": '"7"'}
    app.pages["/stale"] = lambda h: (304, stale, "") if h.headers.get("if-none-match") == '"7"' else (200, stale, "old")
    client("GET", "/stale")
    time.sleep(1.6)
    assert client("GET", "/stale").headers["cache-status"] == "meridian; hit; ttl=-1"
    wait_until("it was looked at", lambda: counted("/stale") == 2, patience=5)
    time.sleep(2.2)
    again = client("GET", "/stale")
    assert again.headers["cache-status"] == "meridian; fwd=stale; fwd-status=304; stored" and again.text == "old"
    time.sleep(2.2)
    app.pages["/stale"] = (503, {}, "down")
    assert client("GET", "/stale").text == "old"
    # Memory is bounded, whatever comes.
    for number in range(40):
        app.pages[f"/big{number}"] = (200, {"cache-control": "max-age=60"}, "x" * 80_000)
        assert len(client("GET", f"/big{number}").text) == 80_000
    assert 0 < node.metric("meridian_edge_cache_bytes") <= 2**20 and node.metric("meridian_edge_cache_evicted_total") > 0


def test_a_busy_backend_is_given_no_more_and_one_client_not_all_of_it(node, app):
    def slow(_):
        time.sleep(1)
        return 200, {}, "slow"

    app.pages["/busy"] = slow

    def at_once(source):
        got = []
        ask = lambda: got.append(Client(node.edge, HOST, source=source)("POST", "/busy"))  # noqa: E731
        threads = [threading.Thread(target=ask) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(reply.headers["retry-after"] == "1" for reply in got if reply.status != 200)
        return sorted(reply.status for reply in got)

    assert at_once(None) == [200] * 12 + [429] * 18
    # A proxy that is trusted speaks for many.
    assert at_once("127.0.0.2") == [200] * 24 + [503] * 6
    # A backend that does not read what it is sent: the wait ends all the same.
    app.mode = {"POST": "deaf"}
    begun = time.monotonic()
    deaf = Client(node.edge, HOST)("POST", "/deaf", b"x" * 102_400)
    app.mode = {}
    assert deaf.status == 504 and time.monotonic() - begun < 10


def test_a_node_that_stops_finishes_what_it_is_at(node, app):
    def slow(_):
        time.sleep(1)
        return 200, {}, "done"

    app.pages["/last"] = slow
    got = []
    thread = threading.Thread(target=lambda: got.append(Client(node.edge, HOST)("GET", "/last")))
    thread.start()
    wait_until("the request is under way", lambda: app.seen["GET", "/last"])
    node.process.send_signal(signal.SIGTERM)
    thread.join()
    assert (got[0].status, got[0].text) == (200, "done")
    with pytest.raises(OSError):
        Client(node.edge, HOST)()
