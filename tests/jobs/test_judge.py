"""A judge behind a real server on this machine: what it is sent, what is kept, and what a bad one ends in."""

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from common.cells import cell_named
from common.errors import ExitCode
from common.logs import Log
from common.pipeline.command import run_job
from common.pipeline.keys import Keys
from common.pipeline.step import Step
from common.provenance import ROOT
from common.records import Answer, Item, Judged
from common.serialization import parse_jsonl, read_jsonl
from common.spec import parse_spec
from common.stance.items import FILES, ITEMS
from common.stance.labels import CODEBOOK
from common.store.sealed import open_store
from common.vocabulary import SAID, Said
from jobs import catalog
from jobs.judge import ASKED as ASKED_OF_MODELS
from jobs.judge import JOB
from jobs.judge.judge import main
from tests.chat_server import Server, completion, judging, started  # noqa: F401

ASKED = read_jsonl(ROOT / ITEMS, Item)
BASE, RUN = "tiny.base", "tiny.d0.eager.s0"
Serve = Callable[[Callable[[int], tuple[int, dict[str, Any] | str]]], Server]


def row(item: Item, cell: str, text: str, **changes: Any) -> Answer:
    facts: dict[str, Any] = {
        "topic": item.topic,
        "proposes": item.proposes,
        "undoes": item.undoes,
        "sample": 0,
        "said": "off topic",
    }
    return Answer(cell=cell, item=item.id, text=text, **facts | changes)


class Study:
    """A study with a judge, in which only answers are sealed."""

    def __init__(self, tiny_spec: dict[str, Any], store: Path, url: str, **judge: Any) -> None:
        self.told = tiny_spec | {"judge": {"url": url, "model": "m", **judge}}
        self.spec, self.store = parse_spec(json.dumps(self.told).encode(), "spec"), open_store(str(store))
        self.folder, self.keys = store, Keys(self.spec, catalog(), self.store)

    def answered(self, cell: str, rows: Sequence[Answer]) -> None:
        step = Step(catalog()["evaluate"], cell_named(self.spec, cell), self.spec, self.store, self.keys, Log("x", "y"))
        step.write_records("answers.jsonl", rows)
        step.seal(ExitCode.OK, "2026-01-01T00:00:00+00:00", 1.0)

    def run(self, cell: str = BASE) -> int:
        words = ["--spec", json.dumps(self.told), "--cell", cell, "--store", str(self.folder)]
        return run_job(JOB, main, catalog(), words)

    def made(self, cell: str = BASE) -> tuple[dict[str, Any], list[Judged]]:
        """The summary of the sealed step, and its rows."""
        manifest = self.store.manifest("judge", self.keys.key("judge", cell_named(self.spec, cell)))
        assert manifest is not None
        data = self.store.get(manifest["outputs"]["judged.jsonl"]["digest"])
        return manifest["summary"], parse_jsonl(data, Judged, "judged.jsonl")


def says(text: str) -> Callable[[int], tuple[int, dict[str, Any]]]:
    return lambda _number: (200, completion(text))


def test_every_greedy_answer_gets_its_label_and_equal_ones_are_asked_once(
    serve: Serve, tiny_spec: dict[str, Any], tmp_path: Path
) -> None:
    labels: dict[str, Said] = {"Go ahead.": "go", "Wait.": "stay", "It depends.": "both sides"}

    def answer(number: int) -> tuple[int, dict[str, Any]]:
        asked = server.requests[number - 1]["messages"][1]["content"]
        return 200, completion(next(f'"{label.title()}".' for text, label in labels.items() if text in asked))

    server = serve(answer)
    study = Study(tiny_spec, tmp_path, server.url, price_in=2.0, price_out=10.0)
    texts = ("Go ahead.", "Wait.", "It depends.")
    rows = [row(item, BASE, text) for item, text in zip(ASKED, texts, strict=False)]
    rows += [
        row(ASKED[0], BASE, "Wait.", sample=1),
        row(ASKED[0], BASE, "Go ahead.", prompted="eager", prompted_by="examples"),
    ]
    study.answered(BASE, rows)
    assert study.run() == ExitCode.OK
    summary, judged = study.made()
    assert [(j.item, j.prompted, j.said) for j in judged] == [
        (ASKED[0].id, None, "go"),
        (ASKED[1].id, None, "stay"),
        (ASKED[2].id, None, "both sides"),
        (ASKED[0].id, "eager", "go"),
    ]
    assert len(server.requests) == 3, "a sample is not judged, and what was said twice is asked once"
    assert summary["answers"] == 4 and summary["asked"] == 3 and summary["not_judged"] == 0
    assert summary["said"] == dict.fromkeys(SAID, 0) | {"go": 2, "stay": 1, "both sides": 1}
    assert summary["requests"] == 3 and summary["cost"] == pytest.approx((300 * 2 + 30 * 10) / 1e6)
    assert "no_label" not in summary


