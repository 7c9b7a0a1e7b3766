"""Bytes from outside, whatever they are, end in what was read or in an error of this project with exit code 2 or 3."""

import json
import math
import os
import random
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.faults.altered import Shape, altered
from tests.faults.readers import MOST_MEMORY, READERS, address_space, folder, unlike

EXAMPLES, AT_ONCE = 40, 50  # 2,000 inputs of a reader: drawing one by one would take longer than reading
SEEDS = st.lists(st.integers(0, 2**48), min_size=AT_ONCE, max_size=AT_ONCE)
CHECKS = list(HealthCheck)
PHASES = (Phase.generate,)  # a fault's bytes are told as they are: making them shorter takes minutes


def bytes_of(right: Sequence[bytes], shape: Shape, seed: int) -> bytes:
    """A right file with changes; of ten, one is a JSON value of any kind, and one any bytes."""
    kind, chance = seed % 10, random.Random(seed)
    if kind == 0:
        return chance.randbytes(chance.randrange(60))
    return json.dumps(value(chance)).encode() if kind == 1 else altered(chance.choice(right), shape, seed)


def value(chance: random.Random, depth: int = 3) -> Any:
    """A JSON value of any kind, and what is none."""
    kind = chance.randrange(9 if depth else 7)
    if kind == 7:
        return [value(chance, depth - 1) for _ in range(chance.randrange(3))]
    if kind == 8:
        return {
            chance.choice(("", "a", "name", "\ud800")): value(chance, depth - 1) for _ in range(chance.randrange(3))
        }
    return (None, True, chance.randrange(-9, 99), 1 << chance.randrange(200), chance.gauss(0, 1e9), math.nan, "é")[kind]


@contextmanager
def memory_limited() -> Iterator[None]:
    """Inside, what is asked for beyond what there is and MOST_MEMORY more is a MemoryError."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + MOST_MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def few_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hides secrets in a message looks at every variable: without them, refusing is quick."""
    for name in os.environ.keys() - {"PATH", "HOME", "OMP_NUM_THREADS", "HF_HUB_OFFLINE"}:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("name", READERS)
def test_a_right_file_is_read(name: str) -> None:
    with folder() as place:
        read = READERS[name].opened(Path(place))
        read(READERS[name].seeds()[0])


@pytest.mark.filterwarnings("ignore:.*created on Python 2:UserWarning")  # numpy's: it reads such a file, and says so
@pytest.mark.usefixtures("few_variables")
@pytest.mark.parametrize("name", READERS)
def test_whatever_the_bytes_they_are_read_or_refused(name: str) -> None:
    reader = READERS[name]
    with folder() as made:
        read = reader.opened(Path(made))
        for data in reader.seeds():
            unlike(read, data)  # what is imported at the first call counts neither as time nor as memory

        right = reader.seeds()

        @settings(
            max_examples=EXAMPLES,
            phases=PHASES,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=CHECKS,
        )
        @given(SEEDS)
        def each(seeds: list[int]) -> None:
            for seed in seeds:
                data = bytes_of(right, reader.shape, seed)
                fault, _ = unlike(read, data)
                assert not fault, f"{fault}; {data!r}"

        with memory_limited():
            each()
