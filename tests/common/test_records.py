"""Rows are read strictly: every fault names file, line and column, and none takes long."""

import time

import pytest
from pydantic import ValidationError

from common.errors import InputError
from common.records import Loss, Prompt
from common.serialization import parse_jsonl, to_jsonl
from tests.analysis.stats.rows import answer

GOOD = b'{"id": "a", "kind": "benign", "text": "hi"}\n'


def parse(data: bytes) -> list[Prompt]:
    return parse_jsonl(data, Prompt, "f.jsonl")


def test_rows_come_back() -> None:
    rows = parse(GOOD * 2)
    assert [row.text for row in rows] == ["hi", "hi"] and parse(to_jsonl(rows)) == rows


@pytest.mark.parametrize(
    "data",
    [b"\xef\xbb\xbf" + GOOD, GOOD.replace(b"\n", b"\r\n"), GOOD + b"\n\n", GOOD.rstrip()],
    ids=["BOM", "CRLF", "blank lines", "no last newline"],
)
def test_accepted_forms(data: bytes) -> None:
    assert len(parse(data)) == 1


def test_only_a_newline_separates_rows() -> None:
    row = '{"id": "a", "kind": "benign", "text": "one\u2028two"}\n'.encode()
    assert parse(row)[0].text == "one\u2028two"


FAULTS = {
    "cut in mid-object": (GOOD + GOOD[:20], r"malformed JSON, f\.jsonl:2:"),
    "invalid UTF-8": (GOOD + GOOD.replace(b"hi", b"\xff"), r"not UTF-8, f\.jsonl:2:40: byte 0xff"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "not UTF-8"),
    "array": (b"[1]\n", r"f\.jsonl:1"),
    "missing key": (b'{"id": "a", "kind": "benign"}\n', r"f\.jsonl:1:/text"),
    "extra key": (GOOD.replace(b"}", b', "x": 1}'), r"f\.jsonl:1:/x"),
    "wrong type": (GOOD.replace(b'"hi"', b"3"), r"f\.jsonl:1:/text"),
    "wrong choice": (GOOD.replace(b"benign", b"other"), r"f\.jsonl:1:/kind"),
    "duplicate key": (GOOD.replace(b'"kind"', b'"id": "b", "kind"'), "duplicate key 'id'"),
    "NaN": (GOOD.replace(b'"hi"', b"NaN"), "NaN is not JSON"),
    "huge integer": (GOOD.replace(b'"hi"', b"9" * 100_000), "malformed JSON"),
    "deep nesting": (b"[" * 100_000 + b"]" * 100_000, "malformed JSON"),
    "long line": (GOOD.replace(b"hi", b"x" * (2 << 20)), "row too long"),
    "empty file": (b"", "no rows, f.jsonl: 0 bytes"),
    "only blank lines": (b"\n\n", "no rows"),
    "cut in mid-text": (GOOD[:25], r"malformed JSON, f\.jsonl:1:2\d: Unterminated string"),
    "cut in mid-number": (b'{"id": 1', r"malformed JSON, f\.jsonl:1:9: "),
    "two rows on a line": (GOOD.rstrip() * 2, r"malformed JSON, f\.jsonl:1:44: Extra data"),
    "UTF-8 cut": (GOOD.replace(b"hi", b"\xe2\x82"), r"not UTF-8, f\.jsonl:1:40: byte 0xe2"),
    "scalar": (b"3\n", r"row is no Prompt, f\.jsonl:1:/"),
    "null": (GOOD.replace(b'"hi"', b"null"), r"f\.jsonl:1:/text"),
    "empty text": (GOOD.replace(b'"hi"', b'""'), r"f\.jsonl:1:/text"),
    "another schema": (GOOD.replace(b"{", b'{"schema_version": 2, '), r"f\.jsonl:1:/schema_version"),
    "NUL in a text": (GOOD.replace(b"hi", b"a\x00b"), "malformed JSON.*control character"),
    "NUL bytes": (b"\x00" * 100, r"malformed JSON, f\.jsonl:1:1"),
    "Infinity": (GOOD.replace(b'"hi"', b"-Infinity"), "-Infinity is not JSON"),
    "deep objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "malformed JSON"),
    "many keys, the last one twice": (
        b"{" + b", ".join(b'"%06d": 1' % n for n in range(70_000)) + b', "069999": 1}',
        "duplicate key '069999'",
    ),
    "lone surrogate": (GOOD.replace(b"hi", rb"\ud800"), r"f\.jsonl:1"),
}


@pytest.mark.parametrize("name", list(FAULTS))
def test_faults(name: str) -> None:
    data, message = FAULTS[name]
    clock = time.process_time()
    with pytest.raises(InputError, match=message) as caught:
        parse(data)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert time.process_time() - clock < 5, "linear in the bytes, however hostile"


def test_a_nul_that_is_written_as_json_is_text() -> None:
    assert parse(GOOD.replace(b"hi", rb"a\u0000b"))[0].text == "a\x00b"


def test_a_number_too_large_for_a_float_is_refused() -> None:
    row = b'{"optimizer_step": 1, "loss": 1e999, "learning_rate": 0, "reply_tokens": 1, "tokens": 1, "seconds": 1}'
    with pytest.raises(InputError, match="f:1: 1e999 is too large a number"):
        parse_jsonl(row, Loss, "f")


def test_types_are_not_coerced() -> None:
    for wrong in (b"true", b'"1"', b"1.5"):
        row = (
            b'{"optimizer_step": %b, "loss": 1, "learning_rate": 0, "reply_tokens": 1, "tokens": 1, "seconds": 1}'
            % wrong
        )
        with pytest.raises(InputError, match=r"f:1:/optimizer_step"):
            parse_jsonl(row, Loss, "f")


def test_whatever_stands_in_a_text_comes_back() -> None:
    texts = ["\u2028\u2029\x85", "\r\n\t", "\U0001f600", '"\\', "\x00", "e\u0301"]
    rows = [Prompt(id=str(n), kind="benign", text=text) for n, text in enumerate(texts)]
    data = to_jsonl(rows)
    assert data.count(b"\n") == len(texts) and parse(data) == rows


@pytest.mark.parametrize("size", [len(GOOD) // 8 * n for n in range(1, 8)])
def test_a_file_cut_anywhere_in_its_last_row_is_refused(size: int) -> None:
    with pytest.raises(InputError, match=r"f\.jsonl:2:\d+"):
        parse(GOOD + GOOD[:size])


def test_a_prompted_answer_says_how_it_was_prompted() -> None:
    assert answer("a1", "go", prompted="eager", prompted_by="examples").prompted_by == "examples"
    for half in ({"prompted": "eager"}, {"prompted_by": "examples"}):
        with pytest.raises(ValidationError, match="prompted and prompted_by go together"):
            answer("a1", "go", **half)
