"""Adapters that somebody else trained: where they come from, and which of their files are read. Imports no torch.

<folder> or path:<folder>      as PEFT, TRL, Unsloth, Axolotl and LLaMA-Factory write it
s3://<bucket>/<prefix>         the same files below a prefix
hf:<repo>@<revision>           the Hub's own cache, or a download
<store>/steps/finetune/<key>   a sealed fine-tune of this project, in a folder or on S3

A folder of a training holds more than its adapter: settings and optimizers as pickles, logs, code. None of it is
opened: the files that are read are put into a folder of their own first, and it is that folder that PEFT sees.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from common.digests import sha256
from common.errors import InputError, SpecError
from common.lm.sources import downloaded, refuse_pointer
from common.serialization import canonical_json, parse_json
from common.store.names import fault
from common.store.objects import S3Objects
from common.store.sealed import ArtifactStore, open_store

SETTINGS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TOKENIZER = (  # what an adapter with tokens of its own brings
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "tokenizer.model", "vocab.json", "merges.txt"),
)
SOURCES = "a folder, s3://<bucket>/<prefix>, hf:<repo>@<revision, 40 hex digits>, or <store>/steps/finetune/<key>"
LORA = "LoRA and its kinds: rsLoRA, DoRA, PiSSA, OLoRA, EVA"
SEALED = re.compile(r"(.+)/steps/finetune/([0-9a-f]{64})/?")
HUB = re.compile(r"hf:[\w.-]+/[\w.-]+@[0-9a-f]{40}")
# Settings of PEFT's LoRA that make another model of it, or that its file cannot make again.
OTHER_KINDS = {
    "alora_invocation_tokens": "aLoRA, which begins in the middle of a text",
    "layer_replication": "a LoRA on copies of layers",
    "megatron_config": "a LoRA of Megatron",
    "use_qalora": "QALoRA, on a quantised base",
    "use_bdlora": "BD-LoRA",
    "arrow_config": "Arrow, a router over adapters",
    "monteclora_config": "MonteCLoRA",
    "kasa_config": "KaSA",
    "velora_config": "VeLoRA",
}
# They changed the base by data, bits or chance that is not in the file.
OTHER_BEGINNINGS = ("loftq", "corda", "lora_ga", "pissa_niter")
OWN_BASE = ("pissa", "olora")  # they take their beginning out of the base's weights


class Foreign(NamedTuple):
    """An adapter whose files were fetched and whose settings were read."""

    source: str
    folder: Path  # its files alone
    digest: str  # of settings and weights, SHA-256
    kind: str  # as people call it
    base: str | None  # as it names the model that it was trained on
    beside: bool  # whether it can stand on a base beside other adapters, and leaves it as it is when it is off
    tokenizer: bool  # whether it brings one
    trained_on: str | None = None  # the identity of its base, where a sealed fine-tune names it


def fetched(source: str, into: Path) -> Foreign:
    """The files of an adapter, put below `into`, and what its settings say. No file but these is opened.

    Raises: SpecError for a source that is none; InputError if a file is missing, altered, or of another kind of
    adapter; TransientError where the Hub or the store is away.
    """
    into.mkdir(parents=True)
    names = (SETTINGS, WEIGHTS, *TOKENIZER)
    if (sealed := SEALED.fullmatch(source)) is not None:
        store = open_store(sealed[1])
        manifest = _sealed(store, sealed[2])
        _put(into, names, _outputs(store, manifest))
        return _read(source, into)._replace(trained_on=_base_of(manifest))
    if source.startswith("s3://"):
        _put(into, names, _objects(source))
    elif source.startswith("hf:"):
        if not HUB.fullmatch(source):
            raise SpecError("not an adapter of the Hub", where="adapter", value=source, allowed=SOURCES)
        _link(into, names, downloaded(source, names))
    else:
        folder = Path(source.removeprefix("path:"))
        if not folder.is_dir():
            raise SpecError("no such adapter", where="adapter", value=source, allowed=SOURCES)
        _check_present(folder)
        _link(into, names, folder)
    return _read(source, into)


def _objects(source: str) -> Callable[[str], bytes | None]:
    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    if not bucket or "@" in bucket or (prefix.strip("/") and fault(prefix.strip("/"))):
        raise SpecError("not an adapter's address", where="adapter", value=source, allowed=SOURCES)
    return S3Objects(bucket, prefix).get


def _sealed(store: ArtifactStore, key: str) -> Mapping[str, Any]:
    """The manifest of a sealed fine-tune. Raises: InputError if there is no such seal."""
    manifest = store.manifest("finetune", key)
    if manifest is None:
        raise InputError("no sealed fine-tune", where="adapter", value=key, allowed="the key of one, by --dry-run")
    return manifest


def _base_of(manifest: Mapping[str, Any]) -> str | None:
    """The identity of the model that a fine-tune was made of, None where its manifest does not say it."""
    found: Any = manifest.get("named_by")
    for name in ("facts", "model", "model"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) else None


def _outputs(store: ArtifactStore, manifest: Mapping[str, Any]) -> Callable[[str], bytes | None]:
    """The files of a sealed adapter, their digests checked."""

    def get(name: str) -> bytes | None:
        found = manifest["outputs"].get(f"adapter/{name}")
        return None if found is None else store.get(found["digest"])

    return get


def _put(into: Path, names: tuple[str, ...], get: Callable[[str], bytes | None]) -> None:
    for name in names:
        if (data := get(name)) is not None:
            (into / name).write_bytes(data)


def _link(into: Path, names: tuple[str, ...], folder: Path) -> None:
    for name in names:
        if (path := folder / name).is_file():
            refuse_pointer(path)
            (into / name).symlink_to(path.resolve())


def _check_present(folder: Path) -> None:
    """Say what a folder holds instead of an adapter. Raises: InputError."""
    if (folder / SETTINGS).is_file():
        return
    inner = sorted(path.parent.name for path in folder.glob(f"*/{SETTINGS}"))
    if inner:
        allowed = f"one of the folders in it: {', '.join(inner[:8])}"
        raise InputError("no adapter in this folder itself", where=str(folder), allowed=allowed)
    whole = " (this is a whole model: --model)" if (folder / "config.json").is_file() else ""
    raise InputError(f"no adapter in this folder{whole}", where=str(folder), allowed=f"a folder with {SETTINGS}")


def _read(source: str, folder: Path) -> Foreign:
    for name in (SETTINGS, WEIGHTS):
        if not (folder / name).is_file():
            allowed = f"{SETTINGS} and {WEIGHTS}; a pickle such as adapter_model.bin is never opened"
            raise InputError("the adapter lacks a file", where=source, value=name, allowed=allowed)
    settings = parse_json((folder / SETTINGS).read_bytes(), f"{source}/{SETTINGS}")
    if not isinstance(settings, dict):
        raise InputError("the adapter's settings are no JSON object", where=f"{source}/{SETTINGS}")
    check_kind(settings, source)
    digests = {name: sha256((folder / name).read_bytes()) for name in (SETTINGS, WEIGHTS)}
    base = settings.get("base_model_name_or_path")
    return Foreign(
        source=source,
        folder=folder,
        digest=sha256(canonical_json(digests)),
        kind=kind_of_adapter(settings),
        base=base if isinstance(base, str) and base else None,
        beside=stands_beside(settings),
        tokenizer=(folder / "tokenizer_config.json").is_file(),
    )


def check_kind(settings: Mapping[str, Any], where: str) -> None:
    """Refuse, by its name, an adapter that is no LoRA or that its file cannot make again. Raises: InputError."""
    kind = str(settings.get("peft_type"))
    if kind != "LORA":
        raise InputError("this kind of adapter is not covered", where=where, value=kind, allowed=LORA)
    if other := next((what for field, what in OTHER_KINDS.items() if settings.get(field)), None):
        raise InputError("this kind of LoRA is not covered", where=where, value=other, allowed=LORA)
    if (begin := _beginning(settings)).startswith(OTHER_BEGINNINGS):
        allowed = f"{LORA}; or the same adapter, saved as a plain LoRA"
        raise InputError("how this LoRA began cannot be made again", where=where, value=begin, allowed=allowed)


def kind_of_adapter(settings: Mapping[str, Any]) -> str:
    """What people call a LoRA with these settings, as "rsLoRA, DoRA, modules_to_save"."""
    begin = _beginning(settings)
    named = {
        "rsLoRA": settings.get("use_rslora"),
        "DoRA": settings.get("use_dora"),
        "PiSSA": begin.startswith("pissa"),
        "OLoRA": begin.startswith("olora"),
        "EVA": begin.startswith("eva"),
        "rank_pattern": settings.get("rank_pattern"),
        "alpha_pattern": settings.get("alpha_pattern"),
        "modules_to_save": settings.get("modules_to_save"),
        "trained tokens": settings.get("trainable_token_indices"),
        "biases": settings.get("bias") not in (None, "none"),
    }
    return ", ".join(name for name, on in named.items() if on) or "LoRA"


def stands_beside(settings: Mapping[str, Any]) -> bool:
    """Whether several such adapters can be held on one base, none of them changing it."""
    replaced = settings.get("modules_to_save") or settings.get("trainable_token_indices")
    biases = settings.get("bias") not in (None, "none")
    return not (replaced or biases or _beginning(settings).startswith(OWN_BASE))


def _beginning(settings: Mapping[str, Any]) -> str:
    found = settings.get("init_lora_weights")
    return found.lower() if isinstance(found, str) else ""


def names_other_base(adapter: Foreign, *known: str) -> bool:
    """Whether an adapter names another base than one that is known by these names: their last parts are compared."""
    return adapter.base is not None and _last_part(adapter.base) not in map(_last_part, known)


def _last_part(name: str) -> str:
    return re.split(r"[/\\:]", name.partition("#")[0].rstrip("/\\"))[-1].partition("@")[0].lower()
