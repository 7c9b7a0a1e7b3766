"""Where a corpus lies: a file, a folder, a bucket or the Hub; and the files in it."""

import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from common.errors import InputError, SpecError
from common.lm.sources import downloaded
from common.store.names import fault
from common.store.objects import S3Objects, Stat
from common.store.remote import PART, RemoteFile

PLACES = "FILE, FOLDER, s3://bucket/key-or-prefix or hf:<dataset>@<revision>, a commit of 40 hex digits"
SUFFIXES = tuple(f"{kind}{packed}" for kind in (".jsonl", ".ndjson", ".json", ".parquet") for packed in ("", ".gz"))
HUB = re.compile(r"hf:(?:[\w.-]+/)?[\w.-]+@[0-9a-f]{40}")


class Source(NamedTuple):
    """A file of a corpus."""

    name: str  # below the corpus
    size: int  # bytes
    open: Callable[[], io.RawIOBase]
    buffer: int  # bytes to ask for at once


class Place(NamedTuple):
    """The files of a corpus: those with a suffix of chat files, and the names of the others."""

    sources: list[Source]
    others: list[str]


def place(where: str) -> Place:
    """The files of a corpus, sorted by name. Fetches what lies on the Hub.

    Raises: SpecError for what is no address, or no credentials; InputError if nothing is there, or no chat file;
    TransientError while a server is away.
    """
    if where.startswith("hf:"):
        return _on_the_hub(where)
    if where.startswith("s3://"):
        return _in_a_bucket(where)
    path = Path(where)
    if path.is_file():
        return Place([_file(path.name, path)], [])
    if path.is_dir():
        return _below(where, path)
    raise InputError("no such file or folder", where="--corpus", value=where, allowed=PLACES)


def _file(name: str, path: Path) -> Source:
    return Source(name, path.stat().st_size, lambda: io.FileIO(path), 1 << 20)


def _below(where: str, folder: Path) -> Place:
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    wanted, others = _sorted(where, paths)
    return Place([_file(name, paths[name]) for name in wanted], others)


def _sorted(where: str, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Names of chat files, and the others; hidden ones are left out. Raises: InputError if there is no chat file."""
    seen = sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))
    wanted = [name for name in seen if name.lower().endswith(SUFFIXES) and not fault(name)]
    if not wanted:
        value = f"{len(seen)} other files" if seen else "nothing"
        raise InputError("no chat file in it", where=where, value=value, allowed=" ".join(SUFFIXES))
    return wanted, sorted({*seen} - {*wanted})


def _on_the_hub(where: str) -> Place:
    if not HUB.fullmatch(where):
        raise SpecError("not a dataset of the Hub", where="--corpus", value=where, allowed=PLACES)
    patterns = [f"*{suffix}" for suffix in SUFFIXES]
    return _below(where, downloaded(where, patterns, "dataset"))


def _in_a_bucket(where: str) -> Place:
    parts = urlsplit(where)
    key = parts.path.strip("/")
    if not parts.netloc or "@" in parts.netloc or parts.query or parts.fragment or (key and fault(key)):
        raise SpecError("not an address in a bucket", where="--corpus", value=where, allowed=PLACES)
    parent, _, name = key.rpartition("/")
    beside = S3Objects(parts.netloc, parent)
    if name and (stat := beside.stat(name)) is not None:
        return Place([_object(beside, name, stat)], [])
    objects = S3Objects(parts.netloc, key)
    if not (stats := objects.stats()):
        raise InputError("no such key or prefix", where="--corpus", value=where, allowed=PLACES)
    wanted, others = _sorted(where, stats)
    return Place([_object(objects, name, stats[name]) for name in wanted], others)


def _object(objects: S3Objects, name: str, stat: Stat) -> Source:
    return Source(name, stat.size, lambda: RemoteFile(objects, name, stat), PART)
