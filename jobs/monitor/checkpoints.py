"""Checkpoints as Hugging Face's Trainer leaves them: `checkpoint-N` folders, found, whole, and without their pickles.

Of a checkpoint the weights and what describes them are read: of a LoRA adapter_config.json and
adapter_model.safetensors, of a whole model config.json and model*.safetensors. Optimizers, schedulers, states of chance
and of the trainer are never opened, nor copied from a bucket.
"""

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from common.digests import file_sha256_once, sha256
from common.errors import InputError, SpecError
from common.lm.foreign import SETTINGS, WEIGHTS, Foreign, fetched
from common.serialization import canonical_json, parse_json
from common.store.objects import Objects
from common.store.sealed import open_objects
from jobs.monitor.weights import head

NUMBERED = re.compile(r"checkpoint-([0-9]+)")
BUCKET = re.compile(r"s3://[^/@]+(/[^/]+)+/*")
ADAPTER = (SETTINGS, WEIGHTS)
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
MODEL = ("config.json", "generation_config.json", INDEX, "model*.safetensors")
PICKLES = ("adapter_model.bin", "pytorch_model*.bin")
LAYOUT = "a folder with checkpoint-<number> folders, as Hugging Face's Trainer writes them"
Kind = Literal["adapter", "model"]


class Files(Protocol):
    """The folders of a training, and the files that stand in each."""

    address: str

    def folders(self) -> dict[str, list[str]]:
        """Name of a folder → the names of the files right in it; of what is there at this moment."""

    def bring(self, folder: str, name: str, into: Path) -> None:
        """Put one file where it can be read. Raises: FileNotFoundError if it is gone meanwhile."""


class LocalFiles:
    """A folder of this machine: files are linked, not copied."""

    def __init__(self, root: Path) -> None:
        self.root, self.address = root, str(root)

    def folders(self) -> dict[str, list[str]]:
        """See Files.folders."""
        found = {}
        for folder in sorted(self.root.iterdir()) if self.root.is_dir() else ():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # taken away meanwhile, or a file
                found[folder.name] = sorted(path.name for path in folder.iterdir() if path.is_file())
        return found

    def bring(self, folder: str, name: str, into: Path) -> None:
        """See Files.bring."""
        (into / name).symlink_to((self.root / folder / name).resolve(strict=True))


class BucketFiles:
    """A prefix of a bucket: files are copied, those that are asked for alone."""

    def __init__(self, objects: Objects, prefix: str, address: str) -> None:
        self.objects, self.prefix, self.address = objects, prefix, address

    def folders(self) -> dict[str, list[str]]:
        """See Files.folders."""
        found: dict[str, list[str]] = {}
        for key in self.objects.keys(f"{self.prefix}/"):
            folder, _, name = key.removeprefix(f"{self.prefix}/").partition("/")
            if name and "/" not in name:
                found.setdefault(folder, []).append(name)
        return found

    def bring(self, folder: str, name: str, into: Path) -> None:
        """See Files.bring."""
        if (data := self.objects.get(f"{self.prefix}/{folder}/{name}")) is None:
            raise FileNotFoundError(f"{self.address}/{folder}/{name}")
        (into / name).write_bytes(data)


def opened(address: str, flag: str) -> Files:
    """The files behind a folder or s3://bucket/prefix. Raises: SpecError if it is neither."""
    if not address.startswith("s3://"):
        return LocalFiles(Path(address.removeprefix("path:")))
    if not BUCKET.fullmatch(address):
        raise SpecError("not a place of checkpoints", where=flag, value=address, allowed="a folder, s3://bucket/prefix")
    parent, _, name = address.rstrip("/").rpartition("/")
    return BucketFiles(open_objects(parent, flag), name, address)


class Listing(NamedTuple):
    """The checkpoint folders that are there."""

    numbered: dict[int, str]  # number → folder, ascending
    files: dict[str, list[str]]  # folder → its files
    ignored: list[str]  # folders with other names


def listing(files: Files) -> Listing:
    """What is there at this moment. Raises: as the store behind it."""
    found = files.folders()
    numbers = {int(match[1]): name for name in found if (match := NUMBERED.fullmatch(name))}
    ignored = [name for name in found if not NUMBERED.fullmatch(name)]
    return Listing(dict(sorted(numbers.items())), found, ignored)


