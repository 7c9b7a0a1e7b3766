"""The table of layouts names real parts of every type of model."""

import pytest
import torch

from common.lm.layers import LAYOUTS, blocks_of, layout


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
