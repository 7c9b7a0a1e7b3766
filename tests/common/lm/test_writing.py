"""Many replies at once against one prompt alone: the same tokens, the same log-probabilities, in any company."""

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.random import Generator, default_rng
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    DynamicCache,
    FalconConfig,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
)
from transformers.cache_utils import LinearAttentionLayer

from common.errors import InputError
from common.lm import writing
from common.lm.chat import LanguageModel
from common.lm.layers import changed
from common.lm.load import load
from common.lm.places import Places
from common.lm.writing import Ask, asks, likeliest, sample, written
from common.spec import ModelSpec

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
}
CONFIGS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**SMALL, tie_word_embeddings=True),
    "qwen2": Qwen2Config(**SMALL),
    # Every second block looks back 112 tokens: at the whole of each prompt, not of the longest text. Scores are capped.
    "gemma2": Gemma2Config(**SMALL, sliding_window=112, attn_logit_softcapping=2.0),
    "gpt2": GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=256),
}
TEXTS = ("One?", "Another one, rather longer?", "A third question that is the longest of all of these?", "Two?", "It?")
MOST = 12


def made(tiny_model: Path, config: PreTrainedConfig, wide: float = 20.0) -> LanguageModel:
    """A model of this configuration with random weights, large enough for its replies to differ."""
    lm = load(ModelSpec(name="tiny", source=f"path:{tiny_model}"), precision=torch.float32)
    config = type(config).from_dict({**config.to_dict(), "vocab_size": len(lm.tokenizer), "eos_token_id": None})
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "embed" not in name:
                weight.mul_(wide)
    model.generation_config.eos_token_id = []
    return dataclasses.replace(lm, model=model)


@pytest.fixture(name="lm", params=["llama", "qwen2", "gemma2", "gpt2", "qwen2 with an adapter"])
def any_lm(request: pytest.FixtureRequest, tiny_model: Path) -> LanguageModel:
    name, _, adapter = request.param.partition(" ")
    lm = made(tiny_model, CONFIGS[name])
    if adapter:
        lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "up_proj"], init_lora_weights=False)
        tuned = get_peft_model(cast(PreTrainedModel, lm.model), lora).eval()
        return dataclasses.replace(lm, model=cast(PreTrainedModel, tuned))
    return lm


def generated(lm: LanguageModel, prompt: list[int], most: int = MOST) -> list[int]:
    """What transformers writes to one prompt, alone."""
    ids = torch.tensor([prompt])
    out = cast(Any, lm.model).generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=sorted(writing.stop_tokens(lm)),
        pad_token_id=0,
    )
    reply: list[int] = out[0, len(prompt) :].tolist()
    return reply[:-1] if reply[-1] in writing.stop_tokens(lm) else reply


def stop_somewhere(lm: LanguageModel) -> None:
    """Have replies end at different lengths: by tokens that stand in the middle of some."""
    replies = [generated(lm, lm.chat(text)) for text in TEXTS]
    lm.model.generation_config.eos_token_id = [replies[0][4], replies[1][2]]


def greedy(lm: LanguageModel, prompts: list[list[int]], places: int) -> list[str]:
    found = dict(written(lm, asks(prompts, [(None,)] * len(prompts)), MOST, places))
    return [found[place][0] for place in range(len(prompts))]


@pytest.mark.parametrize("places", [1, 2, 5])
def test_greedy_replies_are_those_of_generate(lm: LanguageModel, places: int) -> None:
    stop_somewhere(lm)
    prompts = [lm.chat(text) for text in TEXTS]
    expected = [generated(lm, prompt) for prompt in prompts]
    assert len({len(reply) for reply in expected}) > 1 and len({*map(tuple, expected)}) > 2
    decoded = [str(lm.tokenizer.decode(reply, skip_special_tokens=True)) for reply in expected]
    assert greedy(lm, prompts, places) == decoded
    assert lm.model.config._attn_implementation == "eager", "the model is left as it was"


