"""Foreign adapters: which are taken, how they stand on a base, what is refused by name. All are made by PEFT itself."""

import json
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from peft import IA3Config, LoHaConfig, LoraConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from common.errors import InputError, SpecError
from common.lm.compared import BASE, Compared
from common.lm.foreign import fetched
from common.spec import ModelSpec
from common.store.sealed import open_store
from tests.adapters import PROJECTIONS, llama_factory, nudged, trained, whole

KINDS: dict[str, tuple[dict[str, Any], str]] = {  # what PEFT is told → what it is called
    "plain": ({}, "LoRA"),
    "rslora": ({"use_rslora": True}, "rsLoRA"),
    "dora": ({"use_dora": True}, "DoRA"),
    "pissa": ({"init_lora_weights": "pissa"}, "PiSSA"),
    "olora": ({"init_lora_weights": "olora"}, "OLoRA"),
    "orthogonal": ({"init_lora_weights": "orthogonal"}, "LoRA"),
    "head": ({"modules_to_save": ["lm_head", "embed_tokens"]}, "modules_to_save"),
    "norm": ({"modules_to_save": ["norm"]}, "modules_to_save"),
    "tokens": ({"trainable_token_indices": [5, 6]}, "trained tokens"),
    "tied": ({"target_modules": ["embed_tokens", "q_proj"]}, "LoRA"),
    "patterns": (
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"down_proj": 32}},
        "rank_pattern, alpha_pattern",
    ),
    "everything": ({"target_modules": "all-linear", "use_rslora": True, "use_dora": True}, "rsLoRA, DoRA"),
}


@pytest.fixture
def spec(tiny_model: Path) -> ModelSpec:
    return ModelSpec(name="tiny", source=f"path:{tiny_model}")


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return cast(torch.Tensor, model(torch.tensor([[5, 6, 7, 8, 9]])).logits)


def said(models: Compared, name: str) -> torch.Tensor:
    with models.worn(name) as lm:
        return logits(lm.model)


def edited(folder: Path, **changes: Any) -> Path:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))
    return folder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")  # PEFT's, of settings that it finds odd
def test_each_kind_says_what_it_said_where_it_was_trained(
    kind: str, spec: ModelSpec, tiny_model: Path, tmp_path: Path
) -> None:
    settings, name = KINDS[kind]
    theirs = logits(trained(tiny_model, tmp_path / "theirs", **settings))
    before = logits(whole(tiny_model))
    models = Compared(spec, torch.float32)
    found = fetched(str(tmp_path / "theirs"), tmp_path / "mine")
    models.add("tuned", found)
    assert found.kind == name
    for _ in range(2):  # switched, and back
        torch.testing.assert_close(said(models, "tuned"), theirs, rtol=1e-3, atol=1e-4)
        assert torch.equal(said(models, BASE), before)
    assert not torch.allclose(theirs, before, atol=1e-3)
    assert models.notes == []


@pytest.mark.parametrize("kinds", [("plain", "rslora"), ("plain", "pissa"), ("pissa", "plain"), ("norm", "olora")])
@pytest.mark.filterwarnings("ignore")
def test_two_adapters_do_not_touch_each_other(
    kinds: tuple[str, str], spec: ModelSpec, tiny_model: Path, tmp_path: Path
) -> None:
    models, alone = Compared(spec, torch.float32), {}
    for name, kind in zip(("tuned", "against"), kinds, strict=True):
        alone[name] = logits(trained(tiny_model, tmp_path / name, r=3 if name == "tuned" else 5, **KINDS[kind][0]))
        models.add(name, fetched(str(tmp_path / name), tmp_path / f"mine-{name}"))
    before = logits(whole(tiny_model))
    for name in ("against", "tuned", "against"):
        torch.testing.assert_close(said(models, name), alone[name], rtol=1e-3, atol=1e-4)
        assert torch.equal(said(models, BASE), before)


@pytest.mark.parametrize("saved", ["modules", "resized"])
@pytest.mark.filterwarnings("ignore")
def test_tokens_that_were_added(saved: str, spec: ModelSpec, tiny_model: Path, tmp_path: Path) -> None:
    """As Unsloth and Axolotl do it: the tokenizer grows, the embeddings with it, both lie beside the adapter."""
    model = whole(tiny_model)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_tokens(["<|tool|>", "<|think|>"])
    model.resize_token_embeddings(len(tokenizer))
    more: dict[str, Any] = {"modules_to_save": ["embed_tokens", "lm_head"]} if saved == "modules" else {}
    tuned = nudged(get_peft_model(model, LoraConfig(r=4, target_modules=PROJECTIONS, task_type="CAUSAL_LM", **more)))
    folder = tmp_path / "theirs"
    tuned.save_pretrained(str(folder), save_embedding_layers="auto" if more else True)
    tokenizer.save_pretrained(str(folder))
    models = Compared(spec, torch.float32)
    models.add("tuned", fetched(str(folder), tmp_path / "mine"))
    theirs = logits(tuned)
    torch.testing.assert_close(said(models, "tuned"), theirs, rtol=1e-3, atol=1e-4)
    with models.worn("tuned") as lm:
        assert len(lm.tokenizer) == len(tokenizer)
    assert any("2 tokens of its own" in note for note in models.notes)
    assert said(models, BASE).shape[-1] == theirs.shape[-1] - 2
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(InputError, match="adapter does not fit the model"):
        models.add("again", fetched(str(folder), tmp_path / "again"))


