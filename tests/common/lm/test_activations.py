"""Residuals are the model's own, whatever the batch."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from common.errors import InputError
from common.lm.activations import Passage, capture
from common.lm.chat import LanguageModel
from common.lm.layers import blocks_of, layout


def passages(lengths: tuple[int, ...] = (3, 30, 11, 17, 5)) -> list[Passage]:
    rng = np.random.default_rng(0)
    rows = [rng.integers(3, 250, size=length).tolist() for length in lengths]
    return [Passage(ids, (range(1, len(ids)), range(len(ids) - 1, len(ids)))) for ids in rows]


def one_at_a_time(model: Any, rows: list[Passage], layers: list[int]) -> NDArray[np.float64]:
    """The slow definition: no batch, no padding, no hooks before the last block's."""
    found = []
    for ids, spans in rows:
        last: list[torch.Tensor] = []
        handle = blocks_of(model)[-1].register_forward_hook(
            lambda _module, _inputs, output, last=last: last.append(output)
        )
        with torch.no_grad():
            states = model(torch.tensor([ids]), output_hidden_states=True, use_cache=False).hidden_states
        handle.remove()
        residuals = [*states[1:-1], last[0]]  # the last hidden state is normalised already
        found.append([[residuals[layer][0, list(span)].mean(0).numpy() for layer in layers] for span in spans])
    return np.array(found)


@pytest.mark.parametrize("layers", [[0, 1], [0], [1]])
def test_capture_equals_the_slow_definition(lm: LanguageModel, layers: list[int]) -> None:
    expected = one_at_a_time(lm.model, passages(), layers)
    found = capture(lm.model, passages(), layers, batch_rows=3)
    assert found.shape == (5, 2, len(layers), 32) and found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5 < np.abs(expected).mean()


def test_the_captured_residual_gives_the_logits_of_the_model(lm: LanguageModel) -> None:
    ids, names = passages()[1].ids, layout(lm.model)
    found = torch.from_numpy(capture(lm.model, [passages()[1]], [1], 1)[0, 1, 0])
    with torch.no_grad():
        logits = lm.model.lm_head(lm.model.get_submodule(names.norm)(found))
        expected = lm.model(torch.tensor([ids])).logits[0, -1]
    assert torch.allclose(logits, expected, atol=1e-5)
    assert cast(torch.nn.Embedding, lm.model.get_submodule(names.embeddings)).weight.shape[1] == len(found)


def test_neither_batch_nor_padding_changes_a_mean(lm: LanguageModel) -> None:
    alone = np.concatenate([capture(lm.model, [row], [0, 1], 1) for row in passages()])
    for batch_rows in (1, 2, 5, 16):
        assert np.abs(capture(lm.model, passages(), [0, 1], batch_rows) - alone).max() < 1e-5


def test_the_forward_pass_stops_after_the_last_wanted_block(lm: LanguageModel) -> None:
    ran = []
    handle = lm.model.model.layers[1].register_forward_hook(lambda *_: ran.append(1))
    capture(lm.model, passages(), [0], 16)
    assert not ran
    capture(lm.model, passages(), [1], 16)
    handle.remove()
    assert ran


@pytest.mark.parametrize("layers", [[0], [0, 1]])
def test_hooks_are_gone_afterwards_also_after_an_error(lm: LanguageModel, layers: list[int]) -> None:
    blocks = blocks_of(lm.model)
    capture(lm.model, passages(), layers, 16)
    assert not any(block._forward_hooks for block in blocks)
    with torch.no_grad():
        lm.model.model.embed_tokens.weight[:] = torch.nan
    with pytest.raises(Exception, match="not finite, layer 0"):
        capture(lm.model, passages(), layers, 16)
    with pytest.raises(IndexError):
        capture(lm.model, [Passage([10**6], (range(1),))], layers, 16)  # fails inside the model
    assert not any(block._forward_hooks for block in blocks)


@pytest.mark.parametrize("span", [range(0), range(2, 4), range(-1, 1)])
def test_a_span_outside_its_passage_is_refused(lm: LanguageModel, span: range) -> None:
    with pytest.raises(InputError, match="passage 0"):
        capture(lm.model, [Passage([5, 6, 7], (span,))], [0], 1)


def test_an_unknown_type_of_model_is_refused_with_the_known_ones(lm: LanguageModel) -> None:
    cast(Any, lm.model.config).model_type = "mamba"
    with pytest.raises(InputError, match=r"mamba; allowed: .*llama"):
        capture(lm.model, passages(), [0], 1)
