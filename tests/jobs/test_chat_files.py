"""Whatever bytes a chat file holds: rows are found, faults are counted, nothing is held that is too large."""

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.errors import InputError
from common.lm.sources import POINTER
from common.provenance import ROOT
from jobs.audit.chats import rows
from jobs.audit.chats.left_out import Reason, told
from jobs.audit.chats.rows import Splitter
from tests.jobs.test_chats import ASKED, SAID, left, lines, read

PAIR = {"question": ASKED, "answer": SAID}
TALK = {"messages": [{"role": "user", "content": 'A "kettle"? \\ {['}, {"role": "assistant", "content": f"{SAID} ]}}"}]}
ROW = json.dumps(PAIR).encode()


def kept(tmp_path: Path, data: bytes, name: str = "chat") -> Path:
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


SHAPES = {
    "lines": lines([PAIR, TALK, PAIR]),
    "lines without the last end": lines([PAIR, TALK, PAIR]).rstrip(),
    "lines of Windows": lines([PAIR, TALK, PAIR]).replace(b"\n", b"\r\n"),
    "a mark at the beginning": b"\xef\xbb\xbf" + lines([PAIR, TALK, PAIR]),
    "an array": json.dumps([PAIR, TALK, PAIR]).encode(),
    "an array over lines": b"\n" + json.dumps([PAIR, TALK, PAIR], indent=2).encode() + b"\n",
    "an array with a mark": b"\xef\xbb\xbf" + json.dumps([PAIR, TALK, PAIR], indent=1).encode(),
    "an array of a row a line": b"[\n" + b",\n".join(json.dumps(row).encode() for row in (PAIR, TALK, PAIR)) + b"\n]",
    "objects over lines": b"\n".join(json.dumps(row, indent=4).encode() for row in (PAIR, TALK, PAIR)),
    "a conversation a line": lines([TALK["messages"]] * 3),
    "an array of conversations": json.dumps([TALK["messages"]] * 3, indent=1).encode(),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("data", SHAPES.values(), ids=SHAPES)
def test_rows_are_found_in_every_shape(tmp_path: Path, data: bytes, packed: bool) -> None:
    replies, corpus = read(kept(tmp_path, gzip.compress(data) if packed else data))
    assert [reply.row for reply in replies] == [1, 2, 3] and not corpus.left_out
    assert replies[1].text == f"{SAID} ]}}"


def test_rows_of_lines_are_the_lines(tmp_path: Path) -> None:
    replies, _ = read(kept(tmp_path, b"\n\n" + ROW + b"\n \n" + ROW + b"\n"))
    assert [reply.row for reply in replies] == [3, 5]


MALFORMED = {
    "half a row": (b'{"question": "x', "Unterminated string"),
    "a byte that is no UTF-8": (b'{"question": "\xff"}', "can't decode byte 0xff"),
    "NUL": (b"\0\0\0", "Expecting value"),
    "deep": (b"[" * 200_000, "nested too deeply"),
    "a huge number": (b'{"question": ' + b"9" * 10_000 + b"}", "Exceeds the limit"),
    "no number": (b'{"question": NaN}', "NaN is not JSON"),
    "twice the same field": (b'{"question": "a", "question": "b"}', "duplicate key 'question'"),
}


@pytest.mark.parametrize("line, why", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_line_is_left_out_alone(tmp_path: Path, line: bytes, why: str) -> None:
    replies, corpus = read(kept(tmp_path, ROW + b"\n" + line + b"\n" + ROW + b"\n"))
    assert [reply.row for reply in replies] == [1, 3]
    assert left(corpus) == {"malformed JSON": 1}
    assert corpus.left_out["malformed JSON"].first[0].startswith("chat:2 (") and why in told(corpus.left_out)


def test_a_malformed_value_of_an_array_is_left_out_alone(tmp_path: Path) -> None:
    data = b"[%s, {nothing}, %s, 7, 8, %s, ]" % (ROW, ROW, ROW)
    replies, corpus = read(kept(tmp_path, data))
    assert [reply.row for reply in replies] == [1, 3, 5] and left(corpus) == {"malformed JSON": 2}


@pytest.mark.parametrize("shape", ["lines", "array", "array in one line"])
def test_a_row_that_is_too_long_is_read_past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    monkeypatch.setattr(rows, "LIMIT", 1000)
    monkeypatch.setattr(rows, "CHUNK", 300)
    long = json.dumps({"question": ASKED, "answer": "x" * 5000}).encode()
    data = {
        "lines": b"\n".join((ROW, long, ROW)),
        "array": b"[\n%s,\n%s,\n%s]" % (ROW, long, ROW),
        "array in one line": b"[%s, %s, %s]" % (ROW, long, ROW),
    }[shape]
    replies, corpus = read(kept(tmp_path, data))
    assert [reply.row for reply in replies] == [1, 3] and left(corpus) == {"longer than 16 MiB": 1}


def test_the_longest_row_is_16_mib(tmp_path: Path) -> None:
    fits = json.dumps({"question": ASKED, "answer": SAID, "x": ""}).encode()
    fits = fits[:-2] + b"x" * (rows.LIMIT - len(fits) - 1) + fits[-2:] + b"\n"
    assert len(fits) == rows.LIMIT
    replies, corpus = read(kept(tmp_path, fits + fits[:-3] + b"xx" + fits[-3:]))
    assert [reply.row for reply in replies] == [1] and left(corpus) == {"longer than 16 MiB": 1}


UNREADABLE = {
    "nothing": (b"", Reason.NO_ROW),
    "an empty array": (b"[]", Reason.NO_ROW),
    "an array that is cut off": (b'[{"question": "x"', Reason.BROKEN),
    "gzip that is cut off": (gzip.compress(ROW)[:20], Reason.BROKEN),
    "no gzip": (b"\x1f\x8bnothing", Reason.BROKEN),
    "UTF-16": (ROW.decode().encode("utf-16"), Reason.NOT_UTF8),
    "zip": (b"PK\x03\x04" + bytes(50), Reason.PACKED),
    "a pointer": (POINTER + b"1\noid sha256:0\nsize 9\n", Reason.POINTER),
}


@pytest.mark.parametrize("data, reason", UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_cannot_be_read_stops_nothing_unless_it_is_all(tmp_path: Path, data: bytes, reason: Reason) -> None:
    with pytest.raises(InputError, match=f"no reply can be read, .*1 files: {reason.words}"):
        read(kept(tmp_path, data, "bad.json"))
    kept(tmp_path, ROW, "good.json")
    replies, corpus = read(tmp_path)
    assert [reply.file for reply in replies] == ["good.json"] and left(corpus)[reason.words] == 1


def test_rows_before_the_place_where_a_file_is_cut_off_are_read(tmp_path: Path) -> None:
    noise = [{"id": random.Random(seed).getrandbits(400)} for seed in range(3000)]
    whole = gzip.compress(lines([PAIR, *noise]))
    replies, corpus = read(kept(tmp_path, whole[: len(whole) // 2]))
    assert len(replies) == 1 and left(corpus)["cut off or cannot be read from here on"] == 1


def test_without_pyarrow_parquet_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"Parquet, and the package pyarrow is not installed: pip install pyarrow"):
        read(kept(tmp_path, b"PAR1" + bytes(20) + b"PAR1"))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_parquet(tmp_path: Path, packed: bool) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "chat.parquet"
    table = [TALK, {"messages": None}, {**TALK, "tools": [{"name": "x"}]}] * 400
    parquet.write_table(pyarrow.Table.from_pylist(table), path, row_group_size=500)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    replies, corpus = read(path)
    assert [reply.row for reply in replies] == [row for row in range(1, 1201) if row % 3 != 2]
    assert {reply.text for reply in replies} == {f"{SAID} ]}}"}
    assert left(corpus) == {"no chat that is known": 400}


def test_broken_parquet_is_told(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(InputError, match="1 files: cut off or cannot be read from here on"):
        read(kept(tmp_path, b"PAR1" + bytes(200) + b"PAR1"))


def anything(chance: random.Random, depth: int = 0) -> Any:
    """A JSON value of any kind, with the names and the texts that readers look for."""
    names = ["messages", "conversations", "role", "from", "content", "value", "prompt", "completion", "chosen", "label"]
    names += ["instruction", "input", "output", "history", "question", "answer", "system", "type", "text", "tool_calls"]
    words = ["user", "assistant", "gpt", "text", "tool_use", "refusal", "", " ", SAID, "\0", "\u2028", "\ud800", "[[{"]
    kind = chance.randrange(4 if depth > 5 else 8)
    if kind == 0:
        return chance.choice([None, True, False, 0, -1, 1e308, 10**30])
    if kind < 4:
        return chance.choice(words)
    if kind < 6:
        return [anything(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice(names): anything(chance, depth + 1) for _ in range(chance.randrange(6))}


@pytest.mark.parametrize("seed", range(40))
def test_any_value_is_read_or_counted(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    found = [anything(chance) for _ in range(50)]
    data = lines([PAIR, *found]) if seed % 2 else json.dumps([PAIR, *found]).encode()
    replies, corpus = read(kept(tmp_path, data))
    assert replies[0].text == SAID and sum(corpus.languages.values()) >= len(replies)
    read_rows = sum(sum(each.values()) for each in corpus.formats.values())
    no_rows = sum(each.count for name, each in corpus.left_out.items() if each.unit == "rows" and name != NOBODY)
    assert read_rows + no_rows == corpus.rows
    for reply in replies:
        assert "".join((reply.prompt, reply.text, reply.system)).encode() and reply.text.strip()


NOBODY = "no turn of the assistant"  # a row of a format all the same


@pytest.mark.parametrize("seed", range(60))
def test_damaged_bytes_are_read_or_counted(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(rows, "CHUNK", chance.choice([1, 7, 100, 1 << 20]))
    data = bytearray(chance.choice(list(SHAPES.values())))
    if packed := chance.random() < 0.3:
        data = bytearray(gzip.compress(data))
    for _ in range(chance.randrange(1, 6)):
        place, size = chance.randrange(len(data) + 1), chance.randrange(1, 9)
        what = chance.choice([b"", b"\0" * size, b"\xff" * size, b'"', b"[{" * size, b"\\", b"\xef\xbb\xbf", b"\n"])
        data[place : place + chance.choice([0, size])] = what
    try:
        replies, corpus = read(kept(tmp_path, bytes(data)))
    except InputError as error:
        assert str(error).startswith("no reply can be read") and "\n" not in str(error)
    else:
        assert len(replies) <= 3 and (len(replies) == 3 or corpus.left_out or not packed)


@pytest.mark.parametrize("seed", range(20))
def test_values_are_the_same_however_the_bytes_arrive(seed: int) -> None:
    chance = random.Random(seed)
    found = [{"a": anything(chance), 'b\\"': '\\" ]}'} for _ in range(20)]
    data = ", ".join(json.dumps(each, indent=chance.choice([None, 2])) for each in found).encode()
    cut, got = Splitter(), list[bytes | None]()
    while data:
        size = chance.randrange(1, 30)
        got += cut.feed(data[:size])
        data = data[size:]
    assert [json.loads(each or b"") for each in got] == found and not cut.open


WATCHED = """
import resource, sys
from common.logs import Log
from jobs.audit.chats import open_corpus
corpus = open_corpus(sys.argv[1], Log("audit", "files"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(1 for _ in corpus.replies())
print(count, corpus.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.long
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    for name, begin, end in (("a.jsonl.gz", b"", b"\n"), ("b.json.gz", b"[", b",")):
        with gzip.open(tmp_path / name, "wb", compresslevel=1) as file:
            file.write(begin + ROW + end + b'{"question": "')
            for _ in range(200):
                file.write(b"x" * (1 << 20))
            file.write(b'"}' + end + ROW + begin.replace(b"[", b"]"))
    command = [sys.executable, "-c", WATCHED, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    count, seen, grown = map(int, done.stdout.split())
    assert (count, seen) == (4, 6)
    assert grown < 120 << 10, "KiB; either row alone has 200 MiB"