@pytest.mark.filterwarnings("ignore")
def test_a_whole_fine_tune(spec: ModelSpec, tiny_model: Path, tmp_path: Path) -> None:
    tuned = nudged(whole(tiny_model))
    shutil.copytree(tiny_model, tmp_path / "tuned")
    tuned.save_pretrained(tmp_path / "tuned")
    models = Compared(spec, torch.float32)
    models.add_model("tuned", f"path:{tmp_path / 'tuned'}")
    assert torch.equal(said(models, "tuned"), logits(tuned))
    assert not torch.equal(said(models, BASE), said(models, "tuned"))


@pytest.mark.filterwarnings("ignore")
def test_what_lies_beside_an_adapter_is_never_opened(spec: ModelSpec, tiny_model: Path, tmp_path: Path) -> None:
    trained(tiny_model, tmp_path / "theirs")
    llama_factory(tmp_path / "theirs")
    # A PEFT that is newer than ours writes fields that ours does not know.
    edited(tmp_path / "theirs", a_field_of_the_future={"x": 1}, peft_version="9.9.9", auto_mapping=None)
    models, found = Compared(spec, torch.float32), fetched(str(tmp_path / "theirs"), tmp_path / "mine")
    models.add("tuned", found)
    assert not torch.equal(said(models, "tuned"), said(models, BASE))
    assert not (tmp_path / "opened").exists()
    assert {path.name for path in found.folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}


@pytest.mark.filterwarnings("ignore")
def test_another_base_is_told_where_it_fits_and_refused_where_not(
    spec: ModelSpec, tiny_model: Path, tmp_path: Path
) -> None:
    trained(tiny_model, tmp_path / "theirs")
    edited(tmp_path / "theirs", base_model_name_or_path="somebody/other-base")
    models = Compared(spec, torch.float32)
    models.add("tuned", fetched(str(tmp_path / "theirs"), tmp_path / "mine"))
    assert "names somebody/other-base as its base" in models.notes[0]
    edited(tmp_path / "theirs", base_model_name_or_path=f"somebody/{tiny_model.name}")
    models.add("again", fetched(str(tmp_path / "theirs"), tmp_path / "same"))
    assert len(models.notes) == 1, "the same name elsewhere is the same base"
    path = tmp_path / "theirs" / "adapter_model.safetensors"
    save_file({key: tensor.repeat_interleave(2, dim=-1) for key, tensor in load_file(path).items()}, path)
    with pytest.raises(InputError, match="adapter does not fit the model"):
        Compared(spec, torch.float32).add("tuned", fetched(str(tmp_path / "theirs"), tmp_path / "wide"))


