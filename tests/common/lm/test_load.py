"""A base is what it was when an adapter is off again, whatever the adapter did to it."""

import errno
import gc
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from common.errors import InputError, Interrupted, JobError
from common.lm import load as loading
from common.lm import templates
from common.lm.chat import LanguageModel
from common.lm.fingerprint import fingerprint, first_difference, touched
from common.lm.layers import decoder
from common.lm.load import attach, kept, load
from common.spec import ModelSpec

PROJECTIONS = ["q_proj", "down_proj"]
CHANGING: dict[str, dict[str, Any]] = {
    "pissa": {"init_lora_weights": "pissa"},
    "pissa_niter": {"init_lora_weights": "pissa_niter_4"},
    "olora": {"init_lora_weights": "olora"},
    "norm": {"modules_to_save": ["norm"]},
    "head": {"modules_to_save": ["lm_head", "embed_tokens"]},
    "tied": {"target_modules": ["embed_tokens", "q_proj"]},
    "tokens": {"trainable_token_indices": [5, 6]},
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
    "biases": {"bias": "all"},
    "plain": {},
}


@pytest.fixture
def spec(tiny_model: Path) -> Iterator[ModelSpec]:
    loading._kept.cache_clear()
    yield ModelSpec(name="tiny", source=f"path:{tiny_model}")
    loading._kept.cache_clear()


def adapter(spec: ModelSpec, folder: Path, **settings: Any) -> Path:
    """An adapter with everything that it may train a little off where it began."""
    torch.manual_seed(1)
    whole: dict[str, Any] = {"r": 4, "target_modules": PROJECTIONS, "task_type": "CAUSAL_LM"}
    base = load(spec, torch.float32)
    tuned = get_peft_model(base.model, LoraConfig(**(whole | settings)))
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    tuned.save_pretrained(str(folder))
    return folder


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return cast(torch.Tensor, model(torch.tensor([[5, 6, 7, 8, 9]])).logits)


def read(spec: ModelSpec, folder: Path | None) -> torch.Tensor:
    with kept(spec, torch.float32, adapter=folder) as lm:
        return logits(lm.model)


@pytest.mark.parametrize("kind", CHANGING)
@pytest.mark.filterwarnings("ignore")  # PEFT's, of settings that it finds odd
def test_the_base_and_later_adapters_are_what_they_are_alone(kind: str, spec: ModelSpec, tmp_path: Path) -> None:
    first = adapter(spec, tmp_path / "first", **CHANGING[kind])
    plain = adapter(spec, tmp_path / "plain")
    of_base = logits(load(spec, torch.float32).model)
    alone = logits(attach(cast(PreTrainedModel, load(spec, torch.float32).model), plain))
    assert not torch.equal(alone, of_base)
    own = read(spec, first)
    assert not torch.equal(own, of_base)
    assert torch.equal(read(spec, None), of_base), "the base, after it"
    assert torch.equal(read(spec, plain), alone), "another adapter"
    assert torch.equal(read(spec, first), own), "and the same again"
    assert torch.equal(read(spec, plain), alone) and torch.equal(read(spec, None), of_base)


