"""Small backends behind the HTTP edge, and clients that say no more than they are told to."""

import base64
import hashlib
import http.client
import http.server
import json
import socket
import threading
import time
from collections import Counter
from urllib.parse import urlsplit


class App(http.server.BaseHTTPRequestHandler):
    """Answers with what it was sent, or misbehaves as its server is told to."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        server = self.server
        if server.mode.get(self.command) == "deaf":
            server.released.wait(8)
            self.close_connection = True
            return None
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else self.chunks()
        path = urlsplit(self.path).path
        if path == "/healthz":
            return self.reply(200, b"")
        with server.lock:
            server.seen[self.command, self.path] += 1
        mode = server.mode.get(self.command)
        if mode == "hang":
            server.released.wait(30)
        if mode in ("drop", "hang"):
            self.close_connection = True
            return None
        if self.headers.get("upgrade") == "websocket":
            return self.websocket()
        if path in server.streams:
            return server.streams[path](self)
        if path in server.pages:
            status, headers, text = server.pages[path](self) if callable(server.pages[path]) else server.pages[path]
            return self.reply(status, text.encode(), headers)
        told = {"region": server.region, "method": self.command, "path": self.path, "body": len(body)}
        told["headers"] = {name.lower(): value for name, value in self.headers.items()}
        return self.reply(server.status.get(self.command, 200), json.dumps(told).encode(), server.headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def chunks(self):
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return b""
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def reply(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def websocket(self):
        key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("connection", "Upgrade")
        self.send_header("upgrade", "websocket")
        self.send_header("sec-websocket-accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        while data := self.connection.recv(4096):
            self.connection.sendall(data)
        self.close_connection = True

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.lock, self.open = threading.Lock(), set()

    def process_request(self, request, client_address):
        with self.lock:
            self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        with self.lock:
            self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_):
        pass


def backend(region, address="127.0.0.1", port=0):
    """A backend that is up."""
    server = Server((address, port), App)
    server.region, server.seen = region, Counter()
    server.mode, server.status, server.headers, server.pages, server.streams = {}, {}, {}, {}, {}
    server.released = threading.Event()
    server.url = f"http://{address}:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


def end(server):
    """As a process that is killed: nothing listens, and what is open is cut."""
    server.released.set()
    server.shutdown()
    server.server_close()
    with server.lock:
        for stream in server.open:
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Reply:
    def __init__(self, response):
        self.status, self.headers = response.status, response.headers
        self.text = response.read().decode()

    @property
    def json(self):
        return json.loads(self.text)

    @property
    def cookies(self):
        """What the reply has the client keep, by name."""
        pairs = [value.split(";")[0].split("=", 1) for value in self.headers.get_all("set-cookie") or []]
        return dict(pairs)


class Client:
    """One connection to an edge."""

    def __init__(self, authority, host, timeout=15, source=None):
        source = (source, 0) if source else None
        self.connection = http.client.HTTPConnection(authority, timeout=timeout, source_address=source)
        self.host = host

    def __call__(self, method="GET", path="/", body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
        self.connection.request(method, path, body=body, headers={"host": self.host, **headers})
        return Reply(self.connection.getresponse())

    def close(self):
        self.connection.close()


def raw(authority, data, patience=10.0) -> bytes:
    """All that comes back for these bytes until the server closes or has nothing to say."""
    host, port = authority.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=patience) as stream:
        stream.sendall(data)
        got, until = b"", time.monotonic() + patience
        while time.monotonic() < until:
            try:
                more = stream.recv(65536)
            except (TimeoutError, ConnectionResetError):
                break
            if not more:
                break
            got += more
        return got
