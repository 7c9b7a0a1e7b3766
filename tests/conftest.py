"""Fixtures that several parts of the tests use: a tiny random model and a spec that runs on it."""

import gc
import os
from pathlib import Path

import pytest

from tests import tiny

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
UNTOUCHED = dict(os.environ)


@pytest.fixture
def untouched_environment() -> dict[str, str]:
    """The variables as they were before any test: none that a fine-tune, DeepSpeed or Accelerate has set since."""
    return dict(UNTOUCHED)


@pytest.fixture(scope="module", autouse=True)
def libraries_are_no_garbage() -> None:
    """Leave what was imported so far out of later garbage collections.

    A step collects when it ends. Half a million objects of libraries are none of its garbage, and walking over them
    takes 0.3 s each time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny model."""
    return tiny.build_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture
def tiny_spec(tiny_model: Path) -> dict[str, object]:
    """A spec of the smallest study. Copy and change it."""
    return tiny.spec_on(tiny_model)


@pytest.fixture
def forked_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The local runner forks every step, not those on models alone: no step imports anew what another has imported."""
    from workflows.local import forked, processes

    monkeypatch.setattr(processes, "_spawned", lambda command, env: forked.ForkedStep(command[2:], env))
