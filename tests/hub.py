"""A Hub on this machine: what the Hub's own client asks for of a model, at one pinned revision."""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".pth")  # kept by Git LFS, and called by their SHA-256
TOKEN = "hf_of_a_test"


class Model(NamedTuple):
    """A model of this Hub."""

    revision: str
    folder: Path
    gated: bool = False  # given to those alone who send TOKEN

    def files(self) -> dict[str, Path]:
        """Name → path of each of its files."""
        found = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in found}


class Hub(ThreadingHTTPServer):
    """Serves models by `owner/name`; keeps what was asked."""

    daemon_threads = True

    def __init__(self, models: Mapping[str, Model]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models, self.sent = models, Counter[tuple[str, str]]()  # how often a file of a model went out
        self.fails = 0  # the status of every answer, while it is not 0
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(whole=False)

    def do_GET(self) -> None:
        self._answer(whole=True)

    def _answer(self, *, whole: bool) -> None:
        self.server.asked += 1
        if self.server.fails:
            return self._refuse(self.server.fails, "")
        path = unquote(urlsplit(self.path).path).removeprefix("/").removeprefix("api/models/")
        owner, name, what, revision, *rest = [*path.split("/"), "", "", "", ""]
        model, file = self.server.models.get(f"{owner}/{name}"), "/".join(rest).rstrip("/")
        if model is None:
            self._refuse(404, "RepoNotFound")
        elif model.gated and self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._refuse(401, "GatedRepo")
        elif revision != model.revision:
            self._refuse(404, "RevisionNotFound")
        elif what == "tree":
            self._send(json.dumps([entry(name, path) for name, path in model.files().items()]).encode(), {}, whole)
        elif what == "resolve" and file in model.files():
            data, told = model.files()[file].read_bytes(), entry(file, model.files()[file])
            large = told.get("lfs")
            etag = large["oid"] if isinstance(large, dict) else told["oid"]
            self._send(data, {"ETag": f'"{etag}"', "X-Repo-Commit": revision}, whole)
            if whole:
                self.server.sent[f"{owner}/{name}", file] += 1
        else:
            self._refuse(404, "EntryNotFound")
        return None

    def _refuse(self, code: int, why: str) -> None:
        self._send(b"{}", {"X-Error-Code": why}, self.command == "GET", code)

    def _send(self, data: bytes, headers: Mapping[str, str], whole: bool, code: int = 200) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(data)), "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.end_headers()
        if whole:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def entry(name: str, path: Path) -> dict[str, object]:
    """A file in the list of a model's files, named as Git names it; a large one by its SHA-256 too."""
    data = path.read_bytes()
    told: dict[str, object] = {"type": "file", "path": name, "size": len(data)}
    told["oid"] = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    if name.endswith(LARGE):
        told["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return told


@contextmanager
def serving(models: Mapping[str, Model]) -> Iterator[Hub]:
    """A Hub that answers inside the block."""
    with Hub(models) as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
