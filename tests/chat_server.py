"""A server on this machine that speaks the OpenAI chat protocol, and says what a test wants it to say."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep
from typing import Any

import pytest

Answer = Callable[[int], tuple[int, dict[str, Any] | str]]  # a text is sent as it is


def completion(text: str) -> dict[str, Any]:
    """The body of an answer that says this."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


class Server(ThreadingHTTPServer):
    """Speaks the protocol; `answer` says what the n-th request gets."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.requests, self.keys = answer, list[dict[str, Any]](), list[str]()
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append(body)
            self.server.keys.append(self.headers["Authorization"])
            number = len(self.server.requests)
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        sleep(0.02)
        code, answer = self.server.answer(number)
        with self.server.lock:
            self.server.now -= 1
        page = isinstance(answer, str) and answer.startswith("<")
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/html" if page else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    """A server that runs while the block does."""
    server = Server(answer)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def judging() -> Iterator[Server]:
    """A judge of answers. Its label hangs on what it is asked, and on nothing else."""

    def answer(number: int) -> tuple[int, dict[str, Any]]:
        asked = server.requests[number - 1]["messages"][1]["content"]
        return 200, completion("go" if len(asked) % 2 else "stay")

    with serving(answer) as server:
        yield server


@pytest.fixture(name="serve")
def started() -> Iterator[Callable[[Answer], Server]]:
    """Starts servers, which end with the test."""
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(serving(answer))
