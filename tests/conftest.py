"""Fixtures that several parts of the tests use: a tiny random model and a spec that runs on it."""

import os
from pathlib import Path

import pytest

from tests import tiny

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny model."""
    return tiny.build_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture
def tiny_spec(tiny_model: Path) -> dict[str, object]:
    """A spec of the smallest study. Copy and change it."""
    return tiny.spec_on(tiny_model)
