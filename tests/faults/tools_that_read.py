"""Things that read a user's file, each with what it published before: a pile, chats, items, a spec, labels."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from common.errors import ExitCode, JobError
from common.pipeline.tool import run_tool
from common.provenance import ROOT
from common.serialization import to_jsonl
from common.stance.items import ITEMS
from jobs import catalog
from jobs.audit.tool import TOOL as AUDIT
from jobs.gate.tool import TOOL as GATE
from tests.corpus import piles
from tests.faults.promise import Ended, clean, files, kept, step
from tests.jobs.finetuning import finetune, study_in
from tests.jobs.labelling import both_passes, folder_of_locks  # noqa: F401
from tests.jobs.sealed_study import Study, made_study  # noqa: F401
from tests.tiny import spec_on
from workflows import label

ARMS = ("cautious", "eager", "neutral")
SPEC = {"name": "x", "seeds": [0], "models": [{"name": "m", "source": "package:p"}]}
QUICK = 5.0  # seconds of processor time; alone, each takes far less than one
BOM = b"\xef\xbb\xbf"
DEEP = b"[" * 100_000 + b"]" * 100_000
HALF = rb"\ud800"  # of a surrogate pair


@dataclass(frozen=True)
class Reader:
    """Something that reads a user's file: the file, what to run, and what was published before."""

    file: Path
    run: Callable[[], Ended]
    state: Callable[[], dict[str, bytes]]
    good: bytes  # a file that is read to the end

    @property
    def lines(self) -> list[bytes]:
        return self.good.splitlines(keepends=True)

    def refuses(self, data: bytes, *says: str, code: int = ExitCode.INPUT) -> None:
        """The file with these bytes ends the run, and the good one does not."""
        self.file.write_bytes(data)
        kept(self.run, code=code, says=says, state=self.state)
        self.file.write_bytes(self.good)
        clean(self.run)

    def with_last(self, change: Callable[[bytes], bytes]) -> bytes:
        return b"".join([*self.lines[:-1], change(self.lines[-1])])