def check_there(files: Files) -> None:
    """Refuse a place before a model is loaded for it. Raises: InputError if it has no checkpoint, or one of pickles."""
    found = listing(files)
    if not found.numbered:
        value = f"only {', '.join(found.ignored[:8])}" if found.ignored else None
        raise InputError("no checkpoint to measure", where=files.address, value=value, allowed=LAYOUT)
    for folder in found.numbered.values():
        with contextlib.suppress(NotYet):
            _wanted(found.files[folder], f"{files.address}/{folder}")


class Checkpoint(NamedTuple):
    """A checkpoint whose bytes are all there, in a folder of its own that holds nothing else."""

    kind: Kind
    folder: Path
    digest: str  # of all of it
    adapter: Foreign | None  # what its settings say; None for a whole model


class NotYet(Exception):
    """The checkpoint is still being written; says what is missing."""


@contextlib.contextmanager
def taken(files: Files, folder: str, names: Sequence[str]) -> Iterator[Checkpoint]:
    """The part of a checkpoint that is read, for as long as the `with` lasts.

    names: the files that stand in its folder. Raises: NotYet; InputError if it has only pickled weights, a file is
    broken, or it is an adapter of a kind that is not covered.
    """
    where = f"{files.address}/{folder}"
    wanted = _wanted(names, where)
    with tempfile.TemporaryDirectory(prefix="undertone-checkpoint-") as made:
        into = Path(made)
        try:
            for name in wanted:
                files.bring(folder, name, into)
            _check_whole(into, wanted, where)
            checkpoint = _read(into, wanted)
        except FileNotFoundError as error:
            raise NotYet(f"{error.filename or error} is gone") from None
        yield checkpoint


def _kind(names: Sequence[str]) -> Kind:
    return "adapter" if any(name.startswith("adapter_") for name in names) else "model"


def _read(folder: Path, names: Sequence[str]) -> Checkpoint:
    if _kind(names) == "adapter":
        found = fetched(str(folder), folder / "read")
        return Checkpoint("adapter", found.folder, found.digest, found)
    digests = {name: file_sha256_once(folder / name) for name in names}
    return Checkpoint("model", folder, sha256(canonical_json(digests)), None)


def _wanted(names: Sequence[str], where: str) -> list[str]:
    """The files to read. Raises: NotYet; InputError if all weights are pickles."""
    kind = _kind(names)
    patterns = ADAPTER if kind == "adapter" else MODEL
    found = [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]
    pickles = [name for name in names if any(fnmatch(name, pattern) for pattern in PICKLES)]
    if not any(name.endswith(".safetensors") for name in found):
        if pickles:
            allowed = "*.safetensors; a pickle is never opened (save_safetensors=True)"
            raise InputError("only pickled weights", where=where, value=pickles[0], allowed=allowed)
        raise NotYet("no weights yet")
    needed = ADAPTER if kind == "adapter" else ("config.json", INDEX if INDEX in found else SINGLE)
    if missing := [name for name in needed if name not in found]:
        raise NotYet(f"no {missing[0]} yet")
    return found


def _check_whole(folder: Path, names: Sequence[str], where: str) -> None:
    """Raises: NotYet if a shard is missing, or a file is cut off: as JSON, or by what its head promises; InputError."""
    for name in names:
        if name.endswith(".json"):
            try:
                json.loads((folder / name).read_bytes())
            except ValueError:
                raise NotYet(f"{name} is still being written") from None
            except RecursionError as error:
                raise InputError("malformed JSON", where=f"{where}/{name}", value=str(error)) from None
    if INDEX in names:
        index = parse_json((folder / INDEX).read_bytes(), f"{where}/{INDEX}")
        shards = index.get("weight_map") if isinstance(index, Mapping) else None
        if not isinstance(shards, Mapping):
            raise InputError("no index of weights", where=f"{where}/{INDEX}", allowed="weight_map: tensor → file")
        if missing := sorted({*map(str, shards.values())} - {*names}):
            raise NotYet(f"no {missing[0]} yet")
    for name in names:
        if name.endswith(".safetensors") and not head(folder / name).whole:
            raise NotYet(f"{name} is still being written")
