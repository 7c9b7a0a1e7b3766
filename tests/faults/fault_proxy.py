"""A TCP proxy on loopback before a real S3 server: it passes requests on, and does a fault to those it is told to.

Requests go on unchanged, signature and all, so the server checks them as if no proxy stood there.
"""

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from urllib.parse import unquote, urlsplit

HOP = ("connection", "expect", "transfer-encoding", "content-length")  # of one connection, not of the request
BLOCK = 1 << 16


@dataclass(frozen=True)
class Answer:
    """What a server says. headers: without those of the connection; length: of the body, where none comes with it."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    length: int | None = None


@dataclass
class Exchange:
    """One request, and the connection that it came by. A fault does with it what it likes."""

    handler: BaseHTTPRequestHandler
    server: tuple[str, int]
    over: Event  # the proxy is being closed

    @property
    def size(self) -> int:
        """Bytes of the body, as the request says."""
        return int(self.handler.headers.get("Content-Length") or 0)

    def go_on(self) -> None:
        """Say that the body may come, to whoever waits for that."""
        if self.handler.headers.get("Expect"):
            self.handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def body(self) -> bytes:
        """The whole body of the request."""
        self.go_on()
        return self.handler.rfile.read(self.size)

    def begun(self) -> HTTPConnection:
        """A connection to the server on which the head of the request was sent, and nothing of its body."""
        onward = HTTPConnection(*self.server, timeout=60)
        onward.putrequest(self.handler.command, self.handler.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.handler.headers.items():
            if name.lower() not in HOP:
                onward.putheader(name, value)
        if self.handler.headers.get("Content-Length") is not None:
            onward.putheader("Content-Length", str(self.size))
        onward.endheaders()
        return onward

    def asked(self, body: bytes | None = None) -> Answer:
        """What the server answers. body: what to send in place of the request's own."""
        data = self.body() if body is None else body
        with contextlib.closing(self.begun()) as onward:
            onward.send(data)
            reply = onward.getresponse()
            kept = tuple((name, value) for name, value in reply.getheaders() if name.lower() not in HOP)
            length = int(reply.getheader("Content-Length") or 0) if self.handler.command == "HEAD" else None
            return Answer(reply.status, kept, reply.read(), length)

    def head(self, answer: Answer) -> None:
        """Send the head of an answer."""
        length = len(answer.body) if answer.length is None else answer.length
        lines = [f"HTTP/1.1 {answer.status} -", *(f"{name}: {value}" for name, value in answer.headers)]
        lines += [f"Content-Length: {length}", "Connection: close", "", ""]
        self.handler.wfile.write("\r\n".join(lines).encode("latin-1"))

    def answer(self, answer: Answer) -> None:
        """Send a whole answer."""
        self.head(answer)
        self.handler.wfile.write(answer.body)

    def reset(self) -> None:
        """End the connection by a TCP reset: what was sent and not yet read is lost."""
        self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.handler.connection.detach())


Fault = Callable[[Exchange], None]


def passed_on(exchange: Exchange) -> None:
    """No fault."""
    exchange.answer(exchange.asked())


# --- answers that the server did not give


def refused(status: int, code: str = "") -> Fault:
    """The request goes no further: an error as S3 writes it, or with no body where there is no code."""
    xml = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>" if code else ""

    def fault(exchange: Exchange) -> None:
        exchange.body()
        exchange.answer(Answer(status, (("Content-Type", "application/xml"),), xml.encode()))

    return fault


def said(status: int, page: bytes) -> Fault:
    """The request goes no further: a page that no S3 server writes."""

    def fault(exchange: Exchange) -> None:
        exchange.body()
        exchange.answer(Answer(status, (("Content-Type", "text/html"),), page))

    return fault


def mapped(one: int, other: int, code: str) -> Fault:
    """The server's answer, but an error of one status becomes another."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.asked()
        if answer.status != one:
            return exchange.answer(answer)
        return exchange.answer(Answer(other, (), f"<Error><Code>{code}</Code></Error>".encode()))

    return fault


# --- answers that do not arrive, or not all of them


def lost(exchange: Exchange) -> None:
    """The request is done, and its answer is dropped."""
    exchange.asked()
    exchange.reset()


def reset_after(count: int) -> Fault:
    """A reset after so many bytes of the answer's body; none: before its head."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.asked()
        if count:
            exchange.head(answer)
            exchange.handler.wfile.write(answer.body[:count])
            time.sleep(0.02)  # what stands unread at the other end is thrown away by a reset
        exchange.reset()

    return fault


