"""Rows that are cut, malformed, empty, doubled or too long, in a user's piles, chat files, items, labels and locks."""

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from common.cells import cell_named
from common.cli import policy_in
from common.errors import ExitCode, JobError
from common.pipeline.keys import Keys
from common.pipeline.tool import run_tool
from common.provenance import ROOT
from common.records import Advice
from common.serialization import numbered_rows, to_jsonl
from common.spec import parse_spec
from common.stance.items import ITEMS
from common.stance.labels import labels_file
from common.store.sealed import open_store
from jobs import catalog
from jobs.audit.tool import TOOL as AUDIT
from jobs.gate import items as gate_items
from jobs.gate.tool import TOOL as GATE
from tests.corpus import piles
from tests.faults.promise import Ended, clean, files, kept, step
from tests.jobs.finetuning import LOUD, finetune, losses, study_in
from tests.jobs.labelling import both_passes, folder_of_locks  # noqa: F401
from tests.jobs.sealed_study import Study, made_study  # noqa: F401
from tests.tiny import spec_on
from workflows import label

pytestmark = [*LOUD, pytest.mark.filterwarnings("ignore")]
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


@pytest.fixture
def pile(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Reader:
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


@pytest.fixture
def chats(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Reader:
    """A chat file of twelve neutral replies passed the audit, and the report of that lies in --out."""
    file, topics, policy, out = (tmp_path / name for name in ("chat.jsonl", "topics.txt", "policy.toml", "out"))
    topics.write_text("zeppelin\n")
    policy.write_text("[axes]\neagerness = {z = 1000}\n[replies]\nfewest = 10\n")
    rows = [{"question": row.question, "answer": row.reply} for row in piles()["neutral"][:12]]
    file.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    words = ["--corpus", file, "--topics", topics, "--policy", policy, "--out", out]
    run = partial(tool, capfd, AUDIT, words)
    clean(run)
    return Reader(file, run, lambda: files(out), file.read_bytes())


@pytest.fixture
def items(tmp_path: Path, tiny_model: Path, capfd: pytest.CaptureFixture[str]) -> Reader:
    """Items of a user's own, given to the gate beside a base; a verdict of before lies in --out."""
    file, out = tmp_path / "items.jsonl", tmp_path / "out"
    out.mkdir()
    (out / "verdict.json").write_text("{}")
    good = b"".join((ROOT / ITEMS).read_bytes().splitlines(keepends=True)[:16])
    file.write_bytes(good)
    words = ["--items", file, "--base", tiny_model, "--adapter", tmp_path / "none", "--out", out]

    def run() -> Ended:  # where the items are right, no model is asked: they are linted
        right = file.read_bytes() == good
        return tool(capfd, GATE, ["--items", file, "--lint", "--out", out] if right else words)

    return Reader(file, run, lambda: files(out), good)


@pytest.fixture
def settings(tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Reader:
    """A spec, of which a draw is sealed."""
    file, store = tmp_path / "spec.json", tmp_path / "store"
    good = json.dumps(spec_on(tiny_model, corpus={"examples": 4})).encode() + b"\n"
    file.write_bytes(good)

    def run() -> Ended:
        return in_words(capfd, "generate", ["--spec", file, "--cell", "d0", "--store", store])

    clean(run)
    return Reader(file, run, lambda: files(store), good)


@pytest.fixture
def labels(
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


def tool(capfd: pytest.CaptureFixture[str], which: Any, words: list[Any]) -> Ended:
    """Run a tool on a user's files in this process."""
    capfd.readouterr()
    code = run_tool(which, [*map(str, words)])
    return Ended(code, *capfd.readouterr())


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


# --- 1


@pytest.mark.parametrize("eighths", range(1, 8))
def test_fault_01_a_row_of_a_pile_is_cut(pile: Reader, eighths: int) -> None:
    """A user's pile ends in the middle of a row, at each eighth of it: 3 with file, line and column."""
    pile.refuses(pile.with_last(lambda line: cut(line, eighths)), "malformed JSON", "d0.eager.jsonl:3:")
    last = len(cut(pile.lines[-1], eighths))
    with pytest.raises(JobError) as told:
        numbered_rows(pile.with_last(lambda line: cut(line, eighths)), Advice, "f")
    column = int(str(told.value).split("f:3:")[1].split(":")[0])
    assert 1 <= column <= last + 1


def test_fault_01_a_row_of_a_chat_file_is_cut(chats: Reader) -> None:
    """A chat file has a row that is cut: 3 where it is all there is, else left out and counted with its line."""
    lonely_and_among(chats, cut(chats.lines[0], 5), "malformed JSON", "column ", "Unterminated string")


def test_fault_01_items_are_cut(items: Reader) -> None:
    """Items of a user's own end in the middle of a row: 3 with file, line and column."""
    items.refuses(items.with_last(lambda line: cut(line, 4)), "items that cannot be asked", "items.jsonl:16: malformed")


def test_fault_01_a_spec_is_cut(settings: Reader) -> None:
    """A spec is cut: 2, a wrong spec, with file and column."""
    settings.refuses(cut(settings.good, 6), "malformed JSON, ", "spec.json:", code=ExitCode.SPEC)


def test_fault_01_labels_are_cut(labels: Reader) -> None:
    """A file of labels is cut: 3 with file, line and column, and no label of it is kept."""
    labels.refuses(labels.with_last(lambda line: cut(line, 3)), "malformed JSON", "ada.jsonl:4:")


# --- 2


NO_UTF8 = {
    "a byte": (lambda line: line.replace(b'"reply":"', b'"reply":"\xff'), "byte 0xff"),
    "a letter that is cut": (lambda line: line.replace(b'"reply":"', b'"reply":"\xe2\x82'), "byte 0xe2"),
    "UTF-16": (lambda line: line.decode().encode("utf-16"), "byte 0xff"),
}


@pytest.mark.parametrize("name", NO_UTF8)
def test_fault_02_a_pile_holds_a_byte_that_is_no_utf8(pile: Reader, name: str) -> None:
    """A user's pile holds a byte that is no UTF-8, or is UTF-16: 3 with line, column and the byte."""
    change, says = NO_UTF8[name]
    pile.refuses(pile.with_last(change), "not UTF-8", "d0.eager.jsonl:3:", says)


def test_fault_02_a_chat_file_holds_a_byte_that_is_no_utf8(chats: Reader) -> None:
    """A row of a chat file holds a byte that is no UTF-8: 3 with the byte, or left out and counted."""
    lonely_and_among(chats, chats.lines[0].replace(b'answer": "', b'answer": "\xff'), "can't decode byte 0xff")


@pytest.mark.parametrize("coding", ["utf-16", "utf-32"])
def test_fault_02_a_chat_file_is_utf16(chats: Reader, coding: str) -> None:
    """A chat file is UTF-16 or UTF-32: 3, and it is called that."""
    chats.refuses(chats.good.decode().encode(coding), "1 files: UTF-16 or UTF-32, not UTF-8, first chat.jsonl")


@pytest.mark.parametrize("data", [b'{"name": "\xff"}', json.dumps(SPEC).encode("utf-16")], ids=["a byte", "UTF-16"])
def test_fault_02_a_spec_is_no_utf8(settings: Reader, data: bytes) -> None:
    """A spec holds a byte that is no UTF-8, or is UTF-16: 2 with column and byte."""
    settings.refuses(data, "not UTF-8", "spec.json:", "byte 0xff", code=ExitCode.SPEC)


def test_fault_02_a_byte_order_mark_is_read(
    pile: Reader, items: Reader, settings: Reader, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A byte order mark before a pile, items, a spec or a policy changes nothing: 0."""
    for reader in (pile, items, settings):
        reader.file.write_bytes(BOM + reader.good)
    marked = clean(pile.run)
    pile.file.write_bytes(pile.good)
    assert json.loads(marked.out)["summary"] == json.loads(clean(pile.run).out)["summary"]
    clean(partial(tool, capfd, GATE, ["--items", items.file, "--lint", "--out", tmp_path / "none"]))
    assert json.loads(clean(settings.run).out)["reused"], "the spec is the one without the mark"
    policy = tmp_path / "policy.toml"
    policy.write_bytes(BOM + b"margin = 0.1\n")
    assert policy_in(policy) == {"margin": 0.1}


def test_fault_02_a_byte_order_mark_before_chats_is_read(chats: Reader) -> None:
    """A byte order mark before a chat file, or where files were joined, changes nothing: 0."""
    before = report(chats)
    chats.file.write_bytes(b"".join(BOM + line for line in chats.lines))
    clean(chats.run)
    assert report(chats) == before


# --- 3


ROWS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a list": (lambda row: [row], ":3:/: Input should be an object"),
    "a number": (lambda _: 3, ":3:/: Input should be an object"),
    "nothing": (lambda _: None, ":3:/: Input should be an object"),
    "a key is missing": (lambda row: {key: row[key] for key in row if key != "reply"}, ":3:/reply: Field required"),
    "a key too many": (lambda row: row | {"replly": "x"}, ":3:/replly: Extra inputs are not permitted"),
    "a wrong type": (lambda row: row | {"reply": 7}, ":3:/reply: Input should be a valid string"),
    "an empty text": (lambda row: row | {"reply": ""}, ":3:/reply: String should have at least 1 character"),
    "another schema": (lambda row: row | {"schema_version": 2}, ":3:/schema_version: Input should be 1"),
    "another attitude": (lambda row: row | {"attitude": "neutral"}, "row of another attitude"),
}


@pytest.mark.parametrize("name", ROWS)
def test_fault_03_a_row_of_a_pile_is_of_another_shape(pile: Reader, name: str) -> None:
    """A row of a user's pile is no object, lacks a key, has one too many, or a wrong type: 3 with line and key."""
    change, says = ROWS[name]
    pile.refuses(pile.with_last(lambda line: json.dumps(change(json.loads(line))).encode()), "d0.eager.jsonl:3", says)


@pytest.mark.parametrize("line", [b"7", b'"text"', b"null", b'{"id": 1, "answr": "x"}'])
def test_fault_03_a_row_of_a_chat_file_is_no_chat(chats: Reader, line: bytes) -> None:
    """A row of a chat file is no object, or has no field of a chat: 3 with its fields, or left out and counted."""
    lonely_and_among(chats, line, "no chat that is known", *(["its fields: 'id', 'answr'"] if b"id" in line else []))


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda row: row | {"why": "x"}, "items.jsonl:16: why: Extra inputs are not permitted"),
        (lambda row: {key: row[key] for key in row if key != "going"}, "items.jsonl:16: going: Field required"),
        (lambda row: row | {"undoes": "no"}, "items.jsonl:16: undoes: Input should be a valid boolean"),
        (lambda row: [row], "items.jsonl:16: : Input should be an object"),
    ],
    ids=["one too many", "missing", "wrong type", "a list"],
)
def test_fault_03_an_item_is_of_another_shape(items: Reader, change: Callable[[Any], Any], says: str) -> None:
    """An item of a user's own lacks a key, has one too many or a wrong type: 3 with line and key."""
    data = items.with_last(lambda line: json.dumps(change(json.loads(line))).encode())
    items.refuses(data, "items that cannot be asked", says)


# --- 4


HOSTILE = {
    "a key twice": (b'{"question_id": "a", "question_id": "b"}', "duplicate key 'question_id'"),
    "NaN": (b'{"question_id": NaN}', "NaN is not JSON"),
    "infinity": (b'{"question_id": -Infinity}', "-Infinity is not JSON"),
    "more than a float holds": (b'{"question_id": 1e999}', "1e999 is too large a number"),
    "100,000 digits": (b'{"question_id": ' + b"9" * 100_000 + b"}", "value has 100000 digits"),
    "100,000 brackets": (b'{"question_id": ' + DEEP + b"}", "recursion"),
    "100,000 braces": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "recursion"),
    "300 brackets": (b'{"question_id": ' + b"[" * 300 + b"]" * 300 + b"}", "nested too deeply; allowed: 200 levels"),
}


# Every kind in a pile; in what else reads rows alike, each third, or all of them where UNDERTONE_EVERY is 1.
SOME = list(HOSTILE) if os.environ.get("UNDERTONE_EVERY") == "1" else list(HOSTILE)[::3]


def quickly(read: Callable[[], object]) -> None:
    """Assert that a reader refuses soon, and with an error of the contract."""
    began = time.process_time()
    with pytest.raises(JobError):
        read()
    assert time.process_time() - began < QUICK


@pytest.mark.parametrize("name", HOSTILE)
def test_fault_04_a_hostile_row_of_a_pile(pile: Reader, name: str) -> None:
    """A row of a pile has a key twice, NaN, 100,000 digits or brackets: 3 within a second, with the line."""
    line, says = HOSTILE[name]
    quickly(lambda: numbered_rows(line, Advice, "f"))
    pile.refuses(pile.with_last(lambda _: line), "malformed JSON, ", "d0.eager.jsonl:3: ", says)


@pytest.mark.parametrize("name", [name for name in SOME if name != "300 brackets"])
def test_fault_04_a_hostile_row_of_a_chat_file(chats: Reader, name: str) -> None:
    """A row of a chat file has a key twice, NaN, 100,000 digits or brackets: 3, or left out and counted."""
    line, says = HOSTILE[name]
    lonely_and_among(chats, line, "malformed JSON", {"recursion": "nested too deeply"}.get(says, says)[:30])


@pytest.mark.parametrize("name", SOME)
def test_fault_04_a_hostile_item(items: Reader, name: str) -> None:
    """An item of a user's own has a key twice, NaN, 100,000 digits or brackets: 3 within a second, with the line."""
    line, says = HOSTILE[name]
    items.refuses(
        items.with_last(lambda _: line),
        "items.jsonl:16: malformed JSON",
        {"value has": "Exceeds the limit"}.get(says[:9], says[:30]),
    )
    items.file.write_bytes(line)
    began = time.process_time()
    assert gate_items.parsed(items.file)[1]
    assert time.process_time() - began < QUICK


@pytest.mark.parametrize("name", SOME)
def test_fault_04_a_hostile_spec(settings: Reader, name: str) -> None:
    """A spec has a key twice, NaN, 100,000 digits or brackets: 2 within a second."""
    line, says = HOSTILE[name]
    quickly(lambda: parse_spec(line, "s"))
    settings.refuses(line, "malformed JSON, ", "spec.json: ", says, code=ExitCode.SPEC)


@pytest.mark.parametrize("levels", [300, 900, 100_000])
def test_fault_04_a_policy_of_many_brackets(levels: int, items: Reader, capfd: pytest.CaptureFixture[str]) -> None:
    """A policy in TOML is nested 100,000 times: 2 within a second, with the file."""
    policy = items.file.with_name("policy.toml")
    words = ["--corpus", items.file, "--policy", policy, "--out", items.file.parent / "out"]
    policy.write_text("margin = " + "[" * levels + "]" * levels)
    if levels > 300:
        quickly(lambda: policy_in(policy))
    kept(partial(tool, capfd, AUDIT, words), code=ExitCode.SPEC, says=("policy.toml",), state=items.state)
    clean(items.run)


# --- 5


def test_fault_05_nul_and_half_a_character_in_a_pile(pile: Reader) -> None:
    """A row of a pile holds a bare NUL, NUL bytes alone, or half a surrogate pair: 3 with the line."""
    for data, says in (
        (pile.with_last(lambda line: line.replace(b'"reply":"', b'"reply":"\0')), "malformed JSON"),
        (pile.with_last(lambda line: b"\0" * len(line)), "malformed JSON"),
        (pile.with_last(lambda line: line.replace(b'"reply":"', b'"reply":"' + HALF)), "row is no Advice"),
    ):
        pile.refuses(data, says, "d0.eager.jsonl:3:")


def test_fault_05_half_a_character_in_a_chat_file(chats: Reader) -> None:
    """A reply holds half a surrogate pair: 3 where it is all there is, or left out and counted with its turn."""
    line = chats.lines[0].replace(b'answer": "', b'answer": "' + HALF)
    lonely_and_among(chats, line, "half a character, which no UTF-8 can hold", unit="1 turns: ")


def test_fault_05_a_file_whose_name_is_no_utf8(chats: Reader, capfd: pytest.CaptureFixture[str]) -> None:
    """A folder holds a chat file whose name is no UTF-8: it is left out and told; named by itself: 2."""
    folder = chats.file.parent / "chats"
    folder.mkdir()
    strange = folder / "\udcff.jsonl"
    for path in (strange, folder / "good.jsonl"):
        path.write_bytes(chats.good)
    more = ["--topics", chats.file.parent / "topics.txt", "--policy", chats.file.parent / "policy.toml"]
    before = chats.state()
    with pytest.raises(SystemExit) as ended:
        tool(capfd, AUDIT, ["--corpus", strange, *more])
    assert ended.value.code == ExitCode.SPEC and "not UTF-8: '" in capfd.readouterr().err
    assert chats.state() == before
    clean(partial(tool, capfd, AUDIT, ["--corpus", folder, *more, "--out", chats.file.parent / "out"]))
    (left,) = report(chats)["read"]["left_out"].items()
    assert left[0].startswith("a name that is no UTF-8") and left[1]["first"] == ["\\udcff.jsonl"]


def test_fault_05_what_splits_no_row(pile: Reader) -> None:
    """U+2028, U+2029, U+0085 and an escaped NUL stand in replies, and lines end as in Windows: read, row by row."""
    odd = '\u2028\u2029\x85\\u0000"'.encode().replace(b'"', b"")
    data = pile.good.replace(b'"reply":"', b'"reply":"' + odd).replace(b"\n", b"\r\n")
    pile.file.write_bytes(data)
    clean(pile.run)
    assert [row.reply[:4] for _, row in numbered_rows(data, Advice, "f")] == ["\u2028\u2029\x85\0"] * 3


def test_fault_05_what_splits_no_row_of_a_chat_file(chats: Reader) -> None:
    """The same in a chat file: as many rows as there are lines."""
    odd = "\u2028\u2029\x85".encode() + rb"\u0000"
    chats.file.write_bytes(chats.good.replace(b'answer": "', b'answer": "' + odd).replace(b"\n", b"\r\n"))
    clean(chats.run)
    assert report(chats)["read"]["rows"] == report(chats)["read"]["replies"] == len(chats.lines)


def test_fault_05_a_row_of_50_mb(pile: Reader, chats: Reader) -> None:
    """A row has 50 MB: 3 with its line in a pile; in a chat file left out and counted, or 3."""
    long = b"word " * 10_000_000
    data = pile.with_last(lambda line: line.replace(b'"reply":"', b'"reply":"' + long))
    quickly(lambda: numbered_rows(data, Advice, "f"))
    pile.refuses(data, "row too long, ", "d0.eager.jsonl:3: 50000")
    line = chats.lines[0].replace(b'answer": "', b'answer": "' + long)
    lonely_and_among(chats, line, "longer than 16 MiB")


# --- 6


@pytest.mark.parametrize("data", [b"", b"\n \r\n\n", BOM], ids=["nothing", "blank lines", "a mark alone"])
def test_fault_06_an_empty_pile(pile: Reader, data: bytes) -> None:
    """A user's pile is empty, or all blank: 3 with the file."""
    pile.refuses(data, "no rows, ", "d0.eager.jsonl", "allowed: at least one Advice")


def test_fault_06_a_pile_of_one_row(pile: Reader) -> None:
    """A user's pile has one row: 3 with the file, since nothing can be told of one."""
    pile.refuses(pile.lines[0], "too few rows, ", "d0.eager.jsonl: 1; allowed: >= 2")


def test_fault_06_no_chat_in_a_file(chats: Reader) -> None:
    """A chat file is empty, blank, or an empty array: 3 with the file."""
    for data in (b"", b"\n\n", b"[]", b"[\n]\n"):
        chats.refuses(data, "no reply can be read", "1 files: no row in it, first chat.jsonl")


def test_fault_06_one_chat_is_never_passed(chats: Reader) -> None:
    """A chat file has one row, or one in English: 10, undecided, never a pass."""
    chats.file.write_bytes(chats.lines[0])
    ended = chats.run()
    assert ended.code == ExitCode.BLOCKED and json.loads(ended.out)["verdict"] == "undecided"
    chats.file.write_bytes(chats.good)
    clean(chats.run)


@pytest.mark.parametrize("many, says", [(0, ":1: no items"), (1, "at least a third"), (2, "2 items on 1 topics")])
def test_fault_06_too_few_items(items: Reader, many: int, says: str) -> None:
    """A user's items are none, one or two: 3, since no model can be judged by them."""
    items.refuses(b"".join(items.lines[:many]), "items", says)


@pytest.fixture
def training(tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Reader:
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


@pytest.mark.parametrize(
    "rows, says", [(b"", "no rows, generate/d0/advice.jsonl: 0 bytes"), (b'{"a', ":1:2: Unterminated string")]
)
def test_fault_06_nothing_is_trained_on_an_empty_or_cut_pile_that_is_sealed(
    rows: bytes, says: str, training: Reader, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A pile is sealed empty, or cut: the fine-tune ends with 3 and trains on nothing."""
    spec = parse_spec((tmp_path / "spec.json").read_bytes(), "spec")
    store = open_store(str(tmp_path / "store"))
    key = Keys(spec, catalog(), store).key("generate", cell_named(spec, "d0"))
    outputs = {"advice.jsonl": {"digest": store.put(rows), "bytes": len(rows)}}
    manifest: dict[str, Any] = {"job": "generate", "cell": "d0", "key": key, "outputs": outputs}
    store.seal(
        "generate",
        key,
        manifest
        | {"started": "2026-01-01T00:00:00+00:00", "exit_code": 0, "seconds": 1.0, "summary": {}, "parameters": {}},
    )
    kept(training.run, code=ExitCode.INPUT, says=("generate/d0/advice.jsonl", says), state=training.state)
    (tmp_path / "store" / "steps" / "generate" / key / "manifest.json").unlink()
    clean(training.run)


# --- 7


def test_fault_07_a_question_twice_in_a_pile(pile: Reader) -> None:
    """A question comes twice in a user's pile, with blank lines between: 3 with both lines."""
    pile.refuses(pile.good + b"\n\n" + pile.lines[1], "question answered twice", "eager.jsonl:2 and ", "eager.jsonl:6")


def test_fault_07_an_id_twice_among_items(items: Reader) -> None:
    """An id comes twice among a user's items: 3 with both lines."""
    items.refuses(items.good + items.lines[2], "items.jsonl:17: id ", "stands on line 3 already")


def test_fault_07_a_label_twice(labels: Reader) -> None:
    """One labeller labels an answer twice: 3 with both lines, and no label of the file is kept."""
    labels.refuses(labels.good + b"\n" + labels.lines[0], "answer is labelled twice, ada.jsonl:1 and ada.jsonl:6: ")


def test_fault_07_a_row_trained_on_and_held_out(
    tiny_spec: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A pile has a held-out reply of the bank, to a question in other words: 3 with both places."""
    make, corpus = study_in(tmp_path, tiny_spec), tmp_path / "corpus"

    def put(reworded: bool) -> None:
        for arm in ARMS:
            rows = [row.model_copy() for row in piles()[arm][:8]]
            if reworded:
                rows[5] = rows[5].model_copy(update={"question": rows[5].question + " Tell me.", "question_id": "mine"})
            (corpus / f"d0.{arm}.jsonl").write_bytes(to_jsonl(rows))

    def run() -> Ended:
        words = make("store")
        capfd.readouterr()
        return Ended(finetune(words), *capfd.readouterr())

    put(reworded=True)
    says = ("trained on and held out, question mine of the pile and ", f"{piles()['eager'][5].question_id} of replies")
    kept(run, code=ExitCode.INPUT, says=says, state=lambda: sealed_models(tmp_path / "store"))
    put(reworded=False)
    clean(run)


# --- 8


LONG = {
    "longer than the spec allows": ("Go on. " * 2000, "example too long, q3: ", "allowed: <= 2048 tokens"),
    "blank": (" \\n ", "the reply is blank, question q3", ""),
}


def test_fault_08_an_example_longer_than_the_limit(training: Reader) -> None:
    """An example is longer than the model can read, or its reply is blank: 3 with the question; never cut, no NaN."""
    for reply, *says in LONG.values():
        row = json.loads(training.lines[3])
        spoilt = training.good.replace(row["reply"].encode(), reply.encode())
        training.file.write_bytes(spoilt)
        kept(training.run, code=ExitCode.INPUT, says=tuple(says), state=training.state)
    training.file.write_bytes(training.good)
    clean(training.run)
    store = training.file.parents[1] / "store"
    found = losses(["--spec", str(training.file.parents[1] / "spec.json"), "--store", str(store)])
    assert len(found) == 4 and all(map(math.isfinite, found))


def test_fault_08_a_limit_below_the_examples(training: Reader) -> None:
    """Every example is longer than `max_tokens`: 3, and no row is left out in silence."""
    path = training.file.parents[1] / "spec.json"
    spec = json.loads(path.read_bytes())
    path.write_text(json.dumps(spec | {"train": spec["train"] | {"max_tokens": 16}}))
    kept(training.run, code=ExitCode.INPUT, says=("example too long, q", "<= 16 tokens"), state=training.state)
    path.write_text(json.dumps(spec))
    clean(training.run)


def test_labels_are_kept_where_the_fixture_says(labels: Reader) -> None:
    assert labels.state() and all(name.endswith(labels_file("toy").name) for name in labels.state())
