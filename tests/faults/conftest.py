"""What tests of several faults use: one fine-tune, made once, and the process that its steps are forked from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.finetunes import Study, made_in
from tests.faults.forks import forks


@pytest.fixture(scope="session")
def study(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """A fine-tune to stop and to kill."""
    with made_in(tmp_path_factory.mktemp("faults"), tiny_model, forks) as made:
        yield made
