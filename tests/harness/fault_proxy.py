# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy before an S3 server that does to requests and answers what bad networks and busy servers do.

It passes everything on as it is, so that signatures stay valid, except where a test has planned a fault:

    with FaultProxy(server.endpoint) as proxy:
        proxy.plan(r"PUT .*/pack", Answer(503, "SlowDown"), times=2)
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit

from .cluster import LOCAL_ADDRESS


@dataclass
class Exchange:
    """A request, and how to get the server's answer to it and to send an answer."""

    handler: _Handler
    line: str
    body: bytes

    def forward(self) -> Reply:
        """The server's answer."""
        return self.handler.forward(self.body)


@dataclass(frozen=True)
class Reply:
    """An answer as a whole."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes


Fault = Callable[[Exchange], None]


class Answer:
    """Answer with an error of S3's; the server never sees the request."""

    def __init__(self, status: int, code: str, message: str = "Injected by a test.") -> None:
        self._status, self._code, self._message = status, code, message

    def __call__(self, exchange: Exchange) -> None:
        text = f"<Error><Code>{self._code}</Code><Message>{self._message}</Message><RequestId>1</RequestId></Error>"
        headers = [("Content-Type", "application/xml")]
        exchange.handler.answer(Reply(self._status, self._code, headers, text.encode()))


def reset(exchange: Exchange) -> None:
    """Tear the connection instead of answering."""
    exchange.handler.tear()


def lose_answer(exchange: Exchange) -> None:
    """Let the server do what it was asked, and tear the connection before its answer."""
    exchange.forward()
    exchange.handler.tear()


def stall(exchange: Exchange) -> None:
    """Say nothing, for ever."""
    exchange.handler.wait_for_the_end()


def damage_request(exchange: Exchange) -> None:
    """Change one bit of the request's body on its way."""
    damaged = bytearray(exchange.body)
    damaged[len(damaged) // 2] ^= 1
    exchange.handler.answer(exchange.handler.forward(bytes(damaged)))


def ignore_range(exchange: Exchange) -> None:
    """Answer a ranged read with the whole object, as servers and caches do that do not know ranges."""
    reply = exchange.forward()
    total = int(dict(reply.headers)["Content-Range"].rpartition("/")[2])
    headers = [each for each in reply.headers if each[0] != "Content-Range"]
    exchange.handler.answer(Reply(200, "OK", headers, b"x" * total))


class Truncate:
    """Send only the first bytes of an answer's body, then tear the connection or say nothing more."""

    def __init__(self, length: int, *, and_stall: bool = False) -> None:
        self._length, self._and_stall = length, and_stall

    def __call__(self, exchange: Exchange) -> None:
        exchange.handler.answer(exchange.forward(), self._length)
        (stall if self._and_stall else reset)(exchange)


class Delay:
    """Take some time over passing a request on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, exchange: Exchange) -> None:
        exchange.handler.proxy.closing.wait(self._seconds)
        exchange.handler.answer(exchange.forward())


class Drip:
    """Send an answer's body slowly, some bytes at a time."""

    def __init__(self, pieces: int, pause: float) -> None:
        self._pieces, self._pause = pieces, pause

    def __call__(self, exchange: Exchange) -> None:
        reply = exchange.forward()
        exchange.handler.answer(reply, 0)
        size = -(-len(reply.body) // self._pieces)
        for start in range(0, len(reply.body), size):
            if exchange.handler.proxy.closing.wait(self._pause):
                return
            exchange.handler.wfile.write(reply.body[start : start + size])


PART_OF_AN_UPLOAD = re.compile("PUT .*partNumber=")
"""What carries data. The requests that begin and complete an upload are small and not limited."""


class _Plan:
    def __init__(self, pattern: str, fault: Fault, times: int | None) -> None:
        self.pattern, self.fault, self.left = re.compile(pattern), fault, times


class FaultProxy:
    """Listens on a port of its own, at `endpoint`."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.closing = threading.Event()
        self.requests: list[str] = []
        self.last_headers: Mapping[str, str] = {}
        self.most_parts_at_once = 0
        self._parts_at_once = 0
        self._plans: list[_Plan] = []
        self._lock = threading.Lock()
        self._server = _Server((LOCAL_ADDRESS, 0), self)
        self.endpoint = f"http://{LOCAL_ADDRESS}:{self._server.server_address[1]}"

    def __enter__(self) -> FaultProxy:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def plan(self, pattern: str, fault: Fault, *, times: int | None = None) -> None:
        """Let requests whose "METHOD path" matches suffer a fault: the next *times*, or all."""
        self._plans.append(_Plan(pattern, fault, times))

    @property
    def to_come(self) -> list[str]:
        """The patterns of planned faults that have not all happened yet."""
        return [plan.pattern.pattern for plan in self._plans if plan.left]

    def count(self, pattern: str) -> int:
        """How many requests matched."""
        return sum(re.match(pattern, line) is not None for line in self.requests)

    def begin(self, line: str, headers: Mapping[str, str]) -> Fault | None:
        """Note a request; the fault that it is to suffer."""
        with self._lock:
            self.requests.append(line)
            self.last_headers = headers
            if PART_OF_AN_UPLOAD.match(line):
                self._parts_at_once += 1
                self.most_parts_at_once = max(self.most_parts_at_once, self._parts_at_once)
            for plan in self._plans:
                if plan.left != 0 and plan.pattern.match(line):
                    plan.left = plan.left - 1 if plan.left else None
                    return plan.fault
        return None

    def end(self, line: str) -> None:
        """A request is done with."""
        if PART_OF_AN_UPLOAD.match(line):
            with self._lock:
                self._parts_at_once -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], proxy: FaultProxy) -> None:
        self.proxy = proxy
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are no news here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    _counted = False

    @property
    def proxy(self) -> FaultProxy:
        return self.server.proxy

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def handle_request(self) -> None:
        """Pass one request on, or let it suffer."""
        line = f"{self.command} {self.path}"
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.proxy.begin(line, dict(self.headers))
        self._counted = True
        try:
            if fault is None:
                self.answer(self.forward(body))
            else:
                fault(Exchange(self, line, body))
        finally:
            self.done()

    def done(self) -> None:
        """The request counts no more. Before the client knows: it may send the next one at once."""
        if self._counted:
            self._counted = False
            self.proxy.end(f"{self.command} {self.path}")

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = handle_request

    def forward(self, body: bytes) -> Reply:
        upstream = HTTPConnection(self.proxy.upstream, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("expect", "connection"):
                    upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            return Reply(answer.status, answer.reason, answer.getheaders(), answer.read())
        finally:
            upstream.close()

    def answer(self, reply: Reply, length: int | None = None) -> None:
        """Send an answer, or with *length* only that much of its body."""
        self.done()
        self.send_response_only(reply.status, reply.reason)
        announced = dict(reply.headers).get("Content-Length") if self.command == "HEAD" else None
        for name, value in reply.headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", announced or str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body[:length])

    def tear(self) -> None:
        """End the connection by a reset."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.done()
        self.connection.close()

    def wait_for_the_end(self) -> None:
        """Hold the connection until the proxy goes."""
        self.proxy.closing.wait()
        self.close_connection = True