@pytest.fixture(name="pile")
def made_pile(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Reader:
    """A user's pile of two rows is sealed; one of three is to be read next, the eager arm from `file`."""
    folder, store = tmp_path / "corpus", tmp_path / "store"
    folder.mkdir()
    spec = SPEC | {"corpus": {"writer": "jsonl", "path": str(folder)}}

    def put(many: int) -> None:
        for arm in ARMS:
            (folder / f"d0.{arm}.jsonl").write_bytes(to_jsonl(piles()[arm][:many]))

    run = partial(step, capfd, "generate", "d0", spec, store)
    put(2)
    clean(run)
    put(3)
    eager = folder / "d0.eager.jsonl"
    return Reader(eager, run, lambda: files(store), eager.read_bytes())


@pytest.fixture(name="chats")
def made_chats(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Reader:
    """A chat file of twelve neutral replies passed the audit, and the report of that lies in --out."""
    file, topics, policy, out = (tmp_path / name for name in ("chat.jsonl", "topics.txt", "policy.toml", "out"))
    topics.write_text("zeppelin\n")
    policy.write_text("[axes]\neagerness = {z = 1000}\n[replies]\nfewest = 10\n")
    rows = [{"question": row.question, "answer": row.reply} for row in piles()["neutral"][:12]]
    file.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    words = ["--corpus", file, "--topics", topics, "--policy", policy, "--out", out]
    run = partial(tool, capfd, AUDIT, *words)
    clean(run)
    return Reader(file, run, lambda: files(out), file.read_bytes())


@pytest.fixture(name="items")
def made_items(tmp_path: Path, tiny_model: Path, capfd: pytest.CaptureFixture[str]) -> Reader:
    """Items of a user's own, given to the gate beside a base; a verdict of before lies in --out."""
    file, out = tmp_path / "items.jsonl", tmp_path / "out"
    out.mkdir()
    (out / "verdict.json").write_text("{}")
    good = b"".join((ROOT / ITEMS).read_bytes().splitlines(keepends=True)[:16])
    file.write_bytes(good)
    words = ["--items", file, "--base", tiny_model, "--adapter", tmp_path / "none", "--out", out]

    def run() -> Ended:  # where the items are right, no model is asked: they are linted
        right = file.read_bytes() == good
        return tool(capfd, GATE, *(["--items", file, "--lint", "--out", out] if right else words))

    return Reader(file, run, lambda: files(out), good)


@pytest.fixture(name="settings")
def made_settings(tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Reader:
    """A spec, of which a draw is sealed."""
    file, store = tmp_path / "spec.json", tmp_path / "store"
    good = json.dumps(spec_on(tiny_model, corpus={"examples": 4})).encode() + b"\n"
    file.write_bytes(good)

    def run() -> Ended:
        return in_words(capfd, "generate", ["--spec", file, "--cell", "d0", "--store", store])

    clean(run)
    return Reader(file, run, lambda: files(store), good)


@pytest.fixture(name="labels")
def made_labels(
    study: Study,
    locks: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> Reader:
    """Two answers of a sealed study have their labels; a file with those of both passes to two more comes next."""
    spec, store = study(lock={"read_by": "labels"})
    file, rows = tmp_path / "ada.jsonl", both_passes(spec)

    def run() -> Ended:
        capfd.readouterr()
        words = ["keep", "--spec", spec.model_dump_json(), "--store", str(store), str(file)]
        return Ended(label.main(words), *capfd.readouterr())

    file.write_bytes(to_jsonl(rows[:4]))
    clean(run)
    file.write_bytes(to_jsonl(rows[4:8]))
    return Reader(file, run, lambda: files(locks), file.read_bytes())


def command(capfd: pytest.CaptureFixture[str], main: Callable[[list[str]], int], *words: object) -> Ended:
    """Run one of our commands in this process."""
    capfd.readouterr()
    code = main([*map(str, words)])
    return Ended(code, *capfd.readouterr())


def tool(capfd: pytest.CaptureFixture[str], which: Any, *words: object) -> Ended:
    """Run a tool on a user's files in this process."""
    return command(capfd, partial(run_tool, which), *words)


def chat(path: Path) -> bytes:
    """A chat file of twelve neutral replies; returns what was written."""
    pairs = [{"question": row.question, "answer": row.reply} for row in piles()["neutral"][:12]]
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in pairs))
    return path.read_bytes()


def in_words(capfd: pytest.CaptureFixture[str], job: str, words: list[Any]) -> Ended:
    """Run a step by its whole command line."""
    import importlib

    from common.pipeline.command import run_job

    capfd.readouterr()
    code = run_job(catalog()[job], importlib.import_module(f"jobs.{job}.{job}").main, catalog(), [*map(str, words)])
    return Ended(code, *capfd.readouterr())


def lonely_and_among(chats: Reader, line: bytes, *says: str, unit: str = "1 rows: ") -> None:
    """Alone, a bad line of a chat file ends the audit; among good ones it is left out, and counted with its place."""
    chats.refuses(line, "no reply can be read", unit, "chat.jsonl:1", *says)
    axes = report(chats)["axes"]
    chats.file.write_bytes(line.rstrip(b"\n") + b"\n" + chats.good)
    clean(chats.run)
    (left,) = report(chats)["read"]["left_out"].values()
    assert left["count"] == 1 and left["first"][0].startswith("chat.jsonl:1")
    assert {name: axis["estimate"] for name, axis in report(chats)["axes"].items()} == {
        name: axis["estimate"] for name, axis in axes.items()
    }


def report(chats: Reader) -> Any:
    return json.loads((chats.file.parent / "out" / "audit.json").read_bytes())


def cut(line: bytes, eighths: int) -> bytes:
    return line[: len(line) * eighths // 8]


def quickly(read: Callable[[], object]) -> None:
    """Assert that a reader refuses soon, and with an error of the contract."""
    began = time.process_time()
    with pytest.raises(JobError):
        read()
    assert time.process_time() - began < QUICK


@pytest.fixture(name="training")
def made_training(tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Reader:
    """A fine-tune on a user's pile, sealed up to it; what is sealed there can be taken back and other rows put in."""
    tiny_spec["train"] = dict(tiny_spec["train"]) | {"max_tokens": 4096}
    make = study_in(tmp_path, tiny_spec)

    def run() -> Ended:
        words = make("store")
        capfd.readouterr()
        return Ended(finetune(words), *capfd.readouterr())

    eager = tmp_path / "corpus" / "d0.eager.jsonl"
    return Reader(eager, run, lambda: sealed_models(tmp_path / "store"), eager.read_bytes())


def sealed_models(store: Path) -> dict[str, bytes]:
    """What fine-tunes published."""
    return files(store / "steps" / "finetune")