def short(exchange: Exchange) -> None:
    """Half of the body, and the connection is closed as if that were all."""
    answer = exchange.asked()
    exchange.head(answer)
    exchange.handler.wfile.write(answer.body[: len(answer.body) // 2])


def silent(seconds: float) -> Fault:
    """Nothing for so long; then the request goes on."""

    def fault(exchange: Exchange) -> None:
        if not exchange.over.wait(seconds):
            passed_on(exchange)

    return fault


def trickled(pause: float, head: bool = False) -> Fault:
    """The answer a byte at a time, with a pause after each. head: from the first byte of its head on."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.asked()
        if not head:
            exchange.head(answer)
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000 if head else answer.body:
            if exchange.over.wait(pause):
                return
            exchange.handler.wfile.write(bytes([byte]))

    return fault


# --- bytes that change, or stop, on the way


def flipped_up(exchange: Exchange) -> None:
    """The server gets the first byte of the body with a bit flipped, and is content."""
    body = exchange.body()
    exchange.answer(exchange.asked(bytes([body[0] ^ 1]) + body[1:] if body else body))


class FlippedDown:
    """The first byte of the answer's body with a bit flipped: no two in a row alike, unless `same`."""

    def __init__(self, *, same: bool = False) -> None:
        self._same, self._count = same, 0

    def __call__(self, exchange: Exchange) -> None:
        """Do the fault."""
        self._count += not self._same
        answer, bit = exchange.asked(), 1 << self._count % 2
        body = bytes([answer.body[0] ^ bit]) + answer.body[1:] if answer.body else b""
        exchange.answer(Answer(answer.status, answer.headers, body))


def kept_otherwise(write: Callable[[str, bytes], None]) -> Fault:
    """The server keeps other bytes than it was sent, and says that all is well. write: to it, by path of the URL."""

    def fault(exchange: Exchange) -> None:
        body = exchange.body()
        answer = exchange.asked(body)
        if answer.status == 200:
            write(unquote(exchange.handler.path), bytes([body[0] ^ 1]) + body[1:])
        exchange.answer(answer)

    return fault


def slowly_taken(bytes_a_second: int) -> Fault:
    """The body is read no faster than this; then the request goes on."""

    def fault(exchange: Exchange) -> None:
        exchange.go_on()
        parts, left = [], exchange.size
        while left and not exchange.over.wait(0.1):
            parts.append(exchange.handler.rfile.read(min(left, bytes_a_second // 10)))
            left -= len(parts[-1])
        exchange.answer(exchange.asked(b"".join(parts)))

    return fault


@dataclass
class Held:
    """The server gets the head and part of the body, and no more, until whoever sends it is gone. share: of the body.

    reached: set once so much stands at the server.
    """

    share: float
    reached: Event = field(default_factory=Event)

    def __call__(self, exchange: Exchange) -> None:
        """Do the fault."""
        exchange.go_on()
        with contextlib.closing(exchange.begun()) as onward:
            onward.send(exchange.handler.rfile.read(int(exchange.size * self.share)))
            self.reached.set()
            with contextlib.suppress(OSError):
                while exchange.handler.rfile.read1(BLOCK):
                    pass


# --- the proxy


@dataclass
class Struck:
    """Requests that a fault is done to. left: how many more; seen: how many were of the kind, struck or not."""

    fault: Fault
    method: str
    path: str
    left: int
    after: int
    seen: int = 0
    times: list[float] = field(default_factory=list)  # when each came, on the monotonic clock

    def takes(self, method: str, path: str) -> bool:
        """Whether a request is struck; counts it."""
        if not (method.startswith(self.method) and self.path in path):
            return False
        self.seen += 1
        self.times.append(time.monotonic())
        hit = self.left > 0 and self.seen > self.after
        self.left -= hit
        return hit


class FaultProxy:
    """A proxy before the server at a URL. `url` is its own. Close it at the end."""

    def __init__(self, server: str) -> None:
        parts = urlsplit(server)
        assert parts.hostname and parts.port
        to, over, lock = (parts.hostname, parts.port), Event(), Lock()
        struck: list[Struck] = []
        requests: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # or no "100 Continue" is waited for

            def handle_expect_100(self) -> bool:
                return True  # the fault says when the body may come

            def answer(self) -> None:
                self.close_connection = True
                with lock:
                    requests.append(f"{self.command} {self.path}")
                    fault = next((each.fault for each in struck if each.takes(self.command, self.path)), passed_on)
                with contextlib.suppress(OSError):  # who asked is gone
                    fault(Exchange(self, to, over))

            do_GET = do_PUT = do_DELETE = do_HEAD = do_POST = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def server_bind(self) -> None:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BLOCK)  # or megabytes fit on the way
                super().server_bind()

            def handle_error(self, *_: object) -> None:
                """A connection that was reset is no error here."""

        self.requests, self._struck, self._over = requests, struck, over
        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def strike(self, fault: Fault, method: str = "", path: str = "", *, times: int = 10**9, after: int = 0) -> Struck:
        """Do a fault to requests of a method whose path holds some text. after: pass so many on first."""
        self._struck.append(Struck(fault, method, path, times, after))
        return self._struck[-1]

    def heal(self) -> None:
        """No faults any more."""
        self._struck.clear()
        self.requests.clear()

    def close(self) -> None:
        """Stop, and let go of every request that waits."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def proxied(server: str) -> Iterator[FaultProxy]:
    """A proxy before a server while the block runs."""
    proxy = FaultProxy(server)
    try:
        yield proxy
    finally:
        proxy.close()
