"""Margins with shared prefixes and lower blocks equal whole forward passes; a change of nothing changes nothing."""

import functools
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from common.errors import InputError, JobError
from common.lm.chat import LanguageModel
from common.lm.closed import batches, choices, encode
from common.lm.layers import blocks_of, changed, decoder, only_above
from common.lm.margins import ByLength, NeutralText, Readout, prompts_in_both_orders
from common.provenance import ROOT
from common.records import Item
from common.serialization import parse_jsonl

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def items() -> list[Item]:
    path = ROOT / "common/stance/data/items.jsonl"
    return parse_jsonl(path.read_bytes(), Item, path.name)[:3]


ORDERS: list[Literal[0, 1]] = [0, 1]


def plus(vector: NDArray[np.float64], residual: torch.Tensor) -> torch.Tensor:
    return residual + torch.tensor(vector, dtype=residual.dtype)


def hooks(model: Any) -> int:
    return sum(len(block._forward_hooks) for block in blocks_of(model))


def test_margins_are_those_of_the_evaluation(lm: LanguageModel, items: list[Item]) -> None:
    (batch,) = batches([encode(lm, item) for item in items], batch_rows=16)
    rows = {(row.item, row.order): row.sentence_go - row.sentence_stay for row in choices(lm, batch, "x")}
    asked = prompts_in_both_orders(lm, items)
    expected = [rows[each.name, order] for each, order in zip(asked, ORDERS * len(items), strict=True)]
    for whole in (False, True):
        found = Readout(lm, asked, whole).under(lm.model, {})
        assert np.abs(found - expected).max() < 1e-3 < np.abs(expected).max()


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("layer", [0, 1])
def test_the_blocks_above_give_what_a_whole_pass_gives(
    lm: LanguageModel, items: list[Item], layer: int, whole: bool
) -> None:
    readout = Readout(lm, prompts_in_both_orders(lm, items), whole)
    vectors = RNG.normal(size=(5, 32)) * np.array([0, 0.1, 1, 3, -3])[:, None]
    found = readout.steered(layer, vectors)
    slow = [readout.under(lm.model, {layer: functools.partial(plus, vector)}) for vector in vectors]
    assert np.abs(found - slow).max() < 1e-3
    assert np.abs(found[3] - found[0]).max() > 0.01, "steering must do something"
    assert hooks(lm.model) == 0 and len(blocks_of(lm.model)) == 2


def test_prompts_grouped_by_length_have_the_margins_of_all_together(lm: LanguageModel) -> None:
    path = ROOT / "common/stance/data/items.jsonl"
    asked = prompts_in_both_orders(lm, parse_jsonl(path.read_bytes(), Item, path.name)[::9])
    grouped, vectors = ByLength(lm, asked), RNG.normal(size=(4, 32))
    assert 1 < len(grouped.parts) < len(asked)
    together = Readout(lm, asked).steered(0, vectors)
    assert np.abs(grouped.steered(0, vectors) - together).max() < 1e-3 < np.abs(together - together[:, ::-1]).max()


def test_a_vector_of_zeros_is_the_base_bit_for_bit(lm: LanguageModel, items: list[Item]) -> None:
    readout = Readout(lm, prompts_in_both_orders(lm, items))
    base = readout.under(lm.model, {})
    assert np.array_equal(base, readout.under(lm.model, {0: lambda h: h + torch.zeros(32), 1: lambda h: h * 1}))
    again = readout.steered(0, np.zeros((3, 32)))
    assert np.array_equal(again[0], again[1]) and np.array_equal(again[1], again[2])


def test_only_the_columns_asked_for_change(lm: LanguageModel, items: list[Item]) -> None:
    """A vector on the reply alone differs from one on the whole text, and equals it where the prompt is kept."""
    asked = prompts_in_both_orders(lm, items)
    whole, reply = Readout(lm, asked, whole=True), Readout(lm, asked)
    vector = torch.tensor(RNG.normal(size=32), dtype=torch.float32)
    spans = whole.spans()
    assert torch.equal(torch.stack([span.int() for span in spans.values()]).sum(0), whole.own.int()), (
        "spans tile the text"
    )
    changed_at = (spans["last of prompt"] | spans["reply"])[..., None]
    one = whole.under(lm.model, {0: lambda h: torch.where(changed_at, h + vector, h)})
    assert np.abs(one - reply.under(lm.model, {0: lambda h: h + vector})).max() < 1e-3
    assert np.abs(one - whole.under(lm.model, {0: lambda h: h + vector})).max() > 1e-3


def test_hooks_and_blocks_are_put_back_after_an_error(lm: LanguageModel) -> None:
    before = list(blocks_of(lm.model))
    with pytest.raises(JobError, match="shape or type"), changed(lm.model, {1: lambda h: h[:, :1]}):
        lm.model(torch.tensor([[1, 5, 6]]))
    with pytest.raises(RuntimeError, match="stop"), only_above(lm.model, 0):
        assert len(blocks_of(lm.model)) == 1
        raise RuntimeError("stop")
    assert hooks(lm.model) == 0 and list(blocks_of(lm.model)) == before


def test_divergence_is_the_mean_over_tokens_of_the_slow_definition(lm: LanguageModel) -> None:
    texts = [
        "A plain sentence about nothing much at all, long enough.",
        "short",
        "Another sentence that is long enough.",
    ]
    neutral = NeutralText(lm, texts, tokens=10, layer=0)
    assert neutral.ids.shape == (2, 10), "a text that is too short is left out"
    vectors = RNG.normal(size=(3, 32)) * np.array([0, 0.3, 2])[:, None]
    with torch.inference_mode():
        base = lm.model(neutral.ids).logits.double().log_softmax(-1)
        slow = []
        for vector in vectors:
            with changed(lm.model, {0: functools.partial(plus, vector)}):
                after = lm.model(neutral.ids).logits.double().log_softmax(-1)
                assert neutral.now() == pytest.approx(float((base.exp() * (base - after)).sum(-1).mean()), abs=1e-4)
            slow.append(float((base.exp() * (base - after)).sum(-1).mean()))
    found = neutral.divergence(vectors)
    assert np.abs(found - slow).max() < 1e-4 < slow[2]


def test_a_model_whose_blocks_do_not_run_alone_is_steered_all_the_same(
    lm: LanguageModel, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    from common.lm import layers as parts

    asked, vectors = prompts_in_both_orders(lm, items), RNG.normal(size=(2, 32))
    fast = Readout(lm, asked).steered(0, vectors), NeutralText(lm, ["A plain sentence."], 8, 0).divergence(vectors)
    monkeypatch.setitem(parts.LAYOUTS, "llama", parts.LAYOUTS["llama"]._replace(detached=False))
    slow = Readout(lm, asked).steered(0, vectors), NeutralText(lm, ["A plain sentence."], 8, 0).divergence(vectors)
    assert all(np.abs(one - other).max() < 1e-3 for one, other in zip(fast, slow, strict=True))
    with pytest.raises(InputError, match="do not run alone"), only_above(lm.model, 0):
        pass
    assert decoder(lm.model).config.model_type == "llama"
