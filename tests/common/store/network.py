"""A client of an S3 server, and a proxy that damages what goes through it."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import boto3
from botocore.config import Config

SECRET = "canary-secret-do-not-print"
Answer = tuple[int, dict[str, str], bytes]


class Network:
    """A proxy before the server, with one fault. `faults`: how many matching requests it strikes."""

    def __init__(self, server: str, method: str, faults: int) -> None:
        self._server, self._method, self.left, self.seen = server, method, faults, 0
        self.varies = 2  # no two flips in a row are alike; with 0 all are

    def strikes(self, method: str) -> bool:
        self.seen += method == self._method
        hit = method == self._method and self.left > 0
        self.left -= hit
        return hit

    def forward(self, method: str, path: str, headers: Any, data: bytes | None) -> Answer:
        dropped = ("host", "content-length", "expect", "connection")
        kept = {name: value for name, value in headers.items() if name.lower() not in dropped}
        kept.setdefault("Content-Type", "application/octet-stream")  # or urllib would call it a form
        try:
            with urlopen(Request(self._server + path, data=data, headers=kept, method=method)) as reply:
                return reply.status, dict(reply.headers), reply.read()
        except HTTPError as error:
            return error.code, dict(error.headers), error.read()


def behind(network: Network, fault: str) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # answers "Expect: 100-continue", without which no body comes

        def answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            data = self.rfile.read(size) if size else (b"" if self.command == "PUT" else None)
            hit = network.strikes(self.command)
            if hit and fault in ("503", "409", "500"):
                return self.reply((int(fault), {}, b""))
            if hit and fault == "flip" and data:
                data = bytes([data[0] ^ 1]) + data[1:]
            status, headers, body = network.forward(self.command, self.path, self.headers, data)
            if hit and fault == "flip" and data is None and body:
                body = bytes([body[0] ^ 1 + network.left % 2 * network.varies]) + body[1:]
            if hit and fault == "lost":
                self.close_connection = True
                self.connection.close()
                return None
            return self.reply((status, headers, body), cut=hit and fault == "cut")

        def reply(self, answer: Answer, cut: bool = False) -> None:
            status, headers, body = answer
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() in ("etag", "content-type"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = True

        do_GET = do_PUT = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def client(url: str, attempts: int = 1) -> Any:
    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        read_timeout=5,
    )
    return boto3.client(
        "s3",
        endpoint_url=url,
        config=config,
        region_name="us-east-1",
        aws_access_key_id="k",
        aws_secret_access_key=SECRET,
    )