def test_a_base_is_loaded_once_unless_an_adapter_changed_it(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, changing = adapter(spec, tmp_path / "plain"), adapter(spec, tmp_path / "norm", modules_to_save=["norm"])
    loads: list[ModelSpec] = []

    def counted(spec: ModelSpec, precision: torch.dtype) -> LanguageModel:
        loads.append(spec)
        return load(spec, precision)

    monkeypatch.setattr(loading, "load", counted)
    for folder in (plain, None, plain, changing, plain, None):
        read(spec, folder)
    assert len(loads) == 2


def test_a_base_that_a_step_changed_is_a_bug_and_is_not_used_again(spec: ModelSpec) -> None:
    before = read(spec, None)
    said = r"changed the base model, tiny: model\.norm\.weight"
    with pytest.raises(JobError, match=said) as caught, kept(spec, torch.float32) as lm:
        lm.model.get_parameter("model.norm.weight").data += 0.5
    assert caught.type is JobError and torch.equal(read(spec, None), before)


def test_an_error_inside_leaves_no_adapter_on_the_base(spec: ModelSpec, tmp_path: Path) -> None:
    before, folder = read(spec, None), adapter(spec, tmp_path / "plain")
    with pytest.raises(InputError), kept(spec, torch.float32, adapter=folder):
        raise InputError("of the job's own")
    assert torch.equal(read(spec, None), before)


def test_a_changed_base_is_not_held_while_the_next_is_loaded(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import weakref

    folder = adapter(spec, tmp_path / "norm", modules_to_save=["norm"])
    with kept(spec, torch.float32, adapter=folder) as lm:
        held = weakref.ref(decoder(lm.model))
    del lm
    gc.collect()
    assert held() is None


@pytest.mark.parametrize("kind", CHANGING)
@pytest.mark.filterwarnings("ignore")
def test_an_adapter_that_writes_into_its_base_is_told_from_one_that_stands_beside_it(
    kind: str, spec: ModelSpec, tmp_path: Path
) -> None:
    folder = adapter(spec, tmp_path / "adapter", **CHANGING[kind])
    base = cast(PreTrainedModel, load(spec, torch.float32).model)
    before, of_base = fingerprint(base), logits(base)
    tuned = attach(base, folder)
    with tuned.disable_adapter():
        same = torch.equal(logits(tuned), of_base)
    assert (touched(before, decoder(tuned)) is None) is same is (kind not in ("pissa", "pissa_niter", "olora"))


def test_a_fingerprint_sees_one_bit_and_a_hook(spec: ModelSpec) -> None:
    model = load(spec, torch.bfloat16).model
    before = fingerprint(model)
    assert first_difference(before, fingerprint(model)) is None
    weight = model.get_parameter("model.layers.1.mlp.up_proj.weight")
    weight.data.view(torch.int16)[3, 3] ^= 1
    assert first_difference(before, fingerprint(model)) == "model.layers.1.mlp.up_proj.weight"
    weight.data.view(torch.int16)[3, 3] ^= 1
    model.get_submodule("model.norm").register_forward_hook(lambda *_: None)
    assert first_difference(before, fingerprint(model)) == "model.norm"


def raising(error: BaseException) -> Any:
    def call(*_: object, **__: object) -> None:
        raise error

    return call


READERS = [(loading, "AutoModelForCausalLM"), (templates, "AutoConfig"), (templates, "AutoTokenizer")]
OURS = [
    TypeError("unexpected keyword argument"),
    AttributeError("no such attribute"),
    NameError("name is not defined"),
    AssertionError(),
    Interrupted("stopped by SIGTERM"),
    torch.cuda.OutOfMemoryError("CUDA out of memory."),
    OSError(errno.ENOSPC, "No space left on device"),
]


@pytest.mark.parametrize("place, reader", READERS, ids=[name for _, name in READERS])
@pytest.mark.parametrize("error", OURS, ids=[type(error).__name__ for error in OURS])
def test_what_is_not_the_files_fault_is_not_called_a_broken_file(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, place: Any, reader: str, error: BaseException
) -> None:
    monkeypatch.setattr(getattr(place, reader), "from_pretrained", raising(error))
    with pytest.raises(type(error)) as caught:
        load(spec)
    assert caught.value is error


BROKEN: dict[str, Any] = {  # a file of the folder → what stands in it
    "model.safetensors": b"",
    "config.json": b'{"model_type": "llama", "num_attention_heads": 0}',
    "generation_config.json": b"[]",
    "tokenizer_config.json": b'{"tokenizer_class": 5}',
    "tokenizer.json": b"[]",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_broken_is_an_input(spec: ModelSpec, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(spec.source.removeprefix("path:"), tmp_path / "broken"))
    (folder / name).write_bytes(BROKEN[name])
    with pytest.raises(InputError):
        load(ModelSpec(name="tiny", source=f"path:{folder}"))


def test_weights_that_were_cut_off_are_an_input(spec: ModelSpec, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(spec.source.removeprefix("path:"), tmp_path / "broken"))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-50])
    with pytest.raises(InputError, match="model cannot be loaded, "):
        load(ModelSpec(name="tiny", source=f"path:{folder}"))


@pytest.mark.parametrize("field, value", [("r", "x"), ("target_modules", 5), ("peft_type", "NONE"), ("lora_alpha", [])])
@pytest.mark.filterwarnings("ignore")
def test_an_adapter_with_odd_settings_is_an_input(spec: ModelSpec, tmp_path: Path, field: str, value: object) -> None:
    folder = adapter(spec, tmp_path / "adapter")
    settings = json.loads((folder / "adapter_config.json").read_bytes())
    (folder / "adapter_config.json").write_text(json.dumps(settings | {field: value}))
    with pytest.raises(InputError, match="adapter does not fit the model"):
        read(spec, folder)


def test_a_bug_while_an_adapter_is_put_on_stays_one(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = adapter(spec, tmp_path / "adapter")
    for error in (TypeError("a bug of ours"), Interrupted("stopped by SIGTERM")):
        monkeypatch.setattr(PeftModel, "from_pretrained", raising(error))
        with pytest.raises(type(error)) as caught:
            read(spec, folder)
        assert caught.value is error
