"""Rows that are cut, in another coding, malformed or hostile, in piles, chat files, items, labels and specs."""

import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from common.cli import policy_in
from common.errors import ExitCode, JobError
from common.records import Advice
from common.serialization import numbered_rows
from common.spec import parse_spec
from jobs.audit.tool import TOOL as AUDIT
from jobs.gate import items as gate_items
from jobs.gate.tool import TOOL as GATE
from tests.faults.promise import clean, kept
from tests.faults.tools_that_read import (  # noqa: F401
    BOM,
    DEEP,
    QUICK,
    SPEC,
    Reader,
    cut,
    lonely_and_among,
    made_chats,
    made_items,
    made_labels,
    made_pile,
    made_settings,
    quickly,
    report,
    tool,
)
from tests.jobs.finetuning import LOUD
from tests.jobs.labelling import folder_of_locks  # noqa: F401
from tests.jobs.sealed_study import made_study  # noqa: F401

pytestmark = [*LOUD, pytest.mark.filterwarnings("ignore")]


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
    clean(partial(tool, capfd, GATE, "--items", items.file, "--lint", "--out", tmp_path / "none"))
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
    kept(partial(tool, capfd, AUDIT, *words), code=ExitCode.SPEC, says=("policy.toml",), state=items.state)
    clean(items.run)
