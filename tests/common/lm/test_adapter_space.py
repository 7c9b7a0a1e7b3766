"""What two adapters write along a direction, by their matrices, is what their dense changes of weights write."""

from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from common.errors import InputError
from common.lm.adapter_space import written
from common.lm.chat import LanguageModel

pytestmark = pytest.mark.filterwarnings("ignore::peft.utils.warning.PeftWarning")  # of biases, which no arm has
UNITS = np.linalg.qr(np.random.default_rng(0).standard_normal((32, 4)))[0].T


def two_adapters(lm: LanguageModel, modules: list[str], bias: bool = False) -> PeftModel:
    config = LoraConfig(r=2, lora_alpha=6, target_modules=modules, lora_bias=bias, task_type="CAUSAL_LM")
    tuned = get_peft_model(lm.model, config)
    assert isinstance(tuned, PeftModel)
    tuned.add_adapter("neutral", config)
    torch.manual_seed(0)
    for name, parameter in tuned.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter)
    return tuned


def by_hand(tuned: PeftModel, module: str, block: int) -> np.ndarray:
    """B A scaled by alpha over rank, of the pole less that of neutral."""
    path = f"base_model.model.model.layers.{block}.{module}."
    weights = dict(tuned.named_parameters())
    pole, neutral = (
        weights[f"{path}lora_B.{name}.weight"] @ weights[f"{path}lora_A.{name}.weight"]
        for name in ("default", "neutral")
    )
    return 3 * (pole - neutral).detach().double().numpy()


def test_norms_are_those_of_the_dense_change(lm: LanguageModel) -> None:
    tuned = two_adapters(lm, ["down_proj", "o_proj", "q_proj"])
    found = written(tuned, "default", "neutral", UNITS)
    for block in (0, 1):
        dense = [by_hand(tuned, module, block) for module in ("mlp.down_proj", "self_attn.o_proj")]
        assert found.whole[block] == pytest.approx(sum((each**2).sum() for each in dense), rel=1e-5)
        along = sum(((UNITS @ each) ** 2).sum(axis=1) for each in dense)
        assert found.along[block] == pytest.approx(along, rel=1e-5), "queries are not written to the residual stream"
    assert found.share == pytest.approx(found.along.sum(axis=0) / found.whole.sum())


def test_a_bias_is_written_too(lm: LanguageModel) -> None:
    tuned = two_adapters(lm, ["down_proj"], bias=True)
    found = written(tuned, "default", "neutral", UNITS)
    weights = dict(tuned.named_parameters())
    path = "base_model.model.model.layers.1.mlp.down_proj.lora_B."
    bias = 3 * (weights[f"{path}default.bias"] - weights[f"{path}neutral.bias"]).detach().double().numpy()
    dense = by_hand(tuned, "mlp.down_proj", 1)
    assert found.whole[1] == pytest.approx((dense**2).sum() + (bias**2).sum(), rel=1e-5)
    assert found.along[1] == pytest.approx(((UNITS @ dense) ** 2).sum(axis=1) + (UNITS @ bias) ** 2, rel=1e-5)


def test_adapters_that_write_nothing_to_the_residual_stream_are_refused(lm: LanguageModel) -> None:
    with pytest.raises(InputError, match="no adapted module writes"):
        written(two_adapters(lm, ["q_proj"]), "default", "neutral", UNITS)


def test_a_second_adapter_is_held_to_the_same_rules_and_worn_in_turn(lm: LanguageModel, tmp_path: Path) -> None:
    from common.lm.load import attach, attach_beside, wearing

    tuned = two_adapters(lm, ["down_proj"])
    tuned.save_pretrained(str(tmp_path))
    base = tuned.unload()
    again = attach(base, tmp_path)
    attach_beside(again, tmp_path / "neutral", "neutral")
    ids = torch.tensor([[1, 5, 9, 12]])
    with torch.inference_mode():
        pole = again(input_ids=ids).logits
        with wearing(again, "neutral"):
            neutral = again(input_ids=ids).logits
        assert torch.equal(again(input_ids=ids).logits, pole) and not torch.equal(pole, neutral)
        with again.disable_adapter():
            plain = again(input_ids=ids).logits
    assert not torch.equal(plain, neutral)
    (tmp_path / "neutral" / "adapter_model.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="adapter cannot be read"):
        attach_beside(again, tmp_path / "neutral", "third")
