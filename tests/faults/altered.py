"""Bytes that are nearly right: a file that is right, altered as damage and malice alter files. Chance by argument.

Bytes are cut, doubled, swapped and set. Beside that, what a file is made of is kept whole, so that more than the first
look at it is tried: JSON is altered as values, gzip below its packing, safetensors below their head's length.
"""

import gzip
import io
import json
import random
import re
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, Literal

Shape = Literal["json", "lines", "text", "gzip", "gzipped json", "tensors", "zip"]

_HARD = (  # values that readers fall over
    *("null", "true", "false", "0", "-1", "1", "1.5", "-0.0", "1e3", "1e308", "1e999", "NaN", "-Infinity", '""', "[]"),
    *("{}", "9" * 25, "9" * 5000, "1." + "0" * 400 + "1", '"\\ud800"', '"\\u0000"', '"\\u2028"', '"../../x"', '"1e3"'),
    *('{"a": 1, "a": 2}', "[[]]", '[{"": null}]', '"nan"', '"inf"', "-9223372036854775809", "18446744073709551616"),
    *("[" * 150 + "]" * 150, "[" * 400 + "]" * 400, "[" * 960 + "]" * 960, "[" * 9000, '{"a":' * 300 + "1" + "}" * 300),
)
_BYTES = (
    *(
        b"\x00",
        b"\xff",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\r\n",
        b"\r",
        b"\n",
        b"\xe2\x80\xa8",
        b"\x1f\x8b",
        b"PK\x03\x04",
    ),
    *(b"{", b"}", b"[", b"]", b'"', b"\\", b"'''", b'"""', b"=", b"#", b"[[", b"\\ud800", b"\xed\xa0\x80", b"\x85"),
    *(b"1979-05-27", b"07:32:00", b"0x", b"inf", b"nan", b"&a", b"*a", b"<<: *a", b"!!python/none", b"- ", b": "),
)


def altered(data: bytes, shape: Shape, seed: int) -> bytes:
    """The bytes of a file with one to four changes; the same for the same seed."""
    chance = random.Random(seed)
    way = _WAYS.get(shape)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        data = (way if way is not None and chance.random() < 0.7 else _bytes)(data, chance)
    return data


def _bytes(data: bytes, chance: random.Random) -> bytes:
    """Bytes cut, doubled, swapped, set or put in."""
    start = chance.randrange(len(data) + 1)
    end = min(len(data), start + chance.choice((1, 1, 2, 8, 64, 1 << 20)))
    before, part, after = data[:start], data[start:end], data[end:]
    kind = chance.randrange(7)
    if kind == 0:
        return before
    if kind == 1:
        return before + after
    if kind == 2:
        return before + part + part + after
    if kind == 3:
        return before + chance.choice(_BYTES) + after
    if kind == 4:
        return before + chance.choice(_BYTES) + part + after
    if kind == 5 and part:
        return before + bytes((part[0] ^ 1 << chance.randrange(8),)) + part[1:] + after
    return before + chance.choice(_HARD).encode() + after


def _json(data: bytes, chance: random.Random) -> bytes:
    """A JSON value with one value or key in it changed; bytes where it is none."""
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        return _bytes(data, chance)
    try:
        made, mark, hard = [whole], f"?{chance.random()}", chance.choice(_HARD)
        _change(made, mark, chance)
        return json.dumps(made[0]).replace(f'"{mark}"', hard).encode()
    except (RecursionError, IndexError):
        return _bytes(data, chance)


def _change(holder: list[Any], mark: str, chance: random.Random) -> None:
    """Change a value somewhere below; `mark` stands where one of the hard values is to stand."""
    at: Any = holder
    key: Any = 0
    while (inner := at[key]) and isinstance(inner, dict | list) and chance.random() < 0.85:
        at, key = inner, chance.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
    kind = chance.randrange(8)
    if kind == 0 and isinstance(at, dict):
        del at[key]
    elif kind == 0 and at is not holder:
        at.insert(key, at[key])
    elif kind == 1 and isinstance(at, dict):
        at[chance.choice((key + "s", key[1:], "", key.upper(), "__class__", "id"))] = at[key]
    elif kind == 2:
        at[key] = [at[key]]
    elif kind == 3:
        at[key] = {str(key): at[key]}
    elif kind == 4 and isinstance(at[key], str):
        at[key] = at[key][: chance.randrange(len(at[key]) + 1)] + chance.choice(("", "\ud800", "\n", "é", "/", "\0"))
    elif kind == 5 and isinstance(at, dict) and len(at) > 1:
        at[key] = at[chance.choice(list(at))]
    else:
        at[key] = mark


def _lines(data: bytes, chance: random.Random) -> bytes:
    """Lines with one of them changed, taken out, doubled or moved."""
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    kind = chance.randrange(6)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[at])
    elif kind == 2:
        lines.append(lines.pop(at))
    else:
        lines[at] = _json(lines[at], chance)
    return b"\n".join(lines)


def _gzip(inner: Callable[[bytes, random.Random], bytes]) -> Callable[[bytes, random.Random], bytes]:
    def change(data: bytes, chance: random.Random) -> bytes:
        try:
            whole = zlib.decompressobj(31).decompress(data, 1 << 20)
        except zlib.error:
            return _bytes(data, chance)
        return gzip.compress(inner(whole, chance), 1, mtime=0)

    return change


def _tensors(data: bytes, chance: random.Random) -> bytes:
    """Safetensors whose head is changed as JSON, and whose length of the head is right again; or that length alone."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 + length:
        return _bytes(data, chance)
    if chance.random() < 0.15:
        wrong = chance.choice((0, 1, length - 1, length + 1, len(data), 100_000_001, 1 << 63, (1 << 64) - 1))
        return (wrong % (1 << 64)).to_bytes(8, "little") + data[8:]
    head, rest = _json(data[8 : 8 + length], chance), data[8 + length :]
    if chance.random() < 0.2:
        rest = _bytes(rest, chance)
    return len(head).to_bytes(8, "little") + head + rest


def _zip(data: bytes, chance: random.Random) -> bytes:
    """An archive with a member changed, left out or renamed, its checksums right again."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as found:
            members = [(name, found.read(name)) for name in found.namelist() if found.getinfo(name).file_size < 1 << 20]
    except Exception:  # whatever is wrong with it
        return _bytes(data, chance)
    if not members:
        return _bytes(data, chance)
    at = chance.randrange(len(members))
    name, held = members[at]
    kind = chance.randrange(5)
    if kind == 0:
        del members[at]
    elif kind == 1:
        members[at] = members[chance.randrange(len(members))][0], held
    elif kind == 2:  # of the type of an array, in the head of a member
        types = (b"'<f4'", b"'|O'", b"'<f8'", b"'<U999999999'", b"'<c16'", b"'<i8'", b"'|b1'", b"'<M8[s]'")
        members[at] = name, re.sub(rb"'[<|][^']*'", lambda _: chance.choice(types), held, count=1)
    else:
        members[at] = name, _bytes(held, chance)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as file:
        for each, inside in dict(members).items():
            file.writestr(zipfile.ZipInfo(each or "x"), inside)
    return made.getvalue()


_WAYS: dict[Shape, Callable[[bytes, random.Random], bytes]] = {
    "json": _json,
    "lines": _lines,
    "gzip": _gzip(_lines),
    "gzipped json": _gzip(_json),
    "tensors": _tensors,
    "zip": _zip,
}