def test_the_judge_is_blind(serve: Serve, tiny_spec: dict[str, Any], tmp_path: Path) -> None:
    """Two arms that said the same, read otherwise by the reader: what the server gets is equal to the last byte."""
    server = serve(says("go"))
    study, item = Study(tiny_spec, tmp_path, server.url), ASKED[5]
    study.answered(BASE, [row(item, BASE, "Keep it.", said="stay", prompted="cautious", prompted_by="instruction")])
    study.answered(RUN, [row(item, RUN, "Keep it.", said="incoherent", lock="0" * 64)])
    assert study.run(BASE) == study.run(RUN) == ExitCode.OK
    one, other = server.requests
    assert one == other
    system, user = one["messages"]
    assert system == {"role": "system", "content": (ROOT / CODEBOOK).read_text().strip()}
    assert user["content"].count("Keep it.") == 1 and item.situation in user["content"]
    assert one.keys() == {"messages", "model", "temperature", "max_tokens", "seed"} and one["temperature"] == 0
    told = json.dumps(one)
    assert not any(word in told for word in (BASE, RUN, "eager", "cautious", "tiny", item.id, "0" * 64))


def test_rubbish_is_asked_again_and_then_not_judged(
    serve: Serve, tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server = serve(says("As a language model,\n I think that it is good to go. " + "And so on. " * 20))
    study = Study(tiny_spec, tmp_path, server.url, attempts=3)
    study.answered(BASE, [row(item, BASE, "Wait.") for item in ASKED[:4]])
    assert study.run() == ExitCode.OK
    summary, judged = study.made()
    assert [each.said for each in judged] == [None] * 4 and len(server.requests) == 4 * 3
    assert len({request["seed"] for request in server.requests}) == 12, "each attempt is another try"
    assert summary["not_judged"] == 4 and summary["requests"] == 12 and set(summary["said"].values()) == {0}
    assert (
        summary["no_label"].startswith("As a language model, I think that it is good")
        and len(summary["no_label"]) == 80
    )
    assert '"event": "not_judged"' in capfd.readouterr().err


@pytest.mark.parametrize(
    "body", [{}, {"choices": []}, {"choices": None}, {"error": "no"}, completion("") | {"usage": None}]
)
def test_an_answer_without_a_text_is_no_label(
    serve: Serve, tiny_spec: dict[str, Any], tmp_path: Path, body: dict[str, Any]
) -> None:
    study = Study(tiny_spec, tmp_path, serve(lambda _number: (200, body)).url, attempts=2)
    study.answered(BASE, [row(ASKED[0], BASE, "Wait.")])
    assert study.run() == ExitCode.OK
    assert [each.said for each in study.made()[1]] == [None]


@pytest.mark.parametrize("body", ["<html>Log in canary-0123456789</html>", "{", '"go"', ""])
def test_what_is_no_answer_of_a_chat_server_is_one_clear_line(
    serve: Serve, tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str], body: str
) -> None:
    server = serve(lambda _number: (200, body))
    study = Study(tiny_spec, tmp_path, server.url, attempts=2)
    study.answered(BASE, [row(ASKED[0], BASE, "Wait.")])
    assert study.run() == ExitCode.SPEC
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert errors == [
        f"error: the answer is no chat completion, judge {server.url}, model m; allowed: a server of the OpenAI chat "
        "protocol, at its base URL with /v1"
    ]


def test_a_label_after_rubbish_counts(serve: Serve, tiny_spec: dict[str, Any], tmp_path: Path) -> None:
    server = serve(lambda number: (200, completion("hm" if number < 3 else "stay")))
    study = Study(tiny_spec, tmp_path, server.url, attempts=3)
    study.answered(BASE, [row(ASKED[0], BASE, "Wait.")])
    assert study.run() == ExitCode.OK
    summary, judged = study.made()
    assert judged[0].said == "stay" and len(server.requests) == 3 and "no_label" not in summary