@pytest.mark.parametrize(
    "config",
    [
        IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
        PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
        LoHaConfig(r=2, target_modules=["q_proj"]),
    ],
    ids=["IA3", "PROMPT_TUNING", "LOHA"],
)
@pytest.mark.filterwarnings("ignore")
def test_another_kind_of_peft_is_refused_by_its_name(config: Any, tiny_model: Path, tmp_path: Path) -> None:
    model = whole(tiny_model)
    get_peft_model(model, config).save_pretrained(str(tmp_path / "theirs"))
    with pytest.raises(InputError, match=f"not covered, .*: {config.peft_type.value}; allowed: LoRA and its kinds"):
        fetched(str(tmp_path / "theirs"), tmp_path / "mine")


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"alora_invocation_tokens": [1, 2]}, "aLoRA"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "copies of layers"),
        ({"use_qalora": True}, "QALoRA"),
        ({"init_lora_weights": "loftq"}, "loftq"),
        ({"init_lora_weights": "pissa_niter_16"}, "pissa_niter_16"),
        ({"init_lora_weights": "corda"}, "corda"),
        ({"peft_type": None}, "None"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_lora_of_another_kind_is_refused_by_its_name(
    changes: dict[str, Any], says: str, tiny_model: Path, tmp_path: Path
) -> None:
    trained(tiny_model, tmp_path / "theirs")
    with pytest.raises(InputError, match=says):
        fetched(str(edited(tmp_path / "theirs", **changes)), tmp_path / "mine")


@pytest.mark.filterwarnings("ignore")
def test_what_is_no_adapter_is_said_as_what_it_is(tiny_model: Path, tmp_path: Path) -> None:
    trained(tiny_model, tmp_path / "run" / "checkpoint-8")
    weights = tmp_path / "run" / "checkpoint-8" / "adapter_model.safetensors"
    with pytest.raises(InputError, match="allowed: one of the folders in it: checkpoint-8"):
        fetched(str(tmp_path / "run"), tmp_path / "a")
    with pytest.raises(InputError, match="whole model: --model"):
        fetched(str(tiny_model), tmp_path / "b")
    weights.rename(weights.with_name("adapter_model.bin"))
    with pytest.raises(InputError, match=r"lacks a file.*a pickle such as adapter_model\.bin is never opened"):
        fetched(str(weights.parent), tmp_path / "c")
    for source in ("nowhere", "hf:owner/name@main", "s3://", "s3://key@bucket/x"):
        with pytest.raises(SpecError):
            fetched(source, tmp_path / source.replace("/", "-"))


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_in_a_bucket(
    spec: ModelSpec, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from common.lm import foreign

    folder, asked = tmp_path / "theirs", []
    trained(tiny_model, folder)
    llama_factory(folder)

    class Bucket:
        def __init__(self, bucket: str, prefix: str) -> None:
            assert (bucket, prefix) == ("models", "run/final")

        def get(self, key: str) -> bytes | None:
            asked.append(key)
            return (folder / key).read_bytes() if (folder / key).is_file() else None

    monkeypatch.setattr(foreign, "S3Objects", Bucket)
    found = fetched("s3://models/run/final", tmp_path / "mine")
    models = Compared(spec, torch.float32)
    models.add("tuned", found)
    assert not torch.equal(said(models, "tuned"), said(models, BASE))
    assert not [key for key in asked if key.endswith((".bin", ".pt", ".pth", ".py"))]
    assert found.digest == fetched(str(folder), tmp_path / "again").digest, "the same files are the same adapter"


def test_code_that_comes_with_a_model_is_never_run(spec: ModelSpec, tiny_model: Path, tmp_path: Path) -> None:
    evil = Path(shutil.copytree(tiny_model, tmp_path / "evil"))
    (evil / "modeling_evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    config, mapped = (
        evil / "config.json",
        {"AutoModelForCausalLM": "modeling_evil.Evil", "AutoConfig": "modeling_evil.C"},
    )
    config.write_text(json.dumps(json.loads(config.read_bytes()) | {"auto_map": mapped}))
    models = Compared(spec, torch.float32)
    models.add_model("tuned", f"path:{evil}")
    assert torch.equal(said(models, "tuned"), said(models, BASE)), "transformers' own class is taken"
    config.write_text(json.dumps(json.loads(config.read_bytes()) | {"model_type": "evil"}))
    with pytest.raises(InputError, match="code that comes with a model is never run"):
        models.add_model("other", f"path:{evil}")
    for weights in evil.glob("*.safetensors"):
        weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(InputError, match="never pickles"):
        models.add_model("pickled", f"path:{evil}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore")
def test_a_sealed_fine_tune_of_a_store(tiny_model: Path, tmp_path: Path) -> None:
    trained(tiny_model, tmp_path / "theirs")
    store, key = open_store(str(tmp_path / "store")), "0" * 64
    files = {path.name: store.put(path.read_bytes()) for path in (tmp_path / "theirs").iterdir()}
    store.seal("finetune", key, {"outputs": {f"adapter/{name}": {"digest": d} for name, d in files.items()}})
    found = fetched(f"{tmp_path}/store/steps/finetune/{key}", tmp_path / "mine")
    assert found.digest == fetched(str(tmp_path / "theirs"), tmp_path / "again").digest
    with pytest.raises(InputError, match="no sealed fine-tune"):
        fetched(f"{tmp_path}/store/steps/finetune/{'1' * 64}", tmp_path / "none")


@pytest.mark.filterwarnings("ignore")
def test_a_base_without_a_chat_template_is_asked_by_that_of_the_adapter(
    spec: ModelSpec, tiny_model: Path, tmp_path: Path
) -> None:
    bare = Path(shutil.copytree(tiny_model, tmp_path / "bare"))
    for name in ("chat_template.jinja",):
        (bare / name).unlink(missing_ok=True)
    settings = json.loads((bare / "tokenizer_config.json").read_bytes())
    settings.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(settings))
    trained(bare, tmp_path / "theirs")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "theirs")
    mine, found = spec.model_copy(update={"source": f"path:{bare}"}), fetched(str(tmp_path / "theirs"), tmp_path / "x")
    with pytest.raises(InputError, match="template"):
        Compared(mine, torch.float32)
    models = Compared(mine, torch.float32, speaks=found)
    models.add("tuned", found)
    assert "no chat template" in models.notes[0]
    with models.worn("tuned") as lm:
        assert lm.chat("Hello.")