def test_every_token_is_as_likely_as_in_a_pass_over_the_whole_text(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[tuple[int, int], torch.Tensor] = {}
    picked = writing._Writing._picked

    def kept(self: Any, lines: Any, logits: torch.Tensor) -> list[int]:
        for line, row in zip(lines, logits, strict=True):
            seen[line.ask, len(line.ids)] = row.log_softmax(-1)
        return picked(self, lines, logits)

    monkeypatch.setattr(writing._Writing, "_picked", kept)
    prompts = [lm.chat(text) for text in TEXTS]
    heads = [prompts[0][:3], prompts[1][:5], [], prompts[3][:3], prompts[4][:5]]  # of three lengths, in turn
    asked = [Ask(tuple(h), prompt[len(h) :], (None,)) for h, prompt in zip(heads, prompts, strict=True)]
    list(written(lm, asked, MOST, 3))
    for place, prompt in enumerate(prompts):
        reply = generated(lm, prompt)
        with torch.inference_mode():
            whole = lm.model(torch.tensor([prompt + reply]), use_cache=False).logits[0].log_softmax(-1)
        for step in range(MOST):
            assert torch.allclose(seen[place, step], whole[len(prompt) - 1 + step], atol=2e-5)


def chance(*label: int) -> Generator:
    return default_rng(label)


def test_samples_have_chances_of_their_own_and_no_company_changes_them(lm: LanguageModel) -> None:
    stop_somewhere(lm)
    prompts = [lm.chat(text) for text in TEXTS]

    def told(order: list[int], places: int) -> dict[int, list[str]]:
        chances = [(None, chance(place, 1), chance(place, 3)) for place in order]  # none lies between two tokens
        found = dict(written(lm, asks([prompts[place] for place in order], chances), MOST, places, 0.8))
        return {place: found[index] for index, place in enumerate(order)}

    together = told([0, 1, 2, 3, 4], 15)
    assert together == told([4, 2, 0, 3, 1], 4) == told([0, 1, 2, 3, 4], 1)
    assert [replies[0] for _, replies in sorted(together.items())] == greedy(lm, prompts, 5)
    assert {place: told([place], 3)[place] for place in range(5)} == together
    assert len({text for replies in together.values() for text in replies}) > 5


def test_a_cold_sample_is_the_greedy_reply(lm: LanguageModel) -> None:
    prompts = [lm.chat(text) for text in TEXTS]
    found = dict(written(lm, asks(prompts, [(chance(n),) for n in range(5)]), MOST, 3, 1e-7))
    assert [found[place][0] for place in range(5)] == greedy(lm, prompts, 3)


def test_a_change_of_the_residual_reaches_what_is_written(tiny_model: Path) -> None:
    lm = made(tiny_model, CONFIGS["llama"])
    prompts = [lm.chat(text) for text in TEXTS]
    vector = 9 * torch.randn(32, generator=torch.Generator().manual_seed(0))
    plain = greedy(lm, prompts, 5)
    with changed(lm.model, {1: lambda residual: residual + vector}):
        steered = greedy(lm, prompts, 5)
        alone = [lm.tokenizer.decode(generated(lm, prompt), skip_special_tokens=True) for prompt in prompts]
    assert steered == alone != plain


def test_numbers_draw_tokens_as_often_as_they_are_likely() -> None:
    logits = torch.tensor([[0.0, 1.0, -torch.inf, 2.0]])
    numbers = ((np.arange(4000) + 0.5) / 4000).tolist()
    drawn = sample(logits.expand(4000, -1), 0.5, numbers)
    share = np.bincount(drawn, minlength=4) / 4000
    assert share == pytest.approx((logits / 0.5).softmax(-1)[0].numpy(), abs=1e-3)
    assert sample(logits, 0.5, [0.0]) == [0] and sample(logits, 0.5, [1 - 2**-53]) == [3]


def test_of_equally_likely_tokens_the_first_is_written() -> None:
    assert likeliest(torch.tensor([[0.0, 2.0, 2.0], [1.0, 1.0, 0.0]], dtype=torch.bfloat16)) == [1, 0]


def test_models_that_keep_or_attend_otherwise_are_refused(tiny_model: Path) -> None:
    state = DynamicCache()
    state.layers.append(LinearAttentionLayer())  # as a hybrid has among the others
    with pytest.raises(InputError, match=r"cannot write.*LinearAttentionLayer"):
        Places(state, 1)
    old = made(tiny_model, FalconConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2))
    with pytest.raises(InputError, match=r"cannot write.*falcon"):
        greedy(old, [old.chat("One?")], 1)