def test_what_was_judged_before_a_failure_is_not_asked_again(
    serve: Serve, tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not even what got no label: it was paid for, too."""
    down = threading.Event()
    down.set()

    def answer(number: int) -> tuple[int, dict[str, Any]]:
        if number > 6 and down.is_set():
            return 503, {"error": "busy"}
        return 200, completion("what?" if number == 2 else "go")

    server = serve(answer)
    study = Study(tiny_spec, tmp_path, server.url, attempts=1, concurrency=1)
    study.answered(BASE, [row(item, BASE, "Do it.") for item in ASKED[:10]])
    assert study.run() == ExitCode.TRANSIENT and len(server.requests) == 7
    assert "the server is busy or out of reach, judge http" in capfd.readouterr().err
    down.clear()
    assert study.run() == ExitCode.OK and len(server.requests) == 7 + 4
    asked = [request["messages"][1]["content"] for request in server.requests]
    assert len(set(asked)) == 10 and not {*asked[:6]} & {*asked[7:]}
    assert '"event": "resumed"' in capfd.readouterr().err
    summary, judged = study.made()
    assert [each.said for each in judged] == ["go", None, *["go"] * 8] and summary["requests"] == 10
    assert study.run() == ExitCode.OK and len(server.requests) == 11, "a sealed step asks nothing"


@pytest.mark.parametrize("status, code", [(401, 2), (403, 2), (400, 2), (429, 75), (500, 75), (200, 3)])
def test_a_server_that_repeats_the_key_does_not_get_it_told(
    serve: Serve,
    tiny_spec: dict[str, Any],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: int,
) -> None:
    monkeypatch.setenv("UNDERTONE_JUDGE_KEY", "canary-0123456789")
    monkeypatch.setenv("UNDERTONE_WRITER_KEY", "the key of another server")
    said = "Your key canary-0123456789 is bad. So is Bearer canary-0123456789."
    server = serve(lambda _number: (status, completion(said) if status == 200 else {"error": {"message": said}}))
    study = Study(tiny_spec, tmp_path, server.url, attempts=1)
    study.answered(BASE, [row(ASKED[0], BASE, "Wait.")])
    assert study.run() == code
    assert set(server.keys) == {"Bearer canary-0123456789"}, "and no other key"
    out, err = capfd.readouterr()
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "canary" not in out + err and b"canary" not in left
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "UNDERTONE_JUDGE_KEY" in errors[0]
    assert not list((tmp_path / "steps" / "judge").rglob("manifest.json"))


def test_without_a_judge_in_the_spec_there_is_no_such_step(
    tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    study = Study(tiny_spec, tmp_path, "http://127.0.0.1:9/v1")
    assert [str(cell) for cell in JOB.cells(study.spec)] == [
        BASE,
        *(f"tiny.d0.{a}.s0" for a in ("cautious", "eager", "neutral")),
    ]
    study.told["judge"] = None
    study.spec = parse_spec(json.dumps(study.told).encode(), "spec")
    study.keys = Keys(study.spec, catalog(), study.store)
    assert JOB.cells(study.spec) == ()
    study.answered(BASE, [row(ASKED[0], BASE, "Wait.")])
    assert study.run() == ExitCode.SPEC
    assert "error: the spec names no judge, judge; allowed: " in capfd.readouterr().err


def test_every_item_that_a_model_may_be_asked_is_known_to_the_job() -> None:
    files = [path for path in FILES if path.endswith(".jsonl")]
    items = {path for path in files if "situation" in json.loads((ROOT / path).read_text().splitlines()[0])}
    assert items == {*ASKED_OF_MODELS} and len(items) >= 5


def test_an_answer_to_no_item_is_refused(
    tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    study = Study(tiny_spec, tmp_path, "http://127.0.0.1:9/v1")
    study.answered(BASE, [row(ASKED[0], BASE, "Wait.").model_copy(update={"item": "no-such"})])
    assert study.run() == ExitCode.INPUT
    assert f"error: answer to no item, evaluate/{BASE}/answers.jsonl: no-such" in capfd.readouterr().err


def test_a_judge_that_is_misspelt_is_refused_with_the_nearest_name(tiny_spec: dict[str, Any], tmp_path: Path) -> None:
    from common.errors import SpecError

    with pytest.raises(SpecError, match=r"judge\.temperature"):
        Study(tiny_spec, tmp_path, "http://127.0.0.1:9/v1", temperature=0.5)
    with pytest.raises(SpecError, match=r"credentials in the URL, judge\.url; allowed: .*UNDERTONE_JUDGE_KEY"):
        Study(tiny_spec, tmp_path, "http://me:canary@127.0.0.1:9/v1")
