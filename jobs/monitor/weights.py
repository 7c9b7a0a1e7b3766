"""What the head of a safetensors file says of it, without reading a weight. No torch, no pickle."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from common.errors import InputError
from common.serialization import parse_json

LONGEST_HEAD = 100_000_000  # bytes; the format's own limit
TIED = re.compile(r"(^|\.)lm_head\.weight$")  # stands in some files of a model and not in others, where it is tied


class Head(NamedTuple):
    """The head of a file, and whether all bytes that it promises are there."""

    shapes: dict[str, tuple[int, ...]]  # of each tensor
    whole: bool


def head(path: Path) -> Head:
    """Read the head of a file, which may still be being written: then it is not whole.

    Raises: InputError if it is no safetensors file; OSError.
    Source: the format, github.com/huggingface/safetensors: 8 bytes of length, a JSON object, the tensors.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length == 0:
            return Head({}, False)
        if length > LONGEST_HEAD:
            raise InputError("no safetensors file", where=str(path), value=f"a head of {length} bytes")
        said = file.read(length)
    if len(said) < length:
        return Head({}, False)
    tensors = {name: each for name, each in _parsed(said, path).items() if name != "__metadata__"}
    try:
        promised = 8 + length + max((each["data_offsets"][1] for each in tensors.values()), default=0)
        return Head({name: tuple(each["shape"]) for name, each in tensors.items()}, size >= promised)
    except (TypeError, KeyError, IndexError) as error:
        raise InputError("no safetensors file", where=str(path), value=repr(error)) from None


def _parsed(said: bytes, path: Path) -> Mapping[str, dict[str, list[int]]]:
    try:
        found = json.loads(said)
    except (ValueError, RecursionError) as error:
        raise InputError("no safetensors file", where=str(path), value=str(error)) from None
    if not isinstance(found, dict):
        raise InputError("no safetensors file", where=str(path), value=type(found).__name__)
    return found


def check_shapes(base: Path, tuned: Path, where: str) -> None:
    """Refuse a whole model that is no fine-tune of the base: tensors of other names or shapes.

    base, tuned: folders. Rows of the vocabulary may differ: a fine-tune can add tokens.
    Raises: InputError naming the first tensor that differs.
    """
    before, after = _shapes(base), _shapes(tuned)
    config = parse_json((base / "config.json").read_bytes(), str(base / "config.json"))
    words = config.get("vocab_size") if isinstance(config, dict) else None
    for name in sorted({*before, *after}):
        ours, theirs = before.get(name), after.get(name)
        longer = False if not ours or not theirs else ours[0] == words and ours[1:] == theirs[1:]
        if ours != theirs and not longer:
            allowed = f"{list(ours)}, as in the base" if ours else "no such tensor: the base has none"
            what = "the checkpoint is of another base"
            raise InputError(
                what, where=f"{where}:{name}", value=list(theirs) if theirs else "missing", allowed=allowed
            )


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= head(path).shapes
    return {name: shape for name, shape in found.items() if not TIED.search(name)}
