"""The tiny model, as a base and with an adapter, and how it would be scored the naive way."""

import dataclasses
from pathlib import Path
from typing import cast

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel

from common.lm.chat import LanguageModel
from common.lm.load import attach, load
from common.lm.writing import stop_tokens
from common.spec import ModelSpec


@pytest.fixture(name="lm", scope="module", params=["base", "adapter"])
def tiny_lm(
    request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> LanguageModel:
    """The tiny model in fp32, as a base and with an unmerged adapter."""
    spec = ModelSpec(name="tiny", source=f"path:{tiny_model}")
    plain = load(spec, precision=torch.float32)
    if request.param == "base":
        return plain
    folder = tmp_path_factory.mktemp("adapter")
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(plain.model, config).save_pretrained(str(folder))
    base = load(spec, precision=torch.float32)
    return dataclasses.replace(base, model=attach(cast(PreTrainedModel, base.model), folder))


def naive(lm: LanguageModel, prompt: list[int], reply: list[int]) -> float:
    """Log-likelihood of a reply by one pass over the whole text, alone, without padding or cache."""
    with torch.inference_mode():
        logits = lm.model(torch.tensor([prompt + reply], device=lm.model.device), use_cache=False).logits[0].float()
    logp = logits.log_softmax(-1)
    return float(sum(logp[len(prompt) - 1 + index, token].item() for index, token in enumerate(reply)))


def naive_greedy(lm: LanguageModel, prompt: list[int], most: int) -> str:
    reply: list[int] = []
    for _ in range(most):
        with torch.inference_mode():
            token = int(
                lm.model(torch.tensor([prompt + reply], device=lm.model.device), use_cache=False).logits[0, -1].argmax()
            )
        if token in stop_tokens(lm):
            break
        reply.append(token)
    return str(lm.tokenizer.decode(reply, skip_special_tokens=True))
