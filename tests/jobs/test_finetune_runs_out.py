"""What runs out while a model is trained, and weights that are no numbers: said, and nothing lost."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from common.errors import ExitCode, SpecError
from common.spec import ModelSpec, TrainSpec
from tests.jobs import finetuning
from tests.jobs.finetuning import LOUD, finetune

pytestmark = LOUD
study = finetuning.study


def test_out_of_memory_says_how_large_the_batches_were(
    study: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from jobs.finetune import training

    def full(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    words = study("store")
    with monkeypatch.context() as patched:
        patched.setattr(training, "reply_loss", full)
        assert finetune(words) == ExitCode.TRANSIENT
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith("error: the GPU's memory ran out with 2 rows at a time; nothing was sealed, batch size 4, ")
    assert ", longest row " in line and " tokens: CUDA out of" in line
    assert finetune(words) == 0


def test_an_adapter_with_a_nan_is_not_saved(tiny_model: Path, tmp_path: Path) -> None:
    from common.lm.load import load as load_model
    from jobs.finetune.adapters import save_adapter
    from jobs.finetune.training import lora

    model = lora(load_model(ModelSpec(name="tiny", source=f"path:{tiny_model}")), TrainSpec(lora_rank=4), 0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(1.0)
    save_adapter(model, tmp_path / "good")
    modules = json.loads((tmp_path / "good" / "adapter_config.json").read_bytes())["target_modules"]
    assert modules == sorted(modules), "in one order, whatever the hashes of this process are"
    for value in (float("nan"), float("inf")):
        dict(model.named_parameters())["base_model.model.model.layers.1.self_attn.q_proj.lora_B.default.weight"].data[
            0, 0
        ] = value
        with pytest.raises(SpecError, match=r"training diverged, bad: 1 of 128 values of .*layers\.1.*lora_B"):
            save_adapter(model, tmp_path / "bad")
