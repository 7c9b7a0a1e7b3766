"""The table of layouts names real parts of every type of model."""

import pytest
import torch

from common.lm.chat import LanguageModel
from common.lm.layers import LAYOUTS, blocks_of, hooked, layout, without


@pytest.mark.parametrize("kind", sorted(LAYOUTS))
def test_the_table_names_real_parts_of_every_type_of_model(kind: str) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        kind,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=100,
        pad_token_id=0,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    names = layout(model)
    assert len(blocks_of(model)) == 2
    assert model.get_submodule(names.embeddings) is model.get_input_embeddings()
    assert model.get_submodule(names.norm).weight.shape == (32,)
    for name in (names.attention, names.mlp):
        assert blocks_of(model)[0].get_submodule(name) is not blocks_of(model)[1].get_submodule(name)


def test_without_a_direction_no_block_reads_or_writes_along_it(lm: LanguageModel) -> None:
    """And without one that is at right angles to all there is, nothing changes: here, of a model made so."""
    unit = torch.nn.functional.normalize(torch.randn(32, generator=torch.Generator().manual_seed(0)), dim=0)
    ids = torch.tensor([[1, 5, 9, 12]])
    seen: list[torch.Tensor] = []
    blocks = blocks_of(lm.model)
    with torch.inference_mode():
        base = lm.model(ids).logits
        with without(lm.model, unit):
            hooks = [
                part.register_forward_hook(lambda _m, _g, out: seen.append(out[0] if isinstance(out, tuple) else out))
                for block in blocks
                for part in (block.get_submodule("self_attn"), block.get_submodule("mlp"), block)
            ]
            less = lm.model(ids).logits
        for hook in hooks:
            hook.remove()
        with without(lm.model, unit, 0.5), hooked(blocks, [0], lambda _layer, residual: seen.append(residual)):
            lm.model(ids)
        with without(lm.model, unit, 0.0):
            assert torch.allclose(lm.model(ids).logits, base, atol=1e-5), "no share is nothing"
    half = seen.pop() @ unit
    assert float(half.abs().min()) > 1e-6, "half of it is left"
    assert len(seen) == 6 and max(float((each @ unit).abs().max()) for each in seen) < 1e-6
    assert not torch.allclose(base, less, atol=1e-3)
    with torch.inference_mode():
        assert torch.equal(lm.model(ids).logits, base), "hooks are gone"
        for flat in writers(lm):
            flat.sub_(torch.outer(unit, unit @ flat))
        plain = lm.model(ids).logits
        with without(lm.model, unit):
            assert torch.allclose(lm.model(ids).logits, plain, atol=1e-5)


def writers(lm: LanguageModel) -> list[torch.Tensor]:
    """All weights that write to the residual stream, (d_model, …)."""
    names = [f"{part}.weight" for part in ("self_attn.o_proj", "mlp.down_proj")]
    blocks = [block.get_parameter(name) for block in blocks_of(lm.model) for name in names]
    return [lm.model.get_parameter("model.embed_tokens.weight").T, *blocks]
