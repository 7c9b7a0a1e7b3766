"""The tiny model, ready to run."""

from pathlib import Path

import pytest
import torch

from common.lm.chat import LanguageModel
from common.lm.load import load
from common.spec import ModelSpec


@pytest.fixture
def lm(tiny_model: Path) -> LanguageModel:
    """In fp32, loaded anew: a test may alter it."""
    return load(ModelSpec(name="tiny", source=f"path:{tiny_model}"), precision=torch.float32)
