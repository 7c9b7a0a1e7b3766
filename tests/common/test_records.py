"""Rows are read strictly: every fault names file, line and column, and none takes long."""

import time

import pytest

from common.errors import InputError
from common.records import Prompt, parse_jsonl, to_jsonl

GOOD = b'{"id": "a", "kind": "benign", "text": "hi"}\n'


def parse(data: bytes) -> list[Prompt]:
    return parse_jsonl(data, Prompt, "f.jsonl")


def test_rows_come_back():
    rows = parse(GOOD * 2)
    assert [row.text for row in rows] == ["hi", "hi"] and parse(to_jsonl(rows)) == rows


@pytest.mark.parametrize(
    "data",
    [b"\xef\xbb\xbf" + GOOD, GOOD.replace(b"\n", b"\r\n"), GOOD + b"\n\n", GOOD.rstrip()],
    ids=["BOM", "CRLF", "blank lines", "no last newline"],
)
def test_accepted_forms(data):
    assert len(parse(data)) == 1


def test_only_a_newline_separates_rows():
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
    "lone surrogate": (GOOD.replace(b"hi", rb"\ud800"), r"f\.jsonl:1"),
}


@pytest.mark.parametrize("name", list(FAULTS))
def test_faults(name):
    data, message = FAULTS[name]
    clock = time.monotonic()
    with pytest.raises(InputError, match=message) as caught:
        parse(data)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert time.monotonic() - clock < 1
